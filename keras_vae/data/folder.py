"""A folder of images as a data set.

Images are found in all sub-folders, in the order of their relative paths; hidden files are left out. Sub-folders
`train/` with `test/`, or `validation/` (`Valid`, `val`, `dev`), are the splits. A split without a folder gets a tenth
of the training images, drawn by the seed. If every image lies in an immediate sub-folder (of its split), that folder is
its class.
"""

import collections
import os
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_vae.data import arrays, pictures, splits
from keras_vae.data.dataset import DataError, DataSet, Split


def load_folder(path: str | os.PathLike, image_size: int | None = None, seed: int = 0) -> DataSet:
    """Reads the images of a folder as squares of one size.

    Args:
        path: the folder.
        image_size: height and width of the result, in pixels; None: 64. Images are first cropped to their central
            square.
        seed: seed of the draw of the splits that have no folder.

    Returns:
        A `DataSet` of RGB images, or of grey ones if all are grey; its notes say which sizes and modes there were, how
        much the crop left of them, and which files were left out. Images that cannot be read are left out, with a
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
    readable = [i for i, mode in enumerate(decoded.modes) if mode is not None]

    given = {split: np.array([i for i in readable if found[i][0] == split], "int64") for split in roots}
    members = splits.members(given, seed)
    if not all(map(len, members.values())):
        counts = ", ".join(f"{len(rows)} for {split}" for split, rows in members.items())
        raise DataError(f"Too few readable images for three splits ({counts}). Received: name={str(path)!r}")
    names, labels = _labels([file.relative_to(roots[split]).parts for split, file in found])
    notes = _notes(folder, [found[i][1] for i in readable], decoded)

    def split_of(rows):
        return Split(arrays.rows_of(decoded.images, rows), None if labels is None else labels[rows])

    made = {split: split_of(rows) for split, rows in members.items()}
    return DataSet(str(path), False, **made, class_names=names, notes=tuple(notes))


def count(path: Path) -> int:
    """About how many pictures of a folder there are to train on."""
    roots = _split_roots(path)
    found = len(pictures.find(roots["train"]))
    return found if len(roots) == 3 else found * 4 // 5


def _split_roots(folder):
    """Split -> its folder; everything is "train" if the folder is not split."""
    roots = {}
    for place in sorted(folder.iterdir()):
        split = splits.called(place.name)
        if split is not None and place.is_dir():
            if split in roots:
                raise DataError(f"Two folders are for {split}: {roots[split].name} and {place.name}, in {folder}")
            roots[split] = place
    return roots if "train" in roots and len(roots) > 1 else {"train": folder}


class _Decoded(NamedTuple):
    """Pictures of one size, and of each its own size, mode, pages, brightest level, and whether it is of one colour.

    Where a picture cannot be read, all of this is None.
    """

    images: np.ndarray
    sizes: list
    modes: list
    pages: list
    brightest: list
    blank: list


def _decode_all(folder, files, size):
    """The pictures in `files`; a warning names those that cannot be read."""
    if not files:
        raise DataError(f"The folder has no image: no {', '.join(pictures.SUFFIXES)}. Received: name={str(folder)!r}")
    failed = {}

    def unless_unreadable(function, file, *arguments):
        try:
            return function(file, *arguments)
        except (pictures.Unreadable, OSError) as error:
            failed.setdefault(str(file.relative_to(folder)), error)

    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(partial(unless_unreadable, pictures.header), files))
        channels = 1 if all(pictures.is_grey(header[1]) for header in headers if header) else 3
        images = arrays.empty((len(files), size, size, channels), "uint8")

        def decode(i):
            image = headers[i] and unless_unreadable(pictures.read, files[i], size, size, channels)
            if image is None:
                return (None,) * 5
            images[i] = image
            return *headers[i], int(image.max()), bool((image == image[:1, :1]).all())

        told = list(pool.map(decode, range(len(files))))
    if failed:
        problem = pictures.left_out(failed, len(files))
        if len(failed) == len(files):
            raise DataError(f"{problem} None is left. Received: name={str(folder)!r}")
        warnings.warn(f"{problem} They are left out.", stacklevel=4)
    return _Decoded(images, *map(list, zip(*told, strict=True)))


def _labels(parts):
    """Sub-folders, and the index of each image's; None where not every image lies in an immediate sub-folder."""
    if any(len(p) != 2 for p in parts):
        return None, None
    names, labels = np.unique([folder for folder, _ in parts], return_inverse=True)
    return tuple(map(str, names)), labels.astype("int64")


# What is said of them


def _notes(folder, files, decoded):
    """What a user may not know of the pictures in a folder."""
    _, *told = decoded
    sizes, modes, pages, brightest, blank = ([value for value in values if value is not None] for values in told)
    if len(set(sizes)) > 1:
        (width, height), often = collections.Counter(sizes).most_common(1)[0]
        least, most = min(sizes), max(sizes)
        yield (
            f"{len(set(sizes))} sizes, from {least[0]}x{least[1]} to {most[0]}x{most[1]}, most often {width}x{height} "
            f"({often:,} pictures)"
        )
    kept = [min(size) / max(size) for size in sizes]
    if min(kept) < 1:
        yield f"the central square that is kept is {min(kept):.0%} to {max(kept):.0%} of a picture"
    if len(set(modes)) > 1:
        yield "modes: " + ", ".join(f"{mode} {number:,}" for mode, number in collections.Counter(modes).most_common())
    if several := sum(number > 1 for number in pages):
        yield f"{several:,} pictures have several pages or frames, of which the first is taken"
    deep = [level for level, mode in zip(brightest, modes, strict=True) if mode.startswith("I")]
    if deep and max(deep) <= 16:
        yield (
            f"the 16-bit pictures are nearly black, at most {max(deep)} of 255: multiply levels of 10 or 12 bits by 64 "
            "or 16 first"
        )
    if any(blank):
        yield f"{sum(blank):,} pictures have one colour throughout"
    if masks := _masks(folder, files):
        yield f"{len(masks):,} pictures look like masks of others, and are trained on like others: {masks[0]}, ..."
    if left := pictures.others(folder):
        told = ", ".join(f"{number:,} {suffix}" for suffix, number in left.items())
        yield f"left out, since they are no pictures that Pillow reads: {told}"


def _masks(folder, files):
    """Those that lie beside other pictures as their masks: in a folder of masks, or named after another one."""
    names = [str(file.relative_to(folder).with_suffix("")).lower() for file in files]
    word = r"(?:masks?|seg(?:mentations?)?|annotations?|gt|ground_?truth)"
    found = [name for name in names if re.search(rf"(^|/){word}/|[_.-]{word}$", name)]
    return found if len(found) < len(names) else []
