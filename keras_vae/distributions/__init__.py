"""Distributions that TensorFlow Probability lacks, written as TFP distributions."""

from keras_vae.distributions.bernoulli import Bernoulli
from keras_vae.distributions.counts import Multinomial, NegativeBinomial, ZeroInflatedNegativeBinomial
from keras_vae.distributions.log_cosh import LogCosh
from keras_vae.distributions.logistic import DiscretizedLogisticMixture
from keras_vae.distributions.normal_mixture import NormalMixture
from keras_vae.distributions.scored import Scored

__all__ = [
    "Bernoulli",
    "DiscretizedLogisticMixture",
    "LogCosh",
    "Multinomial",
    "NegativeBinomial",
    "NormalMixture",
    "Scored",
    "ZeroInflatedNegativeBinomial",
]
