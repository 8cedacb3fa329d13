"""Bounds whose gradients have less noise than those of their formula, or other gradients for encoder and decoder."""

import math
from functools import cached_property
from typing import Any

from keras import ops

from keras_vae.backend import Tensor, tfp
from keras_vae.inference import Inference, joined
from keras_vae.objectives.base import Objective, held
from keras_vae.parts import register


class Split:
    """The log-weights of a pass, with gradients for decoder and prior on one side, and for the encoder on the other.

    It runs the decoder once more, on z as constants, and of several groups all that makes their z.

    Args:
        objective: whose it is.
        inference: one pass of K samples.
    """

    def __init__(self, objective: Objective, inference: Inference):
        objective.check_real(inference)
        self._inference, self._z = inference, joined(inference.latents)
        self._held = held(objective, inference)
        objective.check_alike(inference)

    @cached_property
    def _weight_and_slope(self):
        def log_weight(z):
            return self._inference.log_joint(z) - self._held(z)

        return tfp.math.value_and_gradient(log_weight, ops.stop_gradient(self._z))

    @property
    def log_weight(self) -> Tensor:
        """log w_k, (K, B), nats, with gradients for decoder and prior alone."""
        return self._weight_and_slope[0]

    def path(self, factors: Tensor, scored: bool) -> Tensor:
        """Of value 0, (B,); its gradient, for the encoder alone, is `sum_k factors_k` times that of log w_k.

        Args:
            factors: (K, B), taken for constants.
            scored: whether that of log w_k by the parameters of q, z being held, is part of it; otherwise it is that by
                way of z alone.
        """
        z = self._z
        slope, constant = (ops.stop_gradient(value) for value in (self._weight_and_slope[1], z))
        moved = ops.sum(slope * (z - constant), axis=tuple(range(2, len(z.shape))))
        if scored:
            moved = moved - self._inference.log_posterior(constant) + self._held(constant)
        return ops.sum(ops.stop_gradient(factors) * moved, axis=0)


def normalised(log_weight: Tensor, axis: int) -> Tensor:
    """Weights whose sum along an axis is 1; Keras' softmax warns of an axis of one."""
    return ops.exp(log_weight - ops.logsumexp(log_weight, axis=axis, keepdims=True))


@register("dreg")
class DReG(Objective):
    """The negative importance-weighted bound, with the doubly reparameterised gradient for the encoder.

    The loss is `-log mean_k w_k`, and so is its gradient for decoder and prior. That for the encoder, `-sum_k v_k^2
    dlog w_k/dz_k dz_k/dphi` with v_k = w_k / sum_j w_j, has the same expectation, and less noise the more samples there
    are. The decoder is run twice.

    Args:
        samples: K, importance samples from q(z|x) for each example.

    Reference: Tucker et al. 2019, "Doubly reparameterized gradient estimators", equation 8.
    """

    names = ("iwae",)

    def __init__(self, samples: int = 64, **kwargs: Any):
        super().__init__(samples=samples, **kwargs)

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        split = Split(self, inference)
        path = split.path(ops.square(normalised(split.log_weight, axis=0)), scored=False)
        bound = ops.logsumexp(split.log_weight, axis=0) - math.log(self.samples)
        return {"loss": inference.mean(inference.penalty) - bound - path, "iwae": bound}


@register("sticking_the_landing", "stl")
class StickingTheLanding(Objective):
    """The negative ELBO by samples, whose gradient leaves out the score of q: it has no noise where q is the posterior.

    `-E_q[log p(x|z) + log p(z) - log q(z|x)]`, in which the parameters of log q are constants and z is not.

    Args:
        samples: samples of z that the expectation is taken over.

    Reference: Roeder, Wu and Duvenaud 2017, "Sticking the landing", algorithm 1.
    """

    def __init__(self, samples: int = 1, **kwargs: Any):
        super().__init__(samples=samples, **kwargs)

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        self.check_real(inference)
        log_ratio = held(self, inference)(joined(inference.latents))
        log_ratio = log_ratio - sum(latent.prior.log_prob(latent.z) for latent in inference.latents)
        return {"loss": inference.mean(inference.penalty + log_ratio - inference.log_likelihood)}
