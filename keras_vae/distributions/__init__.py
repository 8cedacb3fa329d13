"""Distributions that TensorFlow Probability lacks, written as TFP distributions."""

from keras_vae.distributions.autoregressive import Autoregressive, MaskedNetwork
from keras_vae.distributions.bernoulli import IndependentBernoulli
from keras_vae.distributions.flow import Flow, Planar, Radial
from keras_vae.distributions.logistic import DiscretizedLogisticMixture
from keras_vae.distributions.normal_mixture import NormalMixture
from keras_vae.distributions.sphere import PowerSpherical, VonMisesFisher
from keras_vae.distributions.temperature import tempered

__all__ = [
    "Autoregressive",
    "DiscretizedLogisticMixture",
    "Flow",
    "IndependentBernoulli",
    "MaskedNetwork",
    "NormalMixture",
    "Planar",
    "PowerSpherical",
    "Radial",
    "VonMisesFisher",
    "tempered",
]
