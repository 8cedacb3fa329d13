"""One entrance to every data set: a name, or a folder of images."""

import difflib
import os
from pathlib import Path

from keras_vae.data import archive, folder, named
from keras_vae.data.dataset import DataError


def names():
    """The names that `load` knows."""
    return ("digits", *named.PREPARED)


def load(name, data_dir=None, image_size=None, seed=0):
    """Reads a data set into memory.

    Args:
        name: one of `names()`, or a folder of images (see `keras_vae.data.folder`); a name goes first, "./mnist" is a
            folder in any case. Or a .npz file that `keras_vae.data.save` wrote.
        data_dir: where tensorflow-datasets keeps its data; TFDS_DATA_DIR, or its own default, where None. A file
            NAME.npz there goes first, and needs no TensorFlow.
        image_size: height and width to which the images of a folder are resized, 64 where None. Named data sets keep
            theirs.
        seed: decides the splits of a folder that has none of its own. Those of named data sets are always the same.

    Returns:
        A `DataSet`.

    Raises:
        DataError: where there is no such data set, or it cannot be read; the message says what to do.

    Example:
        >>> load("digits").image_shape
        (8, 8, 1)
    """
    name = os.fspath(name)
    path = Path(os.path.expanduser(name))
    if path.suffix == ".npz" and path.is_file():
        return archive.load(path)
    if name in names():
        dataset = _named(name, data_dir)
        if image_size not in (None, dataset.image_shape[0]):
            raise DataError(
                f"`image_size` is for folders of images: those of {name!r} are {dataset.image_shape[0]} pixels high "
                f"and wide. Leave it out. Received: image_size={image_size!r}"
            )
        return dataset
    if name and path.is_dir():
        return folder.load_folder(name, image_size, seed)
    raise DataError(f"{_reason(name, path)} Received: name={name!r}")


def _named(name, data_dir):
    if name == "digits":
        return named.load_digits()
    place = data_dir or os.environ.get("TFDS_DATA_DIR")
    if place and (file := Path(place).expanduser() / f"{name}.npz").is_file():
        return archive.load(file)
    return named.load_prepared(name, data_dir)


def _reason(name, path):
    """Why `name` is no data set, and what may have been meant."""
    if path.is_file():
        return "This is a file; a data set is a folder of images. Give the folder."
    if path.name != name:
        return f"The folder {str(path)!r} does not exist (seen from {os.getcwd()!r})."
    near = difflib.get_close_matches(name.lower(), names())
    return (
        f"There is no data set of this name{', did you mean ' + ' or '.join(map(repr, near)) + '?' if near else '.'} "
        f"Known are {', '.join(names())}, and any folder of images by its path."
    )
