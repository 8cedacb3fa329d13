"""Mixtures of Normals of full covariance over some units of a vector."""

import math

import numpy as np
from keras import ops

from keras_vae.backend import Tensor, tfd, tfp
from keras_vae.distributions.base import Distribution


class NormalMixture(Distribution):
    """Mixture of Normals of full covariance over some units; the other units are independent, N(0, scale^2).

    Unlike TFP's mixture of `MultivariateNormalTriL`, it makes no copy of the factors for each value or sample, so that
    a density of thousands of values over hundreds of units fits in memory.

    Args:
        logits: unnormalised log-weights of the M components.
        loc: their means.
        scale_tril: Cholesky factors of their covariances.
        order: all D units, in integers: the A of the mixture first.
        shape: of an event, D units in all.
        scale: standard deviation of the other units.
        name: name of the distribution.

    Shape: logits (M,), loc (M, A), scale_tril (M, A, A), order (D,). There is no batch; the event is `shape`.
    """

    def __init__(
        self,
        logits: Tensor,
        loc: Tensor,
        scale_tril: Tensor,
        order: Tensor,
        shape: tuple[int, ...],
        scale: float | Tensor = 1.0,
        name: str = "NormalMixture",
    ):
        parameters = dict(locals())
        self._logits, self._loc, self._scale_tril, self._scale = (
            ops.convert_to_tensor(value, "float32") for value in (logits, loc, scale_tril, scale)
        )
        self._order = ops.convert_to_tensor(order, "int32")
        self._shape = tuple(shape)
        super().__init__(parameters, self._loc.dtype)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        ranks = {"logits": 1, "loc": 2, "scale_tril": 3, "order": 1, "scale": 0}
        return {name: tfp.util.ParameterProperties(event_ndims=rank) for name, rank in ranks.items()}

    def _event_shape(self):
        return self._shape

    def _event_shape_tensor(self):
        return ops.convert_to_tensor(self._shape, "int32")

    def _of_components(self, z):
        """log w_m + log N(z; m) of the mixture's units but for a constant, (N, M); and the other units."""
        z = ops.take(ops.reshape(z, (-1, math.prod(self._shape))), self._order, axis=-1)
        components, size = self._loc.shape
        eye = ops.broadcast_to(ops.eye(size, dtype="float32"), self._scale_tril.shape)
        # One product of matrices for all components; about a centre, since the differences of its results are what
        # counts.
        centre = ops.mean(self._loc, axis=0)
        whiten = ops.solve_triangular(self._scale_tril, eye, lower=True)
        means = ops.einsum("mij,mj->mi", whiten, self._loc - centre)
        whiten = ops.reshape(ops.transpose(whiten, (2, 0, 1)), (size, components * size))
        whitened = ops.reshape(ops.matmul(z[:, :size] - centre, whiten), (-1, components, size)) - means
        diagonal = ops.diagonal(self._scale_tril, axis1=-2, axis2=-1)
        log_weights = ops.log_softmax(self._logits, axis=-1) - ops.sum(ops.log(diagonal), axis=-1)
        return log_weights - 0.5 * ops.sum(ops.square(whitened), axis=-1), z[:, size:]

    def _lead(self, z):
        return ops.shape(z)[: len(z.shape) - len(self._shape)]

    def _log_prob(self, z):
        """Nats."""
        joint, others = self._of_components(z)
        others = tfd.Normal(ops.zeros((), "float32"), self._scale).log_prob(others)
        log_mixture = ops.logsumexp(joint, axis=-1) - 0.5 * self._loc.shape[-1] * math.log(2 * math.pi)
        return ops.reshape(log_mixture + ops.sum(others, axis=-1), self._lead(z))

    def posterior_marginal(self, z: Tensor) -> tfd.Categorical:
        """p(component|z), as of TFP's mixtures.

        Args:
            z: (..., *shape).
        """
        joint, _ = self._of_components(z)
        return tfd.Categorical(logits=ops.reshape(joint, (*self._lead(z), joint.shape[-1])))

    def _sample_n(self, n, seed=None):
        component_seed, noise_seed = tfp.random.split_seed(seed, salt="normal_mixture")
        size = self._loc.shape[-1]
        noise = tfd.Normal(np.float32(0.0), np.float32(1.0)).sample((n, math.prod(self._shape)), seed=noise_seed)
        component = tfd.Categorical(logits=self._logits).sample(n, seed=component_seed)
        chosen = ops.one_hot(component, self._logits.shape[0], dtype="float32")[..., None]
        drawn = self._loc + ops.einsum("mij,nj->nmi", self._scale_tril, noise[:, :size])
        return self._event(ops.sum(chosen * drawn, axis=1), self._scale * noise[:, size:])

    def _mean(self):
        weights = ops.exp(ops.log_softmax(self._logits, axis=-1))
        mean = ops.sum(weights[:, None] * self._loc, axis=0)
        others = ops.zeros((self._order.shape[0] - mean.shape[0],), dtype="float32")
        return self._event(mean, others)

    def _event(self, active, others):
        """Units of the mixture and others, put in their places."""
        units = ops.take(ops.concatenate([active, others], axis=-1), ops.argsort(self._order), axis=-1)
        return ops.reshape(units, (*ops.shape(units)[:-1], *self._shape))

    def _default_event_space_bijector(self):
        return tfp.bijectors.Identity()
