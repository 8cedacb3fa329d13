"""Distributions that TensorFlow Probability lacks, written as TFP distributions."""

from keras_vae.distributions.bernoulli import IndependentBernoulli
from keras_vae.distributions.logistic import DiscretizedLogisticMixture

__all__ = ["DiscretizedLogisticMixture", "IndependentBernoulli"]
