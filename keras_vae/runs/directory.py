"""What a run leaves in its directory while it goes on."""

import contextlib
import math
import time

import keras

from keras_vae.files import Table, replace
from keras_vae.training.averages import averaged_weights

# Of the best epoch on validation images.
BEST = "best.weights.h5"


class Recorder(keras.callbacks.Callback):
    """Writes what each epoch leaves: a line in history.csv and timings.csv, the best weights, the model.

    In this order, since a resumed run cuts lines that the model does not know of, and cannot make up for missing ones.
    An epoch whose numbers are not finite leaves nothing and ends the training.

    Args:
        out: the run directory, a `Path`.
        done: epochs that the run has behind it.
        keep: "last", or the validation value by which the best epoch's weights are kept, too; the loss is best low.
        averaged: whether the best weights are the optimiser's averages.
    """

    def __init__(self, out, done, keep="last", averaged=False):
        super().__init__()
        self._out, self._keep, self._averaged = out, keep, averaged
        self._history = Table(out / "history.csv", done)
        # Apart from the history, which is the same however often a run was interrupted.
        self._timings = Table(out / "timings.csv", done)
        self.diverged = None

    @property
    def history(self):
        """{column: [a number for each epoch]}."""
        return self._history.columns()

    @property
    def seconds(self):
        """What each epoch took."""
        return self._timings.column("seconds")

    def on_epoch_begin(self, epoch, logs=None):
        self._begin = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
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
            with averaged_weights(self.model) if self._averaged else contextlib.nullcontext():
                replace(self._out / BEST, self.model.save_weights)
        replace(self._out / "model.keras", self.model.save)

    def _is_best(self):
        # By what is on the disk, so that a resumed run decides as if it had not been interrupted.
        if self._keep == "last":
            return False
        sign = -1 if self._keep == "loss" else 1
        *before, now = (sign * value for value in self._history.column(f"val_{self._keep}"))
        return now > max(before, default=-math.inf)
