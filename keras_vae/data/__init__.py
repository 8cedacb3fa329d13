"""Data sets by name, folders of images, and what a likelihood may see of them."""

from keras_vae.data.archive import save
from keras_vae.data.celeb_a64 import prepare_celeb_a64
from keras_vae.data.conversion import convert
from keras_vae.data.dataset import DataError, DataSet, Split
from keras_vae.data.loading import load, names

__all__ = ["DataError", "DataSet", "Split", "convert", "load", "names", "prepare_celeb_a64", "save"]
