"""The pictures of a preset, in as little room as they can be read in."""

import shutil
from collections.abc import Callable
from pathlib import Path

# Of the pixels of a chart, one colour, that of the paper, has at least this share.
_PAPER = 0.3
_COLOURS = 256
# Charts get as many colours as leave this at most between a pixel and what it was, in levels of 255, on average.
_APART = 0.3
# Beyond it files of grids that are drawn enlarged grow, and nobody sees a difference.
_QUALITY = 85


def compact(source: Path) -> tuple[str, Callable[[Path], None]]:
    """The name that a picture gets in a preset, and what writes it.

    Grey pictures and those of few colours stay what they are to the pixel, charts are drawn in few colours,
    at most 256, and colour photographs become JPEG files. Files that are not PNG are copied. What was made so stays so.
    """
    from PIL import Image

    copied = source.name, lambda path: shutil.copyfile(source, path)
    if source.suffix.lower() != ".png":
        return copied
    with Image.open(source) as image:
        if image.mode in ("L", "P") or (image.mode == "RGBA" and image.getextrema()[3] != (255, 255)):
            return copied
        pixels = image.convert("RGB")
    red, *others = pixels.split()
    counts = [count for count, _ in pixels.getcolors(pixels.width * pixels.height)]
    if all(red.tobytes() == other.tobytes() for other in others):
        small = red
    elif len(counts) <= _COLOURS:
        small = pixels.quantize(_COLOURS)
    elif max(counts) < _PAPER * sum(counts):
        return f"{source.stem}.jpg", lambda path: pixels.save(path, format="JPEG", quality=_QUALITY, optimize=True)
    else:
        small = _in_few_colours(pixels)
    return source.name, lambda path: small.save(path, format="PNG", optimize=True)


def _in_few_colours(pixels):
    from PIL import ImageChops, ImageStat

    for count in (32, 64, 128, _COLOURS):
        small = pixels.quantize(count)
        apart = ImageStat.Stat(ImageChops.difference(small.convert("RGB"), pixels)).mean
        if sum(apart) / 3 <= _APART:
            break
    return small
