"""Builders of encoders and decoders: ordinary Keras models, which anything else of the same shapes can replace."""

from keras_vae.networks.conv import conv, conv1d
from keras_vae.networks.labelled import labelled
from keras_vae.networks.ladder import ladder
from keras_vae.networks.linear import linear
from keras_vae.networks.mlp import mlp
from keras_vae.networks.resnet import resnet
from keras_vae.networks.table import table
from keras_vae.networks.transformer import diffusion_transformer

__all__ = [
    "conv",
    "conv1d",
    "diffusion_transformer",
    "labelled",
    "ladder",
    "linear",
    "mlp",
    "resnet",
    "table",
]
