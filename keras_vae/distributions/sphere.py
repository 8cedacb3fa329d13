"""Distributions on the unit sphere that are reparameterised in any dimension, on both backends."""

import math

import numpy as np
from keras import ops

from keras_vae.backend import Tensor, tfd, tfp

# Of normalisers, over both tails, and of the gradients of samples, over one: both to float32's precision.
_FINE, _COARSE = (np.polynomial.legendre.leggauss(count) for count in (64, 24))


def _oriented(cosine, sine, mean_direction, seed):
    """Unit vectors at an angle to `mean_direction`, the rest of them uniform, (n, *batch, D)."""
    shape = (*ops.shape(cosine), mean_direction.shape[-1] - 1)
    around = tfd.Normal(0.0, 1.0).sample(shape, seed=seed)
    around = around / ops.sqrt(ops.sum(ops.square(around), axis=-1, keepdims=True) + 1e-30)
    # Householder's reflection of a pole of the first axis into the direction: of the pole on the other side, so that
    # their difference, by which it divides, is never small.
    pole = ops.where(mean_direction[..., :1] > 0, -1.0, 1.0)
    before = ops.concatenate([pole * cosine[..., None], sine[..., None] * around], axis=-1)
    first = ops.one_hot(0, mean_direction.shape[-1], dtype="float32")
    normal = pole * first - mean_direction
    normal = normal / ops.sqrt(ops.sum(ops.square(normal), axis=-1, keepdims=True))
    return before - 2.0 * ops.sum(before * normal, axis=-1, keepdims=True) * normal


class PowerSpherical(tfd.PowerSpherical):
    """TFP's, with samples and gradients that stay finite where a sample meets its mean direction.

    TFP computes the sine from the rounded cosine: in few dimensions it is 0 often enough, and its gradient infinite.

    Args:
        mean_direction: (*batch, D), unit vectors.
        concentration: (*batch,), above 0.

    Reference: De Cao and Aziz 2020 (arXiv 2006.04437), algorithm 1.
    """

    def cooled(self, temperature: float | Tensor) -> "PowerSpherical":
        """The same with its concentration over temperature^2, which scales the standard deviation where it is large."""
        return PowerSpherical(self.mean_direction, _cooled(self.concentration, temperature))

    def _sample_n(self, n, seed=None):
        first, second, around = tfp.random.split_seed(seed, n=3, salt="power_spherical")
        rest = 0.5 * (self.mean_direction.shape[-1] - 1)
        concentration = self.concentration + ops.zeros_like(self.mean_direction[..., 0])
        # The cosine is 2 t - 1, where t = g / (g + h) is a Beta variable of two of Gamma's; by their logarithms.
        half = 0.5 * (
            tfd.ExpGamma(rest + concentration, 1.0).sample(n, seed=first)
            - tfd.ExpGamma(rest + ops.zeros_like(concentration), 1.0).sample(n, seed=second)
        )
        decay = ops.exp(-ops.abs(half))
        return _oriented(ops.tanh(half), 2.0 * decay / (1.0 + decay * decay), self.mean_direction, around)

    def _log_unnormalized_prob(self, samples, concentration=None):
        concentration = self.concentration if concentration is None else concentration
        cosine = ops.sum(samples * self.mean_direction, axis=-1)
        return concentration * ops.log1p(ops.clip(cosine, -1.0 + 1e-6, 1.0))


class VonMisesFisher(tfd.VonMisesFisher):
    """The von Mises-Fisher distribution, proportional to exp(concentration mean_direction'z) on the unit sphere.

    TFP's samples have a gradient to the concentration in three dimensions alone. Here it is the implicit one,
    d angle / d concentration = -(dF / d concentration) / f, in any. The normaliser and F are integrals over the angle,
    by Gauss-Legendre quadrature around their mode, to float32's precision.

    Args:
        mean_direction: (*batch, D), unit vectors.
        concentration: (*batch,), above 0.

    Reference: Davidson et al. 2018 (arXiv 1804.00891), section 3 and appendix A; implicit gradients of Figurnov et al.
        2018 (arXiv 1805.08498), equation 5; samples by Wood 1994.
    """

    @property
    def reparameterization_type(self) -> object:
        """Full, where TFP's own depends on the dimension."""
        return tfd.FULLY_REPARAMETERIZED

    def cooled(self, temperature: float | Tensor) -> "VonMisesFisher":
        """The same with its concentration over temperature^2, which scales the standard deviation where it is large."""
        return VonMisesFisher(self.mean_direction, _cooled(self.concentration, temperature))

    @property
    def _power(self):
        return self.mean_direction.shape[-1] - 2

    def _log_density(self, angle, concentration):
        """Of the angle to the mean direction, but for the normaliser; the concentration itself is taken off."""
        sines = self._power * ops.log(ops.maximum(ops.sin(angle), 1e-7))
        return sines - 2.0 * concentration * ops.square(ops.sin(0.5 * angle))

    def _ends(self, concentration):
        """Where the density of the angle is not yet, and no more, above what float32 can add to its integral."""
        spread = ops.sqrt(self._power**2 + 4.0 * ops.square(concentration)) + 1e-6
        mode = ops.arctan2(
            ops.sqrt(2.0 * self._power / (self._power + spread)), 2.0 * concentration / (self._power + spread)
        )
        # The log-density has the curvature -spread at its mode, in two dimensions half of that.
        width = 12.0 / ops.sqrt(spread)
        return mode, ops.maximum(mode - width, 0.0), ops.minimum(mode + width, math.pi)

    def _integrals(self):
        """log of the integral of the density of the angle, and the mean of 1 - cosine under it, (*batch,)."""
        concentration = ops.convert_to_tensor(self.concentration)
        _, low, high = self._ends(ops.stop_gradient(concentration))
        angle, log_weight = _nodes(low, high, _FINE)
        log_density = self._log_density(angle, concentration[..., None]) + log_weight
        log_integral = ops.logsumexp(log_density, axis=-1)
        share = ops.exp(log_density - log_integral[..., None])
        return log_integral, ops.sum(share * 2.0 * ops.square(ops.sin(0.5 * angle)), axis=-1)

    @property
    def _log_area(self):
        """Of the sphere that an angle leaves, one dimension below."""
        size = self._power + 1
        return math.log(2.0) + 0.5 * size * math.log(math.pi) - math.lgamma(0.5 * size)

    def _log_normalization(self, concentration=None):
        return self.concentration + self._log_area + self._integrals()[0]

    def _mean(self):
        return (1.0 - self._integrals()[1])[..., None] * self.mean_direction

    def _entropy(self):
        log_integral, below = self._integrals()
        entropy = self._log_area + log_integral + self.concentration * below
        return entropy + ops.zeros_like(self.mean_direction[..., 0])

    def _log_prob(self, x):
        cosine = ops.sum(x * self.mean_direction, axis=-1)
        # The concentration is in neither term: they would differ by little.
        return self.concentration * (cosine - 1.0) - (self._log_area + self._integrals()[0])

    def _sample_n(self, n, seed=None):
        angle_seed, around = tfp.random.split_seed(seed, salt="von_mises_fisher")
        concentration = self.concentration + ops.zeros_like(self.mean_direction[..., 0])
        fixed = ops.stop_gradient(concentration)
        pole = ops.one_hot(0, self.mean_direction.shape[-1], dtype="float32") + ops.zeros_like(fixed)[..., None]
        drawn = ops.stop_gradient(tfd.VonMisesFisher(pole, fixed).sample(n, seed=angle_seed))
        angle = ops.arctan2(ops.sqrt(ops.sum(ops.square(drawn[..., 1:]), axis=-1)), drawn[..., 0])
        angle = angle + self._slope(angle, fixed) * (concentration - fixed)
        return _oriented(ops.cos(angle), ops.sin(angle), self.mean_direction, around)

    def _slope(self, angle, concentration):
        """d angle / d concentration at a constant probability to be below the angle, a constant."""
        mode, low, high = self._ends(concentration)
        _, below = self._integrals()
        # dF is the integral of (cosine - its mean) f from 0 to the angle, or less that from the angle to pi: of the
        # two, over the tail in which the angle is.
        is_below = angle < mode
        ends = ops.where(is_below, low, angle), ops.where(is_below, angle, high)
        nodes, log_weight = _nodes(*ends, _COARSE)
        relative = (
            self._log_density(nodes, concentration[..., None]) - self._log_density(angle, concentration)[..., None]
        )
        beyond = 2.0 * ops.square(ops.sin(0.5 * nodes)) - below[..., None]
        integral = ops.sum(beyond * ops.exp(relative + log_weight), axis=-1)
        return ops.stop_gradient(ops.where(is_below, integral, -integral))


def _nodes(low, high, rule):
    """Nodes of a Gauss-Legendre rule between `low` and `high`, and their log-weights, on a new last axis."""
    half = 0.5 * ops.maximum(high - low, 1e-12)[..., None]
    nodes = low[..., None] + half * (1.0 + ops.convert_to_tensor(rule[0].astype("float32")))
    return nodes, ops.log(half) + ops.convert_to_tensor(np.log(rule[1]).astype("float32"))


def _cooled(concentration, temperature):
    # At temperature 0, as near to a point as float32 allows.
    return concentration / ops.maximum(ops.square(ops.cast(temperature, "float32")), 1e-4)
