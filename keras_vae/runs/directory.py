"""The directory of a run: what it leaves there while it goes on, and how it is taken up again."""

import contextlib
import math
import time
from pathlib import Path

import keras

from keras_vae import files, presets
from keras_vae.models.base import LatentVariableModel
from keras_vae.presets import CONFIG, RESULTS
from keras_vae.runs.recipe import Recipe, UsageError
from keras_vae.training import averages

MODEL = "model.keras"
# Of the best epoch on validation images.
BEST = "best.weights.h5"


def read(out: Path) -> tuple[dict, dict | None]:
    """config.json and, where the run is complete, results.json.

    Raises:
        UsageError: if there is no run in the directory.
        PresetError: for a file that is not as the schema says.
    """
    if not (out / CONFIG).is_file():
        raise UsageError(f"There is no run to resume (no {CONFIG}): start one without --resume. Received: {out}")
    complete = (out / RESULTS).is_file()
    return presets.read_config(out / CONFIG), presets.read_results(out / RESULTS) if complete else None


def write_config(out: Path, recipe: Recipe, about: dict, data: dict) -> None:
    """Makes the directory, with what decides the run; results that are there, of another recipe, go."""
    out.mkdir(parents=True, exist_ok=True)
    # First, or those of fewer epochs would pass for those of the run that begins.
    (out / RESULTS).unlink(missing_ok=True)
    config = {"format_version": presets.FORMAT_VERSION, "about": about, "data": data}
    files.write_json(out / CONFIG, {**config, "recipe": recipe.entries(), "seed": recipe.seed})


def load(vae: LatentVariableModel, out: Path, steps: int) -> int:
    """Puts the run's checkpoint, if there is one, into the model.

    Args:
        vae: the model.
        out: the directory.
        steps: in an epoch.

    Returns:
        The epochs that are done.

    Raises:
        ValueError: if the checkpoint is not one of an epoch's end.
    """
    if not (out / MODEL).exists():
        return 0
    vae.load_weights(out / MODEL)
    done, rest = divmod(int(vae.step), steps)
    if rest:
        raise ValueError(
            f"{out / MODEL} does not belong to this data: an epoch has {steps} steps. Has the folder of images "
            f"changed? Received: a model after {int(vae.step)} steps"
        )
    return done


def load_kept(vae: LatentVariableModel, recipe: Recipe, out: Path, steps: int) -> int:
    """Puts the weights that are tested into the model, the best epoch's or the last one's; returns that epoch."""
    if recipe.keep != "last":
        vae.load_weights(out / BEST)
    elif recipe.ema is not None:
        averages.use_averages(vae)
    return int(vae.step) // steps


class Recorder(keras.callbacks.Callback):
    """Writes what each epoch leaves: a line in history.csv and timings.csv, the best weights, the model.

    In this order, since a resumed run cuts lines that the model does not know of, and cannot make up for missing ones.
    An epoch whose numbers are not finite leaves nothing and ends the training.

    Args:
        out: the run directory.
        done: epochs that the run has behind it.
        keep: "last", or the validation value by which the best epoch's weights are kept, too; the loss is best low.
        averaged: whether the best weights are the optimiser's averages.
    """

    def __init__(self, out: Path, done: int, keep: str = "last", averaged: bool = False):
        super().__init__()
        self._out, self._keep, self._averaged = out, keep, averaged
        self._history = files.Table(out / "history.csv", done)
        # Apart from the history, which is the same however often a run was interrupted.
        self._timings = files.Table(out / "timings.csv", done)
        self.diverged = None

    @property
    def history(self) -> dict[str, list[float]]:
        """{column: [a number for each epoch]}."""
        return self._history.columns()

    @property
    def seconds(self) -> list[float]:
        """What each epoch took."""
        return self._timings.column("seconds")

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._begin = time.monotonic()

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
                files.replace(self._out / BEST, self.model.save_weights)
        files.replace(self._out / MODEL, self.model.save)

    def _is_best(self):
        # By what is on the disk, so that a resumed run decides as if it had not been interrupted.
        if self._keep == "last":
            return False
        sign = -1 if self._keep == "loss" else 1
        *before, now = (sign * value for value in self._history.column(f"val_{self._keep}"))
        return now > max(before, default=-math.inf)
