"""What one pass through a model knows, and the quantities that follow from it."""

import dataclasses
import math
from functools import cached_property
from typing import Any

from keras import ops

from keras_vae.backend import tfd


def _factors(distribution):
    """The distribution of single units where `distribution` is a product of them, otherwise None."""
    return distribution.distribution if isinstance(distribution, tfd.Independent) else None


def _registered_kl(q, p):
    """TFP's closed-form KL(q || p), or None where TFP has none."""
    if isinstance(q, tfd.MultivariateNormalTriL) and isinstance(_factors(p), tfd.Normal):
        p = tfd.MultivariateNormalDiag(p.distribution.loc, p.distribution.scale)
    try:
        return tfd.kl_divergence(q, p)
    except NotImplementedError:
        return None


@dataclasses.dataclass(frozen=True)
class Latent:
    """One group of latent variables in one pass.

    Args:
        z: (K, B, *D), samples of `posterior`.
        posterior: q(z|x), batch (B,), event (*D).
        prior: p(z), event (*D).
    """

    z: Any
    posterior: Any
    prior: Any

    @cached_property
    def log_ratio(self):
        """log q(z|x) - log p(z) at the samples, (K, B), nats."""
        return self.posterior.log_prob(self.z) - self.prior.log_prob(self.z)

    @cached_property
    def kl(self):
        """KL(q(z|x) || p(z)) in closed form where that is exact, (B,), otherwise `log_ratio`, (K, B); nats."""
        # A registered KL is meant only between continuous, reparameterised distributions: TFP also has one from a
        # point mass, which is -log p and no KL.
        exact = None
        if self.posterior.reparameterization_type == tfd.FULLY_REPARAMETERIZED and not isinstance(
            _factors(self.posterior) or self.posterior, (tfd.Deterministic, tfd.VectorDeterministic)
        ):
            exact = _registered_kl(self.posterior, self.prior)
        return self.log_ratio if exact is None else exact

    @cached_property
    def unit_kl(self):
        """The KL of each latent unit, (B, *D) in nats, or None where posterior or prior is not a product of units."""
        q, p = _factors(self.posterior), _factors(self.prior)
        return None if q is None or p is None else _registered_kl(q, p)

    @property
    def size(self):
        """Number of latent units."""
        size = 1
        for axis in self.posterior.event_shape:
            size *= axis
        return size


@dataclasses.dataclass(frozen=True)
class Inference:
    """One pass of B examples with K samples of z through a model.

    Args:
        x: (B, *X), as the likelihood sees it.
        y: labels or None.
        likelihood: p(x|z), batch (K, B), event (*X).
        latents: tuple of `Latent`, one for each group.
        step: scalar, updates made so far.
        weights: (K, B), how much each sample counts; None: 1/K.
    """

    x: Any
    y: Any
    likelihood: Any
    latents: tuple
    step: Any
    weights: Any = None

    @cached_property
    def log_likelihood(self):
        """log p(x|z), (K, B), nats."""
        return self.likelihood.log_prob(self.x)

    @cached_property
    def kl(self):
        """KL(q(z|x) || p(z)), the sum over the groups, (B,) where all are exact, otherwise (K, B); nats."""
        return sum(latent.kl for latent in self.latents)

    @cached_property
    def log_weight(self):
        """log p(x|z) + log p(z) - log q(z|x), (K, B), nats."""
        return self.log_likelihood - sum(latent.log_ratio for latent in self.latents)

    @cached_property
    def elbo(self):
        """The evidence lower bound, (B,), nats."""
        return self.mean(self.log_likelihood) - self.mean(self.kl)

    @cached_property
    def log_mean_weight(self):
        """The importance-weighted bound, log mean_k exp(log_weight), (B,), nats."""
        if self.weights is None:
            return ops.logsumexp(self.log_weight, axis=0) - math.log(self.log_weight.shape[0])
        return ops.logsumexp(self.log_weight + ops.log(self.weights), axis=0)

    def mean(self, value):
        """The mean of `value` over the samples: (K, B) -> (B,); (B,) stays."""
        if len(value.shape) < 2:
            return value
        return ops.mean(value, axis=0) if self.weights is None else ops.sum(self.weights * value, axis=0)
