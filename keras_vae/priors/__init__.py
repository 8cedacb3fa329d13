"""p(z), a TFP distribution over z."""

from keras_vae import parts
from keras_vae.priors.base import Prior
from keras_vae.priors.codes import AutoregressiveCodes, UniformCodes
from keras_vae.priors.fitted import FittedMixture
from keras_vae.priors.flow import FlowPrior
from keras_vae.priors.joint import JointPrior
from keras_vae.priors.m2 import M2
from keras_vae.priors.mixture import NormalMixture, VampPrior
from keras_vae.priors.normal import ConditionalNormal, StandardNormal
from keras_vae.priors.poincare import WrappedNormalPrior
from keras_vae.priors.sphere import HypersphericalUniform
from keras_vae.priors.two_stage import TwoStage

__all__ = [
    "M2",
    "AutoregressiveCodes",
    "ConditionalNormal",
    "FittedMixture",
    "FlowPrior",
    "HypersphericalUniform",
    "JointPrior",
    "NormalMixture",
    "Prior",
    "StandardNormal",
    "TwoStage",
    "UniformCodes",
    "VampPrior",
    "WrappedNormalPrior",
    "get",
]


def get(
    identifier: Prior | str, size: int | tuple[int, ...], codes: int | None = None, coded: int | None = None
) -> Prior:
    """A prior from an instance, or from a spec ("standard_normal") and the size of its latent.

    Args:
        identifier: a `Prior`, or a spec.
        size: D, or the shape of a map.
        codes: how many codes there are, where latents are codes.
        coded: how many units are codes, where not all of them are.
    """
    return parts.get(Prior, identifier, size, codes=codes, coded=coded)
