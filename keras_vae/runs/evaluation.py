"""Test results of a model, each with all that is needed to measure it again."""

import contextlib
import math
import platform
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import keras
import numpy as np

from keras_vae import backend, metrics, presets
from keras_vae.data import RAW, DataSet, loading
from keras_vae.models.base import LatentVariableModel
from keras_vae.models.linear import project
from keras_vae.models.vae import VAE
from keras_vae.priors import FittedMixture, NormalMixture, VampPrior
from keras_vae.runs import baselines, data, labelling
from keras_vae.runs.costs import CUT, Extent
from keras_vae.runs.recipe import Recipe, UsageError
from keras_vae.training.stream import evenly

# Images in a batch that is only evaluated.
EVALUATION_BATCH = 256
# Images whose reconstructions are in memory together.
_MEASURED = 8 * EVALUATION_BATCH
# Validation images whose reconstructions are measured after each epoch.
MONITORED_IMAGES = 500
# What the protocol of results says where the likelihood is a distance.
_NO_DENSITY = "; p(x|z) is no density, comparable with nothing"
# What the protocol of results says of a conditional model.
_GIVEN_LABELS = "; of images given their labels, p(x|y)"


# Results


def evaluate(
    vae: LatentVariableModel,
    recipe: Recipe,
    test: np.ndarray,
    images: DataSet,
    verbose: bool,
    extent: Extent | None = None,
) -> dict:
    """The test results; a function of weights and recipe.

    Args:
        vae: the model, compiled.
        recipe: a `Recipe`.
        test: test images as the likelihood sees them.
        images: the data set.
        verbose: whether progress is shown.
        extent: how much of it; None: what the recipe asks for.

    Returns:
        {name: {"value", "unit", "split", "images", "samples", "protocol", "standard_error" where there is one}}.
    """
    extent = extent or Extent.of(recipe, test)
    y = labelling.needed(vae, images.test.labels)
    given = [None if y is None else evenly(count, y) for count in (extent.images, extent.test)]
    chosen, test, y = evenly(extent.images, test), evenly(extent.test, test), given[1]
    terms = vae.evaluate(test, y, batch_size=EVALUATION_BATCH, verbose=0, return_dict=True)
    if verbose:
        print(f"log p(x) of {len(chosen)} test images, {extent.samples} samples each:", flush=True)
    log_prob = vae.log_prob(chosen, samples=extent.samples, y=given[0], seed=recipe.seed, verbose=int(verbose))

    single = {"unit": "nats", "split": "test", "images": len(test), "samples": vae.objective.samples}
    many = single | {"images": len(chosen), "samples": extent.samples}
    seen = data.preprocessing(vae.likelihood, images, missing=recipe.missing)
    seen = (f"; test images: {seen}" if seen else "") + ("" if vae.likelihood.normalized else _NO_DENSITY)
    seen += "" if y is None else _GIVEN_LABELS
    seen += CUT if extent.cut else ""
    single["protocol"] = f"expectations over q(z|x) by samples{seen}"
    many["protocol"] = f"importance sampling from q(z|x), Burda et al. 2016, equation 8{seen}"
    summed = ("elbo", "log_likelihood", "kl", *vae.kl_names)
    results = {name: {"value": float(terms[name]), **single} for name in summed}
    results["log_prob"] = {**_mean(log_prob), **many}
    if vae.likelihood.discrete:
        dims = math.prod(vae.image_shape)
        for name, source in (("bits_per_dim", "log_prob"), ("bits_per_dim_elbo", "elbo")):
            bits = metrics.bits_per_dim(results[source]["value"], dims)
            results[name] = {**results[source], "value": bits, "unit": "bits/dim"}
            if results[name].get("standard_error") is not None:
                results[name]["standard_error"] = -metrics.bits_per_dim(results[source]["standard_error"], dims)

    plain = {"split": "test", "images": len(test), "samples": 0}
    # Codes have no means, and one image has no variance.
    if not vae.has_codes and len(test) > 1:
        z = vae.encode(test, y, batch_size=EVALUATION_BATCH)
        groups = {f"_{index}": group for index, group in enumerate(vae.split(z))} if vae.kl_names else {}
        for group, means in ({"": z[:, vae.class_units :]} | groups).items():
            results[f"active_units{group}"] = {
                "value": int(metrics.active_units(means).sum()),
                "unit": f"of {math.prod(means.shape[1:])} latent units",
                **plain,
                "protocol": "units whose posterior mean has a variance above 0.01 over the images, Burda et al. 2016",
            }
    if vae.codes:
        results["perplexity"] = {
            "value": float(terms["perplexity"]),
            "unit": f"of {vae.codes} codes",
            **plain,
            "protocol": f"exponential of the entropy of codes, mean over batches of {EVALUATION_BATCH} images",
        }
    # What is known by a name has results of others to compare with.
    own = recipe.dataset not in loading.names() and y is None and not recipe.missing
    if own and (simple := baselines.simplest(images, vae.likelihood, chosen, recipe.seed)) is not None:
        of_it = {**many, "samples": 0, "protocol": f"{simple.protocol}{seen}"}
        results["baseline_log_prob"] = {**_mean(simple.log_prob), **of_it}
        if vae.likelihood.discrete and not images.raw:
            bits = metrics.bits_per_dim(simple.log_prob, math.prod(vae.image_shape))
            results["baseline_bits_per_dim"] = {**_mean(bits), **of_it, "unit": "bits/dim"}
    if recipe.missing and not images.raw:
        whole = data.seen(evenly(extent.images, images.test.images), vae.likelihood, images)
        filled = vae.impute(chosen, samples=extent.samples, y=given[0], seed=recipe.seed)
        errors = np.divide(filled - whole, scale(vae), dtype="float32")[np.isnan(chosen)]
        results["imputation_rmse"] = {
            "value": float(np.sqrt(np.mean(errors**2))),
            **many,
            "unit": "of missing pixels, values 0 to 1",
            "protocol": f"means by importance sampling, Mattei and Frellsen 2019{seen}",
        }
    results |= _accuracies(vae, recipe, test, images)
    protocol = f"reconstructions by way of the posterior's mean{seen}"
    for name, values in reconstruction_quality(vae, test, y).items():
        # Blank images that are reconstructed exactly have no PSNR.
        if np.isfinite(values).all():
            results[name] = {**_mean(values), **plain, "unit": _QUALITY_UNITS[name], "protocol": protocol}
    if recipe.baseline:
        results["projected_squared_error"] = {
            **_mean(metrics.squared_error(test, project(vae, test))),
            **plain,
            "unit": _QUALITY_UNITS["squared_error"],
            "protocol": f"projections onto the principal axes{seen}",
        }
    return results


def _accuracies(vae, recipe, test, images):
    """How often labels are guessed right, by a model that guesses them, or from latents of images with known labels."""
    labels = labelling.known(recipe, images)
    if labels is None:
        return {}
    index = np.flatnonzero(labels >= 0)
    guesses = {}
    if vae.classes is not None:
        guesses["accuracy"] = vae.classify(test, batch_size=EVALUATION_BATCH), "q(y|x)"
    elif isinstance(vae, VAE) and vae.prior.classes is not None:
        guesses["accuracy"] = vae.classify(test), "q(y|z), mean over 16 draws of z"
    if vae.classes is None and recipe.labels is not None and vae.latent_dtype == "float32":
        x = data.seen(images.train.images[index], vae.likelihood, images)
        predicted = metrics.latent_classifier(vae.encode(x), labels[index], vae.encode(test))
        guesses["latent_accuracy"] = predicted, "logistic regression on posterior means"
        if isinstance(vae, VAE) and isinstance(vae.prior, (NormalMixture, FittedMixture, VampPrior)):
            names = metrics.named_clusters(vae.classify(x), labels[index])
            how = "p(component|x), each component named by the known labels in it"
            guesses["cluster_accuracy"] = vae.classify(test) @ names, how
    truth = evenly(len(test), images.test.labels)
    chosen = f", as many of each class, chosen by seed {recipe.seed}" if recipe.labels else ""
    results = {}
    for name, (guess, how) in guesses.items():
        share = metrics.accuracy(guess, truth)
        results[name] = {
            "value": 100 * share,
            "standard_error": 100 * math.sqrt(share * (1 - share) / len(test)),
            "unit": "%",
            "split": "test",
            "images": len(test),
            "samples": 0,
            "protocol": f"{how}; {len(index):,} labels{chosen}",
        }
    return results


def _mean(values):
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return {"value": float(np.mean(values)), "standard_error": error}


_QUALITY_UNITS = {"squared_error": "summed over pixels, values 0 to 1", "psnr": "dB", "ssim": "1 at best"}


def reconstruction_quality(
    vae: LatentVariableModel, x: np.ndarray, y: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """{name: (N,) numbers} of the reconstructions of `x`: squared error and, unless binary, PSNR and SSIM.

    Numbers in units of their own and images of which elements are missing have none of them. `y` are the labels of a
    conditional model.
    """
    if vae.likelihood.data in RAW or vae.missing:
        return {}
    # Reconstructions of all at once would take four times the memory of the images.
    parts = (slice(start, start + _MEASURED) for start in range(0, len(x), _MEASURED))
    measured = [_quality(vae, x[part], None if y is None else y[part]) for part in parts]
    return {name: np.concatenate([part[name] for part in measured]) for name in measured[0]}


def _quality(vae, x, y):
    made = vae.reconstruct(x, y, batch_size=EVALUATION_BATCH)
    x, made = (np.divide(a, scale(vae), dtype="float32") for a in (x, made))
    # Means may be anywhere. What is as far off as twice the range counts so: no training ends without its numbers.
    pair = x, np.clip(made, -1.0, 2.0)
    measured = {"squared_error": metrics.squared_error(*pair)}
    if vae.likelihood.data != "binary":
        measured["psnr"] = metrics.psnr(*pair)
        if metrics.has_ssim(vae.image_shape):
            measured["ssim"] = metrics.ssim(*pair)
    return measured


def scale(vae: LatentVariableModel) -> int:
    """What the images of a model are divided by to lie between 0 and 1."""
    return 255 if vae.likelihood.data == "8-bit levels" else 1


class MonitoredReconstructions(keras.callbacks.Callback):
    """Logs the reconstruction quality of some validation images after each epoch, as `val_squared_error` ....

    Args:
        x: validation images as the likelihood sees them; at most 500, evenly spread, are used.
        y: their labels, where the model is conditional.
        weights: a context manager of a model, in which its weights are those to measure.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray | None = None,
        weights: Callable[[LatentVariableModel], contextlib.AbstractContextManager] = contextlib.nullcontext,
    ):
        super().__init__()
        self._x, self._y = (None if a is None else evenly(MONITORED_IMAGES, a) for a in (x, y))
        self._weights = weights

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        model = self.model
        with self._weights(model):
            quality = reconstruction_quality(model, self._x, self._y)
        logs.update({f"val_{name}": float(np.mean(values)) for name, values in quality.items()})


def versions() -> dict[str, str | None]:
    """{package: version} of what results depend on."""
    packages = ("keras_vae", "keras", "tensorflow", "jax", "tensorflow-probability", "numpy")
    return {"python": platform.python_version()} | {name: _version(name) for name in packages}


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        # keras_vae itself may be used without being installed.
        return getattr(sys.modules.get(package), "__version__", None)


# Again


def measure_again(
    directory: str | Path,
    data_dir: str | None = None,
    eval_images: int | None = None,
    eval_samples: int | None = None,
    verbose: bool = True,
) -> dict:
    """The test results of a preset, measured anew by its recipe.

    Args:
        directory: that of the preset.
        data_dir, eval_images, eval_samples: in the place of the recipe's.
        verbose: whether progress is shown.

    Returns:
        {"metrics", "score" of the fixed batch, "backend", "versions"}.

    Raises:
        UsageError: if the preset has no recipe, or one that this version does not know.
    """
    vae, recipe, images, test = prepared(directory, data_dir, eval_images, eval_samples)
    return {
        "metrics": evaluate(vae, recipe, test, images, verbose),
        "score": presets.fixed_batch_score(vae).tolist(),
        "backend": backend.NAME,
        "versions": versions(),
    }


def prepared(
    directory: str | Path, data_dir: str | None, eval_images: int | None, eval_samples: int | None
) -> tuple[LatentVariableModel, Recipe, DataSet, np.ndarray]:
    """What `evaluate` takes, of a preset: its model, compiled, its recipe, the data set, test images as it sees them.

    Args:
        (all): as of `measure_again`.

    Raises:
        UsageError: if the preset has no recipe, or one that this version does not know.
    """
    config, _ = presets.read(directory)
    changed = {"data_dir": data_dir, "eval_images": eval_images, "eval_samples": eval_samples}
    try:
        recipe = Recipe.of(config["recipe"] | {name: value for name, value in changed.items() if value is not None})
    except UsageError as error:
        raise UsageError(f"{presets.CONFIG} has no recipe to measure by. {error}, in {directory}") from error
    vae = presets.load(directory)
    vae.compile()
    images, _, evaluated = data.read(recipe, vae.likelihood)
    return vae, recipe, images, evaluated["test"]


def compare(stored: dict, measured: dict) -> list[dict]:
    """Where the results of a preset differ from what was measured again.

    Args:
        stored: what its results.json holds.
        measured: what `measure_again` returned.

    Returns:
        [{"metric", "stored", "now", "verdict"}]; a verdict is "agrees", "differs by ...", or why neither.
    """
    # The same noise, summed in another order; on another backend the noise is another one.
    tolerance = 1e-4 if stored.get("backend") == measured["backend"] else 2e-3
    rows = []
    for name in stored["metrics"] | measured["metrics"]:
        before, now = stored["metrics"].get(name), measured["metrics"].get(name)
        if before is None or now is None:
            verdict = "is not in results.json" if before is None else "is not measured by this command"
        elif any(before.get(key) != now.get(key) for key in ("unit", "split", "images", "samples", "protocol")):
            verdict = "another protocol"
        else:
            verdict = _verdict(before["value"], now["value"], tolerance)
        rows.append({"metric": name, **{k: v and v["value"] for k, v in (("stored", before), ("now", now))}})
        rows[-1]["verdict"] = verdict
    before, now = (float(np.mean(score)) for score in (stored["fixed_batch"]["score"], measured["score"]))
    rows.append({"metric": "fixed_batch", "stored": before, "now": now, "verdict": _verdict(before, now, 1e-4)})
    return rows


def _verdict(before, now, tolerance):
    return "agrees" if abs(now - before) <= tolerance * max(1, abs(before)) else f"differs by {now - before:.3g}"
