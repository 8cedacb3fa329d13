"""The KL taken apart: what z says of x, what its units say of each other, and how far each is from the prior."""

import math
from typing import Any

import keras
from keras import ops

from keras_vae.backend import Tensor, folded, tfd
from keras_vae.inference import Inference, has_density, marginals
from keras_vae.names import check_number, check_whole, checked_widths
from keras_vae.objectives.base import Objective, flat, negative_elbo
from keras_vae.objectives.critics import critic
from keras_vae.parts import frozen, register


@register("total_correlation", "beta_tc")
class TotalCorrelation(Objective):
    """The negative ELBO, its KL in three terms of which each has a weight of its own (beta-TC-VAE).

    `alpha * I(x; z) + beta * KL(q(z) || prod_d q(z_d)) + gamma * (sum_d log q(z_d) - log p(z)) - E_q[log p(x|z)]`: the
    mutual information, the total correlation, and the KL of the single units. With weights of 1 their sum is the ELBO's
    KL at the samples. q(z) is the mean of q(z|x) over the data, estimated from the batch.

    Args:
        samples: samples of z that the expectation is taken over.
        alpha: weight of the mutual information.
        beta: weight of the total correlation.
        gamma: weight of the units' KL.
        data_size: N, examples in the training set: an example's own q(z|x) then counts 1/N, the others of its batch
            share the rest, and the three terms estimate those of the whole set (minibatch stratified sampling). None:
            those of the batch, whose gradients are those of minibatch weighted sampling.

    Reference: Chen et al. 2018, "Isolating sources of disentanglement", equations 2 and 4; appendix C.
    """

    names = ("mutual_information", "total_correlation", "unit_kl")

    def __init__(
        self,
        samples: int = 1,
        alpha: float = 1.0,
        beta: float = 6.0,
        gamma: float = 1.0,
        data_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(samples=samples, **kwargs)
        check_number(alpha=alpha, beta=beta, gamma=gamma)
        if data_size is not None:
            check_whole(least=2, data_size=data_size)
        self.alpha, self.beta, self.gamma = float(alpha), float(beta), float(gamma)
        self.data_size = None if data_size is None else int(data_size)

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        parts = dict(zip(self.names, self._parts(inference), strict=True))
        information, correlation, unit_kl = map(inference.mean, parts.values())
        kl = self.alpha * information + self.beta * correlation + self.gamma * unit_kl
        return {"loss": kl + negative_elbo(inference, beta=0.0), **parts}

    def _parts(self, inference):
        """The three terms at each sample, (K, B)."""
        latent = self.one_latent(inference)
        z, q = latent.z, latent.posterior
        units = marginals(q)
        if units is None or not has_density(q):
            raise ValueError(
                "The total correlation needs a posterior of which the density of each unit is known, such as "
                f"diagonal_normal. Received: objective {self.spec!r}, posterior {q}"
            )
        # Of z from x_i under q(z|x_j), (K, B_i, B_j) and (K, B_i, B_j, *D).
        joint, single = q.log_prob(z[:, :, None]), units.log_prob(z[:, :, None])
        log_share = self._log_share(inference)
        axes = tuple(range(2, len(z.shape)))
        log_q = ops.logsumexp(joint + log_share, axis=2)
        log_share = ops.reshape(log_share, (*ops.shape(log_share), *[1] * len(axes)))
        log_units = ops.sum(ops.logsumexp(single + log_share, axis=2), axis=axes)
        return q.log_prob(z) - log_q, log_q - log_units, log_units - latent.prior.log_prob(z)

    def _log_share(self, inference):
        """Logarithm of how much q(z|x_j) counts in q(z) at a z of x_i, (B_i, B_j)."""
        if self.data_size is None:
            share = ops.broadcast_to(ops.sum(inference.shares, axis=0), ops.shape(inference.others))
        else:
            own = 1 / self.data_size
            share = own * ops.eye(ops.shape(inference.others)[0]) + (1 - own) * inference.others
        # Finite, since a batch of which nothing counts has no logarithm at all.
        return ops.where(share > 0, ops.log(ops.where(share > 0, share, 1.0)), -1e30)


@register("factor")
class Factor(Objective):
    """The negative ELBO and a weight on the total correlation, which a critic estimates (FactorVAE).

    `-ELBO + gamma * E[critic(z)]`: the critic tells z from z whose units come from other examples, each from one of its
    own, and its logit is then log q(z) / prod_d q(z_d). Its cross-entropy is part of the loss, and no gradient of it
    reaches the VAE. The paper trains it by an Adam of its own, with a learning rate of 1e-4 and `beta_1` of 0.5: give
    `compile` a `keras.optimizers.MultiOptimizer` that tells variables by their paths, "objective/critic/...".

    Args:
        samples: samples of z that the expectations are taken over.
        gamma: weight of the total correlation.
        widths: hidden widths of the critic.
        critic: Keras model, (B, D) -> one logit (B, 1), in the place of the one of `widths`.

    Reference: Kim and Mnih 2018, "Disentangling by factorising", algorithm 1; appendix A.
    """

    names = ("total_correlation", "critic_loss")

    def __init__(
        self,
        samples: int = 1,
        gamma: float = 35.0,
        widths: tuple[int, ...] = (1000,) * 6,
        critic: keras.Model | None = None,
        **kwargs: Any,
    ):
        super().__init__(samples=samples, **kwargs)
        check_number(gamma=gamma)
        self.gamma, self.widths = float(gamma), checked_widths(widths)
        self.critic = critic

    def build(self, latent_shape: tuple[int, ...], image_shape: tuple[int, ...]) -> None:
        self.network = critic(self.critic, math.prod(latent_shape), self.widths)

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        z = self.one_latent(inference).z

        def logit(network, rows):
            return ops.reshape(ops.cast(network(rows, training=inference.training), "float32"), ops.shape(z)[:2])

        correlation = logit(frozen(self.network), flat(z))
        rows = ops.stop_gradient(flat(z))
        own = ops.softplus(-logit(self.network, rows)) + ops.softplus(logit(self.network, self._mixed(rows, inference)))
        loss = negative_elbo(inference) + inference.mean(self.gamma * correlation + 0.5 * own)
        return {"loss": loss, "total_correlation": correlation, "critic_loss": 0.5 * own}

    def _mixed(self, rows, inference):
        """Rows of which each unit is that of a row drawn by its share."""
        bounds = ops.cumsum(ops.reshape(inference.shares, (-1,)))
        zeros = ops.zeros_like(rows)
        draws = tfd.Uniform(zeros, zeros + bounds[-1]).sample(seed=folded(inference.seed, 1))
        index = ops.searchsorted(bounds, ops.reshape(draws, (-1,)), side="right")
        last = ops.shape(rows)[0] - 1
        return ops.take_along_axis(rows, ops.minimum(ops.reshape(index, ops.shape(rows)), last), axis=0)
