"""Latents to decode for a picture, and projections of latents on the plane."""

import statistics

import numpy as np
from numpy.typing import ArrayLike

from keras_vae.names import check_whole, one_of
from keras_vae.plotting.arrays import check_finite, checked_latents

PROJECTIONS = ("pca", "tsne")


def plane_latents(size: int = 20, limit: float | None = None) -> np.ndarray:
    """Returns latents on a square grid of a 2-D latent space, for `latent_plane`.

    Args:
        size: points along each side.
        limit: the grid is linear over [-limit, limit]^2; None: it is at quantiles of the standard normal prior, the
            medians of `size` intervals of equal probability.

    Returns:
        `(size * size, 2)`, float32, row by row from the top left: from the least z_1 and the greatest z_2.

    Reference: Kingma and Welling 2014, appendix A (quantiles).

    Example:
        z = plane_latents(14, limit=1.5)
        figure = latent_plane(vae.decode(z), z)
    """
    check_whole(least=2, size=size)
    if limit is None:
        normal = statistics.NormalDist()
        values = np.array([normal.inv_cdf((i + 0.5) / size) for i in range(size)])
    elif limit > 0 and np.isfinite(limit):
        values = np.linspace(-limit, limit, size)
    else:
        raise ValueError(f"`limit` must be positive and finite. Received: limit={limit!r}")
    z_1, z_2 = np.meshgrid(values, values[::-1])
    return np.stack([z_1.ravel(), z_2.ravel()], axis=1).astype("float32")


def traversal_latents(anchor: ArrayLike, units: ArrayLike | None = None, values: ArrayLike | None = None) -> np.ndarray:
    """Returns latents that differ from an anchor in one unit each, for `traversal_grid`.

    Args:
        anchor: `(D,)`, the latent to start from: zeros for the prior's mean, or an encoding.
        units: the units to change, one after the other; None: all.
        values: the values of each unit; None: -3, -2, ... 3.

    Returns:
        `(len(units) * len(values), D)`, float32, unit by unit.

    Raises:
        ValueError: if the anchor is not a vector, or lacks one of the units.

    Example:
        images = vae.decode(traversal_latents(np.zeros(8)))
        figure = traversal_grid(np.reshape(images, (8, 7, *vae.image_shape)))
    """
    anchor = np.asarray(anchor, dtype="float32")
    if anchor.ndim != 1 or not anchor.size:
        raise ValueError(f"`anchor` must be one latent, (D,). Received: shape {anchor.shape}")
    check_finite("anchor", anchor)
    units = np.arange(len(anchor)) if units is None else np.asarray(units)
    values = np.arange(-3.0, 4.0) if values is None else np.asarray(values)
    if (
        units.ndim != 1
        or units.dtype.kind not in "iu"
        or not units.size
        or not np.isin(units, range(len(anchor))).all()
    ):
        raise ValueError(f"`units` must be whole numbers from 0 to {len(anchor) - 1}. Received: {units.tolist()}")
    if values.ndim != 1 or not values.size:
        raise ValueError(f"`values` must be a list of numbers. Received: {values.tolist()}")
    z = np.tile(anchor, (len(units), len(values), 1))
    for row, unit in zip(z, units, strict=True):
        row[:, unit] = values
    return z.reshape(-1, len(anchor))


def neighbourhood_latents(z: ArrayLike, count: int = 8, scale: float = 0.1, seed: int = 0) -> np.ndarray:
    """Returns latents near given ones, `z + scale * noise`, for `neighbourhood_grid`.

    Args:
        z: `(N, D)`, encodings.
        count: number of neighbours of each.
        scale: standard deviation of the noise.
        seed: seed of the noise.

    Returns:
        `(N * count, D)`, float32, the neighbours of the first z first.
    """
    z = checked_latents("z", z)
    check_whole(count=count)
    noise = np.random.default_rng(seed).normal(scale=scale, size=(len(z), count, z.shape[1]))
    return (z[:, None] + noise).reshape(-1, z.shape[1]).astype("float32")


def project(z: ArrayLike, method: str = "pca", seed: int = 0) -> np.ndarray:
    """Projects latents on the plane.

    Args:
        z: `(N, D)` with D >= 2; latents of two dimensions are returned unchanged.
        method: "pca", the first two principal components, or "tsne".
        seed: seed of t-SNE.

    Returns:
        `(N, 2)`, float64.

    Raises:
        ValueError: if z has another shape or is not finite, or the method is unknown.

    Reference: van der Maaten and Hinton 2008 (t-SNE).
    """
    return named_projection(z, method, seed)[0]


def named_projection(z: ArrayLike, method: str, seed: int) -> tuple[np.ndarray, tuple[str, str]]:
    """Returns the projection of `project`, and the names of its two axes."""
    z = checked_latents("z", z, least_size=2)
    one_of(method, PROJECTIONS, "projection")
    if z.shape[1] == 2:
        return z, ("$z_1$", "$z_2$")
    return _tsne(z, seed) if method == "tsne" else _principal_components(z)


def _principal_components(z):
    from sklearn.decomposition import PCA

    points, shares = np.zeros((len(z), 2)), np.zeros(2)
    # Latents that do not differ have no components.
    if np.ptp(z, axis=0).any():
        pca = PCA(min(2, len(z)), random_state=0).fit(z)
        points[:, : pca.n_components_], shares[: pca.n_components_] = pca.transform(z), pca.explained_variance_ratio_
    first, second = (f"principal component {i} ({s:.0%} of variance)" for i, s in enumerate(shares, 1))
    return points, (first, second)


def _tsne(z, seed):
    from sklearn.manifold import TSNE

    if len(z) < 4:
        raise ValueError(f"t-SNE needs at least 4 latents. Received: {len(z)}")
    # The usual 30 neighbours, or fewer for few points.
    points = TSNE(perplexity=min(30, (len(z) - 1) / 3), init="pca", random_state=seed).fit_transform(z)
    check_finite("the t-SNE of `z`", points)
    return points.astype("float64"), ("t-SNE 1", "t-SNE 2")
