"""From images as they are stored to what a likelihood may see."""

import numpy as np

from keras_vae.data.dataset import DataError


def _binarised(images, seed):
    # 255 equally likely thresholds, of which `images` are above the drawn one: probability images / 255 exactly.
    return (np.random.default_rng(seed).integers(0, 255, images.shape, dtype="uint8") < images).astype("float32")


def _unit_interval(images, seed):
    return np.divide(images, 255, dtype="float32")


def _open_unit_interval(images, seed):
    return np.divide(np.add(images, 0.5, dtype="float32"), 256, dtype="float32")


def _levels(images, seed):
    return images


def _zeros_and_ones(images, seed):
    return images.astype("float32")


_FROM_LEVELS = {
    "binary": _binarised,
    "unit interval": _unit_interval,
    "open unit interval": _open_unit_interval,
    "8-bit levels": _levels,
    "real": _unit_interval,
}
_FROM_BINARY = dict.fromkeys(("binary", "unit interval", "real"), _zeros_and_ones)


def convert(images, kind, seed=0, *, binary=False):
    """Turns stored images into the kind of data that a likelihood may see.

    Args:
        images: uint8 levels 0 to 255, or 0 and 1 where `binary`.
        kind: "binary" (0 and 1; a level v becomes 1 with probability v / 255), "unit interval" (v / 255),
            "open unit interval" ((v + 0.5) / 256, never 0 or 1), "8-bit levels" (as they are) or "real" (v / 255).
        seed: decides the binarisation, alone: the same images and seed give the same bits.
        binary: whether the images are those of a binary data set (`DataSet.binary`), whose values stay what they are.

    Shape:
        images and result: (N, H, W, C), or any other.

    Returns:
        A float32 array, of the uint8 images themselves for "8-bit levels".

    Raises:
        DataError: where a binary data set has nothing of that kind, or the images are not what they should be.
        ValueError: for an unknown kind.

    Reference:
        Salakhutdinov & Murray, On the Quantitative Analysis of Deep Belief Networks, 2008 (binarisation).
    """
    if kind not in _FROM_LEVELS:
        known = ", ".join(map(repr, _FROM_LEVELS))
        raise ValueError(f"`kind` must be one of {known}. Received: kind={kind!r}")
    if binary and kind not in _FROM_BINARY:
        raise DataError(
            f"The images of a binary data set are 0 and 1: they cannot be seen as {kind!r}. Use the likelihood "
            f"'bernoulli', which is made for them, or a data set of 8-bit levels. Received: kind={kind!r}, binary=True"
        )
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise DataError(
            "`images` must be uint8 as `load` gives them: converted images are not converted again. "
            f"Received: images of dtype {images.dtype}"
        )
    if binary and images.max(initial=0) > 1:
        raise DataError(
            "The images of a binary data set must be 0 and 1; for levels say binary=False. "
            f"Received: binary=True, largest value {images.max()}"
        )
    return (_FROM_BINARY if binary else _FROM_LEVELS)[kind](images, seed)
