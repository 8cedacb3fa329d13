"""Latent-variable models as Keras models."""

from keras_vae.models.base import LatentVariableModel
from keras_vae.models.hierarchical import HierarchicalVAE
from keras_vae.models.semisupervised import SemiSupervisedVAE
from keras_vae.models.vae import VAE

__all__ = ["VAE", "HierarchicalVAE", "LatentVariableModel", "SemiSupervisedVAE"]
