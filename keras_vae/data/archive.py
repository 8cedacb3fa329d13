"""Data sets as .npz files, which can be read without TensorFlow."""

import os
import zipfile
from pathlib import Path

import numpy as np

from keras_vae import files
from keras_vae.data.dataset import DataError, DataSet, Split

_SPLITS = ("train", "validation", "test")


def save(dataset: DataSet, path: str | os.PathLike) -> None:
    """Writes a data set to one .npz file, which `keras_vae.data.load` reads.

    Args:
        dataset: the data set.
        path: the file. If it is named after the data set, `cifar10.npz`, then `load("cifar10", data_dir=folder)` finds
            it.
    """
    arrays = {"name": np.array(dataset.name), "binary": np.array(dataset.binary)}
    for key in _SPLITS:
        split = getattr(dataset, key)
        arrays[f"{key}/images"] = split.images
        if split.labels is not None:
            arrays[f"{key}/labels"] = split.labels
        if split.attributes is not None:
            arrays[f"{key}/attributes"] = np.stack(list(split.attributes.values()), axis=1)
            arrays[f"{key}/attribute_names"] = np.array(list(split.attributes))
            arrays[f"{key}/attributes_known"] = split.attributes_known

    def write(partial):
        # To an open file, since numpy adds .npz to names without it.
        with open(partial, "wb") as file:
            np.savez(file, **arrays)

    files.replace(Path(path), write)


def is_one(path: Path) -> bool:
    """Whether a file is one that `save` wrote, damaged or not."""
    try:
        with zipfile.ZipFile(path) as file:
            return "name.npy" in file.namelist() or not any(name.endswith(".npy") for name in file.namelist())
    except (zipfile.BadZipFile, OSError):
        return path.is_file()


def load(path: str | os.PathLike) -> DataSet:
    """Reads a data set that `save` wrote.

    Args:
        path: the file.

    Returns:
        The data set.

    Raises:
        DataError: if the file is damaged, or was not written by `save`.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            splits = [_split(arrays, key) for key in _SPLITS]
            return DataSet(str(arrays["name"]), bool(arrays["binary"]), *splits)
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"This file is damaged, or not a data set that `keras_vae.data.save` wrote ({error}). Received: {path}"
        ) from error


def _split(arrays, key):
    images = arrays[f"{key}/images"]
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) == 0:
        raise ValueError(f"{key}/images are {images.dtype} of shape {images.shape}, not uint8 (N, H, W, C)")
    labels = arrays.get(f"{key}/labels")
    if f"{key}/attributes" not in arrays:
        return Split(images, labels)
    attributes = dict(zip(arrays[f"{key}/attribute_names"].tolist(), arrays[f"{key}/attributes"].T, strict=True))
    return Split(images, labels, attributes, arrays[f"{key}/attributes_known"])
