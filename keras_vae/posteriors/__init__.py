"""q(z|x): encoder features in, a TFP distribution over z out."""

from keras_vae import names, parts
from keras_vae.posteriors.base import Posterior
from keras_vae.posteriors.codebooks import ResidualQuantizer, VectorQuantizer
from keras_vae.posteriors.codes import FiniteScalar, OneHot
from keras_vae.posteriors.flow import InverseAutoregressiveFlow, PlanarFlow, RadialFlow
from keras_vae.posteriors.joint import Joint
from keras_vae.posteriors.normal import DiagonalNormal, FullCovarianceNormal, ResidualNormal
from keras_vae.posteriors.poincare import WrappedNormal
from keras_vae.posteriors.point import Point
from keras_vae.posteriors.sphere import PowerSpherical, VonMisesFisher

__all__ = [
    "DiagonalNormal",
    "FiniteScalar",
    "FullCovarianceNormal",
    "InverseAutoregressiveFlow",
    "Joint",
    "OneHot",
    "PlanarFlow",
    "Point",
    "Posterior",
    "PowerSpherical",
    "RadialFlow",
    "ResidualNormal",
    "ResidualQuantizer",
    "VectorQuantizer",
    "VonMisesFisher",
    "WrappedNormal",
    "for_decoder",
    "get",
]


def get(identifier: Posterior | str, size: int | tuple[int, ...]) -> Posterior:
    """A posterior from an instance, or from a spec ("diagonal_normal:softplus") and the size of its latent."""
    return parts.get(Posterior, identifier, size)


def for_decoder(identifier: Posterior | str, seen: int | tuple[int, ...]) -> Posterior:
    """A posterior from an instance, or from a spec, its size following from what the decoder takes of one example.

    Raises:
        ValueError: where no size goes with what the decoder takes.
    """
    if not isinstance(identifier, (str, names.Spec)):
        return get(identifier, seen)
    made, arguments = names.bound("posterior", identifier, seen)
    return made(made.size_seen(seen if isinstance(seen, tuple) else (seen,), **arguments), **arguments)
