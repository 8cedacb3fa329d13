"""Measures: arrays and a model in, numbers out."""

from keras_vae.metrics.bounds import bits_per_dim

__all__ = ["bits_per_dim"]
