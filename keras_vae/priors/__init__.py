"""p(z), a TFP distribution over z."""

from keras_vae import parts
from keras_vae.priors.base import Prior
from keras_vae.priors.fitted import FittedMixture
from keras_vae.priors.normal import StandardNormal

__all__ = ["FittedMixture", "Prior", "StandardNormal", "get"]


def get(identifier: Prior | str, size: int | tuple[int, ...]) -> Prior:
    """A prior from an instance, or from a spec ("standard_normal") and the size of its latent."""
    return parts.get(Prior, identifier, size)
