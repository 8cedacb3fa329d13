"""Importance-weighted bounds."""

from typing import Any

from keras_vae.objectives.base import Objective
from keras_vae.parts import register


@register()
class IWAE(Objective):
    """The negative importance-weighted bound, `-log mean_k w_k`, tighter than the ELBO for more than one sample.

    Args:
        samples: K, importance samples from q(z|x) for each example.

    Reference: Burda, Grosse and Salakhutdinov 2016, equation 8.
    """

    def __init__(self, samples: int = 50, **kwargs: Any):
        super().__init__(samples=samples, **kwargs)

    @property
    def names(self):
        return ("iwae",)

    def terms(self, inference):
        bound = inference.log_mean_weight
        return {"loss": inference.mean(inference.penalty) - bound, "iwae": bound}
