"""A prior fitted to a trained model, measured, and written with the model as a preset."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from keras_vae import backend, names, plotting, presets, priors
from keras_vae.names import Spec
from keras_vae.presets import cards
from keras_vae.runs import data, evaluation, labelling, pictures
from keras_vae.runs.costs import Extent
from keras_vae.runs.recipe import UsageError
from keras_vae.training.stream import evenly


def fit(
    directory: Path,
    spec: str,
    preset: Path,
    *,
    seed: int = 0,
    train_images: int | None = None,
    labels: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    data_dir: str | None = None,
    eval_images: int | None = None,
    eval_samples: int | None = None,
    command: str | None = None,
    verbose: bool = True,
) -> list[dict]:
    """Fits a prior to training images of a preset, and writes the model with it as another preset.

    Args:
        directory: of the preset, or of a run that is complete.
        spec: of the prior, as of `VAE.fit_prior`.
        preset: the directory to write to.
        seed: of the fit.
        train_images: how many training images it is fitted to; None: all.
        labels: how many labels a prior of classes is given, as many of each class; None: all.
        epochs, learning_rate: as of `VAE.fit_prior`, of a prior that is trained; None: its own.
        data_dir, eval_images, eval_samples: in the place of the recipe's.
        command: what the results say that it was made by.
        verbose: whether progress is shown.

    Returns:
        [{"metric", "before", "after", "unit"}], ELBO and log p(x) of test images, and bits/dim where they have levels.

    Raises:
        UsageError: if the preset has no recipe, and for a spec that nothing is known by.
    """
    vae, recipe, images, test = evaluation.prepared(directory, data_dir, eval_images, eval_samples)
    if not hasattr(vae, "fit_prior"):
        raise UsageError(f"A model of this kind has no prior that could be another. Received: {type(vae).__name__}")
    known = presets.described(directory)
    levels, former = images.train.images, vae.top_prior.spec
    chosen = slice(None) if train_images is None else evenly(train_images, np.arange(len(levels)))
    x = data.seen(levels[chosen], vae.likelihood, images)
    y = labelling.needed(vae, images.train.labels if images.train.labels is None else images.train.labels[chosen])
    if vae.label_shape is None and _is_of_classes(spec):
        recipe = dataclasses.replace(recipe, labels=labels)
        labelling.classes(recipe, images)
        y = labelling.known(recipe, images)
        y = None if y is None else y[chosen]
        known["recipe"] |= {"labels": labels}
    elif labels is not None:
        raise UsageError(f"This prior learns from no labels: leave out --labels. Received: {spec!r}")
    before = _before(vae, recipe, test, images, known["results"]["metrics"], verbose)
    with tempfile.TemporaryDirectory() as folder:
        folder, grids = Path(folder), {}
        if vae.label_shape is None and pictures.shown(vae):
            grid = folder / "samples_before.png"
            plotting.save(plotting.image_grid(vae.sample(49, seed=recipe.seed)), grid)
            grids[grid] = f"Samples with the former prior, {former}, seed {recipe.seed}"
        training = {"epochs": epochs, "learning_rate": learning_rate}
        training = {name: value for name, value in training.items() if value is not None}
        fitted = vae.fit_prior(x, spec, y, seed=seed, verbose=int(verbose), **training)
        after = evaluation.evaluate(vae, recipe, test, images, verbose)
        shown = pictures.write(vae, folder, test, images.test.labels, recipe.seed, known["attributes"])
        # The grids beside each other; then what the fit has not changed.
        shown = {path: caption for path, caption in shown.items() if path.name == "samples.png"} | grids | shown
        written = {path.stem for path in shown}
        shown |= {path: caption for path, caption in known["pictures"].items() if path.stem not in written}
        told = f"{fitted.spec} in the place of {former}: {spec}, fitted to {len(x):,} training images"
        prior = f"{told}, by `{command}`" if command else told
        measured = {
            "metrics": after | {f"{name}{cards.BEFORE}": value for name, value in before.items()},
            "versions": evaluation.versions(),
            "backend": backend.NAME,
        }
        # `evaluate` measures by the recipe.
        known["recipe"] |= {"eval_images": recipe.eval_images, "eval_samples": recipe.eval_samples}
        about = known["about"] | {"name": preset.resolve().name, "prior": prior}
        results = known["results"] | measured
        presets.save(vae, preset, **known | {"about": about, "results": results, "pictures": shown})
    return [
        {"metric": name, "before": before[name]["value"], "after": after[name]["value"], "unit": after[name]["unit"]}
        for name in before
    ]


def _is_of_classes(spec):
    named = Spec.parse(spec).name
    return issubclass(names.known("prior").get(named, type(None)), priors.M2)


def _before(vae, recipe, test, images, stored, verbose):
    """The bounds with the former prior, which the preset may tell."""
    extent, bounds = Extent.of(recipe, test), ("elbo", "log_prob")
    found = [(stored[name]["images"], stored[name]["samples"]) for name in bounds if name in stored]
    if found != [(extent.test, vae.objective.samples), (extent.images, extent.samples)]:
        stored = evaluation.evaluate(vae, recipe, test, images, verbose)
    protocol = f"; with the former prior, {vae.top_prior.spec}"
    shown = [name for name in (*bounds, "bits_per_dim") if name in stored]
    return {name: stored[name] | {"protocol": stored[name]["protocol"] + protocol} for name in shown}
