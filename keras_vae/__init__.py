"""Variational autoencoders for Keras 3, as compositions of five parts."""

from keras_vae import (
    backend,
    data,
    distributions,
    inference,
    likelihoods,
    metrics,
    networks,
    objectives,
    posteriors,
    priors,
    schedules,
)
from keras_vae.model import VAE, LatentVariableModel

__version__ = "0.1.0"

__all__ = [
    "VAE",
    "LatentVariableModel",
    "backend",
    "data",
    "distributions",
    "inference",
    "likelihoods",
    "metrics",
    "networks",
    "objectives",
    "posteriors",
    "priors",
    "schedules",
]
