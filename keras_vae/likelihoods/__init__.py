"""p(x|z): decoder features in, a TFP distribution over x out."""

from keras_vae import parts
from keras_vae.likelihoods.base import LOG_SCALE_BOUND, Likelihood
from keras_vae.likelihoods.binary import Bernoulli
from keras_vae.likelihoods.columns import Columns
from keras_vae.likelihoods.continuous import Beta, ContinuousBernoulli, Laplace, LogCosh, Normal, StudentT
from keras_vae.likelihoods.counts import Multinomial, NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from keras_vae.likelihoods.discrete import Categorical, DiscretizedLogistic, DiscretizedLogisticMixture
from keras_vae.likelihoods.features import MultiScaleSSIM, Perceptual
from keras_vae.likelihoods.from_function import FromFunction
from keras_vae.likelihoods.standardized import Standardized

__all__ = [
    "LOG_SCALE_BOUND",
    "Bernoulli",
    "Beta",
    "Categorical",
    "Columns",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "FromFunction",
    "Laplace",
    "Likelihood",
    "LogCosh",
    "MultiScaleSSIM",
    "Multinomial",
    "NegativeBinomial",
    "Normal",
    "Perceptual",
    "Poisson",
    "Standardized",
    "StudentT",
    "ZeroInflatedNegativeBinomial",
    "get",
]


def get(identifier: Likelihood | str) -> Likelihood:
    """A likelihood from an instance or a spec, such as "bernoulli" or "normal:learned"; "gaussian" means `Normal`."""
    return parts.get(Likelihood, identifier)
