"""The density whose negative logarithm is a log-cosh."""

import math

from keras import ops

from keras_vae.backend import Tensor, tfd, tfp
from keras_vae.distributions.base import Scalar


class LogCosh(Scalar):
    """Density proportional to cosh(a t)^(-1/a), t = (x - loc) / scale: Normal near 0, Laplace far from it.

    u = a t is half the log-odds of a Beta(1/(2a), 1/(2a)), so that the normaliser is a Beta function, and samples are
    differences of the logarithms of two Gammas.

    Args:
        loc: location, and mean.
        scale: of t.
        sharpness: a, a number.
        name: name of the distribution.
    """

    def __init__(self, loc: Tensor, scale: Tensor, sharpness: float = 10.0, name: str = "LogCosh"):
        parameters = dict(locals())
        self._loc, self._scale = (ops.convert_to_tensor(value, "float32") for value in (loc, scale))
        self._sharpness = float(sharpness)
        super().__init__(parameters, self._loc.dtype)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return dict.fromkeys(("loc", "scale"), tfp.util.ParameterProperties())

    @property
    def loc(self) -> Tensor:
        """Location."""
        return self._loc

    @property
    def scale(self) -> Tensor:
        """Scale."""
        return self._scale

    @property
    def sharpness(self) -> float:
        """1 over the width within which errors count as squares."""
        return self._sharpness

    def _log_prob(self, x):
        a = self._sharpness
        u = ops.abs(a * (x - self._loc) / self._scale)
        # The integral of cosh(u)^(-s) is sqrt(pi) Gamma(s / 2) / Gamma((s + 1) / 2).
        s = 1.0 / a
        log_integral = 0.5 * math.log(math.pi) + math.lgamma(s / 2) - math.lgamma((s + 1) / 2) - math.log(a)
        log_cosh = u + ops.softplus(-2.0 * u) - math.log(2.0)
        return -log_cosh / a - log_integral - ops.log(self._scale)

    def _sample_n(self, n, seed=None):
        alpha = 0.5 / self._sharpness
        ones = ops.ones_like(self._loc + self._scale)
        logs = []
        for number, one in enumerate(tfp.random.split_seed(seed, n=2, salt="log_cosh")):
            # Gamma(alpha) is Gamma(alpha + 1) times a uniform to the power of 1 / alpha, here in logarithms.
            gamma_seed, exponential_seed = tfp.random.split_seed(one, salt=f"gamma_{number}")
            gamma = tfd.Gamma((alpha + 1) * ones, ones).sample(n, seed=gamma_seed)
            logs.append(ops.log(gamma) - tfd.Exponential(ones).sample(n, seed=exponential_seed) / alpha)
        return self._loc + 0.5 * (logs[0] - logs[1]) / self._sharpness * self._scale

    def _mean(self):
        return self._loc + ops.zeros_like(self._scale)

    def _default_event_space_bijector(self):
        return tfp.bijectors.Identity()
