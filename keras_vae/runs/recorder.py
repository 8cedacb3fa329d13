"""What a run writes while it trains, and how a model is taken up from it."""

import contextlib
import math
import time
import warnings
from pathlib import Path

import keras

from keras_vae import backend, files, presets
from keras_vae.models.base import LatentVariableModel
from keras_vae.runs import directory
from keras_vae.runs.directory import BEST, HISTORY, MODEL, STATE, TIMINGS
from keras_vae.runs.recipe import Recipe, UsageError
from keras_vae.training import averages, monitors
from keras_vae.training.processes import Agreement, Processes

# Between two states within an epoch, and the least share of the time that is left to training.
_SECONDS, _SHARE = 60, 20


def load(vae: LatentVariableModel, recipe: Recipe, out: Path, steps: int) -> dict:
    """Puts the run's state, if there is one, into the model.

    Args:
        vae: the model.
        recipe: that the model was made by.
        out: the directory.
        steps: in an epoch.

    Returns:
        What the run knew then: "history" and "timings", a row for each epoch that is done; within an epoch also
        "metrics", so far, and "seconds".

    Raises:
        UsageError: if the state is not one of this data or recipe, or damaged.
    """
    path, record = directory.state(out)
    if path is None:
        return {"history": [], "timings": []}
    directory.check_recipe(out, record, recipe)
    with _whole(path):
        vae.load_weights(path)
    done, rest = divmod(vae.steps, steps)
    if record.get("steps", steps) != steps or (rest and not record):
        raise UsageError(
            f"{path} does not belong to this data: an epoch has {steps} steps. Has the folder of images changed? "
            f"Received: a model after {vae.steps} steps"
        )
    if record:
        return record
    if done and not int(keras.ops.convert_to_numpy(vae.optimizer.iterations)):
        raise UsageError(
            f"{path} is the model that was tested; the state to go on from, {STATE}, is lost: start another run. "
            f"Received: {out}"
        )
    # A run of an older version, whose state had nothing but the model.
    history, timings = (files.Table.read(out / name)[:done] for name in (HISTORY, TIMINGS))
    if len(history) < done:
        warnings.warn(
            f"{out / HISTORY} has lost lines: it goes on from epoch {done + 1} without them. "
            f"Received: {len(history)} lines for {done} epochs",
            RuntimeWarning,
            stacklevel=2,
        )
    return {"history": history, "timings": timings, "older": True}


@contextlib.contextmanager
def _whole(path):
    """Refuses an optimizer's state that Keras leaves out, with a warning or an error of many lines."""
    with warnings.catch_warnings():
        left_out = "Skipping variable loading for optimizer"
        warnings.filterwarnings("error", left_out, UserWarning)
        try:
            yield
        except (UserWarning, ValueError) as error:
            if left_out not in str(error):
                raise
            raise UsageError(
                f"{path} has the optimizer of a model with other weights, of another version or with other parts "
                f"frozen: start another run. Received: {str(error).partition(left_out)[2].splitlines()[0].strip()}"
            ) from error


def load_tested(vae: LatentVariableModel, recipe: Recipe, out: Path) -> None:
    """Puts the weights that are tested into a model that has the run's state: the best epoch's, or the averages.

    Raises:
        UsageError: if those of the best epoch are damaged.
    """
    best = out / BEST
    found = [path for path in (best, files.previous(best)) if recipe.keep != "last" and path.exists()]
    for path in found:
        try:
            vae.load_weights(path)
        except (OSError, ValueError, KeyError):
            warnings.warn(f"{path} is damaged: the best epoch before it is tested.", RuntimeWarning, stacklevel=2)
        else:
            return
    if found:
        raise UsageError(f"The weights of the best epoch are damaged: remove {BEST}, or start anew. Received: {best}")
    # Also of a first epoch that is not done, which has no best one yet.
    if recipe.ema is not None:
        averages.use_averages(vae)


def unfinished(out: Path) -> LatentVariableModel:
    """The model of a run that is not complete, with the weights that would be tested now.

    Raises:
        UsageError: if its state is damaged, or has parts that are not known.
    """
    config, _ = directory.read(out)
    path, _ = directory.state(out)
    try:
        with _whole(path):
            vae = keras.saving.load_model(path)
    except UsageError:
        raise
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be loaded: parts of your own must be imported first, by --import. "
            f"Received: {str(error).splitlines()[0]}"
        ) from error
    load_tested(vae, Recipe.of(config["recipe"]), out)
    return vae.in_float32()


def trained(name: str | Path) -> tuple[LatentVariableModel, int]:
    """The model of a preset, or of a run, complete or not, with the weights that are tested; its epochs in all."""
    found = presets.find(name)
    if directory.is_unfinished(found):
        _, record = directory.state(found)
        return unfinished(found), len(record.get("history", ()))
    results = presets.read_results(found / presets.RESULTS)
    return presets.load(found), results.get("epochs", 0) + results.get("epochs_before", 0)


def as_tested(vae: LatentVariableModel) -> LatentVariableModel:
    """The model that is tested: in float32, for any machine."""
    made = vae.in_float32()
    if made is not vae:
        made.compile_from_config(vae.get_compile_config())
    return made


def save_tested(vae: LatentVariableModel, out: Path) -> None:
    """Writes the model that was tested, with an optimiser that has made no step."""
    made = vae.bare()
    made.compile_from_config(vae.get_compile_config())
    files.replace(out / MODEL, made.save)


class Recorder(keras.callbacks.Callback):
    """Writes what each epoch leaves: a line in history.csv and timings.csv, the best weights, the state.

    Now and then, it writes a state within an epoch, too. A state has the history with it, so that lost lines are
    written anew. An epoch whose numbers are not finite leaves nothing and ends the training.

    Args:
        out: the run directory.
        record: what `load` returned.
        config: what config.json holds.
        steps: in an epoch.
        keep: "last", or the validation value by which the best epoch's weights are kept, too; the loss is best low.
        averaged: whether the best weights are the optimiser's averages.
        processes: those that train the model, each of which has a recorder; None: those of the current scope.
    """

    def __init__(
        self,
        out: Path,
        record: dict,
        config: dict,
        steps: int,
        keep: str = "last",
        averaged: bool = False,
        processes: Processes | None = None,
    ):
        super().__init__()
        self._agreed = Agreement(processes or Processes())
        self._out, self._config, self._steps, self._keep, self._averaged = out, config, steps, keep, averaged
        self._history = files.Table(out / HISTORY, record["history"])
        # Apart from the history, which is the same however often a run was interrupted.
        self._timings = files.Table(out / TIMINGS, record["timings"])
        # Of the epoch that the model is in the midst of.
        self._metrics, self._spent = record.get("metrics"), record.get("seconds", 0.0)
        self._older = record.get("older", False)
        self.diverged = None

    @property
    def history(self) -> dict[str, list[float]]:
        """{column: [a number for each epoch]}."""
        return self._history.columns()

    @property
    def seconds(self) -> list[float]:
        """What each epoch took."""
        return self._timings.column("seconds")

    def on_train_begin(self, logs: dict | None = None) -> None:
        # The file that was the state is going to be the model that was tested.
        if self._older:
            self._write({})
            self._older = False

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._begin = time.monotonic() - self._spent
        self._next_state = time.monotonic() + _SECONDS
        if self._metrics is not None:
            for variable, value in zip(self.model.metrics_variables, self._metrics, strict=True):
                variable.assign(value)
        self._metrics, self._spent = None, 0.0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self._agreed(time.monotonic() >= self._next_state):
            self.save()

    def save(self) -> bool:
        """Writes a state within an epoch; returns False at its last step, after which there comes a better one."""
        begin = time.monotonic()
        # On JAX, `self.model` takes the state out of the running loop.
        model = self.model
        if model.steps % self._steps == 0 or not backend.all_finite(model.trainable_variables):
            return False
        metrics = [float(keras.ops.convert_to_numpy(variable)) for variable in model.metrics_variables]
        self._write({"metrics": metrics, "seconds": round(begin - self._begin, 3)})
        now = time.monotonic()
        self._next_state = now + max(_SECONDS, _SHARE * (now - begin))
        return True

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        seconds = time.monotonic() - self._begin
        values = {name: float(value) for name, value in logs.items()}
        # Weights that are no longer finite show in the validation.
        if not all(map(math.isfinite, values.values())):
            self.diverged = epoch + 1
            self.model.stop_training = True
            return
        self._history.append({"epoch": epoch + 1, **values})
        self._timings.append({"epoch": epoch + 1, "seconds": round(seconds, 3)})
        if self._is_best():
            with averages.averaged_weights(self.model) if self._averaged else contextlib.nullcontext():
                files.replace(self._out / BEST, self.model.save_weights, keep_previous=True)
        self._write({})

    def _write(self, more):
        record = {"steps": self._steps, "config": self._config}
        record |= {"history": self._history.rows, "timings": self._timings.rows, **more}

        def write(partial):
            self.model.save(partial)
            directory.add_record(partial, record)

        files.replace(self._out / STATE, write, keep_previous=True)

    def _is_best(self):
        # By the history, so that a resumed run decides as if it had not been interrupted.
        if self._keep == "last":
            return False
        sign = 1 if monitors.mode(self._keep) == "max" else -1
        *before, now = (sign * value for value in self._history.column(f"val_{self._keep}"))
        return now > max(before, default=-math.inf)
