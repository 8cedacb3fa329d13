"""Arrays as data sets: which array is what, in which order, with which labels."""

import os

import numpy as np

from keras_vae.data import arrays, kinds, splits
from keras_vae.data.dataset import DataError, DataSet, Split

_EXAMPLES = ("x", "images", "image", "data", "samples", "features", "inputs", "input", "arr_0", "")
_LABELS = ("y", "labels", "label", "targets", "target", "classes", "class")


def load_arrays(name: str | os.PathLike, seed: int = 0) -> DataSet:
    """The data set of a file of arrays.

    Args:
        name: the file (see `keras_vae.data.arrays`), or "FILE::NAME" for an array in it. By themselves are found:
            examples called x, images, data ..., their labels y, labels, target ..., and splits in either of the forms
            x_train and train_images; or the only array of at least two axes.
        seed: of the splits that there are not: a tenth each.

    Returns:
        A `DataSet`; its notes say what was done to the numbers.

    Raises:
        DataError: where it is not clear which array is meant, or there are too few examples.
    """
    path, key = arrays.parted(name)
    listed = arrays.listed(path)
    parts = _parts(listed, key, path)
    found = {split: _oriented(*(None if array is None else array.read() for array in pair)) for split, pair in parts}
    return from_arrays(os.fspath(name), found, seed)


def from_arrays(
    name: str, given: dict[str, tuple], seed: int = 0, class_names: tuple[str, ...] | None = None
) -> DataSet:
    """The data set of arrays in memory.

    Args:
        name: what it is called.
        given: {split: (examples (N, ...), labels or None)}, "train" among them; the others are drawn from it.
        seed: of the draw.
        class_names: of the labels 0, 1, ...; None: the values themselves, where they are not such numbers.

    Raises:
        DataError: if there are too few examples, or splits do not go together.
    """
    read = {split: _as_split(x, y, name) for split, (x, y) in given.items()}
    # A split of dark pictures is one of levels all the same.
    kind = max((kinds.kind_of(x) for x, _ in read.values()), key=kinds.KINDS.index)
    depth = max(kinds.depth_of(x) for x, _ in read.values()) if kind == "levels" else None
    converted, notes = {}, []
    for split, (x, y) in read.items():
        x, said = kinds.converted(x, kind, depth)
        notes = notes or said
        converted[split] = x, y
    if len({x.shape[1:] for x, _ in converted.values()}) > 1:
        shapes = ", ".join(f"{split} {x.shape}" for split, (x, _) in converted.items())
        raise DataError(f"The examples of all splits must be of one shape. Received: {shapes}, name={name!r}")
    names, labels = _classes({split: y for split, (_, y) in converted.items()}, notes, class_names)
    index = splits.members({split: np.arange(len(x)) for split, (x, _) in converted.items()}, seed)
    if not all(map(len, index.values())):
        counts = ", ".join(f"{len(rows)} for {split}" for split, rows in index.items())
        raise DataError(f"Too few examples for three splits ({counts}). Received: name={name!r}")

    def split_of(split):
        source = split if split in converted else "train"
        x, y, rows = converted[source][0], labels[source], index[split]
        whole = len(rows) == len(x) and split in converted and set(converted) >= set(splits.NAMES)
        return Split(x if whole else arrays.rows_of(x, rows), None if y is None else y[rows])

    made = {split: split_of(split) for split in splits.NAMES}
    numbers = kind if kind in ("counts", "numbers") else None
    return DataSet(name, kind == "binary", **made, numbers=numbers, class_names=names, notes=tuple(notes), depth=depth)


def read_like(
    name: str | os.PathLike,
    shape: tuple[int, ...],
    kind: str,
    depth: int | None = None,
    limits: tuple[float, float] | None = None,
) -> np.ndarray:
    """The examples of a file of arrays, of all its splits, as a model's were when it was trained.

    Args:
        name: as of `load_arrays`.
        shape: *X, of one example of the model.
        kind: of data that the model sees, one of `keras_vae.training.values.KINDS`.
        depth: the largest level of the arrays that it was trained on, 1 of bits; None: not known.
        limits: the smallest and the largest number that it was trained on; None: not known.

    Returns:
        (N, *X): uint8 levels, bool bits, or numbers in the units of the model's data.

    Raises:
        DataError: where it is not clear which array is meant.
    """
    path, key = arrays.parted(name)
    found = []
    for _, pair in _parts(arrays.listed(path), key, path):
        x, _ = _oriented(*(None if array is None else array.read() for array in pair))
        x = x[None] if x.shape in (shape, shape[:-1] if shape[-1] == 1 else shape) else x
        x, _ = _as_split(x, None, path)
        held = "numbers" if kind in RAW else kinds.kind_of(x)
        # Floats are in the model's units already, unless it sees levels, or they are levels, divided by 255 or not.
        divided = held == "levels" and (x.max() <= 1 or (limits is not None and limits[1] <= 1))
        stored = x.dtype.kind in "biu" or kind == "8-bit levels" or divided
        if stored and held == "binary" and (x.dtype == bool or depth == 1 or kind == "binary"):
            x = kinds.converted(x, held)[0].astype(bool)
        elif stored and held in ("binary", "levels"):
            deep = depth is not None and x.dtype.kind in "iu" and x.dtype.itemsize > 1
            if deep and x.max() > depth:
                raise DataError(
                    f"The model was trained on levels up to {depth}: bring these to as many bits. "
                    f"Received: levels up to {x.max()} in {name}"
                )
            x, _ = kinds.converted(x, "levels" if deep else held, depth if deep else None)
        found.append(x.astype("float32", copy=False) if x.dtype.kind == "f" else x)
    return found[0] if len(found) == 1 else np.concatenate(found)


# Kinds of data that are not made of levels.
RAW = ("counts", "numbers", "table")


# Which array is what


def _parts(listed, key, path):
    """(split, (examples, labels or None)) of the arrays of a file."""
    if key is not None:
        if key not in listed:
            raise DataError(f"There is no array {key!r} in it. It has {_told(listed)}. Received: {path}::{key}")
        return [("train", (listed[key], None))]
    roles = {}
    for name, stored in listed.items():
        split, role = _role(name)
        if role is not None and (role == "labels" or len(stored.shape) > 1):
            roles.setdefault((split, role), stored)
    if (None, "examples") not in roles and ("train", "examples") not in roles:
        large = [stored for stored in listed.values() if len(stored.shape) > 1 and min(stored.shape) > 1]
        if len(large) != 1:
            large = list(listed.values()) if len(listed) == 1 else []
        if len(large) != 1:
            raise DataError(
                f"Which array is it? Say so, {path}{arrays.KEY}NAME. The file has {_told(listed)}. Received: {path}"
            )
        roles[None, "examples"] = large[0]
    named = [split for split in splits.NAMES if (split, "examples") in roles]
    if "train" in named:
        return [(split, (roles[split, "examples"], roles.get((split, "labels")))) for split in named]
    return [("train", (roles[None, "examples"], roles.get((None, "labels"))))]


def _told(listed):
    return ", ".join(f"{name or 'one'} {stored.dtype} {tuple(stored.shape)}" for name, stored in listed.items())


def _role(name):
    """(split or None, "examples", "labels" or None) of an array's name."""
    words = splits.words(name)
    split = next((splits.CALLED[word] for word in words if word in splits.CALLED), None)
    rest = "_".join(word for word in words if word not in splits.CALLED)
    if rest in _LABELS:
        return split, "labels"
    return split, "examples" if rest in _EXAMPLES else None


def _oriented(x, y):
    """Examples first, as most have them; MATLAB's pictures have them last."""
    if y is not None and x.ndim > 2 and len(x) != y.size == x.shape[-1]:
        x = np.moveaxis(x, -1, 0)
    return x, y


def _as_split(x, y, name):
    """Examples with one axis at least beside the first, and labels of as many, or None."""
    x = x.toarray() if hasattr(x, "toarray") else x
    if np.ma.isMaskedArray(x):
        x = x.astype("float32").filled(np.nan) if np.ma.is_masked(x) else x.data
    if not isinstance(x, np.ndarray):
        x = np.asarray(x)
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
    if x.dtype.kind not in "biuf" or x.ndim == 0:
        raise DataError(f"Examples are arrays of numbers. Received: dtype={x.dtype}, shape={x.shape}, name={name!r}")
    if not x.size:
        raise DataError(f"The array is empty. Received: shape={x.shape}, name={name!r}")
    x = x[:, None] if x.ndim == 1 else x
    if y is not None:
        y = np.asarray(y)
        y = np.char.decode(y, "utf-8", "replace") if y.dtype.kind == "S" else y
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        y = y[0] if y.ndim == 2 and len(y) == 1 and y.shape[1] == len(x) else y
        if len(y) != len(x):
            raise DataError(f"There must be a label for each example. Received: {len(y)} labels of {len(x)} examples")
    return x, y


def _classes(labels, notes, names):
    """The names of classes, or None where they are numbers; and {split: whole numbers, or None}."""
    there = {split: y for split, y in labels.items() if y is not None}
    if not there or len(there) < len(labels):
        return None, dict.fromkeys(labels)
    if all(y.ndim == 2 and y.dtype.kind in "biuf" and np.all(y.sum(axis=1) == 1) for y in there.values()):
        there = {split: y.argmax(axis=1) for split, y in there.items()}
    if any(y.ndim != 1 or (y.dtype.kind == "f" and not np.array_equal(y, np.round(y))) for y in there.values()):
        notes.append("its labels are no classes, and are left out")
        return None, dict.fromkeys(labels)
    values = np.unique(np.concatenate(list(there.values())))
    # From 0 on as they are, though some may be missing; MATLAB counts from 1.
    if names is None and not (values.dtype.kind in "biuf" and values.min() == 0 and values.max() < 2 * len(values)):
        names = tuple(map(str, values))
        there = {split: np.searchsorted(values, y) for split, y in there.items()}
    return names, {split: y.astype("int64") for split, y in there.items()}
