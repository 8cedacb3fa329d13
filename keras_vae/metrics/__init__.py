"""Measures: arrays and a model in, numbers out."""

from keras_vae.metrics.bounds import bits_per_dim
from keras_vae.metrics.latents import active_units

__all__ = ["active_units", "bits_per_dim"]
