"""One run from end to end: data, model, fit, evaluate, and a run directory that holds it all.

The run directory's `state.keras` knows its step, within an epoch, too, so that a run which was killed goes on, with
`resume`, exactly as if it had not been. A run that is complete is a preset, with its recipe and its pictures.
"""

import collections
import contextlib
import importlib.util
import os
import signal
import statistics
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from keras_vae import backend, files, presets
from keras_vae.callbacks import Deadline, OutOfTime
from keras_vae.models.composed import Composed
from keras_vae.models.linear import fit_pca
from keras_vae.models.transfer import take_weights
from keras_vae.runs import data, directory, evaluation, labelling, model, pictures
from keras_vae.runs import recorder as recording
from keras_vae.runs.costs import Costs, Extent, is_cut
from keras_vae.runs.imports import import_parts
from keras_vae.runs.machines import Machines
from keras_vae.runs.plan import plan
from keras_vae.runs.recipe import Recipe, UsageError
from keras_vae.training import averages
from keras_vae.training.stream import evenly


class Diverged(RuntimeError):
    """The loss of an epoch was not finite."""


# Below which a run says so.
_FEW_UPDATES = 500
# New weights of a run that starts with others' that are named.
_FEW = 8
# Training images that the scale of latents is measured on.
_SCALED = 2000


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped the training; what there was was evaluated.

    Attributes:
        results: what `results.json` holds, or None where nothing was trained.
    """

    def __init__(self, results: dict | None):
        super().__init__()
        self.results = results


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
    overwrite: bool = False,
    about: dict[str, str] | None = None,
    strategy: str | None = None,
    **given: Any,
) -> dict | None:
    """Trains a VAE, or goes on with it, evaluates it on the test split and writes its run directory.

    Args:
        dataset: see `Recipe`.
        out: the run directory; it must not exist yet unless `resume`.
        resume: go on with the run in `out`.
        minutes: stop, within an epoch if need be, in time to be done after so many minutes; the evaluation is cut to
            what is left, which its results say.
        verbose: whether progress is shown.
        command: what to write into the results as the command of this run.
        started: `time.monotonic()` from which `minutes` count; None: now.
        defaults: fields of `Recipe`, those of a file; None: those that suit the data set.
        preset: where to write the model as a preset, too, for others; None: nowhere.
        overwrite: whether a preset that is there is replaced.
        about: what the run says of itself, see `keras_vae.presets.save`.
        strategy: what trains, one of `keras_vae.runs.strategies.STRATEGIES`: "mirrored", all GPUs of this machine, or
            "multi_worker_mirrored", those of several, on TensorFlow; "data_parallel", on JAX, either. Each process
            calls this function; the first writes. None: one device.
        **given: fields of `Recipe` in the place of those; None: they stay.

    Returns:
        What `results.json` holds, or None if `minutes` were too few for one step.

    Raises:
        UsageError: if the directory exists, or cannot be resumed with these fields.
        InUse: if another process has the directory.
        Interrupted: after a first Ctrl-C, once what there is was evaluated; a second one ends the run at once.
        Diverged: if the loss became NaN or infinite; the run keeps its last good epoch.
        ValueError: for parts that do not fit each other or the data.
        OSError: if the run directory cannot be written.
    """
    started = time.monotonic() if started is None else started
    ends = None if minutes is None else started + 60 * minutes
    together = Machines(strategy)
    verbose = verbose and together.processes.is_chief
    with together.directory(Path(out)) as out, directory.locked(out):
        if preset is not None and not together.processes.is_chief:
            preset = out / "preset"
        recipe, about, results = plan(dataset, out, resume, defaults, preset, overwrite, about, **given)
        if results and not is_cut(results) and _is_intact(out):
            if verbose:
                print(f"{out} is complete: {recipe.epochs} epochs are done.")
            return results
        return _run(recipe, out, about, ends, verbose, command, preset, together)


def _is_intact(out):
    """Whether the weights of a complete run are those that were tested."""
    with contextlib.suppress(presets.PresetError):
        presets.verify(out)
        return directory.is_whole(out / directory.MODEL)
    return False


def _run(recipe, out, about, ends, verbose, command, preset, together):
    """`run`, in a directory that is its own."""
    import_parts(recipe.imports)
    model.check(recipe)
    images, train, evaluated = data.read(recipe, model.likelihood(recipe))
    if verbose and data.is_own(recipe):
        print(images)
    if verbose and recipe.precision == "auto":
        print(f"Precision: {model.precision(recipe)}, which is what suits this machine.")
    updates = recipe.epochs * train.steps
    if verbose and updates < _FEW_UPDATES and not recipe.baseline:
        print(
            f"{len(images.train)} training images make {updates} updates in {recipe.epochs} epochs, and most models "
            "need thousands: give more --epochs, or a smaller --batch-size."
        )
    classes = labelling.classes(recipe, images)

    def build():
        mean = data.mean_image(images)
        shape = images.image_shape
        vae = model.build(recipe, shape, train.steps, mean, classes, images.schema, images.has_missing)
        if images.binary or (images.depth or 0) > 255:
            vae.likelihood.seen_depth = 1 if images.binary else images.depth
        return vae

    with together.scope():
        vae = build()
        train.y = labelling.taken(vae, train.y)
        labels = {split: labelling.needed(vae, getattr(images, split).labels) for split in evaluated}
        record = recording.load(vae, recipe, out, train.steps)
        together.check_together(vae.steps)
        if recipe.start is not None and not vae.steps:
            about = {**about, "epochs_before": start(vae, recipe, verbose)}
        described = data.described(recipe, vae.likelihood, images)
        config = directory.begin(out, recipe, about, described)
        averaged = recipe.ema is not None
        recorder = recording.Recorder(out, record, config, train.steps, recipe.keep, averaged, together.processes)
        extent = Extent.of(recipe, evaluated["test"])
        deadline = Deadline(save=recorder.save)
        if ends is not None:
            costs = Costs.measured(vae, evaluated["test"], labels["test"])
            # An epoch that ends in time is validated.
            needed = costs.seconds(extent) + costs.image * len(evaluated["validation"])
            deadline = Deadline(ends - min(needed, (ends - time.monotonic()) / 2), recorder.save)
        validation = evaluated["validation"], labels["validation"]
        callbacks = [*_callbacks(recipe, recorder, out, validation, verbose), deadline]
        try:
            with _interruptible(deadline) as interrupted:
                _train(vae, recipe, out, train, validation, callbacks, verbose)
        except ValueError:
            # What is refused before its first step is no run: the next one may have the directory.
            if not vae.steps and directory.state(out) == (None, {}):
                (out / presets.CONFIG).unlink()
            raise
    if recorder.diverged:
        raise Diverged(
            f"The loss or the weights became NaN or infinite in epoch {recorder.diverged} of {recipe.epochs}. The "
            f"run in {out} keeps what it had before. Start another one with a lower --learning-rate, or another "
            f"--likelihood. Received: learning_rate={recipe.learning_rate}, likelihood={recipe.likelihood}"
        )
    if together.several:
        # What comes now is as it would be on one device, and each process does it for itself.
        vae = build()
    record = recording.load(vae, recipe, out, train.steps)
    results = None
    if vae.steps:
        done = vae.steps // train.steps
        recording.load_tested(vae, recipe, out)
        model.thaw(vae, recipe)
        vae = recording.as_tested(vae)
        if not vae.has_codes:
            scaled = data.seen(evenly(_SCALED, images.train.images), vae.likelihood, images)
            known = None if images.train.labels is None else evenly(_SCALED, images.train.labels)
            vae.fit_latent_scale(scaled, labelling.needed(vae, known), seed=recipe.seed)
        if ends is not None:
            extent = costs.extent(extent, ends - time.monotonic())
        seconds = [row["seconds"] for row in record["timings"]]
        results = {
            "format_version": presets.FORMAT_VERSION,
            "metrics": _measured(vae, recipe, evaluated["test"], images, verbose, extent, out),
            "epochs": done,
            "epochs_planned": recipe.epochs,
            **({"epochs_before": about["epochs_before"]} if "epochs_before" in about else {}),
            "epoch_kept": vae.steps // train.steps,
            "validation": _validated(recorder.history, vae.steps // train.steps),
            **({"seconds_per_epoch": statistics.median(seconds)} if seconds else {}),
            "training_seconds": round(sum(seconds) + record.get("seconds", 0), 3),
            "parameters": presets.parameters(vae),
            "preprocessing": data.preprocessing(vae.likelihood, images, recipe.seed, recipe.missing),
            "training_images": len(images.train),
            "command": command,
            "versions": evaluation.versions(),
            "backend": backend.NAME,
            "precision": model.precision(recipe),
        }
        directions = pictures.attribute_directions(vae, images.train, extent.test if extent.cut else None)
        shown = pictures.write(
            vae, out, evaluated["test"], images.test.labels, recipe.seed, directions, images.class_names
        )
        recording.save_tested(vae, out)
        _export(vae, out, verbose)
        facts = {
            "about": about,
            "data": described,
            "results": results,
            # Six digits are more than the noise leaves.
            "history": {name: [float(f"{v:.6g}") for v in values] for name, values in recorder.history.items()},
            "pictures": shown,
            "attributes": directions,
        }
        if preset is not None:
            entries = {name: value for name, value in recipe.entries().items() if name != "data_dir"}
            presets.save(vae, preset, recipe=entries, **facts)
        # Last, because its results say that the run is complete.
        presets.save(vae, out, recipe=recipe.entries(), **facts)
        (out / directory.MEASURED).unlink(missing_ok=True)
        results = presets.read_results(out / presets.RESULTS)
    together.wait()
    if interrupted():
        raise Interrupted(results)
    return results


def _measured(vae, recipe, test, images, verbose, extent, out):
    """The test results, which a run that goes on does not measure again if what came after them failed."""
    path, what = out / directory.MEASURED, {"step": vae.steps, "extent": list(extent)}
    # A file that is damaged is as good as none.
    with contextlib.suppress(ValueError):
        kept = files.read_json(path) or {}
        if kept.get("what") == what:
            return kept["metrics"]
    metrics = evaluation.evaluate(vae, recipe, test, images, verbose, extent)
    files.write_json(path, {"what": what, "metrics": metrics})
    return metrics


def _validated(history, epoch):
    """{name: value} of the validation split after an epoch; empty in the first one."""
    values = {name: values[epoch - 1] for name, values in history.items() if name.startswith("val_") and epoch}
    return {name.removeprefix("val_"): float(f"{value:.6g}") for name, value in values.items()}


def start(vae: Composed, recipe: Recipe, verbose: bool = True) -> int:
    """Puts the weights that a recipe starts with into a new model; returns how many epochs they had.

    Raises:
        UsageError: if a piece that is to stay as it is would stay untrained.
    """
    name = recipe.start
    source, epochs = recording.trained(name)
    kept = take_weights(vae, source)
    for piece in model.frozen(recipe):
        new = [path for path in kept if path.startswith(f"{piece}: ")]
        # What has no weights is frozen as it is.
        if new and len(new) == len(getattr(vae, piece).variables):
            raise UsageError(
                f"The {piece} is to stay as it is, and none of these weights fits it, so that it would stay "
                f"untrained: take weights of the same kind. Received: --from {name} --freeze {recipe.freeze}"
            )
    if verbose:
        print(f"The training begins with the weights of {name}, {epochs} epochs. New: {_listed(kept) or 'none'}.")
    return epochs


def _listed(paths):
    """What is new, "piece: path" each; of many, how many each piece has."""
    if len(paths) <= _FEW:
        return ", ".join(paths)
    counts = collections.Counter(path.partition(": ")[0] for path in paths)
    return ", ".join(f"{count} weights of the {piece}" for piece, count in counts.items())


def _train(vae, recipe, out, train, validation, callbacks, verbose):
    """Trains from where the model is; the rest of an epoch first."""
    if recipe.baseline:
        _fit_baseline(vae, train, validation[0], callbacks)
        return
    done, within = divmod(vae.steps, train.steps)

    def fit(begin, end):
        vae.fit(
            train,
            initial_epoch=begin,
            epochs=end,
            validation_data=validation[0] if validation[1] is None else validation,
            validation_batch_size=evaluation.EVALUATION_BATCH,
            callbacks=callbacks,
            verbose=int(verbose),
        )

    with contextlib.suppress(OutOfTime), warnings.catch_warnings():
        # The last good weights are in the file; `Diverged` says so.
        warnings.filterwarnings("ignore", "Training stopped in epoch", RuntimeWarning)
        if within:
            train.batches = train.steps - within
            fit(done, done + 1)
            train.batches = train.steps
            # Keras ends with the optimiser's averages as the weights.
            recording.load(vae, recipe, out, train.steps)
            done = vae.steps // train.steps
            if vae.stop_training:
                return
        fit(done, recipe.epochs)


def _fit_baseline(vae, train, validation, callbacks):
    """Fits a model in closed form: one epoch, as callbacks see it."""
    if vae.steps:
        return
    callbacks = keras.callbacks.CallbackList(callbacks, model=vae)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    fit_pca(vae, train.x)
    vae.step.assign(train.steps)
    logs = {
        f"{prefix}{name}": value
        for prefix, x in (("", train.x), ("val_", validation))
        for name, value in vae.evaluate(x, batch_size=evaluation.EVALUATION_BATCH, verbose=0, return_dict=True).items()
    }
    with contextlib.suppress(OutOfTime):
        callbacks.on_epoch_end(0, logs)
    callbacks.on_train_end()


@contextlib.contextmanager
def _interruptible(deadline: Deadline) -> Iterator[Any]:
    """Has a first Ctrl-C stop the training at its next step, a second one whatever goes on; yields whether one came."""
    # Only there, and only if nobody else, a notebook say, does something with it.
    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def stop(*_):
        deadline.stop = True
        # Not `print`, which may be what was interrupted.
        os.write(2, b"\nStopping at the next step, for the evaluation; Ctrl-C again quits at once.\n")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if ours:
        signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: deadline.stop
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _callbacks(recipe, recorder, out, validation, verbose):
    callbacks, weights = [recorder], contextlib.nullcontext
    if recipe.ema is not None:
        callbacks.insert(0, averages.ValidatedAverage())
        weights = averages.averaged_weights
    if recipe.monitor_images:
        # Before the recorder, which writes what is logged.
        callbacks.insert(0, evaluation.MonitoredReconstructions(*validation, weights=weights))
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
