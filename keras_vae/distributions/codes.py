"""Distributions of codes, whole numbers from 0."""

import math
from collections.abc import Callable

import numpy as np
from keras import ops

from keras_vae.backend import Tensor, repeated, settled, tfd, tfp
from keras_vae.distributions.base import Distribution


class Codes(Distribution):
    """All mass on one code at each place: q(z|x) of a quantiser.

    Args:
        codes: int32.
        vectors: what was quantised.
        look_up: codes (..., *event) -> what they stand for, (..., *event, V).
        event_ndims: rank of the event.
        vectors_ndims: rank of what was quantised in one example; None: one more than the event's, a vector for a code.
        name: name of the distribution.

    Shape: codes (*batch, *event), vectors (*batch, *event, V), or one vector for all codes of a last axis.
    """

    def __init__(
        self,
        codes: Tensor,
        vectors: Tensor,
        look_up: Callable[[Tensor], Tensor],
        event_ndims: int = 1,
        vectors_ndims: int | None = None,
        name: str = "Codes",
    ):
        parameters = dict(locals())
        # Computed once, and so never unequal to itself.
        self._codes, self._vectors = settled(codes), vectors
        self._look_up, self._event_ndims = look_up, event_ndims
        self._vectors_ndims = event_ndims + 1 if vectors_ndims is None else vectors_ndims
        super().__init__(parameters, "int32")

    @property
    def vectors(self) -> Tensor:
        """What was quantised, (*batch, *event, V), or as many vectors as there were."""
        return self._vectors

    def look_up(self, z: Tensor) -> Tensor:
        """What codes stood for when these were found: (..., *event) -> (..., *event, V)."""
        return self._look_up(z)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {
            "codes": tfp.util.ParameterProperties(event_ndims=lambda self: self._event_ndims),
            "vectors": tfp.util.ParameterProperties(event_ndims=lambda self: self._vectors_ndims),
        }

    def _batch_shape(self):
        return self._codes.shape[: -self._event_ndims]

    def _batch_shape_tensor(self, **_):
        return ops.shape(self._codes)[: -self._event_ndims]

    def _event_shape(self):
        return self._codes.shape[-self._event_ndims :]

    def _event_shape_tensor(self):
        return ops.shape(self._codes)[-self._event_ndims :]

    def _sample_n(self, n, seed=None):
        return ops.broadcast_to(self._codes, (n, *ops.shape(self._codes)))

    def _mode(self):
        return self._codes

    def _log_prob(self, z):
        """0 at the codes, minus infinity elsewhere."""
        same = ops.all(ops.equal(z, self._codes), axis=tuple(range(-self._event_ndims, 0)))
        return ops.where(same, 0.0, -float("inf"))

    def _default_event_space_bijector(self):
        return None


class UniformCodes(tfd.Categorical):
    """Codes that are equally likely.

    Unlike TFP's, its density has no array of all codes at each place.

    Args:
        codes: C, how many there are.
        shape: of a batch.
    """

    def __init__(self, codes: int, shape: tuple[int, ...] = ()):
        parameters = dict(locals())
        super().__init__(logits=ops.zeros((*shape, codes), dtype="float32"), dtype="int32", name="UniformCodes")
        self._codes, self._shape, self._parameters = codes, tuple(shape), parameters

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {}

    def _batch_shape(self):
        return self._shape

    def _batch_shape_tensor(self, **_):
        return np.array(self._shape, "int32")

    def _log_prob(self, z):
        """Nats."""
        known = ops.logical_and(z >= 0, z < self._codes)
        return ops.where(known, -math.log(self._codes), -float("inf"))

    def _sample_n(self, n, seed=None):
        drawn = tfd.Uniform(0.0, 1.0).sample((n, *self._shape), seed=seed)
        return ops.cast(ops.minimum(ops.floor(drawn * self._codes), self._codes - 1.0), "int32")


class AutoregressiveCodes(Distribution):
    """Codes of which each depends on those before it, in reading order.

    Args:
        logits: codes (N, L) -> (N, L, C), unnormalised log-probabilities at each place, given the codes before it.
        shape: of an event, L codes in all.
        codes: C, how many different ones there are.
        temperature: of samples and density: the logits are divided by it.
        name: name of the distribution.
    """

    def __init__(
        self,
        logits: Callable[[Tensor], Tensor],
        shape: tuple[int, ...],
        codes: int,
        temperature: float | Tensor = 1.0,
        name: str = "AutoregressiveCodes",
    ):
        parameters = dict(locals())
        self._logits, self._shape, self._length = logits, tuple(shape), math.prod(shape)
        self._codes, self._temperature = codes, temperature
        super().__init__(parameters, "int32")

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {}

    def _batch_shape(self):
        return ()

    def _batch_shape_tensor(self, **_):
        return np.zeros((0,), "int32")

    def _event_shape(self):
        return self._shape

    def _event_shape_tensor(self):
        return np.array(self._shape, "int32")

    def _log_prob(self, z):
        """Nats."""
        lead = ops.shape(z)[: len(z.shape) - len(self._shape)]
        if len(lead) > 1 and lead[0] != 1:
            # In turns: there is an array of all codes at each place.
            return ops.map(self._log_prob, z)
        z = ops.reshape(z, (-1, self._length))
        log_p = ops.log_softmax(self._logits(z) / ops.maximum(self._temperature, 1e-6), axis=-1)
        chosen = ops.take_along_axis(log_p, z[..., None], axis=-1)
        return ops.reshape(ops.sum(chosen, axis=(-2, -1)), lead)

    @property
    def noise(self) -> tfd.Distribution:
        """What samples are functions of: Gumbel noise, event (L, C)."""
        return tfd.Sample(tfd.Gumbel(0.0, 1.0), (self._length, self._codes))

    def drawn(self, noise: Tensor) -> Tensor:
        """The sample that is made of noise, (*lead, L, C) -> (*lead, *shape), in a pass through the network a code."""
        lead = ops.shape(noise)[:-2]
        noise = self._temperature * ops.reshape(noise, (-1, self._length, self._codes))

        def step(_, z):
            # What depends on codes that are settled is drawn as before, and one code more is.
            return ops.cast(ops.argmax(self._logits(z) + noise, axis=-1), "int32")

        z = repeated(step, ops.zeros_like(noise[..., 0], dtype="int32"), self._length)
        return ops.reshape(z, (*lead, *self._shape))

    def _sample_n(self, n, seed=None):
        return self.drawn(self.noise.sample(n, seed=seed))

    def _default_event_space_bijector(self):
        return None


class RelaxedCategorical(tfd.Categorical):
    """Codes drawn as the largest of logits with Gumbel noise, and the softmax of the same sum, whose gradients pass.

    Args:
        logits: unnormalised log-probabilities.
        temperature: of the softmax.

    Shape: logits (*batch, C).

    Reference: Jang, Gu and Poole 2017 (arXiv 1611.01144), section 2.2; Maddison, Mnih and Teh 2017 (arXiv 1611.00712).
    """

    def __init__(self, logits: Tensor, temperature: float):
        parameters = dict(locals())
        super().__init__(logits=logits, dtype="int32", name="RelaxedCategorical")
        self._temperature, self._parameters, self._noisy = temperature, parameters, None

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"logits": tfp.util.ParameterProperties(event_ndims=1)}

    def _sample_n(self, n, seed=None):
        logits = self.logits_parameter()
        shape = (n, *ops.shape(logits))
        # Kept as TFP's bijectors keep what they were given: the softmax is that of these draws.
        self._noisy = logits + tfd.Gumbel(0.0, 1.0).sample(shape, seed=seed)
        return ops.cast(ops.argmax(self._noisy, axis=-1), "int32")

    def relaxed(self, shape: tuple[int | Tensor, ...]) -> Tensor:
        """The softmax of the logits with the noise of the last draws, or without where there were none.

        Args:
            shape: of the draws, (*samples, *batch).

        Returns:
            (*shape, C), each summing to 1.
        """
        logits = self.logits_parameter()
        noisy = logits if self._noisy is None else self._noisy
        soft = ops.exp(ops.log_softmax(noisy / self._temperature, axis=-1))
        shape = (*shape, logits.shape[-1])
        return ops.broadcast_to(soft, shape) if self._noisy is None else ops.reshape(soft, shape)
