"""One run from end to end: data, model, fit, evaluate, and a run directory that holds it all.

The run directory's `model.keras` is its checkpoint, too: it is replaced at the end of each epoch and knows its step,
so that a run which was killed goes on, with `resume`, exactly as if it had not been.
"""

import contextlib
import importlib.util
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import keras

from keras_vae import backend, files, likelihoods, presets
from keras_vae.callbacks import Deadline, OutOfTime
from keras_vae.runs import data, directory, evaluation, model, pictures
from keras_vae.runs.recipe import Recipe, UsageError, import_parts, suiting, written
from keras_vae.training import averages

# Fields that change nothing in the epochs which are done.
_MAY_CHANGE = ("epochs", "data_dir", "eval_images", "eval_samples", "imports")


class Diverged(RuntimeError):
    """The loss of an epoch was not finite."""


def run(
    dataset: str | Path,
    out: str | Path,
    resume: bool = False,
    minutes: float | None = None,
    verbose: bool = True,
    command: str | None = None,
    started: float | None = None,
    defaults: dict[str, Any] | None = None,
    preset: str | Path | None = None,
    about: dict[str, str] | None = None,
    **given: Any,
) -> dict | None:
    """Trains a VAE, or goes on with it, evaluates it on the test split and writes its run directory.

    Args:
        dataset: see `Recipe`.
        out: the run directory; it must not exist yet unless `resume`.
        resume: go on with the run in `out`.
        minutes: stop in time to be done after so many minutes; an unfinished epoch is dropped.
        verbose: whether progress is shown.
        command: what to write into the results as the command of this run.
        started: `time.monotonic()` from which `minutes` count; None: now.
        defaults: fields of `Recipe`, those of a file; None: those that suit the data set.
        preset: where to write the model as a preset, too; None: nowhere.
        about: what the run says of itself, see `keras_vae.presets.save`.
        **given: fields of `Recipe` in the place of those; None: they stay.

    Returns:
        What `results.json` holds, or None if `minutes` were too few for one epoch.

    Raises:
        UsageError: if the directory exists, or cannot be resumed with these fields.
        Diverged: if the loss became NaN or infinite; the run keeps its last good epoch.
        ValueError: for parts that do not fit each other or the data.
        OSError: if the run directory cannot be written.
    """
    started = time.monotonic() if started is None else started
    out = Path(out)
    given = {"dataset": str(dataset)} | {name: value for name, value in given.items() if value is not None}
    if resume:
        config, results = directory.read(out)
        before = Recipe.of(config["recipe"])
        recipe, about = _resumed(before, given, out), about or config["about"]
        whole = preset is None or (Path(preset) / presets.RESULTS).is_file()
        if results and whole and results["epochs"] == recipe.epochs and recipe == before:
            if verbose:
                print(f"{out} is complete: {recipe.epochs} epochs are done.")
            return results
    else:
        if out.exists():
            raise UsageError(f"The run directory exists: go on by --resume, or choose another --out. Received: {out}")
        recipe = Recipe.of((suiting(given["dataset"]) if defaults is None else defaults) | given)
    import_parts(recipe.imports)
    model.check(recipe)

    images, train, evaluated = data.read(recipe, likelihoods.get(recipe.likelihood))
    vae = model.build(recipe, images.image_shape, train.steps, data.mean_image(images))
    done = directory.load(vae, out, train.steps)
    described = data.described(recipe, vae.likelihood, images)
    directory.write_config(out, recipe, about or {}, described)
    recorder = directory.Recorder(out, done, keep=recipe.keep, averaged=recipe.ema is not None)
    callbacks = _callbacks(recipe, recorder, out, evaluated, verbose)
    if minutes is not None:
        available = 60 * minutes - (time.monotonic() - started)
        reserve = min(available / 2, evaluation.seconds_needed(vae, recipe, evaluated["test"]))
        callbacks.append(Deadline(started + 60 * minutes - reserve))
    with contextlib.suppress(OutOfTime), warnings.catch_warnings():
        # The last good weights are in the file; `Diverged` says so below.
        warnings.filterwarnings("ignore", "Training stopped in epoch", RuntimeWarning)
        vae.fit(
            train,
            initial_epoch=done,
            epochs=recipe.epochs,
            validation_data=evaluated["validation"],
            validation_batch_size=evaluation.EVALUATION_BATCH,
            callbacks=callbacks,
            verbose=int(verbose),
        )
    if recorder.diverged:
        raise Diverged(
            f"The loss or the weights became NaN or infinite in epoch {recorder.diverged} of {recipe.epochs}. The "
            f"run in {out} keeps what it had before. Start another one with a lower --learning-rate, or another "
            f"--likelihood. Received: learning_rate={recipe.learning_rate}, likelihood={recipe.likelihood}"
        )
    done = directory.load(vae, out, train.steps)
    if not done:
        return None

    kept = directory.load_kept(vae, recipe, out, train.steps)
    results = {
        "format_version": presets.FORMAT_VERSION,
        "metrics": evaluation.evaluate(vae, recipe, evaluated["test"], images, verbose),
        "epochs": done,
        "epochs_planned": recipe.epochs,
        "epoch_kept": kept,
        "seconds_per_epoch": statistics.median(recorder.seconds),
        "training_seconds": round(sum(recorder.seconds), 3),
        "parameters": presets.parameters(vae),
        "preprocessing": data.preprocessing(vae.likelihood, images, recipe.seed),
        "training_images": len(images.train),
        "command": command,
        "versions": evaluation.versions(),
        "backend": backend.NAME,
    }
    directions = pictures.attribute_directions(vae, images.train)
    shown = pictures.write(vae, out, evaluated["test"], images.test.labels, recipe.seed, directions)
    if preset is not None:
        presets.save(
            vae,
            preset,
            about=about,
            data=described,
            recipe={name: value for name, value in recipe.entries().items() if name != "data_dir"},
            results=results,
            # Six digits are more than the noise leaves.
            history={name: [float(f"{v:.6g}") for v in values] for name, values in recorder.history.items()},
            pictures=shown,
            attributes=directions,
        )
    _export(vae, out, verbose)
    # Last, because it says that the run is complete.
    files.write_json(out / presets.RESULTS, results)
    return results


def _resumed(before, given, out):
    """The recipe of the run in `out`, which `given` may not contradict."""
    recipe = Recipe.of(before.entries() | given)
    for name in given:
        then, now = getattr(before, name), getattr(recipe, name)
        if now != then and name not in _MAY_CHANGE:
            raise UsageError(
                f"The run in {out} has {written(name, then)} and goes on with it. Received: {written(name, now)}"
            )
    if recipe.epochs < before.epochs:
        raise UsageError(f"--epochs of a run may only grow from {before.epochs}. Received: {recipe.epochs}")
    if recipe.learning_rate_schedule == "cosine" and recipe.epochs != before.epochs:
        raise UsageError(
            f"The learning rate of this run falls to 0 at epoch {before.epochs}: start another run for more. "
            f"Received: --epochs {recipe.epochs}"
        )
    return recipe


def _callbacks(recipe, recorder, out, evaluated, verbose):
    callbacks, weights = [recorder], contextlib.nullcontext
    if recipe.ema is not None:
        callbacks.insert(0, averages.ValidatedAverage())
        weights = averages.averaged_weights
    if recipe.monitor_images:
        # Before the recorder, which writes what is logged.
        callbacks.insert(0, evaluation.MonitoredReconstructions(evaluated["validation"], weights))
    # TensorFlow writes the files of Keras' callback.
    if importlib.util.find_spec("tensorflow") is not None:
        callbacks.append(keras.callbacks.TensorBoard(str(out / "tensorboard"), write_graph=False))
    elif verbose:
        print("tensorboard/ is not written, since TensorFlow is not installed.")
    return callbacks


def _export(vae, out, verbose):
    if backend.NAME == "tensorflow":
        files.replace(out / "savedmodel", lambda path: vae.export(str(path)))
    elif verbose:
        print(
            "savedmodel/ is not written under JAX. TensorFlow writes it: KERAS_BACKEND=tensorflow python -c 'import "
            f'keras, keras_vae; keras.saving.load_model("{out}/model.keras").export("{out}/savedmodel")\''
        )
