"""The evidence lower bound as a problem with a constraint."""

import math
from typing import Any, Literal

import keras
from keras import ops

from keras_vae.backend import Tensor
from keras_vae.inference import Inference
from keras_vae.names import check_number, one_of, plain
from keras_vae.objectives.base import Objective
from keras_vae.parts import register

# Of the logarithm of the multiplier, as far as it may go: six powers of ten either way.
_BOUND = math.log(1e6)


@keras.saving.register_keras_serializable("keras_vae")
class _Bounded(keras.constraints.Constraint):
    """Keeps the logarithm of a multiplier in bounds: where a constraint cannot be met, it would grow for ever."""

    def __call__(self, w):
        return ops.clip(w, -_BOUND, _BOUND)


@register("constrained", "geco")
class Constrained(Objective):
    """One term of the ELBO is minimised while the other is held at a limit, by a Lagrange multiplier that is learned.

    `KL + multiplier * (-E_q[log p(x|z)] - limit)`, the least KL for a reconstruction that is good enough (GECO); or,
    `on="kl"`, `-E_q[log p(x|z)] + multiplier * (KL - limit)`, the best reconstruction of a KL that is small enough (the
    beta-VAE's own problem). From 1 on, the multiplier grows as long as the mean over the batch is above the limit, and
    falls below it. Its logarithm is a weight, "objective/log_multiplier", whose gradient is what the constraint lacks:
    the optimiser's learning rate is its, too, unless a `keras.optimizers.MultiOptimizer` gives it one of its own.

    Args:
        limit: nats, of the term that is held: -E_q[log p(x|z)] for each example (negative for densities), or the KL.
        on: which term that is, "reconstruction" or "kl".
        samples: samples of z that the expectation is taken over.

    Reference: Rezende and Viola 2018, "Taming VAEs", equation 2, algorithm 1; Higgins et al. 2017, equation 2.
    """

    names = ("multiplier", "constraint")

    def __init__(
        self,
        limit: float,
        on: Literal["reconstruction", "kl"] = "reconstruction",
        samples: int = 1,
        **kwargs: Any,
    ):
        super().__init__(samples=samples, **kwargs)
        self.on = one_of(plain(on), ("reconstruction", "kl"), "term to hold")
        # The limit of a reconstruction may be below 0.
        check_number(limit=abs(plain(limit)) if self.on == "reconstruction" else limit)
        self.limit = float(limit)

    def build(self, latent_shape: tuple[int, ...], image_shape: tuple[int, ...]) -> None:
        self.log_multiplier = self.add_weight(
            name="log_multiplier", shape=(), initializer="zeros", constraint=_Bounded()
        )

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        held, other = -inference.mean(inference.log_likelihood), inference.mean(inference.kl)
        if self.on == "kl":
            held, other = other, held
        constraint = inference.batch_mean(held) - self.limit
        log_multiplier = ops.convert_to_tensor(self.log_multiplier)
        multiplier = ops.exp(ops.stop_gradient(log_multiplier))
        # Of value 0: with its gradient a step is multiplier <- multiplier * exp(rate * constraint).
        ascent = (ops.stop_gradient(log_multiplier) - log_multiplier) * ops.stop_gradient(constraint)
        loss = inference.mean(inference.penalty) + other + multiplier * constraint + ascent
        return {"loss": loss, "multiplier": multiplier, "constraint": constraint}
