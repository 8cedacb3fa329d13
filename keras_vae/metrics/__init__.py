"""Metrics: arrays in, numbers out."""

from keras_vae.metrics.bounds import Agreement, agreement, bits_per_dim
from keras_vae.metrics.images import frechet_distance, has_ssim, psnr, squared_error, ssim
from keras_vae.metrics.labels import accuracy, latent_classifier, named_clusters
from keras_vae.metrics.latents import active_units, attribute_direction

__all__ = [
    "Agreement",
    "accuracy",
    "active_units",
    "agreement",
    "attribute_direction",
    "bits_per_dim",
    "frechet_distance",
    "has_ssim",
    "latent_classifier",
    "named_clusters",
    "psnr",
    "squared_error",
    "ssim",
]
