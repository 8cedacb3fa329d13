"""Masses over counts, as TFP distributions."""

import math

from keras import ops

from keras_vae.backend import Tensor, tfd, tfp
from keras_vae.distributions.base import Distribution, Scalar

# From here on a Poisson's mass is taken from how far x is from its rate: the terms of the plain formula grow with x,
# and float32 would leave no digit of their difference.
_MANY = 16.0


class Poisson(tfd.Poisson):
    """TFP's Poisson, of counts of any size.

    Reference: Loader 2000, "Fast and accurate computation of binomial probabilities", equations 1 to 5.
    """

    def _log_prob(self, x):
        many = x >= _MANY
        plain = super()._log_prob(ops.where(many, 0.0, x))
        large = ops.where(many, x, _MANY)
        stirling = 1.0 / (12.0 * large) - 1.0 / (360.0 * large**3)
        deviance = _deviance(self.log_rate_parameter() - ops.log(large), ops.exp(self.log_rate_parameter()) / large)
        return ops.where(many, -0.5 * ops.log(2 * math.pi * large) - stirling - large * deviance, plain)


def _deviance(log_ratio, ratio):
    """ratio - 1 - log(ratio), without cancellation near 1."""
    t = ratio - 1.0
    near = ops.abs(t) < 0.1
    small = ops.where(near, t, 0.0)
    series = small * small * (1 / 2 - small * (1 / 3 - small * (1 / 4 - small * (1 / 5 - small * (1 / 6 - small / 7)))))
    # Where 1 is next to all of t, the logarithm of its difference from -1 would be infinite.
    log_near_one = ops.log1p(ops.maximum(t, -0.999))
    return ops.where(near, series, t - ops.where(ratio < 1e-3, log_ratio, log_near_one))


class NegativeBinomial(tfd.NegativeBinomial):
    """TFP's negative binomial, sampled as a Poisson whose rate is Gamma distributed."""

    def _sample_n(self, n, seed=None):
        rate_seed, count_seed = tfp.random.split_seed(seed, salt="negative_binomial")
        concentration = ops.broadcast_to(self.total_count, ops.shape(self.total_count + self.logits))
        rate = tfd.Gamma(concentration, ops.exp(-self.logits)).sample(n, seed=rate_seed)
        return tfd.Poisson(rate).sample(seed=count_seed)


class ZeroInflatedNegativeBinomial(Scalar):
    """0 with some probability, otherwise a negative binomial.

    Args:
        total_count: r of the negative binomial, its inverse dispersion.
        logits: log-odds of its successes; its mean is r exp(logits).
        inflation: log-odds of the zeros that it does not count.
        name: name of the distribution.
    """

    def __init__(
        self, total_count: Tensor, logits: Tensor, inflation: Tensor, name: str = "ZeroInflatedNegativeBinomial"
    ):
        parameters = dict(locals())
        self._counts = NegativeBinomial(total_count, logits)
        self._inflation = ops.convert_to_tensor(inflation, "float32")
        super().__init__(parameters, self._counts.dtype)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return dict.fromkeys(("total_count", "logits", "inflation"), tfp.util.ParameterProperties())

    @property
    def total_count(self) -> Tensor:
        """r of the negative binomial."""
        return self._counts.total_count

    @property
    def logits(self) -> Tensor:
        """Log-odds of its successes."""
        return self._counts.logits

    @property
    def inflation(self) -> Tensor:
        """Log-odds of the other zeros."""
        return self._inflation

    def _log_prob(self, x):
        counted = self._counts.log_prob(x) - ops.softplus(self._inflation)
        # The logarithm of their probability.
        zeros = -ops.softplus(-self._inflation)
        return ops.where(ops.equal(x, 0), ops.logaddexp(zeros, counted), counted)

    def _sample_n(self, n, seed=None):
        zero_seed, count_seed = tfp.random.split_seed(seed, salt="zero_inflated_negative_binomial")
        counts = self._counts.sample(n, seed=count_seed)
        inflation = ops.broadcast_to(self._inflation, ops.shape(counts)[1:])
        zeros = tfd.Bernoulli(logits=inflation, dtype="float32").sample(n, seed=zero_seed)
        return (1.0 - zeros) * counts

    def _mean(self):
        return ops.sigmoid(-self._inflation) * self._counts.mean()


class Multinomial(Distribution):
    """Counts of D outcomes whose total is given.

    The total of a value is that of its own counts: `log_prob` is the mass given it, the multinomial coefficient
    included.

    Args:
        logits: unnormalised log-probabilities of the outcomes.
        total_count: of the mean and of samples, a whole number.
        event_ndims: over how many axes the outcomes are.
        name: name of the distribution.

    Shape: logits (*batch, *event), total_count (), the event the last `event_ndims` axes.
    """

    def __init__(self, logits: Tensor, total_count: Tensor, event_ndims: int = 1, name: str = "Multinomial"):
        parameters = dict(locals())
        self._logits = ops.convert_to_tensor(logits, "float32")
        self._total_count = ops.convert_to_tensor(total_count, "float32")
        self._event_ndims = event_ndims
        super().__init__(parameters, self._logits.dtype)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {
            "logits": tfp.util.ParameterProperties(event_ndims=lambda self: self._event_ndims),
            "total_count": tfp.util.ParameterProperties(event_ndims=0),
        }

    @property
    def logits(self) -> Tensor:
        """Unnormalised log-probabilities of the outcomes."""
        return self._logits

    @property
    def total_count(self) -> Tensor:
        """The total of the mean and of samples."""
        return self._total_count

    @property
    def event_ndims(self) -> int:
        """Over how many axes the outcomes are."""
        return self._event_ndims

    def _event_shape(self):
        return self._logits.shape[-self._event_ndims :]

    def _event_shape_tensor(self):
        return ops.shape(self._logits)[-self._event_ndims :]

    def _log_prob(self, x):
        # Of independent Poissons, given their total.
        x = self._flat(x)
        total = ops.sum(x, axis=-1, keepdims=True)
        log_total = ops.log(ops.maximum(total, 1.0))
        each = Poisson(log_rate=ops.log_softmax(self._flat(self._logits), axis=-1) + log_total).log_prob(x)
        log_prob = ops.sum(each, axis=-1) - Poisson(log_rate=log_total).log_prob(total)[..., 0]
        return ops.where(total[..., 0] > 0, log_prob, 0.0)

    def _sample_n(self, n, seed=None):
        logits = self._flat(self._logits)
        total_count = ops.broadcast_to(self._total_count, ops.shape(logits)[:-1])
        drawn = tfd.Multinomial(total_count, logits=logits).sample(n, seed=seed)
        return ops.reshape(drawn, (n, *ops.shape(self._logits)))

    def _mean(self):
        shares = ops.exp(ops.log_softmax(self._flat(self._logits), axis=-1))
        return ops.reshape(self._total_count * shares, ops.shape(self._logits))

    def _flat(self, value):
        event = self._logits.shape[-self._event_ndims :]
        return ops.reshape(value, (*ops.shape(value)[: -self._event_ndims], math.prod(event)))

    def _default_event_space_bijector(self):
        return None
