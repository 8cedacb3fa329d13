"""Posteriors on the Poincaré ball."""

from typing import Any

from keras import ops

from keras_vae import distributions
from keras_vae.backend import Tensor, tfd
from keras_vae.distributions.poincare import (
    ExponentialMap,
    ball,
    inside,
    largest_location,
    largest_scale,
)
from keras_vae.names import check_number
from keras_vae.parts import Head, register
from keras_vae.posteriors.base import Posterior

# Of scales: near the ball's edge float32 tells no shorter distances.
SCALE_FLOOR = 1e-3


@register("wrapped_normal")
class WrappedNormal(Posterior):
    """A Normal wrapped around the Poincaré ball: of independent units in the tangent space at its location.

    The location is the exponential map, at the ball's centre, of what the encoder gives; the scale is a softplus. Both
    are bounded, by a tanh: far out float32 has too few points, and the distance of 12 / sqrt(c) is the edge.
    `encode` returns the location, the Fréchet mean. The decoder sees z as it is, those beyond the ball at its edge.

    Args:
        size: D, number of latent units.
        curvature: c, above 0: the ball has the curvature -c, and the radius 1 / sqrt(c).

    Reference: Mathieu et al. 2019 (arXiv 1901.06033). Their decoders begin with a layer of distances to
        hyperplanes; here any network will do.
    """

    def __init__(self, size: int | tuple[int, ...], curvature: float = 1.0, **kwargs: Any):
        super().__init__(size, **kwargs)
        self.check_vector()
        check_number(zero=False, curvature=curvature)
        self.curvature = float(curvature)

    @property
    def support(self) -> str:
        """The ball, by its curvature."""
        return ball(self.curvature)

    @property
    def default_prior(self) -> str:
        """The one on the same ball."""
        return f"wrapped_normal:curvature={self.curvature}"

    def build(self, features_shape: tuple[int, ...]) -> None:
        self.head = Head(self.event_shape, parameters=2, name="head")
        self.head.build(features_shape)

    def distribution(
        self, features: Tensor, prior: tfd.Distribution | None = None, training: bool = False
    ) -> tfd.Distribution:
        raw_loc, raw_scale = ops.unstack(self.head(features), 2, axis=-1)
        length = ops.sqrt(ops.sum(ops.square(raw_loc), axis=-1, keepdims=True) + 1e-12)
        away = raw_loc * _bounded(length, largest_location(self.curvature)) / length
        loc = ExponentialMap(ops.zeros_like(raw_loc), self.curvature).forward(away)
        scale = SCALE_FLOOR + _bounded(ops.softplus(raw_scale), largest_scale(self.size, self.curvature))
        return distributions.wrapped_normal(loc, scale, self.curvature)

    def point(self, distribution: tfd.Distribution) -> Tensor:
        """The location, (B, D)."""
        return distribution.bijector.forward(distribution.distribution.mean())

    def embed(self, z: Tensor, posterior: tfd.Distribution | None = None) -> Tensor:
        return inside(z, self.curvature)


def _bounded(value, most):
    return most * ops.tanh(value / most)
