"""From images as they are stored to the values that a likelihood accepts, and back."""

import numpy as np

from keras_vae.data.dataset import DataError
from keras_vae.names import one_of


def _binarised(images, seed):
    # 255 equally likely thresholds, of which `images` are above the drawn one: probability images / 255 exactly.
    return (np.random.default_rng(seed).integers(0, 255, images.shape, dtype="uint8") < images).astype("float32")


def _unit_interval(images, seed):
    return np.divide(images, 255, dtype="float32")


def _open_unit_interval(images, seed):
    return np.divide(np.add(images, 0.5, dtype="float32"), 256, dtype="float32")


def _levels(images, seed):
    return images


def _as_floats(images, seed):
    return images.astype("float32")


_FROM_LEVELS = {
    "binary": _binarised,
    "unit interval": _unit_interval,
    "open unit interval": _open_unit_interval,
    "8-bit levels": _levels,
    "counts": _levels,
    "numbers": _as_floats,
    "real": _unit_interval,
}
_FROM_BINARY = dict.fromkeys(("binary", "unit interval", "counts", "numbers", "real"), _as_floats)


def convert(images: np.ndarray, kind: str, seed: int = 0, *, binary: bool | None = None) -> np.ndarray:
    """Turns stored images into the kind of data that a likelihood accepts.

    Args:
        images: levels 0 to 255, or 0 and 1 if `binary`, in integers (uint8, or int64 as of a CSV file).
        kind: "binary" (0 and 1; a level v becomes 1 with probability v / 255), "unit interval" (v / 255),
            "open unit interval" ((v + 0.5) / 256, never 0 or 1), "8-bit levels" and "counts" (unchanged), "numbers" (as
            float32) or "real" (v / 255).
        seed: seed of the binarisation; the same images and seed give the same bits.
        binary: whether the images come from a binary data set (`DataSet.binary`); their values are then kept. Images
            of 0 and 1 alone are refused unless it is given: as levels they are black.

    Shape:
        images and result: (N, H, W, C), or any other.

    Returns:
        A float32 array; for "8-bit levels" and "counts" the uint8 images themselves.

    Raises:
        DataError: if binary images cannot be data of that kind, or if `images` are not such integers.
        ValueError: for an unknown kind.

    Reference: Salakhutdinov and Murray 2008, "On the quantitative analysis of deep belief networks" (binarisation).
    """
    one_of(kind, tuple(_FROM_LEVELS), "kind of data")
    if binary and kind not in _FROM_BINARY:
        raise DataError(
            f"A binary data set holds 0 and 1, which cannot be converted to {kind!r}. Use the likelihood 'bernoulli', "
            f"or a data set of 8-bit levels. Received: kind={kind!r}, binary=True"
        )
    images = np.asarray(images)
    if not np.issubdtype(images.dtype, np.integer) or images.min(initial=0) < 0 or images.max(initial=0) > 255:
        raise DataError(
            "`images` must be levels from 0 to 255 in integers (uint8), as `load` returns them: images are converted "
            "once, and 12- or 16-bit levels are divided by 4095 or 65535. "
            f"Received: images of dtype {images.dtype}, from {images.min(initial=0)} to {images.max(initial=0)}"
        )
    images = images.astype("uint8", copy=False)
    if binary and images.max(initial=0) > 1:
        raise DataError(
            "The images of a binary data set must be 0 and 1; for levels pass binary=False. "
            f"Received: binary=True, largest value {images.max()}"
        )
    if binary is None and images.max(initial=0) == 1:
        raise DataError(
            "These images hold 0 and 1 alone. Say whether they are binary, binary=True, as `DataSet.binary` has it, or "
            "the two darkest levels of 256, binary=False. Received: binary=None, largest value 1"
        )
    return (_FROM_BINARY if binary else _FROM_LEVELS)[kind](images, seed)


def to_levels(images: np.ndarray, kind: str) -> np.ndarray:
    """Turns images in the units of a likelihood's data into 8-bit levels, as pictures store them.

    Args:
        images: means, samples or data; values outside the range of levels are clipped.
        kind: the kind of data, as in `convert`.

    Returns:
        uint8, of the same shape.
    """
    return np.clip(np.rint(images * (1 if kind in ("8-bit levels", "counts", "numbers") else 255)), 0, 255).astype(
        "uint8"
    )
