"""Checks of the arrays to be drawn, and images scaled to [0, 1]."""

import numpy as np
from numpy.typing import ArrayLike


class NotFiniteError(ValueError):
    """An array to be drawn contains NaN or infinite values."""


def can_show(shape: tuple[int, ...]) -> bool:
    """Whether an example can be shown: a picture, (H, W, 1) or (H, W, 3), or a signal, (length, channels)."""
    return (len(shape) == 3 and shape[-1] in (1, 3)) or (len(shape) == 2 and (shape[0] != shape[1] or shape[0] == 1))


def checked_images(name: str, images: ArrayLike) -> np.ndarray:
    """Returns images or signals as a float64 array, images in [0, 1]."""
    images = np.asarray(images)
    square = images.ndim == 3 and images.shape[1] == images.shape[2] > 1
    if images.ndim not in (3, 4) or not images.size or square or (images.ndim == 4 and images.shape[-1] not in (1, 3)):
        raise ValueError(
            f"`{name}` must be (N, H, W, 1), (N, H, W, 3) or (N, length, channels), and not empty; greyscale images "
            f"need their channel axis, `images[..., None]`. Received: shape {images.shape}"
        )
    check_finite(name, images)
    # Not the largest of many thousand means of a Normal likelihood, which may overshoot by far.
    levels = images.max() > 1 if images.dtype.kind in "iu" else images.mean() > 1
    images = images.astype("float64")
    if images.ndim == 3:
        return images
    return np.clip(images / 255 if levels else images, 0, 1)


def checked_rows(name: str, images: ArrayLike) -> np.ndarray:
    """Returns rows of images, `(rows, columns, *X)`, checked by `checked_images`; `(columns, *X)` is one row."""
    images = np.asarray(images)
    rows = images if images.ndim == 5 else images[None]
    flat = checked_images(name, np.reshape(rows, (-1, *rows.shape[2:])))
    return np.reshape(flat, (*rows.shape[:2], *flat.shape[1:]))


def checked_latents(name: str, z: ArrayLike, least_size: int = 1) -> np.ndarray:
    """Returns latents `(N, D)` as float64."""
    z = np.asarray(z)
    if z.ndim != 2 or z.shape[0] < 1 or z.shape[1] < least_size:
        raise ValueError(f"`{name}` must be (N, D) with N >= 1 and D >= {least_size}. Received: shape {z.shape}")
    check_finite(name, z)
    return z.astype("float64")


def check_finite(name: str, array: np.ndarray) -> None:
    """Refuses NaN and infinite values."""
    finite = np.isfinite(array)
    if not finite.all():
        raise NotFiniteError(
            f"`{name}` must be finite. Received: {np.sum(~finite)} NaN or infinite of {array.size} values"
        )
