"""Importance-weighted bounds."""

import math
from typing import Any

from keras import ops

from keras_vae.backend import Tensor
from keras_vae.inference import Inference
from keras_vae.names import check_number, check_whole
from keras_vae.objectives.base import Objective
from keras_vae.objectives.gradients import Split, normalised
from keras_vae.parts import register


@register()
class IWAE(Objective):
    """The negative importance-weighted bound, `-log mean_k w_k`, tighter than the ELBO for more than one sample.

    Args:
        samples: K, importance samples from q(z|x) for each example.

    Reference: Burda, Grosse and Salakhutdinov 2016, equation 8.
    """

    names = ("iwae",)

    def __init__(self, samples: int = 50, **kwargs: Any):
        super().__init__(samples=samples, **kwargs)

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        bound = inference.log_mean_weight
        return {"loss": inference.mean(inference.penalty) - bound, "iwae": bound}


class _Bounds(Objective):
    """Importance samples of each example, split into bounds of their own.

    Args:
        samples: M * K, importance samples from q(z|x) for each example.
        bounds: M, bounds that they are split into; K, the samples of each, is `samples / bounds`.
    """

    def __init__(self, samples: int = 64, bounds: int = 8, **kwargs: Any):
        super().__init__(samples=samples, **kwargs)
        check_whole(bounds=bounds)
        self.bounds = int(bounds)
        if self.samples % self.bounds:
            raise ValueError(
                "The samples are split into bounds of equally many: `samples` must be a multiple of `bounds`. "
                f"Received: samples={self.samples}, bounds={self.bounds}"
            )

    def _grouped(self, value):
        """(M * K, B) -> (M, K, B)."""
        return ops.reshape(value, (self.bounds, self.samples // self.bounds, -1))


@register("miwae")
class MIWAE(_Bounds):
    """The negative mean of M importance-weighted bounds of K samples each, `-mean_m log mean_k w_mk`.

    Its gradients in the encoder have less noise than those of one bound of all samples; one bound is IWAE, bounds of
    one sample are the ELBO.

    Args:
        samples: M * K, importance samples from q(z|x) for each example.
        bounds: M, bounds that they are split into; K, the samples of each, is `samples / bounds`.

    Reference: Rainforth et al. 2018, "Tighter variational bounds are not necessarily better", equation 7.
    """

    names = ("miwae",)

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        self.check_alike(inference)
        log_weight = self._grouped(inference.log_weight)
        bound = ops.mean(ops.logsumexp(log_weight, axis=1), axis=0) - math.log(self.samples // self.bounds)
        return {"loss": inference.mean(inference.penalty) - bound, "miwae": bound}


@register("ciwae")
class CIWAE(Objective):
    """The negative combination of two bounds, `-(beta * ELBO + (1 - beta) * log mean_k w_k)`.

    Args:
        samples: K, importance samples from q(z|x) for each example.
        beta: share of the ELBO, in [0, 1]: 0 is IWAE, 1 the ELBO.

    Reference: Rainforth et al. 2018, "Tighter variational bounds are not necessarily better", equation 8.
    """

    names = ("ciwae",)

    def __init__(self, samples: int = 64, beta: float = 0.5, **kwargs: Any):
        super().__init__(samples=samples, **kwargs)
        check_number(beta=beta)
        self.beta = float(beta)
        if self.beta > 1:
            raise ValueError(f"`beta` is a share, at most 1. Received: beta={beta!r}")

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        bound = self.beta * inference.elbo + (1 - self.beta) * inference.log_mean_weight
        return {"loss": inference.mean(inference.penalty) - bound, "ciwae": bound}


@register("piwae")
class PIWAE(_Bounds):
    """IWAE for decoder and prior, MIWAE for the encoder: each has the bound whose gradients suit it.

    The loss has the value of `-log mean_k w_k`, over all samples. Decoder and prior have its gradient, the posterior
    that of `-mean_m log mean_k w_mk`. One optimiser serves both; the decoder is run twice.

    Args:
        samples: M * K, importance samples from q(z|x) for each example.
        bounds: M, bounds that they are split into for the encoder.

    Reference: Rainforth et al. 2018, "Tighter variational bounds are not necessarily better", section 4.
    """

    names = ("iwae",)

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        split = Split(self, inference)
        share = normalised(self._grouped(split.log_weight), axis=1) / self.bounds
        path = split.path(ops.reshape(share, ops.shape(split.log_weight)), scored=True)
        bound = ops.logsumexp(split.log_weight, axis=0) - math.log(self.samples)
        return {"loss": inference.mean(inference.penalty) - bound - path, "iwae": bound}
