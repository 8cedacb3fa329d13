"""Grids of images: samples, reconstructions, and walks through the latent space."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from keras_vae.plotting.arrays import checked_images, checked_latents, checked_rows

# Grids are laid out in pixels at this resolution, so that every pixel of an image becomes a square of whole pixels.
GRID_DPI = 100
CELL = 96
GAP = 4
MAX_WIDTH = 1600
LINE = 18
CHARACTER = 9
PLANE = 840
PLANE_MARGIN = 76
PLANE_LABEL = 44


def image_grid(images, columns=None, title=None, row_names=None):
    """Draw images, or signals, as a grid.

    Args:
        images: see Shape. Values are in [0, 1] (beyond which they are clipped), or levels 0..255 if any is above 2.
        columns: images per row; by default the grid is about square.
        title: text above the grid.
        row_names: text at the left of each row.

    Shape:
        images: `(N, H, W, 1)` or `(N, H, W, 3)`; signals `(N, length, channels)` become lines, one per channel, all on
            one scale.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: where the images have another shape, or are empty or not finite, or a row has no name.
    """
    images = checked_images("images", images)
    columns = _columns(math.ceil(math.sqrt(len(images))) if columns is None else columns, len(images))
    rows = _rows(images, columns)
    if row_names is not None and len(row_names) != len(rows):
        raise ValueError(
            f"`row_names` must be one for each of the {len(rows)} rows, of {columns} images each. "
            f"Received: row_names={row_names!r}"
        )
    return _grid(rows, ("",) if row_names is None else row_names, title)


def reconstruction_grid(originals, reconstructions, columns=10):
    """Draw each image above its reconstruction.

    Args:
        originals: as `image_grid` takes them.
        reconstructions: of the same shape; their values may be in the other range.
        columns: pairs per row.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: where the two differ in shape, or are not what `image_grid` takes.
    """
    originals = checked_images("originals", originals)
    reconstructions = checked_images("reconstructions", reconstructions)
    if originals.shape != reconstructions.shape:
        raise ValueError(
            "`originals` and `reconstructions` must have the same shape. "
            f"Received: shapes {originals.shape} and {reconstructions.shape}"
        )
    columns = _columns(columns, len(originals))
    pairs = zip(_rows(originals, columns), _rows(reconstructions, columns), strict=True)
    return _grid([row for pair in pairs for row in pair], labels=("original", "reconstruction"))


def neighbourhood_grid(originals, neighbours):
    """Draw each image at the left of what the neighbourhood of its encoding decodes to.

    Args:
        originals: as `image_grid` takes them.
        neighbours: see Shape; their values may be in the other range.

    Shape:
        originals: `(N, *X)`.
        neighbours: `(N, K, *X)`, or `(N * K, *X)` as decoded from `neighbourhood_latents`.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: where the two do not belong together, or are not what `image_grid` takes.
    """
    originals = checked_images("originals", originals)
    neighbours = np.asarray(neighbours)
    shape, count = originals.shape[1:], len(originals)
    if neighbours.shape[-len(shape) :] != shape or neighbours.size % originals.size or not neighbours.size:
        raise ValueError(
            "`neighbours` must hold as many images for each of the `originals`, (N, K, *X) or (N * K, *X). "
            f"Received: shapes {neighbours.shape} and {originals.shape}"
        )
    neighbours = checked_images("neighbours", neighbours.reshape(-1, *shape)).reshape(count, -1, *shape)
    rows = [np.concatenate([original[None], row]) for original, row in zip(originals, neighbours, strict=True)]
    return _grid(rows, columns=("original",), first_apart=True)


def traversal_grid(images, units=None, values=None, title=None):
    """Draw a traversal of the latent space: a row for each unit, a column for each of its values.

    Args:
        images: see Shape; values as `image_grid` takes them.
        units: names or numbers of the units; None: 0, 1, ...
        values: what the units take, one per column; None: as `traversal_latents` has them, where there are 7.
        title: text above the grid.

    Shape:
        images: `(units, values, H, W, C)`.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: where the shapes do not belong together, or the images are not what `image_grid` takes.
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


def interpolation_grid(images, title=None):
    """Draw paths of images, each as a row from its beginning to its end.

    Args:
        images: see Shape; values as `image_grid` takes them.
        title: text above the grid.

    Shape:
        images: `(T, *X)` or `(N, T, H, W, C)`, as from `vae.interpolate`.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: where the images have another shape, or are empty or not finite.
    """
    rows = checked_rows("images", images)
    share = np.linspace(0, 1, rows.shape[1])
    return _grid(list(rows), title=title, columns=[_number(t, 2) for t in share] if len(share) > 1 else ())


def path_frame(images, limits):
    """A grid of images that are checked already, for an animation: signals are drawn between `limits`."""
    return _grid(_rows(images, math.ceil(math.sqrt(len(images)))), limits=limits)


def latent_plane(images, z, title=None):
    """Draw the plane of a 2-D latent space, each place by the image that is decoded there.

    Args:
        images: decoded from `z`; values as `image_grid` takes them.
        z: latents on a grid, row by row from the top left, as from `plane_latents`; they become the axes' ticks.
        title: text above the plane.

    Shape:
        images: `(N, H, W, C)`.
        z: `(N, 2)`.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: where z is no such grid, or there is not one image for each.
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
    tiles = images.reshape(len(up), len(across), *images.shape[1:]).swapaxes(1, 2)
    tiles = _levels(tiles.reshape(len(up) * height, len(across) * width, -1))
    canvas = tiles.repeat(scale, axis=0).repeat(scale, axis=1)
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


def _columns(columns, count):
    if columns < 1:
        raise ValueError(f"`columns` must be at least 1. Received: columns={columns}")
    return min(columns, count)


def _rows(images, columns):
    return [images[i : i + columns] for i in range(0, len(images), columns)]


def _grid(rows, labels=("",), title=None, columns=(), limits=None, first_apart=False):
    """Draw rows of images or signals.

    Args:
        rows: list of arrays, images or signals.
        labels: names of the rows, taken in turn; where several start again there is a wider gap.
        title: text above all.
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
    # A long title widens a narrow grid, whose rows then stand in the middle.
    margin = max(0, CHARACTER * len(title or "") + 2 * GAP - right) // 2
    lefts = [margin + x for x in lefts]
    canvas = np.full((tops[-1] + height + GAP, right + 2 * margin, 3), 255, dtype="uint8")

    figure = Figure(figsize=(canvas.shape[1] / GRID_DPI, canvas.shape[0] / GRID_DPI), dpi=GRID_DPI)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    limits = limits or (min(row.min() for row in rows), max(row.max() for row in rows))
    for r, (y, row) in enumerate(zip(tops, rows, strict=True)):
        for x, item in zip(lefts, row, strict=False):
            if signals:
                _draw_signal(ax, item, limits, x, y, width, height)
            else:
                canvas[y : y + height, x : x + width] = _levels(item).repeat(scale, axis=0).repeat(scale, axis=1)
        ax.text(lefts[0] - 2 * GAP, y + height / 2, labels[r % period], ha="right", va="center", fontsize=10)
    for x, name in zip(lefts, columns, strict=False):
        ax.text(x + width / 2, heading + LINE / 2 - GAP, name, ha="center", va="center", fontsize=10)
    # Pixel i covers [i, i + 1).
    extent = (0, canvas.shape[1], canvas.shape[0], 0)
    ax.imshow(canvas, extent=extent, interpolation="nearest", aspect="auto", zorder=0)
    if title:
        ax.text(canvas.shape[1] / 2, GAP + LINE / 2 + GAP, title, ha="center", va="center", fontsize=11)
    return figure


def _levels(images):
    # Matplotlib resamples bytes several times faster than floats.
    return np.rint(255 * images).astype("uint8")


def _draw_signal(ax, signal, limits, x, y, width, height):
    low, high = limits
    inset = 0.08 * height
    at = np.linspace(x + inset, x + width - inset, len(signal))
    unit = (signal - low) / (high - low) if high > low else np.full_like(signal, 0.5)
    ax.plot(at, y + height - inset - unit * (height - 2 * inset), linewidth=1)
    ax.set_prop_cycle(None)
    ax.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor="0.8", linewidth=0.7))
