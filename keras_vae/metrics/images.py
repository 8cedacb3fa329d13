"""The distance between two images, pair by pair: of reconstructions from their originals."""

import numpy as np
from numpy.typing import ArrayLike


def squared_error(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Computes the squared error of each pair of images, summed over pixels.

    Args:
        x: images with values from 0 to 1.
        y: images of the same shape, with values from 0 to 1.

    Shape:
        x, y: `(N, *X)`.

    Returns:
        `(N,)` float64, in units of the squared range of values.

    Raises:
        ValueError: if the shapes differ or a value is not finite.
    """
    x, y = _pairs(x, y)
    return np.array([np.sum(np.square(np.subtract(a, b, dtype="float64"))) for a, b in zip(x, y, strict=True)])


def psnr(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Computes the peak signal-to-noise ratio of each pair of images.

    Args:
        x: images with values from 0 to 1.
        y: images of the same shape, with values from 0 to 1.

    Shape:
        x, y: `(N, *X)`.

    Returns:
        `(N,)` float64, decibels: -10 log10 of the mean squared error; infinite for equal images.

    Raises:
        ValueError: if the shapes differ or a value is not finite.
    """
    mean = squared_error(x, y) / np.prod(np.shape(x)[1:])
    with np.errstate(divide="ignore"):
        return -10 * np.log10(mean)


def ssim(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Computes the structural similarity (SSIM) of each pair of images; 1 if they are equal.

    Args:
        x: images with values from 0 to 1.
        y: images of the same shape, with values from 0 to 1.

    Shape:
        x, y: `(N, H, W, C)`, H and W of at least 11.

    Returns:
        `(N,)` float64, the mean over positions and channels, with the Gaussian window of 11 pixels of the paper.

    Raises:
        ValueError: if the shapes differ, are not those of images, or are smaller than the window, or if a value is not
            finite.

    Reference: Wang, Bovik, Sheikh and Simoncelli 2004, section III.B; computed by scikit-image.
    """
    from skimage.metrics import structural_similarity

    x, y = _pairs(x, y)
    if not has_ssim(x.shape[1:]):
        raise ValueError(f"SSIM compares images (N, H, W, C) of at least 11 pixels a side. Received: shape {x.shape}")
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    return np.array([structural_similarity(a, b, channel_axis=-1, **options) for a, b in zip(x, y, strict=True)])


def has_ssim(image_shape: tuple[int, ...]) -> bool:
    """Whether images of this shape are large enough for the window of SSIM."""
    return len(image_shape) == 3 and min(image_shape[:2]) >= 11


def _pairs(x, y):
    x, y = (np.asarray(a) for a in (x, y))
    if x.shape != y.shape or x.ndim < 2:
        raise ValueError(f"Pairs of images must be of the same shape. Received: shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("Images must be finite. Received: NaN or infinite values")
    return x, y
