"""The data set `celeb_a64`: the aligned faces of CelebA at 64x64 pixels, made once for tensorflow-datasets."""

import contextlib
import io
import itertools
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_vae.data import celeb_a, library
from keras_vae.data.dataset import DataError

NAME, VERSION = "celeb_a64", "1.0.0"
_ALIGNED_SIZE, _CROP, _SIZE, _QUALITY = (178, 218), 148, 64, 92
_UNKNOWN = dict.fromkeys(celeb_a.ATTRIBUTES, False)
_DESCRIPTION = (
    f"CelebA: aligned faces, centre crop {_CROP}x{_CROP}, antialiased (bilinear) resize to {_SIZE}x{_SIZE}, JPEG "
    f"quality {_QUALITY}. Official train/validation/test partition. All attributes read False where attributes_known "
    "is False. Non-commercial research use only."
)


def prepare_celeb_a64(source=None, data_dir=None, verbose=True):
    """Makes `celeb_a64`, which `load("celeb_a64")` then finds, of CelebA's aligned images.

    They are cropped to the central 148 pixels and shrunk to 64x64, and split as the official partition says. Images
    that are missing or damaged are left out, with a warning that names the first of them. A run that is interrupted
    leaves no data set.

    Args:
        source: the public download: a folder or a zip that has the images in `img_align_celeba` (a folder or a zip)
            and, or beside it, `list_eval_partition` and `list_attr_celeba` (.txt or .csv); without the latter no
            attribute is known. None: tensorflow-datasets' `celeb_a`, which is downloaded where it is not there yet.
        data_dir: where tensorflow-datasets keeps its data; TFDS_DATA_DIR, or its own default, where None.
        verbose: whether progress is shown.

    Returns:
        {"directory": where the data set is, "train", "validation", "test": images in each, "left_out": {name: why}}.

    Raises:
        DataError: where `celeb_a64` is there already, the source is not what it should be, or a split has no image
            that can be read.
        ImportError: where tensorflow-datasets is not installed.

    Reference:
        Liu, Luo, Wang and Tang, Deep Learning Face Attributes in the Wild, ICCV 2015.

    Example:
        >>> prepare_celeb_a64("~/Downloads/celeba")  # doctest: +SKIP
        >>> load("celeb_a64").train.attributes["Smiling"]  # doctest: +SKIP
    """
    with library.opened() as tfds, contextlib.ExitStack() as stack:
        # One that tensorflow-datasets requires.
        import tqdm

        there = _builder(tfds, data_dir, {})
        if there.is_prepared():
            raise DataError(f"{NAME} is there already; delete it to make it anew. Received: {str(there.data_dir)!r}")
        if source is None:
            splits = celeb_a.from_library(tfds, data_dir)
        else:
            splits = stack.enter_context(celeb_a.from_download(source))
        left_out = {}
        total = sum(split.count for split in splits.values())
        bar = stack.enter_context(tqdm.tqdm(total=total, desc=NAME, unit=" images", disable=not verbose))
        builder = _builder(tfds, data_dir, {name: _examples(name, splits[name], left_out, bar) for name in splits})
        # It would say that it downloads something, and show bars that know no end.
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
        # In the order of their numbers, whatever the order in which they come.
        disable_shuffling=True,
    )


def _examples(split, faces, left_out, bar):
    """(number, example) of each face that can be read; the others go into `left_out`."""
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
    """(face, its JPEG or the exception that kept it from being read), a few at a time."""
    with ThreadPoolExecutor() as pool:
        while some := list(itertools.islice(faces, 256)):
            yield from zip(some, pool.map(_jpeg, some), strict=True)


def _jpeg(face):
    from PIL import Image

    try:
        with Image.open(io.BytesIO(face.read())) as image:
            if image.size != _ALIGNED_SIZE:
                raise ValueError("{}x{} pixels, not the aligned 178x218".format(*image.size))
            left, top = ((side - _CROP) // 2 for side in image.size)
            square = image.convert("RGB").crop((left, top, left + _CROP, top + _CROP))
        file = io.BytesIO()
        square.resize((_SIZE, _SIZE), Image.Resampling.BILINEAR).save(file, "JPEG", quality=_QUALITY)
        return file.getvalue()
    except Exception as error:  # Damaged files make Pillow raise nearly anything, SyntaxError among them.
        return error
