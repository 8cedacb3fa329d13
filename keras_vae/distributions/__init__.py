"""Distributions that TensorFlow Probability lacks, written as TFP distributions."""

from keras_vae.distributions.autoregressive import Autoregressive, MaskedNetwork
from keras_vae.distributions.bernoulli import IndependentBernoulli, ScoredBernoulli
from keras_vae.distributions.codes import AutoregressiveCodes, Codes, RelaxedCategorical, UniformCodes
from keras_vae.distributions.columns import Columns
from keras_vae.distributions.counts import Multinomial, NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from keras_vae.distributions.flow import Flow, Planar, Radial
from keras_vae.distributions.joint import Joint
from keras_vae.distributions.log_cosh import LogCosh
from keras_vae.distributions.logistic import DiscretizedLogisticMixture
from keras_vae.distributions.marginal import ClassMarginal, Marginal
from keras_vae.distributions.normal_mixture import NormalMixture
from keras_vae.distributions.observed import Observed, is_product, whole
from keras_vae.distributions.poincare import wrapped_normal
from keras_vae.distributions.scored import Scored
from keras_vae.distributions.sphere import PowerSpherical, VonMisesFisher
from keras_vae.distributions.temperature import tempered

__all__ = [
    "Autoregressive",
    "AutoregressiveCodes",
    "ClassMarginal",
    "Codes",
    "Columns",
    "DiscretizedLogisticMixture",
    "Flow",
    "IndependentBernoulli",
    "Joint",
    "LogCosh",
    "Marginal",
    "MaskedNetwork",
    "Multinomial",
    "NegativeBinomial",
    "NormalMixture",
    "Observed",
    "Planar",
    "Poisson",
    "PowerSpherical",
    "Radial",
    "RelaxedCategorical",
    "Scored",
    "ScoredBernoulli",
    "UniformCodes",
    "VonMisesFisher",
    "ZeroInflatedNegativeBinomial",
    "is_product",
    "tempered",
    "whole",
    "wrapped_normal",
]
