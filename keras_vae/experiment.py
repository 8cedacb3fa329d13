"""One experiment from end to end: data, model, fit, evaluate, and a run directory that holds it all.

The run directory's `model.keras` is its checkpoint, too: it is replaced at the end of each epoch and knows its step,
so that a run which was killed goes on, with `resume`, exactly as if it had not been.
"""

import contextlib
import csv
import dataclasses
import importlib.util
import math
import platform
import statistics
import sys
import time
import warnings
from importlib import metadata
from pathlib import Path

import keras
import numpy as np

from keras_vae import backend, data, feed, metrics, plotting, presets, recipe, records
from keras_vae.recipe import Settings, UsageError

# Of validation and test images: runs with different seeds are then measured on the same bits.
BINARISATION_SEED = 0
# Images in a batch that is only evaluated.
EVALUATION_BATCH = 256
# Settings that change nothing in the epochs which are done.
_MAY_CHANGE = ("epochs", "data_dir", "eval_images", "eval_samples")


class Diverged(RuntimeError):
    """The loss of an epoch was not finite."""


def run(
    dataset,
    out,
    resume=False,
    minutes=None,
    verbose=True,
    command=None,
    started=None,
    defaults=None,
    preset=None,
    about=None,
    **given,
):
    """Trains a VAE, or goes on with it, evaluates it on the test split and writes its run directory.

    Args:
        dataset: see `Settings`.
        out: the run directory; it must not exist yet unless `resume`.
        resume: go on with the run in `out`.
        minutes: stop in time to be done after so many minutes; an unfinished epoch is dropped.
        verbose: whether progress is shown.
        command: what to write into the results as the command of this run.
        started: `time.monotonic()` from which `minutes` count; None: now.
        defaults: fields of `Settings`, a recipe; None: those that suit the data set.
        preset: where to write the model as a preset, too; None: nowhere.
        about: what the preset says of itself, see `keras_vae.presets.save`.
        **given: other fields of `Settings`; None: the default.

    Returns:
        What `results.json` holds, or None if `minutes` were too few for one epoch.

    Raises:
        UsageError: if the directory exists, or cannot be resumed with these settings.
        Diverged: if the loss became NaN or infinite; the run keeps its last good epoch.
        ValueError: for settings that do not fit each other or the data.
        OSError: if the run directory cannot be written.
    """
    started = time.monotonic() if started is None else started
    dataset, out = str(dataset), Path(out)
    given = {name: value for name, value in given.items() if value is not None}
    settings = _settings(dataset, out, resume, given, defaults)
    results = records.read_json(out / "results.json") if resume else None
    if results and results["epochs"] == settings.epochs and results["settings"] == dataclasses.asdict(settings):
        if verbose:
            print(f"{out} is complete: {settings.epochs} epochs are done.")
        return results

    likelihood = recipe.likelihood(settings.likelihood)
    images, train, evaluated = _data(settings, likelihood)
    vae = recipe.model(settings, images.image_shape, train.steps, _mean(images))
    done = 0
    if (out / "model.keras").exists():
        done = _load(vae, out, train.steps)
    out.mkdir(parents=True, exist_ok=True)
    records.write_json(out / "config.json", dataclasses.asdict(settings))
    # They are of fewer epochs or of other settings, and would pass for those of the run that begins.
    (out / "results.json").unlink(missing_ok=True)

    recorder = records.Recorder(out, done, keep=settings.keep, averaged=settings.ema is not None)
    callbacks = [recorder, *_tensorboard(out, verbose)]
    if settings.ema is not None:
        callbacks.insert(0, records.ValidatedAverage())
    if minutes is not None:
        available = 60 * minutes - (time.monotonic() - started)
        reserve = min(available / 2, _evaluation_seconds(vae, evaluated["test"], settings))
        callbacks.append(records.Deadline(started + 60 * minutes - reserve))
    with contextlib.suppress(records.OutOfTime), warnings.catch_warnings():
        # The last good weights are in the file; `Diverged` says so below.
        warnings.filterwarnings("ignore", "Training stopped in epoch", RuntimeWarning)
        vae.fit(
            train,
            initial_epoch=done,
            epochs=settings.epochs,
            validation_data=evaluated["validation"],
            validation_batch_size=EVALUATION_BATCH,
            callbacks=callbacks,
            verbose=int(verbose),
        )
    if recorder.diverged:
        raise Diverged(
            f"The loss or the weights became NaN or infinite in epoch {recorder.diverged} of {settings.epochs}. The "
            f"run in {out} keeps what it had before. Start another one with a lower --learning-rate, or another "
            f"--likelihood. Received: learning_rate={settings.learning_rate}, likelihood={settings.likelihood}"
        )
    if not (out / "model.keras").exists():
        return None
    done = _load(vae, out, train.steps)
    kept = _load_kept(vae, settings, out, train.steps)
    results = _evaluate(vae, settings, evaluated["test"], images, verbose)
    results |= _provenance(vae, settings, images, done, recorder.seconds, command) | {"epoch_kept": kept}
    if preset is not None:
        _write_preset(vae, settings, out, results, preset, about)
    _write_pictures(vae, out, evaluated["test"], images.test.labels, settings.seed)
    _export(vae, out, verbose)
    # Last, because it says that the run is complete.
    records.write_json(out / "results.json", results)
    return results


def measure_again(directory, data_dir=None, eval_images=None, eval_samples=None, verbose=True):
    """The test results of a preset, measured anew by its recipe.

    Args:
        directory: that of the preset.
        data_dir: see `Settings`.
        eval_images, eval_samples: in the place of the recipe's.
        verbose: whether progress is shown.

    Returns:
        {"metrics", "score" of the fixed batch, "backend", "versions"}.

    Raises:
        UsageError: if the preset has no recipe, or one that this version does not know.
    """
    config, _ = presets.read(directory)
    changed = {"data_dir": data_dir, "eval_images": eval_images, "eval_samples": eval_samples}
    try:
        settings = Settings(**config["recipe"] | {name: value for name, value in changed.items() if value is not None})
    except TypeError as error:
        raise UsageError(f"{presets.CONFIG} has no recipe to measure by ({error}). Received: {directory}") from error
    vae = presets.load(directory)
    vae.compile()
    images, _, evaluated = _data(settings, vae.likelihood)
    return {
        "metrics": _evaluate(vae, settings, evaluated["test"], images, verbose),
        "score": presets.fixed_batch_score(vae).tolist(),
        "backend": backend.NAME,
        "versions": _versions(),
    }


def compare(stored, measured):
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


# Settings


def _settings(dataset, out, resume, given, defaults):
    """The settings of a new run, or those of the run in `out`, which `given` may not contradict."""
    if not resume:
        if out.exists():
            raise UsageError(f"The run directory exists: go on by --resume, or choose another --out. Received: {out}")
        try:
            settings = Settings(dataset, **(recipe.defaults(dataset) if defaults is None else defaults) | given)
        except TypeError as error:
            raise UsageError(f"The recipe has settings that are not known ({error}). Received: {defaults}") from error
        return recipe.checked(settings)
    config = records.read_json(out / "config.json")
    if config is None:
        raise UsageError(f"There is no run to resume (no config.json): start one without --resume. Received: {out}")
    try:
        settings = Settings(**config)
    except TypeError as error:
        raise UsageError(f"config.json is not that of a run ({error}). Received: {out}") from error
    for name, value in ({"dataset": dataset} | given).items():
        before = getattr(settings, name)
        if value != before and name not in _MAY_CHANGE:
            option = "DATASET" if name == "dataset" else f"--{name.replace('_', '-')}"
            raise UsageError(f"The run in {out} has {option} {before} and goes on with it. Received: {option} {value}")
    if given.get("epochs", settings.epochs) < settings.epochs:
        raise UsageError(f"--epochs of a run may only grow from {settings.epochs}. Received: {given['epochs']}")
    if settings.learning_rate_schedule == "cosine" and given.get("epochs", settings.epochs) != settings.epochs:
        raise UsageError(
            f"The learning rate of this run falls to 0 at epoch {settings.epochs}: start another run for more. "
            f"Received: --epochs {given['epochs']}"
        )
    return recipe.checked(dataclasses.replace(settings, **given))


# Data and model


def _data(settings, likelihood):
    """The data set, the feed of its training images, and {split: images as the likelihood sees them}."""
    try:
        images = data.load(settings.dataset, settings.data_dir, settings.image_size)
    except data.DataError as error:
        known = settings.dataset in data.names() or Path(settings.dataset).expanduser().is_dir()
        raise error if known else UsageError(str(error)) from error

    def seen(split):
        return data.convert(split.images, likelihood.data, BINARISATION_SEED, binary=images.binary)

    dynamic = _is_dynamic(likelihood, images)
    x = images.train.images if dynamic else seen(images.train)
    train = feed.ArrayFeed(x, batch_size=settings.batch_size, seed=settings.seed, binarize=dynamic)
    return images, train, {"validation": seen(images.validation), "test": seen(images.test)}


def _mean(images):
    """The mean training image, between 0 and 1, both excluded."""
    count = len(images.train)
    mean = np.mean(images.train.images, axis=0, dtype="float64") / (1 if images.binary else 255)
    return (count * mean + 0.5) / (count + 1)


def _is_dynamic(likelihood, images):
    return likelihood.data == "binary" and not images.binary


def _load(vae, out, steps):
    """Puts the run's checkpoint into `vae`; returns the epochs it has behind it."""
    vae.load_weights(out / "model.keras")
    done, rest = divmod(int(vae.step), steps)
    if rest:
        raise ValueError(
            f"{out}/model.keras does not belong to this data: an epoch has {steps} steps. Has the folder of images "
            f"changed? Received: a model after {int(vae.step)} steps"
        )
    return done


def _load_kept(vae, settings, out, steps):
    """Puts the weights that are tested into `vae`, the best epoch's or the last one's; returns that epoch."""
    if settings.keep != "last":
        vae.load_weights(out / records.BEST)
    elif settings.ema is not None:
        records.use_averages(vae)
    return int(vae.step) // steps


def _tensorboard(out, verbose):
    """Keras' TensorBoard callback, where TensorFlow is there to write its files."""
    if importlib.util.find_spec("tensorflow") is None:
        if verbose:
            print("tensorboard/ is not written, since TensorFlow is not installed.")
        return []
    return [keras.callbacks.TensorBoard(str(out / "tensorboard"), write_graph=False)]


# Evaluation


def _evaluation_seconds(vae, test, settings):
    """About how long the evaluation and what is written after it will take."""
    few = test[: min(16, len(test))]
    vae.log_prob(few, samples=settings.eval_samples, seed=0)
    begin = time.monotonic()
    vae.log_prob(few, samples=settings.eval_samples, seed=0)
    each = (time.monotonic() - begin) / len(few)
    return 15 + each * ((settings.eval_images or len(test)) + len(test) / settings.eval_samples)


def _evaluate(vae, settings, test, images, verbose):
    """The test results, with all that is needed to compare them; a function of weights and settings."""
    vae.seed_generator.state.assign(keras.random.SeedGenerator(settings.seed).state)
    terms = vae.evaluate(test, batch_size=EVALUATION_BATCH, verbose=0, return_dict=True)
    count = min(settings.eval_images or len(test), len(test))
    if verbose:
        print(f"log p(x) of {count} test images, {settings.eval_samples} samples each:", flush=True)
    chosen = test[np.linspace(0, len(test) - 1, count).astype(int)]
    log_prob = vae.log_prob(chosen, samples=settings.eval_samples, seed=settings.seed, verbose=int(verbose))

    single = {"unit": "nats", "split": "test", "images": len(test), "samples": vae.objective.samples}
    many = single | {"images": count, "samples": settings.eval_samples}
    seen = _binarisation(vae.likelihood, images)
    seen = f"; test images: {seen}" if seen else ""
    single["protocol"] = f"expectations over q(z|x) by samples{seen}"
    many["protocol"] = f"importance sampling from q(z|x), Burda et al. 2016, equation 8{seen}"
    results = {name: {"value": float(terms[name]), **single} for name in ("elbo", "log_likelihood", "kl")}
    error = float(np.std(log_prob, ddof=1) / math.sqrt(count)) if count > 1 else None
    results["log_prob"] = {"value": float(np.mean(log_prob)), "standard_error": error, **many}
    if vae.likelihood.discrete:
        dims = math.prod(vae.image_shape)
        for name, source in (("bits_per_dim", "log_prob"), ("bits_per_dim_elbo", "elbo")):
            bits = metrics.bits_per_dim(results[source]["value"], dims)
            results[name] = {**results[source], "value": bits, "unit": "bits/dim"}
            if results[name].get("standard_error") is not None:
                results[name]["standard_error"] = -metrics.bits_per_dim(error, dims)
    return results


def _provenance(vae, settings, images, done, seconds, command):
    """Where the results come from: settings, versions, times."""
    return {
        "epochs": done,
        "epochs_planned": settings.epochs,
        "seconds_per_epoch": statistics.median(seconds),
        "training_seconds": round(sum(seconds), 3),
        "parameters": presets.parameters(vae),
        "binarisation": _binarisation(vae.likelihood, images, settings.seed),
        "training_images": len(images.train),
        "settings": dataclasses.asdict(settings),
        "command": command,
        "versions": _versions(),
        "backend": backend.NAME,
    }


def _binarisation(likelihood, images, training_seed=None):
    """How images became binary, None where they did not; those of the test alone unless a seed of training is given."""
    if _is_dynamic(likelihood, images):
        if training_seed is None:
            return f"binarised once, seed {BINARISATION_SEED}"
        return (
            f"training images anew in each epoch, seed {training_seed}; validation and test images once, seed "
            f"{BINARISATION_SEED}"
        )
    return "fixed, that of the data set" if likelihood.data == "binary" else None


def _versions():
    packages = ("keras_vae", "keras", "tensorflow", "jax", "tensorflow-probability", "numpy")
    return {"python": platform.python_version()} | {name: _version(name) for name in packages}


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        # keras_vae itself may be used without being installed.
        return getattr(sys.modules.get(package), "__version__", None)


# The run directory


def _write_preset(vae, settings, out, results, directory, about):
    with open(out / "history.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # Six digits are more than the noise leaves.
    history = {name: [float(f"{float(row[name]):.6g}") for row in rows] for name in rows[0]}
    measured = {name: value for name, value in results.items() if isinstance(value, dict) and "value" in value}
    rest = {name: value for name, value in results.items() if name not in measured and name != "settings"}
    seen = results["binarisation"]
    presets.save(
        vae,
        directory,
        about=about,
        data={
            "dataset": settings.dataset,
            "preprocessing": f"{vae.likelihood.data}{f' ({seen})' if seen else ''}",
            "training_images": results["training_images"],
        },
        recipe={name: value for name, value in dataclasses.asdict(settings).items() if name != "data_dir"},
        results={"metrics": measured, **rest},
        history=history,
    )


def _write_pictures(vae, out, test, labels, seed):
    shown = test[np.linspace(0, len(test) - 1, min(30, len(test))).astype(int)]
    plotting.save(plotting.image_grid(vae.sample(64, seed=seed)), out / "samples.png")
    plotting.save(plotting.reconstruction_grid(shown, vae.reconstruct(shown)), out / "reconstructions.png")
    z = vae.encode(test[:5000])
    if z.shape[1] == 1:
        # A line, for want of a second dimension.
        z = np.pad(z, ((0, 0), (0, 1)))
    labels = None if labels is None else labels[:5000]
    plotting.save(plotting.latent_scatter(z, labels, title="posterior means of test images"), out / "latent.png")


def _export(vae, out, verbose):
    if backend.NAME == "tensorflow":
        records.replace(out / "savedmodel", lambda path: vae.export(str(path)))
    elif verbose:
        print(
            "savedmodel/ is not written under JAX. TensorFlow writes it: KERAS_BACKEND=tensorflow python -c 'import "
            f'keras, keras_vae; keras.saving.load_model("{out}/model.keras").export("{out}/savedmodel")\''
        )
