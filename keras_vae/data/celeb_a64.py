"""The data set `celeb_a64`: the aligned faces of CelebA at 64x64 pixels, prepared once for tensorflow-datasets."""

import contextlib
import io
import itertools
import os
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_vae.data import celeb_a, library, pictures
from keras_vae.data.dataset import DataError

NAME, VERSION = "celeb_a64", "1.0.0"
_ALIGNED_SIZE, _CROP, _SIZE, _QUALITY = (178, 218), 148, 64, 92
_UNKNOWN = dict.fromkeys(celeb_a.ATTRIBUTES, False)
_DESCRIPTION = (
    f"CelebA: aligned faces, centre crop {_CROP}x{_CROP}, antialiased (bilinear) resize to {_SIZE}x{_SIZE}, JPEG "
    f"quality {_QUALITY}. Official train/validation/test partition. All attributes read False where attributes_known "
    "is False. Non-commercial research use only."
)


def prepare_celeb_a64(
    source: str | os.PathLike | None = None, data_dir: str | os.PathLike | None = None, verbose: bool = True
) -> dict[str, str | int | dict[str, str]]:
    """Prepares `celeb_a64` from CelebA's aligned images; then `load("celeb_a64")` finds it.

    The images are cropped to the central 148x148 pixels, resized to 64x64, and split by the official partition. Images
    that are missing or damaged are left out, with a warning that names the first of them. An interrupted run leaves no
    data set behind.

    Args:
        source: the public download: a folder or zip that contains the images in `img_align_celeba` (a folder or zip)
            and, inside or beside it, `list_eval_partition` and `list_attr_celeba` (.txt or .csv). The attributes may be
            missing; they are then unknown. None: tensorflow-datasets' `celeb_a`, which is downloaded if need be.
        data_dir: data directory of tensorflow-datasets; None: TFDS_DATA_DIR, or the default of tensorflow-datasets.
        verbose: whether to show progress.

    Returns:
        {"directory": path of the data set, "train", "validation", "test": numbers of images, "left_out": {name: why}}.

    Raises:
        DataError: if `celeb_a64` exists already, if the source is not the download, or if no image of a split can be
            read.
        ImportError: if tensorflow-datasets is not installed.

    Reference: Liu, Luo, Wang and Tang 2015, "Deep learning face attributes in the wild".

    Example:
        >>> prepare_celeb_a64("~/Downloads/celeba")  # doctest: +SKIP
        >>> load("celeb_a64").train.attributes["Smiling"]  # doctest: +SKIP
    """
    with library.opened() as tfds, contextlib.ExitStack() as stack:
        # One that tensorflow-datasets requires.
        import tqdm

        there = _builder(tfds, data_dir, {})
        if there.is_prepared():
            raise DataError(f"{NAME} is there already; delete it first. Received: {str(there.data_dir)!r}")
        if source is None:
            splits = celeb_a.from_library(tfds, data_dir)
        else:
            splits = stack.enter_context(celeb_a.from_download(source))
        left_out = {}
        total = sum(split.count for split in splits.values())
        bar = stack.enter_context(tqdm.tqdm(total=total, desc=NAME, unit=" images", disable=not verbose))
        builder = _builder(tfds, data_dir, {name: _examples(name, splits[name], left_out, bar) for name in splits})
        # Its own messages say that it downloads something, and its bars have no end.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            builder.download_and_prepare()
    if left_out:
        first = ", ".join(f"{name} ({why})" for name, why in itertools.islice(left_out.items(), 5))
        more = ", ..." if len(left_out) > 5 else ""
        warnings.warn(f"{len(left_out)} of {total} images are left out: {first}{more}.", stacklevel=2)
    counts = {name: builder.info.splits[name].num_examples for name in splits}
    return {"directory": str(builder.data_dir), **counts, "left_out": left_out}


def _builder(tfds, data_dir, examples):
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(_SIZE, _SIZE, 3), encoding_format="jpeg"),
            "id": tfds.features.Scalar(np.int64),
            "attributes": {name: tfds.features.Scalar(np.bool_) for name in celeb_a.ATTRIBUTES},
            "attributes_known": tfds.features.Scalar(np.bool_),
        }
    )
    return tfds.dataset_builders.AdhocBuilder(
        name=NAME,
        version=VERSION,
        features=features,
        split_datasets=examples,
        data_dir=data_dir,
        description=_DESCRIPTION,
        homepage="http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        citation="Liu, Luo, Wang, Tang. Deep Learning Face Attributes in the Wild. ICCV 2015.",
        # Stored in the order of their numbers, whatever order they come in.
        disable_shuffling=True,
    )


def _examples(split, faces, left_out, bar):
    """(number, example) of each face that can be read; adds the others to `left_out`."""
    count = 0
    for face, image in _shrunk(iter(faces.faces)):
        bar.update()
        if isinstance(image, Exception):
            left_out[face.name] = (str(image).strip() or type(image).__name__).splitlines()[0]
            continue
        count += 1
        yield (
            face.number,
            {
                "image": image,
                "id": face.number,
                "attributes": face.attributes or _UNKNOWN,
                "attributes_known": face.attributes is not None,
            },
        )
    if not count:
        name, why = next(reversed(left_out.items()))
        raise DataError(
            f"None of the {faces.count} images for {split} can be read; {name}: {why}. Unpack or download them again. "
            f"Received: {faces.count} images for {split}"
        )


def _shrunk(faces):
    """(face, its JPEG or the exception that reading it raised), a few at a time."""
    with ThreadPoolExecutor() as pool:
        while some := list(itertools.islice(faces, 256)):
            yield from zip(some, pool.map(_jpeg, some), strict=True)


def _jpeg(face):
    from PIL import Image

    try:
        image = pictures.decode(face.read())
        if image.size != _ALIGNED_SIZE:
            raise ValueError("{}x{} pixels, not the aligned 178x218".format(*image.size))
    # What the files raise, and what the zips of the download do: a bad checksum, an unknown compression, a password.
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        return error
    square = pictures.centre(image.convert("RGB"), _CROP, _CROP)
    file = io.BytesIO()
    square.resize((_SIZE, _SIZE), Image.Resampling.BILINEAR).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
