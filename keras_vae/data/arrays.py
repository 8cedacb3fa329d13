"""Files of arrays: numpy's, HDF5, MATLAB's, the idx of MNIST, sparse matrices."""

import gzip
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_vae.data.dataset import DataError

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".mat", ".mtx", ".h5ad", "-ubyte", "-ubyte.gz")
# Between a file and the name of an array in it.
KEY = "::"
# Bytes up to which arrays are made in memory, and of which rows are copied at a time.
LARGE, _BLOCK = 2**28, 2**24


class Stored(NamedTuple):
    """An array in a file, which is not read yet."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


def parted(name: str | os.PathLike) -> tuple[Path, str | None]:
    """A file, and the name of an array in it where "FILE::NAME" has one."""
    path, _, key = os.fspath(name).partition(KEY)
    return Path(path).expanduser(), key or None


def is_file(name: str | os.PathLike) -> bool:
    """Whether a name is that of a file of arrays, which is there."""
    path, _ = parted(name)
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def listed(path: Path) -> dict[str, Stored]:
    """The arrays in a file, by name; "" where there is but one.

    Raises:
        DataError: for a file that is damaged, or none of arrays of numbers.
    """
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    try:
        found = _LISTED[suffix](path)
    except (DataError, ImportError, MemoryError):
        raise
    except Exception as error:
        # Each reader has errors of its own for what is damaged.
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"This file is damaged, or holds no arrays of numbers ({told[0]}). Received: {path}") from error
    if not found:
        raise DataError(f"This file holds no arrays of numbers. Received: {path}")
    return found


def _whole(array):
    return Stored(array.shape, array.dtype, lambda: array)


def rows_of(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of an array: a copy in memory, or of what is large one in a temporary file, which no name leads to.

    Raises:
        DataError: if there is no room for the file.
    """
    if len(rows) * array[:1].nbytes <= LARGE:
        return array[rows]
    made = empty((len(rows), *array.shape[1:]), array.dtype)
    step = max(1, _BLOCK // array[:1].nbytes)
    for start in range(0, len(rows), step):
        made[start : start + step] = array[rows[start : start + step]]
    return made


def empty(shape: tuple[int, ...], dtype: str | np.dtype) -> np.ndarray:
    """An array to be filled: in memory, or what is large in a temporary file, which no name leads to.

    Raises:
        DataError: if there is no room for the file.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= LARGE:
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):
                # A full disk is told now, and not by a signal later.
                os.posix_fallocate(file.fileno(), 0, size)
            # The map outlives the name, and its pages are the system's to take back.
            return np.memmap(file, dtype, "w+", shape=shape)
    except OSError as error:
        raise DataError(
            f"A copy of {size:,} bytes cannot be written ({error.strerror or error}): make room, or set TMPDIR to a "
            f"larger directory. Received: an array of shape {tuple(shape)}, {tempfile.gettempdir()}"
        ) from error


def _npy(path):
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"its numbers are of dtype {array.dtype}")
    return {"": _whole(array)}


def _npz(path):
    with np.load(path, allow_pickle=False) as file:
        if {"format", "shape", "data"} <= set(file.files):
            from scipy import sparse

            return {"": _whole(sparse.load_npz(path).toarray())}
        # Only what is chosen is read, but the headers.
        return {name: stored for name in file.files if (stored := _member(path, file, name)) is not None}


def _member(path, file, name):
    with file.zip.open(f"{name}.npy") as content:
        version = np.lib.format.read_magic(content)
        shape, _, dtype = getattr(np.lib.format, f"read_array_header_{version[0]}_{version[1]}")(content)

    def read():
        with np.load(path, allow_pickle=False) as again:
            return again[name]

    return Stored(shape, dtype, read) if dtype.kind in "biufUS" else None


def _hdf5(path, turned=False):
    """The arrays of an HDF5 file; those that MATLAB wrote have their axes the other way round."""
    import h5py

    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf" and item.shape:
            found[name] = Stored(item.shape[::-1] if turned else item.shape, item.dtype, lambda: read(name))

    def read(name):
        with h5py.File(path, "r") as file:
            return file[name][()].T if turned else file[name][()]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


def _mat(path):
    from scipy import io

    try:
        held = io.whosmat(path)
    except NotImplementedError:
        # Of version 7.3, which is HDF5.
        return _hdf5(path, turned=True)

    def stored(name, shape):
        return Stored(shape, np.dtype("float64"), lambda: io.loadmat(path, variable_names=[name])[name])

    numeric = {"double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
    return {name: stored(name, shape) for name, shape, kind in held if kind in numeric}


def _mtx(path):
    from scipy import io

    matrix = io.mmread(path)
    return {"": _whole(matrix.toarray() if hasattr(matrix, "toarray") else matrix)}


def _h5ad(path):
    try:
        import anndata
    except ImportError as error:
        raise DataError(f"Reading .h5ad files takes anndata: pip install anndata. Received: {path}") from error
    matrix = anndata.read_h5ad(path).X
    return {"": _whole(matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix))}


def _idx(path):
    """Images of MNIST and its like, with the labels and the test images that lie beside them.

    Reference: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", file formats.
    """
    found = {}
    for split, file in {"train": path, "test": path.with_name(path.name.replace("train", "t10k"))}.items():
        labels = file.with_name(file.name.replace("images", "labels").replace("idx3", "idx1"))
        for role, place in {"images": file, "labels": labels}.items():
            if (split == "train" or file != path) and place.is_file() and (role == "images" or labels != file):
                found[f"{split}_{role}"] = _whole(_read_idx(place))
    # Of a file that is not named after them.
    return found if len(found) > 1 else {"": found["train_images"]}


_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def _read_idx(path):
    content = (gzip.open if path.suffix == ".gz" else open)(path, "rb")
    with content as file:
        raw = file.read()
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES:
        raise ValueError("it does not begin as idx files do")
    axes = raw[3]
    shape = tuple(np.frombuffer(raw, ">i4", axes, 4).tolist())
    array = np.frombuffer(raw, _IDX_TYPES[raw[2]], offset=4 + 4 * axes)
    if len(array) != math.prod(shape):
        raise ValueError(f"it has {len(array)} numbers for an array of shape {shape}")
    return array.reshape(shape).astype(array.dtype.newbyteorder("="))


_LISTED = {
    ".npy": _npy,
    ".npz": _npz,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".mat": _mat,
    ".mtx": _mtx,
    ".h5ad": _h5ad,
    "-ubyte": _idx,
    "-ubyte.gz": _idx,
}
