"""The density that a latent-variable model gives to what it explains."""

import math
from collections.abc import Callable

import numpy as np
from keras import ops

from keras_vae.backend import Tensor, tfd, tfp
from keras_vae.distributions.base import Distribution

# Samples of u, for the sake of memory.
_AT_ONCE = 32


class Marginal(Distribution):
    """p(z), the integral of p(z|u) p(u) over u, by importance samples of q(u|z).

    The density is an estimate, log mean_s p(z|u_s) p(u_s) / q(u_s|z), with u_s ~ q(u|z): in expectation a lower bound
    on log p(z), the nearer to it the more samples there are. Given noise, it is a function of z; given a seed in its
    place, it has new noise at each z and is the evidence lower bound of one sample, which training needs no more of.

    Args:
        prior: p(u), event (E,).
        encode: z (N, D) -> q(u|z), Normals of independent units, batch (N,), event (E,).
        decode: u (..., E) -> p(z|u), batch (...), event (D,).
        shape: of an event z, D units in all.
        noise: (S, E), draws of N(0, I), a numpy array, the same at each z.
        seed: integer tensor, (2,), in the place of `noise`.
        name: name of the distribution.

    Reference: Burda, Grosse and Salakhutdinov 2016 (arXiv 1509.00519), equation 8.
    """

    def __init__(
        self,
        prior: tfd.Distribution,
        encode: Callable[[Tensor], tfd.Distribution],
        decode: Callable[[Tensor], tfd.Distribution],
        shape: tuple[int, ...],
        noise: np.ndarray | None = None,
        seed: Tensor | None = None,
        name: str = "Marginal",
    ):
        parameters = dict(locals())
        self._prior, self._encode, self._decode, self._shape = prior, encode, decode, tuple(shape)
        self._noise, self._seed = noise, seed
        super().__init__(parameters, prior.dtype, reparameterized=True)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"prior": tfp.util.BatchedComponentProperties()}

    def _event_shape(self):
        return self._shape

    def _event_shape_tensor(self):
        return ops.convert_to_tensor(self._shape, "int32")

    def _log_prob(self, z):
        """Nats."""
        lead = ops.shape(z)[: len(z.shape) - len(self._shape)]
        z = ops.reshape(z, (-1, math.prod(self._shape)))
        posterior = self._encode(z)
        loc, scale = posterior.mean(), posterior.stddev()
        if self._noise is None:
            noise = tfd.Normal(0.0, 1.0).sample(ops.shape(loc), seed=self._seed)
            bound = self._decode(loc + scale * noise).log_prob(z) - tfd.kl_divergence(posterior, self._prior)
            return ops.reshape(bound, lead)
        log_sums = []
        for noise in np.array_split(self._noise, -(-len(self._noise) // _AT_ONCE)):
            u = loc + scale * noise[:, None]
            log_weight = self._decode(u).log_prob(z) + self._prior.log_prob(u) - posterior.log_prob(u)
            log_sums.append(ops.logsumexp(log_weight, axis=0))
        log_mean = ops.logsumexp(ops.stack(log_sums), axis=0) - math.log(len(self._noise))
        return ops.reshape(log_mean, lead)

    def _sample_n(self, n, seed=None):
        first, second = tfp.random.split_seed(seed, salt="marginal")
        z = self._decode(self._prior.sample(n, seed=first)).sample(seed=second)
        return ops.reshape(z, (-1, *self._shape))

    def _default_event_space_bijector(self):
        return tfp.bijectors.Identity()
