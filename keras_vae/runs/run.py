"""One experiment from end to end: data, model, fit, evaluate, and a run directory that holds it all.

The run directory's `model.keras` is its checkpoint, too: it is replaced at the end of each epoch and knows its step,
so that a run which was killed goes on, with `resume`, exactly as if it had not been.
"""

import contextlib
import dataclasses
import importlib.util
import statistics
import time
import warnings
from pathlib import Path

import keras

from keras_vae import backend, files, presets
from keras_vae.callbacks import Deadline, OutOfTime
from keras_vae.runs import evaluation, pictures, recipe
from keras_vae.runs.directory import BEST, Recorder
from keras_vae.runs.recipe import Settings, UsageError
from keras_vae.training import averages

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
    results = files.read_json(out / "results.json") if resume else None
    # An older version did not write every setting.
    now = dataclasses.asdict(settings)
    whole = preset is None or (Path(preset) / presets.RESULTS).is_file()
    if results and whole and results["epochs"] == settings.epochs and now | results["settings"] == now:
        if verbose:
            print(f"{out} is complete: {settings.epochs} epochs are done.")
        return results

    likelihood = recipe.likelihood(settings.likelihood)
    images, train, evaluated = evaluation.read_data(settings, likelihood)
    vae = recipe.model(settings, images.image_shape, train.steps, evaluation.mean_image(images))
    done = 0
    if (out / "model.keras").exists():
        done = _load(vae, out, train.steps)
    out.mkdir(parents=True, exist_ok=True)
    files.write_json(out / "config.json", dataclasses.asdict(settings))
    # They are of fewer epochs or of other settings, and would pass for those of the run that begins.
    (out / "results.json").unlink(missing_ok=True)

    recorder = Recorder(out, done, keep=settings.keep, averaged=settings.ema is not None)
    callbacks = [recorder, *_tensorboard(out, verbose)]
    weights = contextlib.nullcontext
    if settings.ema is not None:
        callbacks.insert(0, averages.ValidatedAverage())
        weights = averages.averaged_weights
    if settings.monitor_images:
        # Before the recorder, which writes what is logged.
        callbacks.insert(0, evaluation.MonitoredReconstructions(evaluated["validation"], weights))
    if minutes is not None:
        available = 60 * minutes - (time.monotonic() - started)
        reserve = min(available / 2, evaluation.seconds_needed(vae, evaluated["test"], settings))
        callbacks.append(Deadline(started + 60 * minutes - reserve))
    with contextlib.suppress(OutOfTime), warnings.catch_warnings():
        # The last good weights are in the file; `Diverged` says so below.
        warnings.filterwarnings("ignore", "Training stopped in epoch", RuntimeWarning)
        vae.fit(
            train,
            initial_epoch=done,
            epochs=settings.epochs,
            validation_data=evaluated["validation"],
            validation_batch_size=evaluation.EVALUATION_BATCH,
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
    results = evaluation.evaluate(vae, settings, evaluated["test"], images, verbose)
    results |= _provenance(vae, settings, images, done, recorder.seconds, command) | {"epoch_kept": kept}
    directions = pictures.attribute_directions(vae, images.train)
    shown = pictures.write(vae, out, evaluated["test"], images.test.labels, settings.seed, directions)
    if preset is not None:
        _write_preset(
            vae, settings, recorder.history, results, preset, about=about, pictures=shown, attributes=directions
        )
    _export(vae, out, verbose)
    # Last, because it says that the run is complete.
    files.write_json(out / "results.json", results)
    return results


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
    config = files.read_json(out / "config.json")
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


# The checkpoint


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
        vae.load_weights(out / BEST)
    elif settings.ema is not None:
        averages.use_averages(vae)
    return int(vae.step) // steps


def _tensorboard(out, verbose):
    """Keras' TensorBoard callback, where TensorFlow is there to write its files."""
    if importlib.util.find_spec("tensorflow") is None:
        if verbose:
            print("tensorboard/ is not written, since TensorFlow is not installed.")
        return []
    return [keras.callbacks.TensorBoard(str(out / "tensorboard"), write_graph=False)]


# The run directory


def _provenance(vae, settings, images, done, seconds, command):
    """Where the results come from: settings, versions, times."""
    return {
        "epochs": done,
        "epochs_planned": settings.epochs,
        "seconds_per_epoch": statistics.median(seconds),
        "training_seconds": round(sum(seconds), 3),
        "parameters": presets.parameters(vae),
        "preprocessing": evaluation.preprocessing(vae.likelihood, images, settings.seed),
        "training_images": len(images.train),
        "settings": dataclasses.asdict(settings),
        "command": command,
        "versions": evaluation.versions(),
        "backend": backend.NAME,
    }


def _write_preset(vae, settings, history, results, directory, **described):
    # Six digits are more than the noise leaves.
    history = {name: [float(f"{value:.6g}") for value in values] for name, values in history.items()}
    measured = {name: value for name, value in results.items() if isinstance(value, dict) and "value" in value}
    rest = {name: value for name, value in results.items() if name not in measured and name != "settings"}
    seen = results["preprocessing"]
    presets.save(
        vae,
        directory,
        data={
            "dataset": settings.dataset,
            "preprocessing": f"{vae.likelihood.data}{f' ({seen})' if seen else ''}",
            "training_images": results["training_images"],
        },
        recipe={name: value for name, value in dataclasses.asdict(settings).items() if name != "data_dir"},
        results={"metrics": measured, **rest},
        history=history,
        **described,
    )


def _export(vae, out, verbose):
    if backend.NAME == "tensorflow":
        files.replace(out / "savedmodel", lambda path: vae.export(str(path)))
    elif verbose:
        print(
            "savedmodel/ is not written under JAX. TensorFlow writes it: KERAS_BACKEND=tensorflow python -c 'import "
            f'keras, keras_vae; keras.saving.load_model("{out}/model.keras").export("{out}/savedmodel")\''
        )
