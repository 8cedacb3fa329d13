"""Metrics: arrays in, numbers out."""

from keras_vae.metrics.bounds import bits_per_dim
from keras_vae.metrics.images import has_ssim, psnr, squared_error, ssim
from keras_vae.metrics.labels import accuracy, latent_classifier, named_clusters
from keras_vae.metrics.latents import active_units, attribute_direction

__all__ = [
    "accuracy",
    "active_units",
    "attribute_direction",
    "bits_per_dim",
    "has_ssim",
    "latent_classifier",
    "named_clusters",
    "psnr",
    "squared_error",
    "ssim",
]
