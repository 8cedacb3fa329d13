"""Ways to draw latents that have no density: arguments of `sample`, and no parts of a model."""

from keras_vae.samplers.base import Sampler
from keras_vae.samplers.flow_matching import FlowMatching, flow_matching
from keras_vae.samplers.neighbourhood import Neighbourhood

__all__ = ["FlowMatching", "Neighbourhood", "Sampler", "flow_matching"]
