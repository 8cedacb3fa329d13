"""Arrays in, matplotlib figures out.

Figures are made as objects, without pyplot: nothing needs a display, and nothing stays in memory.
"""

import math
import os
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

# Grids are laid out in pixels at this resolution, so that every pixel of an image becomes a square of whole pixels.
GRID_DPI = 100
CELL = 96
GAP = 4
MAX_WIDTH = 1600
MAX_CLASSES = 20
LINE = 18
CHARACTER = 9


def image_grid(images, columns=None, title=None):
    """Draw images, or signals, as a grid.

    Args:
        images: see Shape. Values are in [0, 1] (beyond which they are clipped), or levels 0..255 if any is above 2.
        columns: images per row; by default the grid is about square.
        title: text above the grid.

    Shape:
        images: `(N, H, W, 1)` or `(N, H, W, 3)`; signals `(N, length, channels)` become lines, one per channel, all on
            one scale.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: where the images have another shape, or are empty or not finite.
    """
    images = _checked("images", images)
    columns = _columns(math.ceil(math.sqrt(len(images))) if columns is None else columns, len(images))
    return _grid(_rows(images, columns), title=title)


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
    originals = _checked("originals", originals)
    reconstructions = _checked("reconstructions", reconstructions)
    if originals.shape != reconstructions.shape:
        raise ValueError(
            "`originals` and `reconstructions` must have the same shape. "
            f"Received: shapes {originals.shape} and {reconstructions.shape}"
        )
    columns = _columns(columns, len(originals))
    pairs = zip(_rows(originals, columns), _rows(reconstructions, columns), strict=True)
    return _grid([row for pair in pairs for row in pair], labels=("original", "reconstruction"))


def latent_scatter(z, labels=None, title=None):
    """Draw latents as points in the plane.

    Args:
        z: latents; of more than two dimensions their first two principal components are drawn.
        labels: one per point: up to 20 different ones get a colour each and a legend, more (numbers) a colour bar.
        title: text above the plot.

    Shape:
        z: `(N, D)` with D >= 2.
        labels: `(N,)`.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: where the shapes are others, z is empty or not finite, or more than 20 labels are not numbers.
    """
    z = np.asarray(z)
    if z.ndim != 2 or z.shape[0] < 1 or z.shape[1] < 2:
        raise ValueError(f"`z` must be (N, D) with N >= 1 and D >= 2. Received: shape {z.shape}")
    _check_finite("z", z)
    points, axis_names = _plane(z.astype("float64"))
    figure = Figure(figsize=(6.4, 5), dpi=150, layout="constrained")
    ax = figure.add_subplot(xlabel=axis_names[0], ylabel=axis_names[1], title=title or "")
    # In random order, or the last class would hide the others.
    order = np.random.default_rng(0).permutation(len(points))
    style = {"s": float(np.clip(20_000 / len(points), 4, 30)), "alpha": 0.75, "linewidths": 0}
    x, y = points[order].T
    if labels is None:
        ax.scatter(x, y, **style)
    else:
        _scatter_labels(figure, ax, x, y, labels, order, style)
    ax.set_aspect("equal", adjustable="datalim")
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def curves(history):
    """Draw the course of a training: one panel per metric, training and validation together.

    The bound comes first, then its two terms, then whatever else was logged. A NaN leaves a gap, so that a run that
    diverged can be looked at.

    Args:
        history: metric name to its values, one per epoch, as in `fit(...).history`; `val_loss` belongs to `loss`. A
            validation that ran every few epochs only has correspondingly fewer values.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: where the history is empty, or a metric is not a list of numbers.
    """
    history = {name: np.asarray(values, dtype="float64") for name, values in history.items()}
    if not history or any(values.ndim != 1 or not len(values) for values in history.values()):
        shapes = {name: values.shape for name, values in history.items()}
        raise ValueError(f"`history` must map at least one metric to its values per epoch. Received: shapes {shapes}")
    epochs = max(map(len, history.values()))
    first = ["loss", "elbo", "log_likelihood", "kl"]
    logged = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    names = [name for name in first if name in logged] + [name for name in logged if name not in first]
    columns = len(names) if len(names) <= 3 else math.ceil(len(names) / math.ceil(len(names) / 4))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.8 * rows), dpi=150, layout="constrained")
    for i, name in enumerate(names):
        ax = figure.add_subplot(rows, columns, i + 1, title=name.replace("_", " "))
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in history:
                values = history[key]
                # Which epochs a sparse validation ran in is not recorded; evenly spaced is the rule.
                at = np.arange(1, len(values) + 1) * (epochs // len(values))
                ax.plot(at, values, label=label, marker="o" if epochs <= 20 else None, markersize=3)
        ax.set_xlabel("epoch")
        ax.set_ylabel("nats" if name in first else "")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.3)
        if len(ax.lines) > 1:
            ax.legend(frameon=False)
    return figure


def save(figure, path, dpi=None):
    """Write a figure as PNG, whole or not at all.

    Args:
        figure: a matplotlib figure.
        path: file to write, with the suffix `.png`; its directory is made.
        dpi: dots per inch; by default the figure's own, at which grids are sharp.

    Raises:
        ValueError: where the path has another suffix.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"`path` must end with .png. Received: path={str(path)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        figure.savefig(partial, format="png", dpi="figure" if dpi is None else dpi)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _checked(name, images):
    """Return images or signals as a float array, images in [0, 1]."""
    images = np.asarray(images)
    square = images.ndim == 3 and images.shape[1] == images.shape[2] > 1
    if images.ndim not in (3, 4) or not images.size or square or (images.ndim == 4 and images.shape[-1] not in (1, 3)):
        raise ValueError(
            f"`{name}` must be (N, H, W, 1), (N, H, W, 3) or (N, length, channels), and not empty; greyscale images "
            f"need their channel axis, `images[..., None]`. Received: shape {images.shape}"
        )
    _check_finite(name, images)
    images = images.astype("float64")
    if images.ndim == 3:
        return images
    # 2 and not 1, because the means of a Gaussian likelihood overshoot.
    return np.clip(images / 255 if images.max() > 2 else images, 0, 1)


def _check_finite(name, array):
    finite = np.isfinite(array)
    if not finite.all():
        raise ValueError(f"`{name}` must be finite. Received: {np.sum(~finite)} NaN or infinite of {array.size} values")


def _columns(columns, count):
    if columns < 1:
        raise ValueError(f"`columns` must be at least 1. Received: columns={columns}")
    return min(columns, count)


def _rows(images, columns):
    return [images[i : i + columns] for i in range(0, len(images), columns)]


def _grid(rows, labels=("",), title=None):
    """Draw rows of images or signals, labelled in turn, with a wider gap where several labels start again."""
    signals = rows[0].ndim == 3
    columns, period = len(rows[0]), len(labels)
    cell = max(1, min(CELL, MAX_WIDTH // columns))
    if signals:
        height, width = cell, 2 * cell
    else:
        scale = max(1, round(cell / max(rows[0].shape[1:3])))
        height, width = scale * rows[0].shape[1], scale * rows[0].shape[2]
    left = GAP + (CHARACTER * max(map(len, labels)) if any(labels) else 0)
    top = GAP + (LINE + 2 * GAP if title else 0)
    tops = [top + r * (height + GAP) + r // period * (period - 1) * 3 * GAP for r in range(len(rows))]
    right = left + columns * (width + GAP)
    # A long title widens a narrow grid, whose rows then stand in the middle.
    margin = max(0, CHARACTER * len(title or "") + 2 * GAP - right) // 2
    left += margin
    canvas = np.ones((tops[-1] + height + GAP, right + 2 * margin, 3))

    figure = Figure(figsize=(canvas.shape[1] / GRID_DPI, canvas.shape[0] / GRID_DPI), dpi=GRID_DPI)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    limits = min(row.min() for row in rows), max(row.max() for row in rows)
    for r, (y, row) in enumerate(zip(tops, rows, strict=True)):
        for c, item in enumerate(row):
            x = left + c * (width + GAP)
            if signals:
                _draw_signal(ax, item, limits, x, y, width, height)
            else:
                canvas[y : y + height, x : x + width] = item.repeat(scale, axis=0).repeat(scale, axis=1)
        ax.text(left - 2 * GAP, y + height / 2, labels[r % period], ha="right", va="center", fontsize=10)
    # Pixel i covers [i, i + 1).
    extent = (0, canvas.shape[1], canvas.shape[0], 0)
    ax.imshow(canvas, extent=extent, interpolation="nearest", aspect="auto", zorder=0)
    if title:
        ax.text(canvas.shape[1] / 2, top / 2, title, ha="center", va="center", fontsize=11)
    return figure


def _draw_signal(ax, signal, limits, x, y, width, height):
    low, high = limits
    inset = 0.08 * height
    at = np.linspace(x + inset, x + width - inset, len(signal))
    unit = (signal - low) / (high - low) if high > low else np.full_like(signal, 0.5)
    ax.plot(at, y + height - inset - unit * (height - 2 * inset), linewidth=1)
    ax.set_prop_cycle(None)
    ax.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor="0.8", linewidth=0.7))


def _plane(z):
    """Return points in the plane and the names of its axes: z itself, or its first two principal components."""
    if z.shape[1] == 2:
        return z, ("$z_1$", "$z_2$")
    centred = z - z.mean(axis=0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=len(z) < 2)
    total = np.sum(singular**2)
    shares = np.append(singular**2, 0)[:2] / (total if total > 0 else 1)
    return centred @ axes[:2].T, [f"principal component {i} ({s:.0%} of variance)" for i, s in enumerate(shares, 1)]


def _scatter_labels(figure, ax, x, y, labels, order, style):
    labels = np.asarray(labels)
    if labels.shape != order.shape:
        raise ValueError(f"`labels` must be ({len(order)},), as `z` has it. Received: shape {labels.shape}")
    classes, index = np.unique(labels, return_inverse=True)
    if len(classes) <= MAX_CLASSES:
        palette = matplotlib.colormaps["tab10" if len(classes) <= 10 else "tab20"].colors
        ax.scatter(x, y, color=[palette[i] for i in index[order]], **style)
        handles = [Line2D([], [], marker="o", linestyle="", color=palette[i]) for i in range(len(classes))]
        ax.legend(handles, [str(c) for c in classes], loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    elif np.issubdtype(labels.dtype, np.number):
        figure.colorbar(ax.scatter(x, y, c=labels[order], **style), ax=ax)
    else:
        raise ValueError(
            f"`labels` that are not numbers may be {MAX_CLASSES} at most. Received: {len(classes)} classes"
        )
