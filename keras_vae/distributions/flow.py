"""Distributions sent through invertible maps, and the maps that TFP lacks."""

import math
from typing import Any

from keras import ops

from keras_vae.backend import Tensor, repeated, tfb, tfd, tfp


class Flow(tfd.TransformedDistribution):
    """A TFP `TransformedDistribution` whose samples are drawn in the base and sent through the map all at once.

    So TFP remembers which point of the base a sample comes from, and the density at it needs no inverse.

    Args:
        distribution: the base.
        bijector: from the base to the samples.
        (others): as TFP has them.

    Example: `Flow(base, tfb.Chain([last, first]))`.
    """


class _Map(tfb.Bijector):
    """A map of vectors; its tensors have the batch's axes before their own one."""

    # {tensor among the arguments: its number of axes beside those of the batch}
    _ranks: dict[str, int] = {}

    def __init__(self, parameters: dict[str, Any], name: str):
        super().__init__(forward_min_event_ndims=1, parameters=parameters, name=name)

    @classmethod
    def _parameter_properties(cls, dtype):
        return {name: tfp.util.ParameterProperties(event_ndims=rank) for name, rank in cls._ranks.items()}


class Planar(_Map):
    """z + u tanh(w'z + b), invertible for any parameters: u is moved along w so that w'u > -1.

    Where w'u is x, it becomes m(x) = softplus(x + log(e - 1)) - 1, but for a thousandth. The paper has softplus(x) - 1,
    which is not 0 at 0, so that u becomes infinite for small w.

    Args:
        u: (*batch, D), direction.
        w: (*batch, D), normal of the planes.
        b: (*batch,), offset.

    Reference: Rezende and Mohamed 2015, equations 10 to 12 and appendix A.1. The inverse solves a = w'z + b in one
        dimension.
    """

    _ranks = {"u": 1, "w": 1, "b": 0}

    def __init__(self, u: Tensor, w: Tensor, b: Tensor, name: str = "planar"):
        parameters = dict(locals())
        self._w, self._b = w, b
        along = ops.sum(w * u, axis=-1)
        # w'u as it is after the move, above -1.
        self._along = 0.999 * (ops.softplus(along + math.log(math.e - 1.0)) - 1.0)
        self._u = u + ((self._along - along) / (ops.sum(ops.square(w), axis=-1) + 1e-12))[..., None] * w
        super().__init__(parameters, name)

    def _height(self, z):
        return ops.sum(self._w * z, axis=-1) + self._b

    def _forward(self, z):
        return z + self._u * ops.tanh(self._height(z))[..., None]

    def _forward_log_det_jacobian(self, z):
        return ops.log1p(self._along * _sech_squared(self._height(z)))

    def _inverse(self, z):
        return z - self._u * ops.tanh(_solved(self._height(z), self._along))[..., None]


def _sech_squared(x):
    return ops.square(2.0 * ops.exp(-ops.abs(x)) / (1.0 + ops.exp(-2.0 * ops.abs(x))))


def _solved(total, along):
    """a of a + along tanh(a) = total, where along > -1."""
    fixed_total, fixed_along = ops.stop_gradient(total), ops.stop_gradient(along)

    def halved(_, ends):
        middle = ops.mean(ends, axis=0)
        below = middle + fixed_along * ops.tanh(middle) < fixed_total
        return ops.stack([ops.where(below, middle, ends[0]), ops.where(below, ends[1], middle)])

    width = ops.abs(fixed_along) + ops.zeros_like(fixed_total)
    # 2^-30 of an interval is below float32's resolution.
    a = ops.mean(repeated(halved, ops.stack([fixed_total - width, fixed_total + width]), 30), axis=0)
    # A step of Newton's, whose gradient is that of the solution.
    error = a + along * ops.tanh(a) - total
    return a - error / ops.maximum(1.0 + fixed_along * _sech_squared(a), 1e-6)


class Radial(_Map):
    """z + beta (z - centre) / (alpha + r), r = |z - centre|, invertible for any parameters: beta = -alpha + gain.

    Args:
        centre: (*batch, D).
        alpha: (*batch,), above 0.
        gain: (*batch,), above 0; the identity where it is alpha.

    Reference: Rezende and Mohamed 2015, equation 14 and appendix A.2. The inverse is that of a quadratic equation in r.
    """

    _ranks = {"centre": 1, "alpha": 0, "gain": 0}

    def __init__(self, centre: Tensor, alpha: Tensor, gain: Tensor, name: str = "radial"):
        parameters = dict(locals())
        self._centre, self._alpha, self._gain = centre, alpha, gain
        super().__init__(parameters, name)

    def _away(self, z):
        away = z - self._centre
        return away, ops.sqrt(ops.sum(ops.square(away), axis=-1) + 1e-12)

    def _stretch(self, r):
        return (r + self._gain) / (r + self._alpha)

    def _forward(self, z):
        away, r = self._away(z)
        return self._centre + away * self._stretch(r)[..., None]

    def _forward_log_det_jacobian(self, z):
        _, r = self._away(z)
        # All terms are positive: no digits are lost near the limits of what is invertible.
        outwards = (r * r + 2.0 * self._alpha * r + self._alpha * self._gain) / ops.square(r + self._alpha)
        return (z.shape[-1] - 1) * ops.log(self._stretch(r)) + ops.log(outwards)

    def _inverse(self, z):
        away, longer = self._away(z)
        half = 0.5 * (longer - self._gain)
        root = ops.sqrt(ops.square(half) + self._alpha * longer)
        # Of two ways to write the positive solution, the one without a difference of like numbers.
        r = ops.where(half > 0, half + root, self._alpha * longer / (root - half + 1e-12))
        return self._centre + away / self._stretch(r)[..., None]
