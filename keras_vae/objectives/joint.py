"""The KLs of numbers and of codes, each at a capacity of its own."""

from typing import Any

from keras_vae import schedules
from keras_vae.backend import Tensor
from keras_vae.inference import Inference
from keras_vae.objectives.base import Objective
from keras_vae.parts import register


@register()
class JointCapacity(Objective):
    """The negative ELBO of a joint posterior, the KL of its numbers and that of its codes weighed apart (JointVAE).

    `-E_q[log p(x|z)] + gamma |KL(q(numbers|x) || p) - C_1| + gamma |KL(q(codes|x) || p) - C_2|`, the capacities C_1 and
    C_2 growing as training goes on. Codes have no KL above the logarithm of their number; a capacity beyond it asks for
    the largest that there is.

    Args:
        samples: samples of z that the expectation is taken over.
        continuous_weight: weight of the KL of the numbers, a number or a schedule.
        categorical_weight: weight of the KL of the codes.

    Reference: Dupont 2018 (arXiv 1804.00104), section 3, whose capacities for digits are the defaults.
    """

    names = ("continuous_kl", "categorical_kl")

    def __init__(
        self,
        samples: int = 1,
        continuous_weight: float | str | schedules.Schedule = "capacity:epsilon=5.0,steps=25000,gamma=30.0",
        categorical_weight: float | str | schedules.Schedule = "capacity:epsilon=5.0,steps=25000,gamma=30.0",
        **kwargs: Any,
    ):
        super().__init__(samples=samples, **kwargs)
        self.continuous_weight = schedules.get(continuous_weight)
        self.categorical_weight = schedules.get(categorical_weight)

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        pair = self.one_latent(inference, codes=True).parts
        if len(pair) < 2:
            raise ValueError(
                "This objective weighs numbers and codes of a joint posterior: set posterior='joint', or take an ELBO. "
                f"Received: objective {self.spec!r}, one kind of latents"
            )
        kls = [inference.mean(part.kl) for part in pair]
        loss = inference.mean(inference.penalty) - inference.mean(inference.log_likelihood)
        for name, kl in zip(("continuous_weight", "categorical_weight"), kls, strict=True):
            loss = loss + self.schedule(name).weigh(kl, inference.step, inference.batch_mean)
        return {"loss": loss, **dict(zip(self.names, kls, strict=True))}
