"""Charts: latents in the plane, the KL of each unit, the curves of a training run."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from keras_vae.names import one_of
from keras_vae.plotting.arrays import check_finite
from keras_vae.plotting.latents import named_projection

if TYPE_CHECKING:
    import keras

MAX_CLASSES = 20
MAX_NAMED_UNITS = 40
# The bound and its terms come first, in this order; IN_NATS lists the quantities that are in nats.
TERMS = ("loss", "elbo", "log_likelihood", "kl")
IN_NATS = {*TERMS, "iwae", "miwae", "ciwae", "log_prob", "capacity"} | {
    "mutual_information",
    "total_correlation",
    "unit_kl",
    "constraint",
    "continuous_kl",
    "categorical_kl",
}


def latent_scatter(
    z: ArrayLike,
    labels: ArrayLike | None = None,
    title: str | None = None,
    projection: str = "pca",
    seed: int = 0,
) -> Figure:
    """Draws latents as points in the plane.

    Args:
        z: latents; if they have more than two dimensions, they are projected.
        labels: one per point. Up to 20 different labels get a colour each and a legend; more, which must be numbers, a
            colour bar.
        title: text above the plot.
        projection: "pca", the first two principal components, or "tsne"; latents of two dimensions are not projected.
        seed: seed of t-SNE.

    Shape:
        z: `(N, D)` with D >= 2.
        labels: `(N,)`.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if the shapes differ from these, z is empty or not finite, or more than 20 labels are not numbers.
    """
    points, axis_names = named_projection(z, projection, seed)
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
    # Points lie inside the axes anyway, and measuring each takes half of the layout's time.
    ax.collections[0].set_in_layout(False)
    ax.set_aspect("equal", adjustable="datalim")
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def unit_kl(kl: ArrayLike, active: ArrayLike | None = None, title: str | None = None) -> Figure:
    """Draws the KL of each latent unit as bars, the greatest first.

    Args:
        kl: mean KL of each unit over the data, nats.
        active: which units are active, from `kv.metrics.active_units`; the others are drawn in grey.
        title: text above the plot; None: the total KL.

    Shape:
        kl: `(D,)`.
        active: `(D,)`, bool.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if the shapes differ from these, or a KL is not finite.

    Example:
        kl = np.mean(vae.infer(images).latents[0].unit_kl, axis=0)
        figure = unit_kl(kl, kv.metrics.active_units(vae.encode(images)))
    """
    kl = np.asarray(kl, dtype="float64")
    marked = np.ones(kl.shape, bool) if active is None else np.asarray(active)
    if kl.ndim != 1 or not kl.size or marked.shape != kl.shape or marked.dtype != bool:
        raise ValueError(
            "`kl` must be (D,), a number for each unit, and `active` (D,), bool. "
            f"Received: shapes {kl.shape} and {marked.shape}, {marked.dtype}"
        )
    check_finite("kl", kl)
    order = np.argsort(-kl, kind="stable")
    figure = Figure(figsize=(float(np.clip(0.26 * len(kl), 4.8, 12)), 3.6), dpi=150, layout="constrained")
    ax = figure.add_subplot(ylabel="KL (nats)")
    ax.set_title(f"{kl.sum():.1f} nats in {len(kl)} units" if title is None else title)
    colours = np.where(marked[order], "tab:blue", "0.75")
    ax.bar(range(len(kl)), kl[order], color=list(colours), width=0.8)
    if len(kl) <= MAX_NAMED_UNITS:
        ax.set_xticks(range(len(kl)), order)
        ax.tick_params("x", length=0, labelsize=9 if len(kl) <= 20 else 7)
        ax.set_xlabel("latent unit")
    else:
        ax.set_xlabel("latent units, by KL")
    ax.margins(x=0.01)
    ax.spines[["top", "right"]].set_visible(False)
    if active is not None:
        names = f"active ({marked.sum()})", f"inactive ({(~marked).sum()})"
        handles = [Patch(color=colour) for colour in ("tab:blue", "0.75")]
        ax.legend(handles, names, loc="upper right", frameon=False)
    return figure


def curves(
    history: "Mapping[str, Sequence[float]] | keras.callbacks.History | str | os.PathLike",
    names: Sequence[str] | None = None,
) -> Figure:
    """Draws the curves of a training run: one panel per metric, with training and validation together.

    The bound comes first, then its two terms, then all other metrics. A NaN leaves a gap, so that the curves of a
    diverged run can be drawn; epochs that lie apart from the others by five times their range leave the panel.

    Args:
        history: {metric: values, one per epoch}, as in `fit(...).history`, where `val_loss` belongs to `loss` and a
            metric of a validation that ran every few epochs has fewer values; the `History` that `fit` returns; or the
            path of a CSV file with a line per epoch, such as `history.csv` or the file of Keras' `CSVLogger`.
        names: the metrics to draw, in order, without `val_`; None: all.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if the history is empty, lacks one of the names, or a metric is not a list of numbers.

    Example:
        figure = curves("runs/mnist/history.csv", ["elbo", "log_likelihood", "kl"])
    """
    series = _from_csv(history) if isinstance(history, (str, os.PathLike)) else _from_history(history)
    epochs = max(at[-1] for at, _ in series.values())
    logged = list(dict.fromkeys(name.removeprefix("val_") for name in series))
    if names is None:
        names = [name for name in TERMS if name in logged] + [name for name in logged if name not in TERMS]
    elif not names:
        raise ValueError(f"`names` must name a metric. Received: names={names!r}")
    for name in names:
        one_of(name, logged, "metric")
    columns = len(names) if len(names) <= 3 else math.ceil(len(names) / math.ceil(len(names) / 4))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.8 * rows), dpi=150, layout="constrained")
    for i, name in enumerate(names):
        ax = figure.add_subplot(rows, columns, i + 1, title=name.replace("_", " "))
        for key, label, colour in ((name, "training", "tab:blue"), (f"val_{name}", "validation", "tab:orange")):
            if key in series:
                marker = "o" if epochs <= 20 or len(series[key][0]) == 1 else None
                ax.plot(*series[key], label=label, color=colour, marker=marker, markersize=3)
        ax.set_xlabel("epoch")
        # The KL of each group of latents is `kl_0`, ...
        ax.set_ylabel("nats" if name in IN_NATS or name.startswith("kl_") else "")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.3)
        if len(ax.lines) > 1:
            ax.legend(frameon=False)
        _leave_out_spikes(ax, np.concatenate([line.get_ydata() for line in ax.lines]))
    return figure


def _leave_out_spikes(ax, values):
    """Without them a loss of 1e23 in one epoch would make straight lines of all others."""
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.1, 0.9]) if values.size else (0, 0)
    near = values[np.abs(values - (low + high) / 2) <= 5 * (high - low)]
    if low < high and near.size < values.size:
        margin = 0.05 * np.ptp(near)
        ax.set_ylim(near.min() - margin, near.max() + margin)


def _from_history(history):
    """{name: (epochs, values)} of a dict or of Keras' `History`."""
    history = {name: np.asarray(values, "float64") for name, values in getattr(history, "history", history).items()}
    if not history or any(values.ndim != 1 or not len(values) for values in history.values()):
        shapes = {name: values.shape for name, values in history.items()}
        raise ValueError(f"`history` must map at least one metric to its values per epoch. Received: shapes {shapes}")
    epochs = max(map(len, history.values()))
    # The epochs of a sparse validation are not recorded; usually they are evenly spaced.
    return {n: (np.arange(1, len(values) + 1) * (epochs // len(values)), values) for n, values in history.items()}


def _from_csv(path):
    """{name: (epochs, values)} of a CSV file; an empty cell, or Keras' NA, is a missing value."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "epoch" not in rows[0] or len(rows[0]) < 2:
        raise ValueError(f"A history needs a column `epoch`, another column, and a line. Received: {os.fspath(path)!r}")
    # Keras counts epochs from 0.
    first = 1 if int(rows[0]["epoch"]) == 0 else 0
    series = {}
    for name in rows[0]:
        cells = [(int(row["epoch"]) + first, float(row[name])) for row in rows if row[name] not in ("", "NA", None)]
        if name != "epoch" and cells:
            series[name] = tuple(np.array(cells).T)
    return series


def _scatter_labels(figure, ax, x, y, labels, order, style):
    labels = np.asarray(labels)
    if labels.shape != order.shape:
        raise ValueError(f"`labels` must be ({len(order)},), one for each latent. Received: shape {labels.shape}")
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
            f"`labels` that are not numbers may have {MAX_CLASSES} classes at most. Received: {len(classes)} classes"
        )
