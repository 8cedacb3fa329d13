"""Picture files as arrays: the one place that opens them."""

import contextlib
import glob
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".pgm", ".ppm"),
    *(
        ".jpe",
        ".jfif",
        ".jp2",
        ".j2k",
        ".avif",
        ".pbm",
        ".pnm",
        ".tga",
        ".dib",
        ".pcx",
        ".ico",
        ".icns",
        ".sgi",
        ".qoi",
    ),
)


class Unreadable(ValueError):
    """Bytes that are not a picture, or a damaged one; the message says why."""


def left_out(failed: dict[str, Exception], count: int) -> str:
    """What is said of those of `count` pictures that cannot be read, {name: error}."""
    names = sorted(failed)
    which = ", ".join(names[:5]) + (", ..." if names[5:] else "")
    return f"{len(failed)} of {count} images cannot be read: {which} (the first: {failed[names[0]]})."


def find(folder: Path) -> list[Path]:
    """The pictures in a folder and its sub-folders, sorted by relative path.

    Hidden files are left out; links to folders are followed.
    """
    names = glob.glob("**/*", root_dir=folder, recursive=True)
    return [folder / name for name in sorted(names) if name.lower().endswith(SUFFIXES)]


def others(folder: Path) -> dict[str, int]:
    """{suffix: how many} of the files in a folder and its sub-folders that `find` leaves out, but for hidden ones."""
    names = glob.glob("**/*.*", root_dir=folder, recursive=True)
    left = [Path(name).suffix.lower() for name in names if not name.lower().endswith(SUFFIXES)]
    return {suffix: left.count(suffix) for suffix in sorted(set(left)) if suffix}


def header(path: Path) -> tuple[tuple[int, int], str, int]:
    """(width, height), the mode that a picture is stored in, "L", "RGBA", "I;16", and how many pages or frames it has.

    Raises:
        Unreadable: if the file is not a picture, or a damaged one.
        OSError: if the file cannot be opened.
    """
    from PIL import Image

    with open(path, "rb") as file, _readable(), Image.open(file) as image:
        return image.size, image.mode, getattr(image, "n_frames", 1)


@contextlib.contextmanager
def _readable():
    """Whatever Pillow raises as `Unreadable`: for damaged files that is nearly anything, SyntaxError among them."""
    from PIL import UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError:
        raise Unreadable("not a picture") from None
    except Exception as error:
        raise Unreadable(str(error).strip() or type(error).__name__) from error


def decode(content: bytes) -> "Image.Image":
    """Decodes a picture.

    Args:
        content: the bytes of its file.

    Returns:
        The picture the right way up (its EXIF orientation is applied), in mode L or RGB; transparent pixels are white.

    Raises:
        Unreadable: if the bytes are not a picture, or the picture is damaged.
    """
    from PIL import Image, ImageOps

    with _readable(), Image.open(io.BytesIO(content)) as image:
        return grey_or_rgb(ImageOps.exif_transpose(image))


def grey_or_rgb(image: "Image.Image") -> "Image.Image":
    """A picture in mode L or RGB; transparent pixels are white."""
    from PIL import Image

    if image.mode == "F":
        raise Unreadable("its pixels are numbers of no known range: make them levels, or a file of arrays, .npy")
    if image.mode.startswith("I"):
        # 16-bit levels, which Pillow's own conversion would clip at 255.
        return Image.fromarray(np.rint(np.clip(image, 0, 65535) / 257).astype("uint8"))
    mode = "L" if is_grey(image.mode) else "RGB"
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert(mode)


def is_grey(mode: str) -> bool:
    """Whether `grey_or_rgb` makes a grey picture of one that is stored in this mode."""
    return mode in ("1", "L", "LA") or mode.startswith("I")


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
    return fitted(decode(path.read_bytes()), height, width, channels)


def fitted(image: "Image.Image", height: int, width: int, channels: int | None = None) -> np.ndarray:
    """A decoded picture at a given size; arguments and result are those of `read`."""
    from PIL import Image

    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    scale = min(image.height / height, image.width / width)
    part = centre(image, max(1, round(height * scale)), max(1, round(width * scale)))
    # Cropped first: a box given to `resize` would let the pixels around it shine in at the edges.
    return np.asarray(part.resize((width, height), Image.Resampling.LANCZOS)).reshape(height, width, -1)
