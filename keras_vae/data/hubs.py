"""Any data set of tensorflow-datasets, "tfds:NAME", and of the Hugging Face Hub, "hf:USER/NAME"."""

import contextlib
import os
from typing import Any

import numpy as np

from keras_vae.data import examples, library, pictures, splits
from keras_vae.data.dataset import DataError, DataSet

PREFIXES = ("tfds:", "hf:")
# Height and width of pictures that are of several sizes.
_SIZE = 64


def is_one(name: str) -> bool:
    """Whether a name is that of a data set of a hub."""
    return name.startswith(PREFIXES)


def load_hub(name: str, data_dir: str | os.PathLike | None, image_size: int | None, seed: int) -> DataSet:
    """Reads a data set of a hub, which is downloaded if need be.

    Its examples are its pictures, or its only feature of several numbers; its labels those of its classes.

    Args:
        name: "tfds:NAME", or "tfds:NAME/CONFIG"; or "hf:USER/NAME", for which `datasets` must be installed.
        data_dir: where the hub's library keeps its data; None: its default.
        image_size: height and width of pictures; None: theirs, or 64 where they have several.
        seed: of the splits that there are not.

    Raises:
        DataError: if it cannot be had, or has no such examples.
    """
    prefix, _, rest = name.partition(":")
    try:
        read, names = {"tfds": _of_tfds, "hf": _of_hugging_face}[prefix](rest, data_dir)
        given = {split: (_examples(x, image_size), y) for split, (x, y) in _named(read).items()}
    except DataError:
        raise
    except Exception as error:  # Hubs have no errors of their own for the many causes.
        said = (str(error).strip() or "no message").splitlines()[0]
        raise DataError(f"It cannot be had ({type(error).__name__}: {said[:300]}). Received: name={name!r}") from error
    return examples.from_arrays(name, given, seed, names)


def _named(read):
    """{our name of a split: what there is}, of those whose names say what they are for."""
    found = {splits.CALLED[split]: pair for split, pair in read.items() if split in splits.CALLED}
    if "train" not in found:
        # Some have but one.
        found = {"train": next(iter(read.values()))} if len(read) == 1 else found
    if "train" not in found:
        raise DataError(f"It has no split for training. Received: splits {', '.join(read)}")
    return found


def _examples(x, size):
    """Pictures as one array, of one size; numbers as they are."""
    if isinstance(x, np.ndarray) and (size is None or x.ndim < 3):
        return x
    from PIL import Image

    images = [pictures.grey_or_rgb(Image.fromarray(_squeezed(a)) if isinstance(a, np.ndarray) else a) for a in x]
    sizes = {image.size for image in images}
    width, height = (size or _SIZE,) * 2 if size or len(sizes) > 1 else sizes.pop()
    channels = 3 if any(image.mode == "RGB" for image in images) else 1
    return np.stack([pictures.fitted(image, height, width, channels) for image in images])


def _squeezed(picture):
    return picture[..., 0] if picture.ndim == 3 and picture.shape[-1] == 1 else picture


def _only(found, features):
    """The one feature, or an error that lists all."""
    if len(found) != 1:
        raise DataError(
            "It is not clear which feature are its examples: load it yourself, and give arrays. "
            f"Received: {', '.join(map(str, features))}, of which could be {', '.join(found) or 'none'}"
        )
    return found[0]


def _of_tfds(name, data_dir):
    with library.opened() as tfds:
        builder = tfds.builder(name, data_dir=data_dir)
        library.prepare(builder)
        features = dict(builder.info.features)
        shown = [key for key, kind in features.items() if isinstance(kind, tfds.features.Image)]
        numbers = [key for key, kind in features.items() if type(kind) is tfds.features.Tensor and kind.shape]
        key = "image" if "image" in shown else _only(shown or numbers, features)
        labels = [key for key, kind in features.items() if isinstance(kind, tfds.features.ClassLabel)]
        label = "label" if "label" in labels else labels[0] if len(labels) == 1 else None
        wanted = dict.fromkeys((key, *([label] if label else [])), True)
        options = {
            "decoders": tfds.decode.PartialDecoding(wanted),
            "read_config": tfds.ReadConfig(interleave_cycle_length=1),
        }
        read = {}
        for split in builder.info.splits:
            if None not in (features[key].shape or (None,)):
                batch = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1, **options))
                x, y = batch[key], batch.get(label)
            else:
                rows = list(tfds.as_numpy(builder.as_dataset(split=split, **options)))
                x, y = [row[key] for row in rows], np.array([row[label] for row in rows]) if label else None
            read[split] = x, y
        return read, None if label is None else tuple(features[label].names)


def _of_hugging_face(name: str, data_dir: Any):
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"`hf:` takes the package datasets: pip install datasets. Received: hf:{name}") from error
    with _no_progress(datasets):
        found = datasets.load_dataset(name, cache_dir=None if data_dir is None else os.fspath(data_dir))
    read, names = {}, None
    for split, rows in found.items():
        shown = [key for key, kind in rows.features.items() if isinstance(kind, datasets.Image)]
        numbers = [
            key
            for key, kind in rows.features.items()
            if isinstance(kind, (datasets.Array2D, datasets.Array3D, datasets.List, datasets.LargeList))
        ]
        key = "image" if "image" in shown else _only(shown or numbers, rows.features)
        labels = [key for key, kind in rows.features.items() if isinstance(kind, datasets.ClassLabel)]
        label = "label" if "label" in labels else labels[0] if len(labels) == 1 else None
        x = rows[key][:] if shown else np.array(rows[key][:])
        read[split] = x, None if label is None else np.array(rows[label][:])
        names = None if label is None else tuple(rows.features[label].names)
    return read, names


@contextlib.contextmanager
def _no_progress(datasets):
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
