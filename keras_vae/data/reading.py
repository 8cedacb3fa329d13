"""What a trained model is given: pictures, arrays and tables, in the units that it was trained in."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_vae.columns import TABLE_SUFFIXES
from keras_vae.data import arrays, examples, pictures
from keras_vae.data.conversion import convert
from keras_vae.data.dataset import DataError
from keras_vae.data.frames import is_table, read_frame
from keras_vae.data.table import Schema

if TYPE_CHECKING:
    from keras_vae.models.base import LatentVariableModel

# Pictures that are read at a time.
_AT_ONCE = 64


class _Source(NamedTuple):
    """A file: how many examples it holds, whether they are levels, and a function that reads some of them."""

    path: Path
    count: int
    levels: bool
    read: Callable[[int, int], np.ndarray]


class Given:
    """Examples for a model, which are read when they are asked for, `given[start:stop]`: (N, *X), in its units.

    An example is the same whatever is read beside it. Where the model sees binary images, a level v is 1 with
    probability v / 255, by the same thresholds for all images.

    Args:
        paths: see `read_images`.
        model: the model.

    Raises:
        DataError: if there are no examples, if they differ in shape or kind, or if a file cannot be read.
        OSError: if a file cannot be opened.
    """

    def __init__(self, paths: Iterable[str | os.PathLike], model: "LatentVariableModel"):
        self._kind, self._shape = model.likelihood.data, tuple(model.image_shape)
        self._limits = [getattr(model.likelihood, name, None) for name in ("seen_depth", "seen_range")]
        self._schema = Schema(model.likelihood.columns) if self._kind == "table" else None
        paths = list(map(Path, paths))
        files = [file for path in paths for file in (_readable(path) if path.is_dir() else [path])]
        self._sources = [self._source(file) for file in files]
        if not sum(source.count for source in self._sources):
            what = "rows" if self._schema else "images"
            raise DataError(f"There are no {what}. Received: {', '.join(map(str, paths)) or 'no files'}")
        if len({source.levels for source in self._sources}) > 1:
            kinds = [next(s for s in self._sources if s.levels == levels) for levels in (True, False)]
            raise DataError(
                "Images must be of one kind. Received: "
                + ", ".join(f"{'levels' if s.levels else 'numbers'} in {s.path}" for s in kinds)
            )
        self._starts = np.cumsum([0, *(source.count for source in self._sources)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def name(self, index: int) -> str:
        """Where an example is from: "cat.png", or "cats.npy[3]" of a file of several."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        source = self._sources[number]
        alone = source.count == 1 and self._schema is None
        return str(source.path) if alone else f"{source.path}[{index - self._starts[number]}]"

    def state(self) -> str:
        """A digest of the files: their names, sizes and times; another one where any of them has changed."""
        found = hashlib.sha256()
        for source in self._sources:
            stat = arrays.parted(source.path)[0].stat()
            found.update(f"{source.path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        return found.hexdigest()

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        first, last = np.searchsorted(self._starts, (start, stop - 1), side="right") - 1
        chosen = range(first, last + 1)

        def read(number):
            begin, source = self._starts[number], self._sources[number]
            return source.read(max(0, start - begin), min(source.count, stop - begin))

        if len(chosen) == 1:
            return read(first)
        with ThreadPoolExecutor() as pool:
            return np.concatenate(list(pool.map(read, chosen)))

    def blocks(self, start: int = 0) -> Iterator[np.ndarray]:
        """The examples from `start` on, so many at a time as take little memory."""
        return (self[begin : begin + _AT_ONCE] for begin in range(start, len(self), _AT_ONCE))

    def _source(self, path):
        if self._schema is not None:
            return self._rows(path)
        if arrays.is_file(path):
            array = examples.read_like(path, self._shape, self._kind, *self._limits)
            self._check_shape(array, path)
            bits = array.dtype == bool
            levels = (bits or array.dtype == np.uint8) and self._kind not in examples.RAW

            def read(start, stop):
                return self._seen(array[start:stop].astype("uint8", copy=False), bits) if levels else array[start:stop]

            return _Source(path, len(array), levels, read)
        if len(self._shape) != 3 or self._shape[-1] not in (1, 3):
            raise DataError(
                f"This model sees arrays of shape {self._shape}, which a picture cannot be: give a file of arrays, "
                f"such as .npy. Received: {path}"
            )
        path.stat()
        return _Source(path, 1, True, lambda *_: self._picture(path))

    def _check_shape(self, array, path):
        if array.shape[1:] != self._shape:
            expected = ", ".join(map(str, ("N", *self._shape)))
            raise DataError(f"This model sees arrays of shape ({expected}). Received: shape {array.shape} in {path}")

    def _picture(self, path):
        try:
            levels = pictures.read(path, *self._shape)[None]
        except pictures.Unreadable as error:
            raise DataError(
                f"This is neither a picture nor a file of arrays, or it is damaged ({error}). Received: {path}"
            ) from error
        return self._seen(levels, self._kind == "binary" and levels.max() <= 1)

    def _seen(self, levels, binary):
        if self._kind != "binary" or binary:
            return convert(levels, self._kind, binary=binary)
        return np.concatenate([convert(image[None], self._kind) for image in levels])

    def _rows(self, path):
        if is_table(path):
            try:
                found = self._schema.encode(read_frame(path))
            except ValueError as error:
                raise error if isinstance(error, DataError) else DataError(f"{error} In {path}") from error
        elif arrays.is_file(path):
            found = examples.read_like(path, self._shape, "table")
            self._check_shape(found, path)
        else:
            raise DataError(
                f"This model sees rows of a table: {', '.join((*TABLE_SUFFIXES, '.npy'))}. Received: {path}"
            )
        return _Source(path, len(found), False, lambda start, stop: found[start:stop])


def _readable(folder):
    """The pictures in a folder; a warning names those that are none, which training leaves out, too."""
    found, failed = [], {}
    for file in pictures.find(folder):
        try:
            pictures.header(file)
            found.append(file)
        except pictures.Unreadable as error:
            failed[str(file.relative_to(folder))] = error
    if failed:
        warnings.warn(f"{pictures.left_out(failed, len(found) + len(failed))} They are left out.", stacklevel=4)
    return found


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
    return Given(paths, model)[:]


def read_named(paths: Iterable[str | os.PathLike], model: "LatentVariableModel") -> tuple[np.ndarray, list[str]]:
    """`read_images`, and where each image is from: "cat.png", or "cats.npy[3]" of an array of several."""
    given = Given(paths, model)
    return given[:], [given.name(index) for index in range(len(given))]
