"""How far images are from others, pair by pair: reconstructions from what they reconstruct."""

import numpy as np


def squared_error(x, y):
    """The squared error of each pair, summed over its pixels.

    Args:
        x, y: images, of the same shape, with values from 0 to 1.

    Shape:
        x, y: `(N, *X)`.

    Returns:
        `(N,)` float64, in squares of the full range of values.

    Raises:
        ValueError: where the shapes differ or a value is not finite.
    """
    x, y = _pairs(x, y)
    return np.array([np.sum(np.square(np.subtract(a, b, dtype="float64"))) for a, b in zip(x, y, strict=True)])


def psnr(x, y):
    """The peak signal-to-noise ratio of each pair.

    Args:
        x, y: images, of the same shape, with values from 0 to 1.

    Shape:
        x, y: `(N, *X)`.

    Returns:
        `(N,)` float64, decibels: -10 log10 of the mean squared error; infinite where a pair is equal.

    Raises:
        ValueError: where the shapes differ or a value is not finite.
    """
    mean = squared_error(x, y) / np.prod(np.shape(x)[1:])
    with np.errstate(divide="ignore"):
        return -10 * np.log10(mean)


def ssim(x, y):
    """The structural similarity of each pair, 1 where they are equal.

    Args:
        x, y: images, of the same shape, with values from 0 to 1.

    Shape:
        x, y: `(N, H, W, C)`, H and W of at least 11.

    Returns:
        `(N,)` float64, the mean over positions and channels, with the paper's Gaussian window of 11 pixels.

    Raises:
        ValueError: where the shapes differ, are not those of images or are smaller than the window, or a value is not
            finite.

    Reference: Wang, Bovik, Sheikh and Simoncelli 2004, section III.B; computed by scikit-image.
    """
    from skimage.metrics import structural_similarity

    x, y = _pairs(x, y)
    if not has_ssim(x.shape[1:]):
        raise ValueError(f"SSIM compares images (N, H, W, C) of at least 11 pixels a side. Received: shape {x.shape}")
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    return np.array([structural_similarity(a, b, channel_axis=-1, **options) for a, b in zip(x, y, strict=True)])


def has_ssim(image_shape):
    """Whether images of this shape are large enough for SSIM's window."""
    return len(image_shape) == 3 and min(image_shape[:2]) >= 11


def _pairs(x, y):
    x, y = (np.asarray(a) for a in (x, y))
    if x.shape != y.shape or x.ndim < 2:
        raise ValueError(f"Pairs of images must be of the same shape. Received: shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("Images must be finite. Received: NaN or infinite values")
    return x, y
