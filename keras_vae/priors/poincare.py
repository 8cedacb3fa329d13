"""Priors on the Poincaré ball."""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_vae import distributions
from keras_vae.backend import Tensor, tfd
from keras_vae.distributions.poincare import ball, largest_scale
from keras_vae.names import check_number
from keras_vae.parts import register
from keras_vae.priors.base import Prior


@register("wrapped_normal")
class WrappedNormalPrior(Prior):
    """N(0, scale^2 I) in the tangent space at the centre of the Poincaré ball, wrapped around it.

    A temperature scales it.

    Args:
        size: D, number of latent units.
        curvature: c, above 0: the ball has the curvature -c, and the radius 1 / sqrt(c). It must be the posterior's.
        scale: standard deviation of each unit, in the ball's distances; scale (sqrt(D) + 3) is 12 / sqrt(c) at most.

    Reference: Mathieu et al. 2019 (arXiv 1901.06033).
    """

    def __init__(self, size: int | tuple[int, ...], curvature: float = 1.0, scale: float = 1.0, **kwargs: Any):
        super().__init__(size, **kwargs)
        self.check_vector()
        check_number(zero=False, curvature=curvature, scale=scale)
        self.curvature, self.scale = float(curvature), float(scale)
        if self.scale > (most := largest_scale(self.size, self.curvature)):
            raise ValueError(
                "z would lie where float32 cannot tell them from the ball's edge: take fewer units or a smaller scale, "
                f"{most:.2g} at most. Received: size={size!r}, curvature={curvature!r}, scale={scale!r}"
            )

    @property
    def support(self) -> str:
        """The ball, by its curvature."""
        return ball(self.curvature)

    def distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        loc = ops.zeros(self.event_shape, dtype="float32")
        return distributions.wrapped_normal(loc, ops.ones_like(loc) * self.scale * temperature, self.curvature)
