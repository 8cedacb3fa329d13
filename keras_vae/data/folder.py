"""A folder of images as a data set.

Images are found in all sub-folders, in the order of their relative paths; hidden files are left out. Sub-folders
`train/` with `test/`, `validation/` or `val/` are the splits. A split without a folder gets a tenth of the training
images, drawn by the seed. If every image lies in an immediate sub-folder (of its split), that folder is its class.
"""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from keras_vae.data import pictures
from keras_vae.data.dataset import DataError, DataSet, Split

_SPLIT_OF = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def load_folder(path: str | os.PathLike, image_size: int | None = None, seed: int = 0) -> DataSet:
    """Reads the images of a folder as squares of one size.

    Args:
        path: the folder.
        image_size: height and width of the result, in pixels; None: 64. Images are first cropped to their central
            square.
        seed: seed of the draw of the splits that have no folder.

    Returns:
        A `DataSet` of RGB images, or of grey ones if all are grey. Images that cannot be read are left out, with a
        warning.

    Raises:
        DataError: if too few images can be read for three splits.
    """
    size = 64 if image_size is None else image_size
    if not isinstance(size, int | np.integer) or size < 1:
        raise DataError(f"`image_size` must be a whole number of pixels, 1 or more. Received: image_size={size!r}")
    folder = Path(os.path.expanduser(path))
    roots = _split_roots(folder)
    found = [(split, file) for split, root in roots.items() for file in pictures.find(root)]
    decoded = _decode_all(folder, [file for _, file in found], size)
    readable = [i for i, image in enumerate(decoded) if image is not None]

    members = _members({split: [i for i in readable if found[i][0] == split] for split in roots}, seed)
    if not all(map(len, members.values())):
        counts = ", ".join(f"{len(rows)} for {split}" for split, rows in members.items())
        raise DataError(f"Too few readable images for three splits ({counts}). Received: name={str(path)!r}")
    shape = (size, size, max(decoded[i].shape[-1] for i in readable))
    labels = _labels([file.relative_to(roots[split]).parts for split, file in found])

    def split_of(rows):
        images = np.stack([np.broadcast_to(decoded[i], shape) for i in rows])
        return Split(images, None if labels is None else labels[rows])

    return DataSet(str(path), False, **{split: split_of(rows) for split, rows in members.items()})


def _split_roots(folder):
    """Split -> its folder; everything is "train" if the folder is not split."""
    roots = {split: folder / name for name, split in _SPLIT_OF.items() if (folder / name).is_dir()}
    return roots if "train" in roots and len(roots) > 1 else {"train": folder}


def _decode_all(folder, files, size):
    """The images of `files`, with None for each that cannot be read; a warning names those."""
    failed = {}

    def decode(file):
        try:
            return pictures.read(file, size, size)
        except (pictures.Unreadable, OSError) as error:
            failed[str(file.relative_to(folder))] = error

    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(decode, files))
    if not files:
        raise DataError(f"The folder has no image: no {', '.join(pictures.SUFFIXES)}. Received: name={str(folder)!r}")
    if failed:
        names = sorted(failed)
        which = ", ".join(names[:5]) + (", ..." if names[5:] else "")
        problem = f"{len(failed)} of {len(files)} images cannot be read: {which} (the first: {failed[names[0]]})."
        if len(failed) == len(files):
            raise DataError(f"{problem} None is left. Received: name={str(folder)!r}")
        warnings.warn(f"{problem} They are left out.", stacklevel=4)
    return decoded


def _members(given, seed):
    """Split -> indices of its images; each split that is not given gets a tenth of the training images."""
    missing = [split for split in ("validation", "test") if split not in given]
    train = np.random.default_rng(seed).permutation(given["train"]) if missing else given["train"]
    tenth = max(1, round(len(train) / 10))
    members = dict(given)
    for split in missing:
        members[split], train = train[:tenth], train[tenth:]
    return members | {"train": train}


def _labels(parts):
    """Index of each image's sub-folder, or None if not every image lies in an immediate sub-folder."""
    if any(len(p) != 2 for p in parts):
        return None
    return np.unique([folder for folder, _ in parts], return_inverse=True)[1].astype("int64")
