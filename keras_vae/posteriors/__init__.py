"""q(z|x): encoder features in, a TFP distribution over z out."""

from keras_vae import parts
from keras_vae.posteriors.base import Posterior
from keras_vae.posteriors.flow import InverseAutoregressiveFlow, PlanarFlow, RadialFlow
from keras_vae.posteriors.normal import DiagonalNormal, FullCovarianceNormal, ResidualNormal
from keras_vae.posteriors.poincare import WrappedNormal
from keras_vae.posteriors.point import Point
from keras_vae.posteriors.sphere import PowerSpherical, VonMisesFisher

__all__ = [
    "DiagonalNormal",
    "FullCovarianceNormal",
    "InverseAutoregressiveFlow",
    "PlanarFlow",
    "Point",
    "Posterior",
    "PowerSpherical",
    "RadialFlow",
    "ResidualNormal",
    "VonMisesFisher",
    "WrappedNormal",
    "get",
]


def get(identifier: Posterior | str, size: int | tuple[int, ...]) -> Posterior:
    """A posterior from an instance, or from a spec ("diagonal_normal:softplus") and the size of its latent."""
    return parts.get(Posterior, identifier, size)
