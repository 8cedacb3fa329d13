"""Every data set by one function: a name, a folder of images, a table, or a file of arrays."""

import functools
import os
from pathlib import Path

from keras_vae.columns import TABLE_SUFFIXES
from keras_vae.data import archive, arrays, examples, folder, frames, hubs, named, table
from keras_vae.data.dataset import DataError, DataSet
from keras_vae.names import nearest


def names() -> tuple[str, ...]:
    """The names that `load` knows."""
    return ("digits", *named.PREPARED)


def look(name: str | os.PathLike, data_dir: str | os.PathLike | None = None) -> tuple[str, int] | None:
    """What there is under a name that is none of `names()`, or None where there is nothing.

    Args:
        name, data_dir: as of `load`.

    Returns:
        What it holds, "pictures", "bits", "levels", "counts", "numbers" or "table", and about how many examples there
        are to train on.

    Raises:
        DataError: for a file that is damaged.
    """
    name = os.fspath(name)
    path, _ = arrays.parted(name)
    if hubs.is_one(name):
        return _looked(name, data_dir)
    if not name or name in names() or not path.exists():
        return None
    return ("pictures", folder.count(path)) if path.is_dir() else _looked(name, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _looked(name, stamp):
    """`look` into a file, again where it has changed; or into a hub's data set, in a directory."""
    if frames.is_table(name):
        return "table", len(frames.read_frame(Path(name).expanduser())) * 4 // 5
    found = load(name, stamp if hubs.is_one(name) else None)
    if found.numbers or found.binary:
        return found.numbers or "bits", len(found.train)
    return "pictures" if found.pictures else "levels", len(found.train)


def load(
    name: str | os.PathLike,
    data_dir: str | os.PathLike | None = None,
    image_size: int | None = None,
    seed: int = 0,
) -> DataSet:
    """Reads a data set into memory.

    Args:
        name: one of `names()`; a folder of images (see `keras_vae.data.folder`); a table (.csv, .tsv, .parquet); a file
            of arrays (.npy, .npz, .h5, .mat, idx-ubyte, .mtx, .h5ad), or "FILE::NAME" for one of them (see
            `keras_vae.data.examples.load_arrays`); an .npz file that `keras_vae.data.save` wrote; "tfds:NAME", any data
            set of tensorflow-datasets; or "hf:USER/NAME", one of the Hugging Face Hub. A known name comes before a
            folder of the same name, "./mnist" being the folder.
        data_dir: data directory of tensorflow-datasets; None: TFDS_DATA_DIR, or the default of tensorflow-datasets. A
            file NAME.npz in it is read first, and needs no TensorFlow.
        image_size: height and width to which the images of a folder are resized; None: 64. Others have fixed sizes.
        seed: seed of the splits of what has none. The splits of named data sets are fixed.

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
    if hubs.is_one(name):
        return hubs.load_hub(name, data_dir, image_size, seed)
    if path.suffix == ".npz" and archive.is_one(path):
        return archive.load(path)
    for there, read, what in (
        (frames.is_table(path) and path.is_file(), table.load_table, "A table has no images"),
        (arrays.is_file(name), examples.load_arrays, "Pictures in arrays keep their size"),
    ):
        if there:
            if image_size is not None:
                raise DataError(f"{what}: leave out `image_size`. Received: image_size={image_size!r}")
            return read(name, seed)
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
            f"{', '.join(TABLE_SUFFIXES)}, or of arrays: {', '.join(arrays.SUFFIXES)}."
        )
    if path.suffix.lower() in (*TABLE_SUFFIXES, *arrays.SUFFIXES):
        return f"The file {str(path)!r} does not exist (seen from {os.getcwd()!r})."
    if path.name != name:
        return f"The folder {str(path)!r} does not exist (seen from {os.getcwd()!r})."
    near = nearest(name.lower(), names())
    return (
        f"There is no data set of this name{', did you mean ' + ' or '.join(map(repr, near)) + '?' if near else '.'} "
        f"Known are {', '.join(names())}, and any folder of images by its path."
    )
