"""What a trained model is given: pictures, arrays and tables, in the units that it was trained in."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_vae.columns import TABLE_SUFFIXES
from keras_vae.data import arrays, examples, pictures
from keras_vae.data.conversion import convert
from keras_vae.data.dataset import DataError
from keras_vae.data.table import Schema, read_frame

if TYPE_CHECKING:
    from keras_vae.models.base import LatentVariableModel


def read_images(paths: Iterable[str | os.PathLike], model: "LatentVariableModel") -> np.ndarray:
    """Reads images as a model sees them.

    Args:
        paths: pictures, folders of pictures, and files of arrays (.npy, .npz, .h5 ..., or "FILE::NAME"; see
            `keras_vae.data.examples.load_arrays`), all splits of which are read. Levels are converted as those of
            training were; other arrays hold numbers in the units of the model's data. Where the model sees binary
            images, levels are binarised with seed 0. Of a model of a table, tables with its columns.
        model: the model; pictures are cropped and resized to its `image_shape`.

    Returns:
        (N, *X), in the units of the model's data.

    Raises:
        DataError: if there are no images, if they differ in shape or kind, or if a file cannot be read.
        OSError: if a file cannot be opened.

    Example: `vae.reconstruct(kv.data.read_images(["faces/"], vae))`.
    """
    return read_named(paths, model)[0]


def read_named(paths: Iterable[str | os.PathLike], model: "LatentVariableModel") -> tuple[np.ndarray, list[str]]:
    """`read_images`, and where each image is from: "cat.png", or "cats.npy[3]" of an array of several."""
    paths = list(map(Path, paths))
    if model.likelihood.data == "table":
        return _read_rows(paths, Schema(model.likelihood.columns))
    files = [file for path in paths for file in (pictures.find(path) if path.is_dir() else [path])]
    read_ones = [_read_file(file, model.image_shape, model.likelihood.data) for file in files]
    if not read_ones:
        raise DataError(f"There are no images. Received: {', '.join(map(str, paths))}")
    if len({a.dtype == np.uint8 for a in read_ones}) > 1 or len({a.shape[1:] for a in read_ones}) > 1:
        found = sorted({f"{a.dtype} {a.shape[1:]}" for a in read_ones})
        raise DataError(f"Images must have one shape and be of one kind. Received: {', '.join(found)}")
    images = read_ones[0] if len(read_ones) == 1 else np.concatenate(read_ones)
    names = [
        str(file) if len(array) == 1 else f"{file}[{index}]"
        for file, array in zip(files, read_ones, strict=True)
        for index in range(len(array))
    ]
    if images.dtype != np.uint8:
        return images, names
    kind = model.likelihood.data
    binary = kind == "binary" and images.max(initial=0) <= 1
    return convert(images, kind, seed=0, binary=binary), names


def _read_rows(paths, schema):
    """Rows of tables, or of .npy files that hold them as numbers, and their places: "adult.csv[3]"."""
    rows, names = [], []
    for path in paths:
        if path.suffix in TABLE_SUFFIXES:
            try:
                found = schema.encode(read_frame(path))
            except ValueError as error:
                raise error if isinstance(error, DataError) else DataError(f"{error} In {path}") from error
        elif arrays.is_file(path):
            found = _read_file(path, (len(schema),), "table")
        else:
            raise DataError(
                f"This model sees rows of a table: {', '.join((*TABLE_SUFFIXES, '.npy'))}. Received: {path}"
            )
        rows.append(found)
        names += [f"{path}[{number}]" for number in range(len(found))]
    if not rows:
        raise DataError("There are no rows. Received: no files")
    return np.concatenate(rows), names


def _read_file(path, image_shape, kind):
    """(N, *X): uint8 levels, or numbers in the units of data of a kind, as they are in a file of arrays."""
    if arrays.is_file(path):
        return examples.read_like(path, image_shape, kind)
    if len(image_shape) != 3 or image_shape[-1] not in (1, 3):
        raise DataError(
            f"This model sees arrays of shape {image_shape}, which a picture cannot be: give a file of arrays, "
            "such as .npy. "
            f"Received: {path}"
        )
    try:
        return pictures.read(path, *image_shape)[None]
    except pictures.Unreadable as error:
        raise DataError(
            f"This is neither a picture nor a file of arrays, or it is damaged ({error}). Received: {path}"
        ) from error
