"""Grids of images: samples, reconstructions, and walks through the latent space."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from keras_vae.data import to_levels
from keras_vae.plotting.arrays import checked_images, checked_latents, checked_rows
from keras_vae.plotting.tiles import columns_for, mosaic, paste, rows_of

# Grids are laid out in pixels at this resolution, so that each pixel of an image is a square of whole pixels.
GRID_DPI = 100
CELL = 96
GAP = 4
MAX_WIDTH = 1600
LINE = 18
CHARACTER = 9
PLANE = 840
PLANE_MARGIN = 76
PLANE_LABEL = 44


def image_grid(
    images: ArrayLike,
    columns: int | None = None,
    title: str | None = None,
    row_names: Sequence[str] | None = None,
) -> Figure:
    """Draws images, or signals, as a grid.

    Args:
        images: see Shape. Values are in [0, 1], to which they are clipped, or levels 0 to 255 if their mean is above 1.
        columns: images per row; None: about as many as rows.
        title: text above the grid.
        row_names: text to the left of each row.

    Shape:
        images: `(N, H, W, 1)` or `(N, H, W, 3)`; signals `(N, length, channels)` are drawn as lines, one per
            channel, all on one scale.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if the images have another shape, are empty or not finite, or if the rows and their names differ in
            number.
    """
    images = checked_images("images", images)
    columns = columns_for(len(images), columns)
    rows = rows_of(images, columns)
    if row_names is not None and len(row_names) != len(rows):
        raise ValueError(
            f"`row_names` must name each of the {len(rows)} rows, which have {columns} images each. "
            f"Received: row_names={row_names!r}"
        )
    return _grid(rows, ("",) if row_names is None else row_names, title)


def reconstruction_grid(
    originals: ArrayLike,
    reconstructions: ArrayLike,
    columns: int = 10,
    row_names: tuple[str, str] = ("original", "reconstruction"),
) -> Figure:
    """Draws each image above its reconstruction.

    Args:
        originals: images, as for `image_grid`.
        reconstructions: images of the same shape; their values may be in the other range.
        columns: pairs per row.
        row_names: of the images above and below.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if the two differ in shape, or `image_grid` would refuse them.
    """
    originals = checked_images("originals", originals)
    reconstructions = checked_images("reconstructions", reconstructions)
    if originals.shape != reconstructions.shape:
        raise ValueError(
            "`originals` and `reconstructions` must have the same shape. "
            f"Received: shapes {originals.shape} and {reconstructions.shape}"
        )
    columns = columns_for(len(originals), columns)
    pairs = zip(rows_of(originals, columns), rows_of(reconstructions, columns), strict=True)
    return _grid([row for pair in pairs for row in pair], labels=row_names)


def neighbourhood_grid(originals: ArrayLike, neighbours: ArrayLike) -> Figure:
    """Draws each image to the left of images decoded from latents near its encoding.

    Args:
        originals: images, as for `image_grid`.
        neighbours: see Shape; their values may be in the other range.

    Shape:
        originals: `(N, *X)`.
        neighbours: `(N, K, *X)`, or `(N * K, *X)` as decoded from `neighbourhood_latents`.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if the two shapes do not fit, or `image_grid` would refuse the images.
    """
    originals = checked_images("originals", originals)
    neighbours = np.asarray(neighbours)
    shape, count = originals.shape[1:], len(originals)
    if neighbours.shape[-len(shape) :] != shape or neighbours.size % originals.size or not neighbours.size:
        raise ValueError(
            "`neighbours` must hold equally many images for each of the `originals`, (N, K, *X) or (N * K, *X). "
            f"Received: shapes {neighbours.shape} and {originals.shape}"
        )
    neighbours = checked_images("neighbours", neighbours.reshape(-1, *shape)).reshape(count, -1, *shape)
    rows = [np.concatenate([original[None], row]) for original, row in zip(originals, neighbours, strict=True)]
    return _grid(rows, columns=("original",), first_apart=True)


def traversal_grid(
    images: ArrayLike,
    units: Sequence[int | str] | np.ndarray | None = None,
    values: Sequence[float] | np.ndarray | None = None,
    title: str | None = None,
) -> Figure:
    """Draws a traversal of the latent space: a row for each unit, a column for each of its values.

    Args:
        images: see Shape; values as for `image_grid`.
        units: names or numbers of the units; None: 0, 1, ...
        values: values of the units, one per column; None: those of `traversal_latents` if there are 7 columns.
        title: text above the grid.

    Shape:
        images: `(units, values, H, W, C)`.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if the shapes do not fit, or `image_grid` would refuse the images.
    """
    images = np.asarray(images)
    if images.ndim not in (4, 5):
        raise ValueError(f"`images` must be (units, values, *X). Received: shape {images.shape}")
    rows = checked_images("images", images.reshape(-1, *images.shape[2:])).reshape(images.shape)
    units = range(len(rows)) if units is None else units
    if values is None:
        values = np.arange(-3.0, 4.0) if rows.shape[1] == 7 else ()
    if len(units) != len(rows) or len(values) not in (0, rows.shape[1]):
        raise ValueError(
            "`images` must have a row for each unit and a column for each value. "
            f"Received: {len(units)} units, {len(values)} values, shape {images.shape}"
        )
    return _grid(list(rows), [f"z[{unit}]" for unit in units], title, columns=[_number(value, 1) for value in values])


def interpolation_grid(images: ArrayLike, title: str | None = None) -> Figure:
    """Draws paths of images, each as a row from its beginning to its end.

    Args:
        images: see Shape; values as for `image_grid`.
        title: text above the grid.

    Shape:
        images: `(T, *X)` or `(N, T, H, W, C)`, as from `vae.interpolate`.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if the images have another shape, are empty or not finite.
    """
    rows = checked_rows("images", images)
    share = np.linspace(0, 1, rows.shape[1])
    return _grid(list(rows), title=title, columns=[_number(t, 2) for t in share] if len(share) > 1 else ())


def path_frame(images: np.ndarray, limits: tuple[float, float]) -> Figure:
    """Draws a frame of an animation: images that `checked_images` returned, and signals between `limits`."""
    return _grid(rows_of(images, columns_for(len(images))), limits=limits)


def latent_plane(images: ArrayLike, z: ArrayLike, title: str | None = None) -> Figure:
    """Draws the plane of a 2-D latent space, with the decoded image at each place.

    Args:
        images: images decoded from `z`; values as for `image_grid`.
        z: latents on a grid, row by row from the top left, as from `plane_latents`; they label the axes.
        title: text above the plane.

    Shape:
        images: `(N, H, W, C)`.
        z: `(N, 2)`.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if z is not such a grid, or there is not one image for each latent.
    """
    images = checked_images("images", images)
    z = checked_latents("z", z)
    across, up = np.unique(z[:, 0]), np.unique(z[:, -1])[::-1]
    expected = np.stack([a.ravel() for a in np.meshgrid(across, up)], axis=1)
    if images.ndim != 4 or z.shape != (len(images), 2) or expected.shape != z.shape or (expected != z).any():
        raise ValueError(
            "`images` must be (N, H, W, C), decoded from latents on a grid, (N, 2), in the order of `plane_latents`. "
            f"Received: shapes {images.shape} and {z.shape}"
        )
    height, width = images.shape[1:3]
    scale = max(1, round(PLANE / max(height * len(up), width * len(across))))
    canvas = mosaic(to_levels(images, "unit interval"), len(across), scale)
    canvas = np.broadcast_to(canvas, (*canvas.shape[:2], 3))
    top = LINE + 2 * GAP if title else GAP
    full_height, full_width = canvas.shape[0] + top + PLANE_MARGIN, canvas.shape[1] + PLANE_MARGIN + GAP
    figure = Figure(figsize=(full_width / GRID_DPI, full_height / GRID_DPI), dpi=GRID_DPI)
    place = PLANE_MARGIN, PLANE_MARGIN, canvas.shape[1], canvas.shape[0]
    ax = figure.add_axes(np.divide(place, (full_width, full_height) * 2), xlabel="$z_1$", ylabel="$z_2$")
    ax.imshow(canvas, extent=(0, canvas.shape[1], canvas.shape[0], 0), interpolation="nearest", aspect="auto")
    for axis, values, size in ((ax.xaxis, across, width), (ax.yaxis, up, height)):
        shown = np.arange(0, len(values), math.ceil(PLANE_LABEL / (scale * size)))
        axis.set_ticks(scale * size * (shown + 0.5), [_number(values[i], 2) for i in shown])
    ax.spines[:].set_visible(False)
    ax.set_title(title or "", fontsize=11, pad=GAP)
    return figure


def _number(value, digits):
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _grid(rows, labels=("",), title=None, columns=(), limits=None, first_apart=False):
    """Draws rows of images or signals.

    Args:
        rows: list of arrays, images or signals.
        labels: names of the rows, in turn; a wider gap precedes each repetition of several names.
        title: text above the grid.
        columns: names of the first columns.
        limits: least and greatest value of signals; None: those of the rows.
        first_apart: whether a wider gap follows the first column.
    """
    signals = rows[0].ndim == 3
    count, period = len(rows[0]), len(labels)
    cell = max(1, min(CELL, MAX_WIDTH // count))
    if signals:
        height, width = cell, 2 * cell
    else:
        scale = max(1, round(cell / max(rows[0].shape[1:3])))
        height, width = scale * rows[0].shape[1], scale * rows[0].shape[2]
    left = GAP + (CHARACTER * max(map(len, labels)) if any(labels) else 0)
    top = GAP + (LINE + 2 * GAP if title else 0)
    heading = top
    top += LINE if len(columns) else 0
    tops = [top + r * (height + GAP) + r // period * (period - 1) * 3 * GAP for r in range(len(rows))]
    lefts = [left + c * (width + GAP) + (3 * GAP if first_apart and c else 0) for c in range(count)]
    right = lefts[-1] + width + GAP
    # A long title widens a narrow grid; its rows are then centred.
    margin = max(0, CHARACTER * len(title or "") + 2 * GAP - right) // 2
    lefts = [margin + x for x in lefts]
    # In bytes, which matplotlib resamples several times faster than floats.
    canvas = np.full((tops[-1] + height + GAP, right + 2 * margin, 3), 255, dtype="uint8")

    figure = Figure(figsize=(canvas.shape[1] / GRID_DPI, canvas.shape[0] / GRID_DPI), dpi=GRID_DPI)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    limits = limits or (min(row.min() for row in rows), max(row.max() for row in rows))
    if not signals:
        paste(canvas, [to_levels(row, "unit interval") for row in rows], tops, lefts, scale)
    for r, (y, row) in enumerate(zip(tops, rows, strict=True)):
        for x, signal in zip(lefts, row if signals else (), strict=False):
            _draw_signal(ax, signal, limits, x, y, width, height)
        ax.text(lefts[0] - 2 * GAP, y + height / 2, labels[r % period], ha="right", va="center", fontsize=10)
    for x, name in zip(lefts, columns, strict=False):
        ax.text(x + width / 2, heading + LINE / 2 - GAP, name, ha="center", va="center", fontsize=10)
    # Pixel i covers [i, i + 1).
    extent = (0, canvas.shape[1], canvas.shape[0], 0)
    ax.imshow(canvas, extent=extent, interpolation="nearest", aspect="auto", zorder=0)
    if title:
        ax.text(canvas.shape[1] / 2, GAP + LINE / 2 + GAP, title, ha="center", va="center", fontsize=11)
    return figure


def _draw_signal(ax, signal, limits, x, y, width, height):
    low, high = limits
    inset = 0.08 * height
    at = np.linspace(x + inset, x + width - inset, len(signal))
    unit = (signal - low) / (high - low) if high > low else np.full_like(signal, 0.5)
    ax.plot(at, y + height - inset - unit * (height - 2 * inset), linewidth=1)
    ax.set_prop_cycle(None)
    ax.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor="0.8", linewidth=0.7))
