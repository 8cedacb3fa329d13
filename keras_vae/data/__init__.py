"""Data sets by name, folders of images, picture files, and the conversions that likelihoods need."""

from keras_vae.data.archive import save
from keras_vae.data.arrays import parted
from keras_vae.data.celeb_a64 import prepare_celeb_a64
from keras_vae.data.conversion import convert, to_levels
from keras_vae.data.dataset import DataError, DataSet, Split
from keras_vae.data.dicts import from_dicts
from keras_vae.data.examples import RAW, from_arrays
from keras_vae.data.frames import is_table, read_frames, write_frame
from keras_vae.data.loading import load, look, names
from keras_vae.data.reading import Given, read_images, read_named
from keras_vae.data.table import Schema, schema

__all__ = [
    "RAW",
    "DataError",
    "DataSet",
    "Given",
    "Schema",
    "Split",
    "convert",
    "from_arrays",
    "from_dicts",
    "is_table",
    "load",
    "look",
    "names",
    "parted",
    "prepare_celeb_a64",
    "read_frames",
    "read_images",
    "read_named",
    "save",
    "schema",
    "to_levels",
    "write_frame",
]
