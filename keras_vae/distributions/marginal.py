"""The density that a latent-variable model gives to what it explains."""

import math
from collections.abc import Callable

import numpy as np
from keras import ops

from keras_vae.backend import Tensor, tfd, tfp
from keras_vae.distributions.base import Distribution

# Samples of u, for the sake of memory.
_AT_ONCE = 32


class _Explained(Distribution):
    """p(z), of events of a shape that is given, by a prior p(u) that has no batch shape."""

    def _event_shape(self):
        return self._shape

    def _event_shape_tensor(self):
        return ops.convert_to_tensor(self._shape, "int32")

    def _default_event_space_bijector(self):
        return tfp.bijectors.Identity()

    def _flat(self, z):
        """Events as vectors, (N, D), and the shape that they had before that of an event."""
        return ops.reshape(z, (-1, math.prod(self._shape))), ops.shape(z)[: len(z.shape) - len(self._shape)]


class Marginal(_Explained):
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

    def _log_prob(self, z):
        """Nats."""
        z, lead = self._flat(z)
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


class ClassMarginal(_Explained):
    """p(z) of a class c and a style u, the sum over classes of p(c) p(z|c), each p(z|c) a `Marginal`; p(c) is uniform.

    Given noise, log p(z) is the log of that sum. Given a seed in its place, it is the bound that q(c|z) makes of it,
    sum_c q(c|z) (log p(z, c) - log q(c|z)).

    Args:
        prior: p(u), event (E,).
        encode: z (N, D), one-hot c (N, C) -> q(u|z, c), Normals of independent units, batch (N,), event (E,).
        decode: u (..., N, E), one-hot c (N, C) -> p(z|c, u), batch (..., N), event (D,).
        classify: z (N, D) -> logits of q(c|z), (N, C).
        classes: C.
        shape: of an event z, D units in all.
        noise, seed: as of a `Marginal`.
        name: name of the distribution.

    Reference: Kingma, Rezende, Mohamed and Welling 2014 (arXiv 1406.5298), equations 6 and 7.
    """

    def __init__(
        self,
        prior: tfd.Distribution,
        encode: Callable[[Tensor, Tensor], tfd.Distribution],
        decode: Callable[[Tensor, Tensor], tfd.Distribution],
        classify: Callable[[Tensor], Tensor],
        classes: int,
        shape: tuple[int, ...],
        noise: np.ndarray | None = None,
        seed: Tensor | None = None,
        name: str = "ClassMarginal",
    ):
        parameters = dict(locals())
        self._prior, self._encode, self._decode, self._classify = prior, encode, decode, classify
        self._classes, self._shape = classes, tuple(shape)
        self._noise, self._seed = noise, seed
        super().__init__(parameters, prior.dtype, reparameterized=True)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"prior": tfp.util.BatchedComponentProperties()}

    def posterior_marginal(self, z: Tensor) -> tfd.Distribution:
        """q(c|z), a Categorical of the batch shape of z."""
        z, lead = self._flat(z)
        return tfd.Categorical(logits=ops.reshape(self._classify(z), (*lead, self._classes)))

    def labelled_log_prob(self, z: Tensor, known: Tensor, alpha: float) -> Tensor:
        """Of z whose class is known log p(z, c) + alpha log q(c|z), of others the bound; given a seed. (N,) nats.

        Args:
            z: (N, *shape).
            known: (N,), whole numbers: the class of each, or -1.
            alpha: weight of the classifier.

        Reference: Kingma, Rezende, Mohamed and Welling 2014 (arXiv 1406.5298), equation 9.
        """
        z, _ = self._flat(z)
        joint, log_q = self._joint(z), self._log_q(z)
        own = ops.one_hot(ops.maximum(known, 0), self._classes, dtype="float32")
        labelled = ops.sum(own * (joint + alpha * log_q), axis=-1)
        return ops.where(known >= 0, labelled, _bound(joint, log_q))

    def _log_prob(self, z):
        """Nats."""
        z, lead = self._flat(z)
        joint = self._joint(z)
        found = ops.logsumexp(joint, axis=-1) if self._seed is None else _bound(joint, self._log_q(z))
        return ops.reshape(found, lead)

    def _log_q(self, z):
        return ops.log_softmax(self._classify(z), axis=-1)

    def _joint(self, z):
        """log p(z, c) of vectors, (N, C)."""
        # Each z in each class, class by class.
        c = ops.repeat(ops.eye(self._classes, dtype="float32"), ops.shape(z)[0], axis=0)
        marginal = Marginal(
            self._prior,
            lambda z: self._encode(z, c),
            lambda u: self._decode(u, c),
            z.shape[1:],
            self._noise,
            self._seed,
        )
        joint = ops.reshape(marginal.log_prob(ops.tile(z, (self._classes, 1))), (self._classes, -1))
        return ops.transpose(joint) - math.log(self._classes)

    def _sample_n(self, n, seed=None):
        first, second, third = tfp.random.split_seed(seed, n=3, salt="class_marginal")
        drawn = tfd.Categorical(logits=ops.zeros((self._classes,), "float32")).sample(n, seed=first)
        c = ops.one_hot(drawn, self._classes, dtype="float32")
        z = self._decode(self._prior.sample(n, seed=second), c).sample(seed=third)
        return ops.reshape(z, (-1, *self._shape))


def _bound(joint, log_q):
    """sum_c q(c|z) (log p(z, c) - log q(c|z)), (N,)."""
    return ops.sum(ops.exp(log_q) * (joint - log_q), axis=-1)
