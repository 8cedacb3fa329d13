"""Images side by side on one canvas: the arrangement that figures, animations and pixel-exact grids share."""

import math
from collections.abc import Iterable, Sequence

import numpy as np


def columns_for(count: int, columns: int | None = None) -> int:
    """The number of columns of a grid of `count` images; None: about as many as rows."""
    if columns is None:
        return math.ceil(math.sqrt(count))
    if columns < 1:
        raise ValueError(f"`columns` must be at least 1. Received: columns={columns}")
    return min(columns, count)


def rows_of(images: np.ndarray, columns: int) -> list[np.ndarray]:
    """The images in rows of `columns`, of which the last may be shorter."""
    return [images[i : i + columns] for i in range(0, len(images), columns)]


def paste(
    canvas: np.ndarray, rows: Iterable[np.ndarray], tops: Sequence[int], lefts: Sequence[int], scale: int = 1
) -> None:
    """Copies rows of images into a canvas, each pixel as a square of `scale` x `scale`.

    Args:
        canvas: (height, width, C) uint8.
        rows: images of each row, (n, H, W, C) uint8; one channel fills all channels of the canvas.
        tops: the first line of each row.
        lefts: the first column of each image of a row.
        scale: side of the squares.
    """
    for top, row in zip(tops, rows, strict=True):
        for left, image in zip(lefts, row, strict=False):
            square = image.repeat(scale, axis=0).repeat(scale, axis=1)
            canvas[top : top + square.shape[0], left : left + square.shape[1]] = square


def mosaic(images: np.ndarray, columns: int | None = None, scale: int = 1) -> np.ndarray:
    """Images edge to edge.

    Args:
        images: (N, H, W, C) uint8.
        columns: images per row; None: about as many as rows.
        scale: side of the square that shows a pixel.

    Returns:
        (rows * scale * H, columns * scale * W, C) uint8, black where the last row is short.
    """
    columns = columns_for(len(images), columns)
    rows = rows_of(images, columns)
    height, width = (scale * size for size in images.shape[1:3])
    canvas = np.zeros((len(rows) * height, columns * width, images.shape[-1]), dtype="uint8")
    paste(canvas, rows, range(0, canvas.shape[0], height), range(0, canvas.shape[1], width), scale)
    return canvas
