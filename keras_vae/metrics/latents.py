"""What the latent units of a model carry."""

import numpy as np


def active_units(means, threshold=0.01):
    """Tell which latent units carry something of the data: those whose posterior mean varies over it.

    Args:
        means: the posterior's mean of each example, as from `vae.encode(images)`.
        threshold: variance over the data above which a unit counts as active.

    Shape:
        means: `(N, D)`, or `(N, h, w, c)` for spatial latents; N >= 2.

    Returns:
        Bool array `(D,)`, or `(h, w, c)`; its sum is the number of active units.

    Raises:
        ValueError: where `means` has another shape or is not finite.

    Reference: Burda, Grosse and Salakhutdinov 2016, section 5.2.
    """
    means = np.asarray(means)
    if means.ndim < 2 or len(means) < 2:
        raise ValueError(f"`means` must be (N, D) with N >= 2. Received: shape {means.shape}")
    if not np.isfinite(means).all():
        raise ValueError(f"`means` must be finite. Received: {np.sum(~np.isfinite(means))} NaN or infinite values")
    # In float64, or a mean far from zero would drown a small variance.
    return np.var(means, axis=0, dtype="float64") > threshold
