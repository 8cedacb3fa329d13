"""The distance between two images, pair by pair: of reconstructions from their originals."""

import numpy as np
from numpy.typing import ArrayLike


def squared_error(x: ArrayLike, y: ArrayLike, data_range: float = 1.0) -> np.ndarray:
    """Computes the squared error of each pair of images, summed over pixels.

    Args:
        x: images with values from 0 to `data_range`.
        y: images of the same shape, with such values.
        data_range: 1, or 255 for 8-bit levels.

    Shape:
        x, y: `(N, *X)`.

    Returns:
        `(N,)` float64, of values divided by `data_range`.

    Raises:
        ValueError: if the shapes differ, a value is not finite, or values are those of another range.
    """
    x, y = _pairs(x, y, data_range)
    differences = (np.subtract(a, b, dtype="float64") / data_range for a, b in zip(x, y, strict=True))
    return np.array([np.sum(np.square(difference)) for difference in differences])


def psnr(x: ArrayLike, y: ArrayLike, data_range: float = 1.0) -> np.ndarray:
    """Computes the peak signal-to-noise ratio of each pair of images.

    Args:
        x: images with values from 0 to `data_range`.
        y: images of the same shape, with such values.
        data_range: 1, or 255 for 8-bit levels.

    Shape:
        x, y: `(N, *X)`.

    Returns:
        `(N,)` float64, decibels: -10 log10 of the mean squared error; infinite for equal images.

    Raises:
        ValueError: if the shapes differ, a value is not finite, or values are those of another range.
    """
    mean = squared_error(x, y, data_range) / np.prod(np.shape(x)[1:])
    with np.errstate(divide="ignore"):
        return -10 * np.log10(mean)


def ssim(x: ArrayLike, y: ArrayLike, data_range: float = 1.0) -> np.ndarray:
    """Computes the structural similarity (SSIM) of each pair of images; 1 if they are equal.

    Args:
        x: images with values from 0 to `data_range`.
        y: images of the same shape, with such values.
        data_range: 1, or 255 for 8-bit levels.

    Shape:
        x, y: `(N, H, W, C)`, H and W of at least 11.

    Returns:
        `(N,)` float64, the mean over positions and channels, with the Gaussian window of 11 pixels of the paper.

    Raises:
        ValueError: if the shapes differ, are not those of images, or are smaller than the window, or if a value is not
            finite or in range.

    Reference: Wang, Bovik, Sheikh and Simoncelli 2004, section III.B; computed by scikit-image.
    """
    from skimage.metrics import structural_similarity

    x, y = _pairs(x, y, data_range)
    if not has_ssim(x.shape[1:]):
        raise ValueError(f"SSIM compares images (N, H, W, C) of at least 11 pixels a side. Received: shape {x.shape}")
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    x, y = (np.divide(a, data_range, dtype="float64") for a in (x, y))
    return np.array([structural_similarity(a, b, channel_axis=-1, **options) for a, b in zip(x, y, strict=True)])


def has_ssim(image_shape: tuple[int, ...]) -> bool:
    """Whether images of this shape are large enough for the window of SSIM."""
    return len(image_shape) == 3 and min(image_shape[:2]) >= 11


def _pairs(x, y, data_range):
    x, y = (np.asarray(a) for a in (x, y))
    if x.shape != y.shape or x.ndim < 2:
        raise ValueError(f"Pairs of images must be of the same shape. Received: shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("Images must be finite. Received: NaN or infinite values")
    # Some room, since noise may pass the ends of a range; single pixels of a reconstruction may do so by far.
    largest = max(float(a.max(initial=0)) for a in (x, y))
    either = float(x.max(initial=0)) > 2 * data_range or (y.size and float(np.abs(y).mean()) > 2 * data_range)
    if not data_range > 0 or either:
        raise ValueError(
            "Images must have values from 0 to `data_range`, which is 1 if nothing is said: give data_range=255 for "
            f"8-bit levels. Received: data_range={data_range!r}, values to {largest:g}"
        )
    return x, y


def frechet_distance(features: ArrayLike, others: ArrayLike) -> float:
    """The squared Fréchet distance of two Gaussians that have the moments of two sets of features.

    With the features of an Inception network it is the FID; with others it has no name, and compares with nothing that
    was measured in other features or with other numbers of images.

    Args:
        features: `(N, F)`, of one set of images, samples say; at least two.
        others: `(M, F)`, of another one.

    Returns:
        |m - n|^2 + tr(A + B - 2 (A B)^1/2), with means m and n and covariances A and B.

    Raises:
        ValueError: for arrays of other shapes, and features that are not finite.

    Reference: Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter 2017, "GANs trained by a two time-scale update rule
    converge to a local Nash equilibrium", equation 6.
    """
    pair = [np.asarray(a, "float64") for a in (features, others)]
    if any(a.ndim != 2 or len(a) < 2 for a in pair) or pair[0].shape[1] != pair[1].shape[1]:
        raise ValueError(
            "Features must be of shape (N, F) and (M, F), with N and M at least 2. "
            f"Received: shapes {pair[0].shape} and {pair[1].shape}"
        )
    if not all(np.isfinite(a).all() for a in pair):
        raise ValueError("Features must be finite. Received: NaN or infinite values")
    means = [a.mean(axis=0) for a in pair]
    # A = R'R, of at most as many rows as there are images, and B = S'S: (A B)^1/2 has the singular values of R S'.
    roots = [np.linalg.qr((a - m) / np.sqrt(len(a) - 1), mode="r") for a, m in zip(pair, means, strict=True)]
    shared = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return float(np.sum((means[0] - means[1]) ** 2) + sum(np.sum(root**2) for root in roots) - 2 * shared)
