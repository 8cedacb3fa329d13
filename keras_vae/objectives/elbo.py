"""The evidence lower bound."""

import keras
from keras import ops

from keras_vae import schedules
from keras_vae.objectives.base import Objective
from keras_vae.parts import register


@register()
class ELBO(Objective):
    """The negative evidence lower bound, `beta * KL - E_q[log p(x|z)]`.

    Args:
        samples: samples of z that the expectation is taken over.
        beta: weight of the KL, a number or a schedule; `schedules.Capacity` holds the KL at a capacity instead.
        free_bits: nats of KL for each latent unit that cost nothing: the loss counts `max(free_bits, mean KL of the
            unit over the batch)`. With a posterior or prior that is no product of units, the floor is on their sum.

    Reference: Kingma and Welling 2014, equation 3; Higgins et al. 2017 (beta); Kingma et al. 2016, equation 15 (free
    bits).
    """

    def __init__(self, samples=1, beta=1.0, free_bits=0.0, **kwargs):
        super().__init__(samples=samples, **kwargs)
        self.beta = schedules.get(beta)
        if not free_bits >= 0:
            raise ValueError(f"`free_bits` must not be negative (nats per latent unit). Received: {free_bits!r}")
        self.free_bits = float(free_bits)

    def get_config(self):
        return {
            "samples": self.samples,
            "beta": keras.saving.serialize_keras_object(self.beta),
            "free_bits": self.free_bits,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config | {"beta": keras.saving.deserialize_keras_object(config["beta"])})

    @property
    def names(self):
        if isinstance(self.beta, schedules.Capacity):
            return ("capacity",)
        return () if isinstance(self.beta, schedules.Constant) else ("beta",)

    def terms(self, inference):
        kl = inference.mean(inference.kl) if self.free_bits == 0 else self._floored_kl(inference)
        loss = self.beta.weigh(kl, inference.step) - inference.mean(inference.log_likelihood)
        return {"loss": loss, **{name: self.beta(inference.step) for name in self.names}}

    def _floored_kl(self, inference):
        total = 0.0
        for latent in inference.latents:
            if latent.unit_kl is None:
                batch_mean, floor = ops.mean(latent.kl), self.free_bits * latent.size
            else:
                batch_mean, floor = ops.mean(latent.unit_kl, axis=0), self.free_bits
            total = total + ops.sum(ops.maximum(batch_mean, floor))
        return total
