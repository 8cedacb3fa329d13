"""CelebA as it is distributed: the files of the public download, or the `celeb_a` of tensorflow-datasets."""

import contextlib
import functools
import hashlib
import io
import itertools
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from keras_vae.data import library
from keras_vae.data.dataset import DataError

_NAMES = """
    5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair
    Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones
    Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline
    Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick
    Wearing_Necklace Wearing_Necktie Young
"""
ATTRIBUTES = tuple(_NAMES.split())
IMAGES, PARTITION, ATTRIBUTE_LIST = "img_align_celeba", "list_eval_partition", "list_attr_celeba"
SPLITS = ("train", "validation", "test")
# The numbers of the official partition.
OFFICIAL = dict(zip(SPLITS, (range(1, 162_771), range(162_771, 182_638), range(182_638, 202_600)), strict=True))
_VALUES = {"1": True, "-1": False, "0": False}


@dataclass(frozen=True)
class Face:
    """One image of CelebA.

    Attributes:
        number: the number in its official file name.
        read: returns the bytes of the file, or raises.
        attributes: {name: bool}, or None if they are not known.
    """

    number: int
    read: Callable[[], bytes]
    attributes: dict[str, bool] | None

    @property
    def name(self) -> str:
        """The official file name."""
        return f"{self.number:06d}.jpg"


@dataclass(frozen=True)
class Faces:
    """The `count` images of a split, in any order; they can be iterated once."""

    count: int
    faces: Iterable[Face]


@contextlib.contextmanager
def from_download(source: str | os.PathLike) -> Iterator[dict[str, Faces]]:
    """Opens the public download.

    Args:
        source: a folder or zip that contains, at any depth, the images in a folder or zip `img_align_celeba`, the list
            `list_eval_partition` and, for the attributes, `list_attr_celeba`, as .txt (the official form) or .csv
            (Kaggle's). The lists may also lie beside it.

    Yields:
        {split: `Faces`}, in the order of the partition. Reading a missing image raises an error.

    Raises:
        DataError: if there are no images, or a list is missing or wrong.
    """
    source = Path(os.path.expanduser(source)).resolve()
    with contextlib.ExitStack() as stack:
        files = list(_files(source, stack))
        images = _images(files)
        if not images:
            raise DataError(
                f"There is no image: no .jpg in a folder or zip {IMAGES}. Give the folder that contains {IMAGES}.zip "
                f"(or that folder, unpacked) and {PARTITION}.txt. Received: source={str(source)!r}"
            )
        files += [("", path.name, path.read_bytes) for path in sorted(source.parent.glob("list_*")) if path.is_file()]
        partition = _list(files, PARTITION)
        if partition is None:
            raise DataError(
                f"The official partition is missing: put {PARTITION}.txt (or .csv), which comes with the download, "
                f"beside the images. Received: source={str(source)!r}"
            )
        numbers = _partition(partition)
        if not any(f"{n:06d}.jpg" in images for n in numbers):
            raise DataError(
                f"No name in {partition.name} belongs to an image ({len(numbers)} names, {len(images)} images, one of "
                f"them {min(images)}). Received: source={str(source)!r}"
            )
        listed = _list(files, ATTRIBUTE_LIST)
        names, values = ((), {}) if listed is None else _attributes(listed)
        chosen = {split: [n for n, its in numbers.items() if its == split] for split in SPLITS}

        def faces(split):
            for n in chosen[split]:
                attributes = dict(zip(names, values[n], strict=True)) if n in values else None
                yield Face(n, images.get(f"{n:06d}.jpg", _missing), attributes)

        yield {split: Faces(len(chosen[split]), faces(split)) for split in SPLITS}


def from_library(tfds: ModuleType, data_dir: str | os.PathLike | None) -> dict[str, Faces]:
    """Reads the `celeb_a` of tensorflow-datasets, which is downloaded if need be.

    Args:
        tfds: tensorflow-datasets.
        data_dir: its data directory; None: its default.

    Returns:
        {split: `Faces`}, in the order in which they are stored.

    Raises:
        DataError: if tensorflow-datasets fails, for whatever reason.
    """
    try:
        builder = tfds.builder("celeb_a", data_dir=data_dir)
        library.prepare(builder)
        counts = {split: builder.info.splits[split].num_examples for split in SPLITS}
    except Exception as error:
        said = (str(error).strip() or "no message").splitlines()[0]
        raise DataError(
            f"tensorflow-datasets cannot give 'celeb_a' ({type(error).__name__}: {said[:300]}); its download is often "
            f"over its quota. Give the files themselves: a folder of {IMAGES}.zip, {PARTITION}.txt and "
            f"{ATTRIBUTE_LIST}.txt. Received: source=None, data_dir={data_dir!r}"
        ) from None
    wrong = {split: count for split, count in counts.items() if count != len(OFFICIAL[split])}
    if wrong:
        raise DataError(f"The 'celeb_a' of tensorflow-datasets is not whole: delete it. Received: {wrong} images")
    return {split: Faces(counts[split], _stored(tfds, builder, split)) for split in SPLITS}


def _stored(tfds, builder, split):
    # File names are not stored, but the order is that of their md5, salted by the split.
    numbers = sorted(OFFICIAL[split], key=lambda n: hashlib.md5(f"{split}{n:06d}.jpg".encode()).digest())
    decoders = tfds.decode.PartialDecoding(
        {"image": True, "attributes": True}, decoders={"image": tfds.decode.SkipDecoding()}
    )
    examples = builder.as_dataset(
        split=split, decoders=decoders, read_config=tfds.ReadConfig(interleave_cycle_length=1), shuffle_files=False
    )
    for number, example in zip(numbers, tfds.as_numpy(examples), strict=True):
        attributes = {name: bool(value) for name, value in example["attributes"].items()}
        yield Face(number, functools.partial(bytes, example["image"]), attributes)


# The files of the public download


@dataclass(frozen=True)
class _List:
    """A list of the download."""

    name: str
    text: str

    @property
    def is_csv(self):
        return self.name.endswith(".csv")

    def rows(self):
        """The number and the fields of each line that is not empty, one by one, since all of them take much memory."""
        for number, line in enumerate(io.StringIO(self.text), 1):
            fields = [field.strip() for field in line.split("," if self.is_csv else None)]
            if any(fields):
                yield number, fields

    def error(self, line, expected, fields):
        said = f"{len(fields)} columns, {' '.join(fields)[:80]!r}"
        return DataError(f"{self.name}, line {line}: expected {expected}. Received: {said}")


def _files(source, stack):
    """(name of its folder, name, function that reads it) of each file in a folder or zip."""
    if source.is_file():
        yield from _zipped(source, stack)
    elif not source.is_dir():
        raise DataError(f"There is no such folder or zip. Received: source={str(source)!r}")
    zips = []
    for folder, _, names in os.walk(source, followlinks=True):
        for name in names:
            path = Path(folder, name)
            if name == f"{IMAGES}.zip":
                zips.append(path)
            yield path.parent.name, name, path.read_bytes
    for path in zips:
        yield from _zipped(path, stack)


def _zipped(path, stack):
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"This is not a whole zip ({error}): download it again. Received: {str(path)!r}") from None
    for name in archive.namelist():
        folder, _, base = name.rpartition("/")
        yield folder.rpartition("/")[2], base, functools.partial(archive.read, name)


def _images(files):
    """{name: function that reads it}; unpacked files come before those in a zip."""
    found = [file for file in files if file[1].endswith(".jpg")]
    # The images "in the wild" have the same names.
    aligned = [file for file in found if file[0] == IMAGES]
    return {name: read for _, name, read in reversed(aligned or found)}


def _missing():
    raise FileNotFoundError("missing")


def _list(files, stem):
    """The list of that name, or None; .txt comes before .csv."""
    for name in (f"{stem}.txt", f"{stem}.csv"):
        for read in (read for _, base, read in files if base == name):
            try:
                return _List(name, read().decode("utf-8-sig"))
            except UnicodeDecodeError:
                raise DataError(f"This is not text: download it again. Received: {name}") from None
    return None


def _partition(file):
    """{number of an image: split}, in the order of the file."""
    splits = {}
    for line, fields in itertools.islice(file.rows(), 1 if file.is_csv else 0, None):
        if len(fields) != 2 or not _is_name(fields[0]) or fields[1] not in ("0", "1", "2"):
            expected = "a file name like 000001.jpg and 0, 1 or 2, for training, validation and test"
            raise file.error(line, expected, fields)
        number = int(fields[0][:6])
        if number in splits:
            raise file.error(line, "each name once", fields)
        splits[number] = SPLITS[int(fields[1])]
    if empty := [split for split in SPLITS if split not in splits.values()]:
        raise DataError(f"{file.name} has no image for {' and '.join(empty)}. Received: {len(splits)} names")
    return splits


def _attributes(file):
    """Names of the attributes, and {number of an image: their values}."""
    rows = file.rows()
    # The official form begins with the number of images; in Kaggle's, the column of the images has a name, too.
    _, count = (0, None) if file.is_csv else next(rows, (1, []))
    line, names = next(rows, (2, []))
    names = names[1:] if file.is_csv else names
    if sorted(names) != sorted(ATTRIBUTES):
        raise file.error(line, "the names of the 40 attributes", names)
    values = {}
    for line, fields in rows:
        if len(fields) != 41 or not _is_name(fields[0]) or not _VALUES.keys() >= set(fields[1:]):
            raise file.error(line, "a file name like 000001.jpg and 40 values, 1 or -1", fields)
        values[int(fields[0][:6])] = tuple(map(_VALUES.get, fields[1:]))
    if count not in (None, [str(len(values))]):
        raise DataError(
            f"{file.name} is not whole: download it again. Received: {len(values)} images, but its first line says "
            f"{' '.join(count)[:80]!r}"
        )
    return names, values


def _is_name(text):
    return re.fullmatch(r"[0-9]{6}\.jpg", text) is not None
