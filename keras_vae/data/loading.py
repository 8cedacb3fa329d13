"""Every data set by one function: a name, a folder of images, a table, or an .npz file."""

import os
from pathlib import Path

from keras_vae.columns import TABLE_SUFFIXES
from keras_vae.data import archive, folder, named, table
from keras_vae.data.dataset import DataError, DataSet
from keras_vae.names import nearest


def names() -> tuple[str, ...]:
    """The names that `load` knows."""
    return ("digits", *named.PREPARED)


def load(
    name: str | os.PathLike,
    data_dir: str | os.PathLike | None = None,
    image_size: int | None = None,
    seed: int = 0,
) -> DataSet:
    """Reads a data set into memory.

    Args:
        name: one of `names()`, a folder of images (see `keras_vae.data.folder`), a table (.csv, .tsv, .parquet), or an
            .npz file that `keras_vae.data.save` wrote. A known name comes before a folder of the same name, "./mnist"
            being the folder.
        data_dir: data directory of tensorflow-datasets; None: TFDS_DATA_DIR, or the default of tensorflow-datasets. A
            file NAME.npz in it is read first, and needs no TensorFlow.
        image_size: height and width to which the images of a folder are resized; None: 64. Named data sets have fixed
            sizes.
        seed: seed of the splits of a folder that has none, or of a table. The splits of named data sets are fixed.

    Returns:
        The data set.

    Raises:
        DataError: if there is no such data set, or it cannot be read; the message says what to do.

    Example:
        >>> load("digits").image_shape
        (8, 8, 1)
    """
    name = os.fspath(name)
    path = Path(os.path.expanduser(name))
    if path.suffix == ".npz" and path.is_file():
        return archive.load(path)
    if path.suffix in TABLE_SUFFIXES and path.is_file():
        if image_size is not None:
            raise DataError(f"A table has no images: leave out `image_size`. Received: image_size={image_size!r}")
        return table.load_table(path, seed)
    if name in names():
        dataset = _named(name, data_dir)
        if image_size not in (None, dataset.image_shape[0]):
            raise DataError(
                f"`image_size` is for folders of images; the images of {name!r} are {dataset.image_shape[0]} pixels "
                f"high and wide. Leave it out. Received: image_size={image_size!r}"
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
    """Why `name` is not a data set, with the nearest names."""
    if path.is_file():
        return (
            "This is a file, but a data set is a folder of images, whose path to give, or a table: "
            f"{', '.join(TABLE_SUFFIXES)}."
        )
    if path.name != name:
        return f"The folder {str(path)!r} does not exist (seen from {os.getcwd()!r})."
    near = nearest(name.lower(), names())
    return (
        f"There is no data set of this name{', did you mean ' + ' or '.join(map(repr, near)) + '?' if near else '.'} "
        f"Known are {', '.join(names())}, and any folder of images by its path."
    )
