"""Figures and animations as files, each written whole or not at all."""

import os
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from keras_vae.names import check_whole
from keras_vae.plotting.arrays import checked_rows
from keras_vae.plotting.grids import path_frame


def save(figure, path, dpi=None):
    """Write a figure as PNG, whole or not at all.

    Args:
        figure: a matplotlib figure.
        path: file to write, with the suffix `.png`; its directory is made.
        dpi: dots per inch; by default the figure's own, at which grids are sharp.

    Raises:
        ValueError: where the path has another suffix.
    """
    # Squares and lines shrink well enough at the fastest level.
    options = {"format": "png", "dpi": "figure" if dpi is None else dpi, "pil_kwargs": {"compress_level": 1}}
    _write(path, ".png", lambda partial: figure.savefig(partial, **options))


def save_gif(images, path, milliseconds=80, back=True):
    """Write a path of images as an animated GIF that runs for ever.

    Args:
        images: see Shape; values as `image_grid` takes them.
        path: file to write, with the suffix `.gif`; its directory is made.
        milliseconds: time that each frame is shown; viewers round it to hundredths of a second.
        back: run back to the first image instead of jumping there.

    Shape:
        images: `(T, *X)`, or `(N, T, H, W, C)`, whose N paths are shown together, as from `vae.interpolate`.

    Raises:
        ValueError: where the images have another shape, or the path another suffix.
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


def _rendered(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _write(path, suffix, write):
    path = Path(path)
    if path.suffix != suffix:
        raise ValueError(f"`path` must end with {suffix}. Received: path={str(path)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
