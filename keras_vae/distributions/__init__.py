"""Distributions that TensorFlow Probability lacks, written as TFP distributions."""

from keras_vae.distributions.bernoulli import Bernoulli
from keras_vae.distributions.logistic import DiscretizedLogisticMixture
from keras_vae.distributions.normal_mixture import NormalMixture

__all__ = ["Bernoulli", "DiscretizedLogisticMixture", "NormalMixture"]
