"""Figures, animations and pictures as files, each written whole or not at all."""

import os
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from keras_vae import files
from keras_vae.names import check_whole
from keras_vae.plotting.arrays import checked_rows
from keras_vae.plotting.grids import path_frame
from keras_vae.plotting.tiles import mosaic


def save(figure: Figure, path: str | os.PathLike, dpi: float | None = None) -> None:
    """Writes a figure as PNG.

    Args:
        figure: a matplotlib figure.
        path: file to write, with the suffix `.png`; its directory is made.
        dpi: dots per inch; None: those of the figure, at which grids are sharp.

    Raises:
        ValueError: if the path has another suffix.
    """
    # Squares and lines shrink well enough at the fastest level.
    options = {"format": "png", "dpi": "figure" if dpi is None else dpi, "pil_kwargs": {"compress_level": 1}}
    _write(path, ".png", lambda partial: figure.savefig(partial, **options))


def save_gif(images: ArrayLike, path: str | os.PathLike, milliseconds: int = 80, back: bool = True) -> None:
    """Writes a path of images as an animated GIF that loops for ever.

    Args:
        images: see Shape; values as `image_grid` takes them.
        path: file to write, with the suffix `.gif`; its directory is made.
        milliseconds: time for which each frame is shown; viewers round it to hundredths of a second.
        back: whether to run back to the first image instead of jumping there.

    Shape:
        images: `(T, *X)`, or `(N, T, H, W, C)`, whose N paths are shown together, as from `vae.interpolate`.

    Raises:
        ValueError: if the images have another shape, or the path another suffix.
    """
    check_whole(milliseconds=milliseconds)
    rows = checked_rows("images", images)
    limits = rows.min(), rows.max()
    frames = [_rendered(path_frame(rows[:, t], limits)) for t in range(rows.shape[1])]
    if back:
        frames += frames[-2:0:-1]

    def write(partial):
        first, *rest = [frame.quantize(256) for frame in frames]
        first.save(partial, format="GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0)

    _write(path, ".gif", write)


def save_pixels(levels: np.ndarray, path: str | os.PathLike, columns: int | None = None) -> None:
    """Writes images pixel by pixel, without margins.

    Args:
        levels: see Shape; uint8.
        path: a file with the suffix `.png`, for one picture of all images edge to edge; or a directory, for a `.png` of
            each image. Directories are made.
        columns: images per row of the one picture; None: about as many as rows.

    Shape:
        levels: `(N, H, W, 1)` or `(N, H, W, 3)`.

    Raises:
        ValueError: if the images have another shape or are not uint8.
    """
    path = Path(path)
    if levels.ndim != 4 or levels.shape[-1] not in (1, 3) or levels.dtype != np.uint8:
        raise ValueError(
            "Pictures are written of uint8 images, (N, H, W, 1) or (N, H, W, 3); save other arrays as .npy files. "
            f"Received: {levels.dtype} of shape {levels.shape}"
        )
    if path.suffix:
        _write_pixels(path, mosaic(levels, columns))
        return
    for index, image in enumerate(levels):
        _write_pixels(path / f"{index:05d}.png", image)


def _write_pixels(path, levels):
    image = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
    _write(path, ".png", lambda partial: image.save(partial, format="PNG"))


def _rendered(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _write(path, suffix, write):
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise ValueError(f"`path` must end with {suffix}. Received: path={str(path)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, write)
