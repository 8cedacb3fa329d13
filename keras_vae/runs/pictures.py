"""The pictures of a trained model, for its run directory and its card."""

from pathlib import Path

import numpy as np
from keras import ops

from keras_vae import backend, data, draws, metrics, plotting
from keras_vae.callbacks.pictures import traversal
from keras_vae.models.base import LatentVariableModel
from keras_vae.parts import LatentPart
from keras_vae.runs import labelling
from keras_vae.runs.directory import HISTORY
from keras_vae.training.stream import evenly

# Examples that are drawn where there are no pictures to be shown.
_DRAWN = 100


def shown(vae: LatentVariableModel) -> bool:
    """Whether a model's examples are pictures, or signals that can be drawn."""
    raw = vae.likelihood.data in data.RAW
    return plotting.can_show(vae.image_shape) and not (raw and len(vae.image_shape) == 3)


def attribute_directions(
    vae: LatentVariableModel, train: data.Split, count: int | None = None
) -> dict[str, np.ndarray]:
    """The directions in latent space that move attributes.

    Args:
        vae: the model.
        train: the split that it was trained on.
        count: greatest number of images that are looked at; None: all.

    Returns:
        {name: direction} of the attributes that some images have and some have not; empty where none are known.
    """
    if train.attributes is None or not train.attributes_known.any() or not _has_means(vae):
        return {}
    known = np.flatnonzero(train.attributes_known)
    known = known if count is None else evenly(count, known)
    z = vae.encode(data.convert(train.images[known], vae.likelihood.data))
    chosen = {name: has[known] for name, has in train.attributes.items()}
    return {name: metrics.attribute_direction(z, has) for name, has in chosen.items() if 0 < has.sum() < len(has)}


def _has_means(vae):
    """Whether images have latents that are numbers, and need no labels for them."""
    return vae.label_shape is None and not vae.has_codes


def _has_units(vae):
    """Whether latents are vectors of three real numbers or more, each of which can be moved alone."""
    support = getattr(getattr(vae, "posterior", None), "support", None) or LatentPart.support
    size = vae.latent_shape[0] if len(vae.latent_shape) == 1 else 0
    return len(vae.group_shapes) == 1 and size > 2 and support == LatentPart.support


def write(
    vae: LatentVariableModel,
    out: Path,
    test: np.ndarray,
    labels: np.ndarray | None,
    seed: int,
    directions: dict[str, np.ndarray],
    class_names: tuple[str, ...] | None = None,
) -> dict[Path, str]:
    """Writes the pictures of a run; of a conditional model without known labels, only the curves.

    Args:
        vae: the model.
        out: the run directory, with its history.csv if an epoch is done.
        test: test images as the likelihood sees them.
        labels: (N,) of the test images, or None.
        class_names: of the labels, or None.
        seed: of what is sampled.
        directions: {name: direction in latent space} of attributes.

    Returns:
        {path: caption} of the pictures that show no image of the data set.
    """
    pictures = {}

    def save(name, figure, caption):
        plotting.save(figure, out / name)
        pictures[out / name] = caption

    raw, shows = vae.likelihood.data in data.RAW, shown(vae)
    if (raw or not shows) and vae.label_shape is None:
        _write_drawn(vae, out, seed)
    if shows and (vae.label_shape is None or labels is not None):
        _write_samples(vae, save, seed, class_names)
        y = labelling.needed(vae, labels)
        few, y = evenly(30, test), None if y is None else evenly(30, y)
        # What is missing is black, and filled in.
        filled = {"row_names": ("given", "filled in")} if vae.missing else {}
        pair = (np.nan_to_num(few), vae.impute(few, y=y)) if vae.missing else (few, vae.reconstruct(few, y))
        plotting.save(plotting.reconstruction_grid(*pair, **filled), out / "reconstructions.png")
    if shows and vae.label_shape is None and len(vae.group_shapes) > 1:
        _write_levels(vae, save, seed)
    if _has_means(vae):
        if shows:
            _write_decoded(vae, save, seed, directions)
        means = vae.encode(test[:5000])
        if shows and _has_units(vae):
            _write_traversals(vae, save, means, seed)
        _write_latents(means, save, labels, class_names)
    # A run that stopped in its first epoch has none.
    if (out / HISTORY).exists():
        save("curves.png", plotting.curves(out / HISTORY), "Training and validation curves")
    return pictures


def _write_drawn(vae, out, seed):
    """What is no picture: examples that are drawn, in samples.csv of a table's rows, or samples.npy."""
    drawn = vae.draw(_DRAWN, seed=seed)
    if vae.likelihood.data == "table":
        data.Schema(vae.likelihood.columns).write(drawn, out / "samples.csv")
    else:
        np.save(out / "samples.npy", drawn)


def _write_decoded(vae, save, seed, directions):
    """What is to be seen between and around latents."""
    z = _prior_draws(vae, 12, seed)
    if vae.latent_shape == (2,):
        plane = plotting.plane_latents(14, limit=1.5)
        caption = "The latent plane: the mean of p(x|z) for z on a 14x14 grid over [-1.5, 1.5]²"
        save("plane.png", plotting.latent_plane(vae.decode(plane), plane), caption)
    else:
        # Halfway along a straight line, a latent of many units would be shorter than any from the prior.
        angles = np.linspace(0, np.pi / 2, 10)
        paths = _decoded(vae, [np.cos(t) * z[:6] + np.sin(t) * z[6:] for t in angles])
        save(
            "interpolations.png",
            plotting.interpolation_grid(paths),
            "Interpolations between two samples, one pair a row",
        )
    if directions:
        name = "Smiling" if "Smiling" in directions else min(directions)
        amounts = np.linspace(-2, 2, 9)
        moved = _decoded(vae, [z[:6] + amount * directions[name] for amount in amounts])
        caption = f"Six samples, one a row, moved along the direction of the attribute {name} by -2 to 2"
        save("attribute.png", plotting.image_grid(np.concatenate(moved), 9), caption)


def _write_traversals(vae, save, means, seed):
    """What single units do, those first that vary most over images."""
    figure = traversal(vae, _prior_draws(vae, 1, seed)[0], means, None, np.arange(-3.0, 4.0))
    caption = "Traversals: a sample of which one unit is moved from -3 to 3, of the units that vary most over images"
    save("traversals.png", figure, caption)


def _write_latents(means, save, labels, class_names):
    means = np.reshape(means, (len(means), -1))
    if means.shape[1] == 1:
        # A line, for want of a second dimension.
        means = np.pad(means, ((0, 0), (0, 1)))
    labels = None if labels is None else labels[:5000]
    # More have no legend.
    if labels is not None and class_names is not None and len(class_names) <= 20:
        labels = np.array(class_names)[labels]
    save("latent.png", plotting.latent_scatter(means, labels), f"Posterior means of {len(means):,} test images")


def _write_samples(vae, save, seed, class_names):
    """Samples; of a model that takes labels, a row for each of its classes, of which no more than 20 are shown."""
    caption = f"Uncurated samples, seed {seed}: each tile is the mean of p(x|z) for a z drawn from the prior"
    if vae.label_shape is None:
        save("samples.png", plotting.image_grid(vae.sample(49, seed=seed)), caption)
        return
    shown = np.arange(min(20, vae.classes or vae.label_shape[0]))
    y = labelling.taken(vae, np.repeat(shown, 10))
    names = [f"y = {label}" if class_names is None else class_names[label] for label in shown]
    grid = plotting.image_grid(vae.sample(len(y), y=y, seed=seed), 10, row_names=names)
    save("samples.png", grid, f"{caption.replace('p(x|z)', 'p(x|z, y)')}, the class y being that of the row")


def _write_levels(vae, save, seed):
    """What each group of latents holds: samples again and again, with fewer groups held from row to row."""
    z = vae.split(_prior_draws(vae, 10, seed))
    held = range(len(z), 0, -1)
    rows = [vae.sample(10, given=dict(enumerate(z[:count])), seed=seed + 1) for count in held]
    names = ["all", *(f"top {count}" for count in held[1:])]
    figure = plotting.image_grid(np.concatenate(rows), 10, row_names=names)
    caption = "What the groups of latents hold: ten samples, and below them others with fewer and fewer groups the same"
    save("levels.png", figure, caption)


def _prior_draws(vae, count, seed):
    """Latents drawn from the prior, as `decode` takes them: (count, *latent_shape)."""
    latents, _ = vae.run(draws.FromPrior(1, count, backend.seed_pair(seed)))
    groups = [np.reshape(ops.convert_to_numpy(latent.z), (count, -1)) for latent in latents]
    return np.reshape(np.concatenate(groups, axis=1), (count, *vae.latent_shape))


def _decoded(vae, columns):
    """The images of some latents (N, *D) side by side: (N, columns, *X)."""
    z = np.stack(columns, axis=1)
    images = vae.decode(np.reshape(z, (-1, *z.shape[2:])))
    return np.reshape(images, (*z.shape[:2], *images.shape[1:]))
