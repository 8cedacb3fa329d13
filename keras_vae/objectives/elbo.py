"""The evidence lower bound."""

from typing import Any, Literal

from keras import ops

from keras_vae import schedules
from keras_vae.backend import Tensor
from keras_vae.inference import Inference
from keras_vae.names import check_number, one_of
from keras_vae.objectives.base import Objective
from keras_vae.parts import register


@register()
class ELBO(Objective):
    """The negative evidence lower bound, `beta * KL - E_q[log p(x|z)]`.

    Args:
        samples: samples of z that the expectation is taken over.
        beta: weight of the KL, a number or a schedule; `schedules.Capacity` holds the KL at a capacity instead.
        free_bits: nats of KL that cost nothing, for each unit or group of latents: the loss counts `max(free_bits, mean
            KL of the unit, or group, over the batch)`.
        free_bits_per: "unit"; or "group", which keeps all groups of a hierarchy in use. With a posterior or prior that
            is no product of units, "unit" puts the floor of all units of the group on their sum.

    Reference: Kingma and Welling 2014, equation 3; Higgins et al. 2017 (beta); Kingma et al. 2016, equation 15 (free
    bits, there of groups).
    """

    def __init__(
        self,
        samples: int = 1,
        beta: float | str | schedules.Schedule = 1.0,
        free_bits: float = 0.0,
        free_bits_per: Literal["unit", "group"] = "unit",
        **kwargs: Any,
    ):
        super().__init__(samples=samples, **kwargs)
        self.beta = schedules.get(beta)
        check_number(free_bits=free_bits)
        self.free_bits = float(free_bits)
        self.free_bits_per = one_of(free_bits_per, ("unit", "group"), "free_bits_per")

    @property
    def names(self) -> tuple[str, ...]:
        if isinstance(self.beta, schedules.Capacity):
            return ("capacity",)
        return () if isinstance(self.beta, schedules.Constant) else ("beta",)

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        kl = inference.mean(inference.kl) if self.free_bits == 0 else self._floored_kl(inference)
        weighed = self.schedule("beta").weigh(kl, inference.step, inference.batch_mean)
        loss = weighed - inference.mean(inference.log_likelihood) + inference.mean(inference.penalty)
        return {"loss": loss, **{name: self.beta(inference.step) for name in self.names}}

    def _floored_kl(self, inference):
        total = 0.0
        for latent in inference.latents:
            by_unit = self.free_bits_per == "unit"
            kl, rank, floor = latent.unit_kl if by_unit else None, len(latent.prior.event_shape), self.free_bits
            if kl is None:
                kl, rank, floor = latent.kl, 0, self.free_bits * (latent.size if by_unit else 1)
            total = total + ops.sum(ops.maximum(inference.batch_mean(inference.mean(kl, rank)), floor))
        return total
