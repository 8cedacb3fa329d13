"""Likelihoods of binary images."""

from typing import Any

import numpy as np
from keras import ops

from keras_vae import distributions
from keras_vae.backend import Tensor, tfd
from keras_vae.likelihoods.base import Likelihood
from keras_vae.parts import register


@register()
class Bernoulli(Likelihood):
    """Independent binary pixels.

    Args:
        soft: whether values between 0 and 1 are taken, too, as probabilities of a 1: the value is then the expected
            log-mass of images drawn from them (the cross-entropy of many tutorials), and not a log-likelihood of x.

    Reference: Kingma and Welling 2014, appendix C.1.
    """

    def __init__(self, soft: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.soft = bool(soft)

    @property
    def data(self) -> str:
        """ "binary", or "unit interval" where `soft`."""
        return "unit interval" if self.soft else "binary"

    def distribution(self, features: Tensor, x: Tensor | None = None, training: bool = False) -> tfd.Distribution:
        pixels = tfd.Bernoulli(logits=ops.squeeze(self.head(features), axis=-1), dtype="float32")
        independent = distributions.IndependentBernoulli if training else distributions.ScoredBernoulli
        return independent(pixels, reinterpreted_batch_ndims=len(self.event_shape))

    def start_at(self, mean: np.ndarray) -> None:
        mean = np.asarray(mean, dtype="float64")
        if self.head.by_position:
            mean = mean.mean(axis=tuple(range(mean.ndim - 1)))
        self.head.dense.bias.assign(np.log(mean / (1 - mean)).reshape(-1))
