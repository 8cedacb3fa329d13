"""Normals on the Poincaré ball, whose distances are those of hyperbolic space."""

import math

import numpy as np
from keras import ops

from keras_vae.backend import Tensor, tfd
from keras_vae.distributions.flow import Flow, _Map

# How near to the ball's edge z may come, of its radius: there, float32 tells distances to a hundredth.
_EDGE = 1e-5
# The distance of that from the centre, times the root of the curvature.
_FARTHEST = 12.0
# Added to squares whose roots are divided by.
_TINY = 1e-12


class ExponentialMap(_Map):
    """From tangent vectors at a centre m, in a frame of unit vectors, to the points of the ball where they lead.

    The distance of exp(v) from m is |v|. With c the curvature and + that of Möbius, exp(v) = m + tanh(sqrt(c) |v| / 2)
    v / (sqrt(c) |v|), and the volume of a piece of the ball is (sinh(sqrt(c) |v|) / (sqrt(c) |v|))^(D - 1) dv, or
    (2 / (1 - c |z|^2))^D dz. Log-determinants are those of dz. Points beyond what float32 can tell from the edge are
    put there.

    Args:
        centre: (*batch, D), in the ball, |centre| < 1 / sqrt(curvature).
        curvature: c, above 0, where that of the ball is -c.

    Reference: Mathieu et al. 2019 (arXiv 1901.06033): exponential map, and volume in polar coordinates.
    """

    _ranks = {"centre": 1}

    def __init__(self, centre: Tensor, curvature: float = 1.0, name: str = "exponential_map"):
        parameters = dict(locals())
        self._centre, self._curvature = centre, float(curvature)
        super().__init__(parameters, name)

    def _gap(self, z):
        """1 - c |z|^2."""
        return 1.0 - self._curvature * _squared(z)

    def _forward(self, v):
        m, c = self._centre, self._curvature
        length = math.sqrt(c) * ops.sqrt(_squared(v) + _TINY)
        step = v * (ops.tanh(0.5 * length) / length)
        inner, square = ops.sum(m * step, axis=-1, keepdims=True), _squared(step)
        along = 1.0 + 2.0 * c * inner + c * square
        below = 1.0 + 2.0 * c * inner + c * c * _squared(m) * square
        # Which is lost in rounding for steps through the whole ball, from one edge to the other.
        return inside((along * m + self._gap(m) * step) / ops.maximum(below, 1e-7), c)

    def _between(self, z):
        """z - m, the product of the gaps at both, and the distance of both over sinh(half of it), per unit of c."""
        away = z - self._centre
        gaps = self._gap(self._centre) * self._gap(z)
        half_sinh = ops.sqrt(self._curvature * _squared(away) / gaps + _TINY)
        return away, gaps, 2.0 * ops.arcsinh(half_sinh), half_sinh

    def _inverse(self, z):
        m, c = self._centre, self._curvature
        # By differences z - m, of which no digits are lost near the edge, as they are in Möbius' own formula.
        away, gaps, distance, half_sinh = self._between(z)
        direction = self._gap(m) * away - c * _squared(away) * m
        return direction * (distance / half_sinh) / ops.sqrt(gaps * (gaps + c * _squared(away)))

    def _inverse_log_det_jacobian(self, z):
        _, _, distance, _ = self._between(z)
        # log(sinh(d) / d), which is 0 at 0.
        stretch = distance + ops.log(-ops.expm1(-2.0 * distance) / (2.0 * distance))
        volume = z.shape[-1] * ops.log(2.0 / self._gap(z)) - (z.shape[-1] - 1) * stretch
        return volume[..., 0]


def _squared(z):
    return ops.sum(ops.square(z), axis=-1, keepdims=True)


def ball(curvature: float) -> str:
    """Where z lie, in words."""
    return f"the Poincaré ball of curvature -{curvature:g}"


def largest_location(curvature: float) -> float:
    """Of a distribution's location, its distance from the ball's centre: samples around it are to keep off the edge."""
    return _FARTHEST / 1.5 / math.sqrt(curvature)


def largest_scale(size: int, curvature: float) -> float:
    """Of a distribution around the centre: three standard deviations beyond its mean radius there is the edge."""
    return _FARTHEST / (math.sqrt(size) + 3.0) / math.sqrt(curvature)


def inside(z: Tensor, curvature: float) -> Tensor:
    """z, (*batch, D), those beyond the ball put just inside its edge."""
    most = np.float32((1.0 - _EDGE) / math.sqrt(curvature))
    length = ops.sqrt(_squared(z) + _TINY)
    return z * ops.minimum(most / length, 1.0)


def wrapped_normal(loc: Tensor, scale: Tensor, curvature: float = 1.0) -> Flow:
    """A Normal N(0, scale^2) in the tangent space at `loc`, wrapped around the Poincaré ball by the exponential map.

    Args:
        loc: (*batch, D), in the ball: the Fréchet mean.
        scale: (*batch, D), above 0, in the ball's distances.
        curvature: c, above 0, where that of the ball is -c.

    Returns:
        A distribution of z with densities per dz, those per volume of the ball times (2 / (1 - c |z|^2))^D.

    Reference: Mathieu et al. 2019 (arXiv 1901.06033); Nagano et al. 2019 (arXiv 1902.02992).
    """
    base = tfd.Independent(tfd.Normal(ops.zeros_like(scale), scale), reinterpreted_batch_ndims=1)
    return Flow(base, ExponentialMap(loc, curvature))
