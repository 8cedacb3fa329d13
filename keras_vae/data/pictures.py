"""Picture files as arrays: the one place that opens them."""

import glob
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_vae.columns import TABLE_SUFFIXES
from keras_vae.data.conversion import convert
from keras_vae.data.dataset import DataError
from keras_vae.data.table import Schema, read_frame

if TYPE_CHECKING:
    from PIL import Image

    from keras_vae.models.base import LatentVariableModel

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".pgm", ".ppm")


class Unreadable(ValueError):
    """Bytes that are not a picture, or a damaged one; the message says why."""


def find(folder: Path) -> list[Path]:
    """The pictures in a folder and its sub-folders, sorted by relative path.

    Hidden files are left out; links to folders are followed.
    """
    names = glob.glob("**/*", root_dir=folder, recursive=True)
    return [folder / name for name in sorted(names) if name.lower().endswith(SUFFIXES)]


def decode(content: bytes) -> "Image.Image":
    """Decodes a picture.

    Args:
        content: the bytes of its file.

    Returns:
        The picture the right way up (its EXIF orientation is applied), in mode L or RGB; transparent pixels are white.

    Raises:
        Unreadable: if the bytes are not a picture, or the picture is damaged.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            return _grey_or_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise Unreadable("not a picture") from None
    except Exception as error:  # Damaged files make Pillow raise nearly anything, SyntaxError among them.
        raise Unreadable(str(error).strip() or type(error).__name__) from error


def _grey_or_rgb(image):
    from PIL import Image

    if image.mode.startswith("I"):
        # 16-bit levels, which Pillow's own conversion would clip at 255.
        return Image.fromarray(np.rint(np.clip(image, 0, 65535) / 257).astype("uint8"))
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert(mode)


def centre(image: "Image.Image", height: int, width: int) -> "Image.Image":
    """The central `height` x `width` pixels of a picture."""
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def read(path: Path, height: int, width: int, channels: int | None = None) -> np.ndarray:
    """Reads a picture at a given size.

    Its largest central part of the same proportions is resized, by a Lanczos filter.

    Args:
        path: the file.
        height: of the result, pixels.
        width: of the result, pixels.
        channels: 1 for grey, 3 for RGB; None: as the file has them.

    Returns:
        (height, width, channels) uint8.

    Raises:
        Unreadable: if the file is not a picture, or a damaged one.
        OSError: if the file cannot be opened.
    """
    from PIL import Image

    image = decode(path.read_bytes())
    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    scale = min(image.height / height, image.width / width)
    part = centre(image, max(1, round(height * scale)), max(1, round(width * scale)))
    # Cropped first: a box given to `resize` would let the pixels around it shine in at the edges.
    return np.asarray(part.resize((width, height), Image.Resampling.LANCZOS)).reshape(height, width, -1)


def read_images(paths: Iterable[str | os.PathLike], model: "LatentVariableModel") -> np.ndarray:
    """Reads images as a model sees them.

    Args:
        paths: pictures, folders of pictures, and .npy files of one image or of many. Arrays hold either 8-bit levels
            (uint8), which are converted as pictures are, or numbers in the units of the model's data. Where the model
            sees binary images, levels are binarised with seed 0. Of a model of a table, tables with its columns.
        model: the model; pictures are cropped and resized to its `image_shape`.

    Returns:
        (N, *X), in the units of the model's data.

    Raises:
        DataError: if there are no images, if they differ in shape or kind, or if a file cannot be read.
        OSError: if a file cannot be opened.

    Example: `vae.reconstruct(kv.data.read_images(["faces/"], vae))`.
    """
    return read_named(paths, model)[0]


def read_named(paths: Iterable[str | os.PathLike], model: "LatentVariableModel") -> tuple[np.ndarray, list[str]]:
    """`read_images`, and where each image is from: "cat.png", or "cats.npy[3]" of an array of several."""
    paths = list(map(Path, paths))
    if model.likelihood.data == "table":
        return _read_rows(paths, Schema(model.likelihood.columns))
    files = [file for path in paths for file in (find(path) if path.is_dir() else [path])]
    arrays = [_read_file(file, model.image_shape) for file in files]
    if not arrays:
        raise DataError(f"There are no images. Received: {', '.join(map(str, paths))}")
    if len({a.dtype == np.uint8 for a in arrays}) > 1 or len({a.shape[1:] for a in arrays}) > 1:
        found = sorted({f"{a.dtype} {a.shape[1:]}" for a in arrays})
        raise DataError(f"Images must have one shape and be of one kind. Received: {', '.join(found)}")
    images = np.concatenate(arrays)
    names = [
        str(file) if len(array) == 1 else f"{file}[{index}]"
        for file, array in zip(files, arrays, strict=True)
        for index in range(len(array))
    ]
    if images.dtype != np.uint8:
        return images, names
    kind = model.likelihood.data
    binary = kind == "binary" and images.max(initial=0) <= 1
    return convert(images, kind, seed=0, binary=binary), names


def _read_rows(paths, schema):
    """Rows of tables, or of .npy files that hold them as numbers, and their places: "adult.csv[3]"."""
    rows, names = [], []
    for path in paths:
        if path.suffix in TABLE_SUFFIXES:
            try:
                found = schema.encode(read_frame(path))
            except ValueError as error:
                raise error if isinstance(error, DataError) else DataError(f"{error} In {path}") from error
        elif path.suffix == ".npy":
            found = _read_file(path, (len(schema),))
        else:
            raise DataError(
                f"This model sees rows of a table: {', '.join((*TABLE_SUFFIXES, '.npy'))}. Received: {path}"
            )
        rows.append(found)
        names += [f"{path}[{number}]" for number in range(len(found))]
    if not rows:
        raise DataError("There are no rows. Received: no files")
    return np.concatenate(rows), names


def _read_file(path, image_shape):
    """(N, *X): uint8 levels, or whatever a .npy file holds."""
    if path.suffix == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DataError(f"This file is not an array of numbers ({error}). Received: {path}") from error
        return array[None] if array.shape == image_shape else array
    if len(image_shape) != 3 or image_shape[-1] not in (1, 3):
        raise DataError(
            f"This model sees arrays of shape {image_shape}, which a picture cannot be: give a .npy file. "
            f"Received: {path}"
        )
    try:
        return read(path, *image_shape)[None]
    except Unreadable as error:
        raise DataError(
            f"This is neither a picture nor a .npy file, or it is damaged ({error}). Received: {path}"
        ) from error
