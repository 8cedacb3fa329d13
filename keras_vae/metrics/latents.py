"""What the latent units of a model encode."""

import numpy as np
from numpy.typing import ArrayLike


def active_units(means: ArrayLike, threshold: float = 0.01) -> np.ndarray:
    """Finds the active latent units: those whose posterior mean varies over the data.

    Args:
        means: posterior mean of each example, as from `vae.encode(images)`.
        threshold: variance over the data above which a unit is active.

    Shape:
        means: `(N, D)`, or `(N, h, w, c)` for spatial latents; N >= 2.

    Returns:
        Bool array `(D,)`, or `(h, w, c)`; its sum is the number of active units.

    Raises:
        ValueError: if `means` has another shape or is not finite.

    Reference: Burda, Grosse and Salakhutdinov 2016, section 5.2.
    """
    means = np.asarray(means)
    if means.ndim < 2 or len(means) < 2:
        raise ValueError(f"`means` must be (N, D) with N >= 2. Received: shape {means.shape}")
    if not np.isfinite(means).all():
        raise ValueError(f"`means` must be finite. Received: {np.sum(~np.isfinite(means))} NaN or infinite values")
    # In float64: in float32 a mean far from zero would drown a small variance.
    return np.var(means, axis=0, dtype="float64") > threshold


def attribute_direction(means: ArrayLike, has: ArrayLike) -> np.ndarray:
    """Computes the step in latent space from examples without an attribute to examples with it.

    `vae.decode(z + amount * direction)` changes the attribute of z, and nothing that is independent of it.

    Args:
        means: posterior mean of each example, as from `vae.encode(images)`.
        has: whether each example has the attribute.

    Shape:
        means: `(N, D)`, or `(N, h, w, c)` for spatial latents; has: `(N,)`.

    Returns:
        `(D,)`, or `(h, w, c)`, float32: the difference of the two mean latents.

    Raises:
        ValueError: if the two differ in length, or means are not finite; if all examples, or none, have the attribute.

    Reference: Larsen, Sønderby, Larochelle and Winther 2016, section 4.1 (visual attribute vectors).
    """
    means, has = np.asarray(means, dtype="float64"), np.asarray(has, dtype=bool)
    if means.ndim < 2 or has.shape != means.shape[:1]:
        raise ValueError(f"Expected means (N, D) and has (N,). Received: shapes {means.shape} and {has.shape}")
    if not np.isfinite(means).all():
        raise ValueError(f"`means` must be finite. Received: {np.sum(~np.isfinite(means))} NaN or infinite values")
    if has.all() or not has.any():
        raise ValueError(f"Examples with and without the attribute are needed. Received: {has.sum()} of {len(has)}")
    return (means[has].mean(axis=0) - means[~has].mean(axis=0)).astype("float32")
