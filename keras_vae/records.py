"""What a run leaves on disk while it goes on; every file is there whole, or as it was before."""

import contextlib
import csv
import json
import math
import os
import shutil
import statistics
import time

import keras
import numpy as np

from keras_vae import backend

# Of the best epoch on validation images.
BEST = "best.weights.h5"


class OutOfTime(Exception):
    """The minutes that a run was given are over."""


def replace(path, write):
    """Has `write(path)` make a file or directory, and puts it in the place of `path` once it is whole."""
    replace_together({path: write})


def replace_together(writers):
    """`replace` for several paths, {path: write}, none of which is touched before all are whole."""
    partials = {path: path.with_name(f"partial.{path.name}") for path in writers}
    try:
        for path, partial in partials.items():
            _remove(partial)
            writers[path](partial)
        for path, partial in partials.items():
            if path.is_dir():
                _remove(path)
            os.replace(partial, path)
    finally:
        for partial in partials.values():
            _remove(partial)


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path, value):
    """Writes `value` as JSON."""
    replace(path, lambda partial: dump_json(partial, value))


def dump_json(path, value):
    """Writes `value` as JSON, straight into the file."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path):
    """What a JSON file holds, or None if there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


class Table:
    """A CSV file that grows by a line an epoch, with numbers in full precision.

    Args:
        path: the file.
        rows: how many of its lines still count; the others are cut.
    """

    def __init__(self, path, rows):
        self._path = path
        self._rows = []
        if path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                self._rows = list(csv.DictReader(file))[:rows]
            replace(path, lambda partial: self._write(partial, "w", self._rows))

    def column(self, name):
        """The numbers of one column."""
        return [float(row[name]) for row in self._rows]

    def append(self, row):
        """Adds {column: number} as a line."""
        self._rows.append(row)
        self._write(self._path, "a", [row])

    def _write(self, path, mode, rows):
        with open(path, mode, newline="", encoding="utf-8") as file:
            if not rows:
                return
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerows(rows)


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


@contextlib.contextmanager
def averaged_weights(model):
    """For a while, the optimiser's moving averages in the place of the weights, which come back to the last bit.

    (Keras' `SwapEMAWeights` swaps by additions, whose rounding a resumed run would not repeat.)
    """
    weights = [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]
    use_averages(model)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(value)


def use_averages(model):
    """Puts the optimiser's moving averages in the place of the weights."""
    model.optimizer.finalize_variable_values(model.trainable_variables)
    backend.unshare([*model.trainable_variables, *model.optimizer.variables])


class ValidatedAverage(keras.callbacks.Callback):
    """Validation sees the optimiser's moving averages of the weights."""

    def __init__(self):
        super().__init__()
        self._stack = contextlib.ExitStack()

    def on_test_begin(self, logs=None):
        self._stack.enter_context(averaged_weights(self.model))

    def on_test_end(self, logs=None):
        self._stack.close()


class Deadline(keras.callbacks.Callback):
    """Ends the training before an epoch that would not be done in time, or, if need be, in the midst of it.

    Args:
        deadline: a time of `time.monotonic()`.

    Raises:
        OutOfTime: out of Keras' `fit`.
    """

    def __init__(self, deadline):
        super().__init__()
        self._deadline = deadline
        self._begun = []

    def on_epoch_begin(self, epoch, logs=None):
        self._begun.append(time.monotonic())
        lengths = [end - begin for begin, end in zip(self._begun, self._begun[1:], strict=False)]
        # The first one is longer, because functions are compiled in it.
        self._check(statistics.median((lengths[1:] or lengths or [0])[-3:]))

    def on_train_batch_end(self, batch, logs=None):
        self._check()

    def on_test_batch_end(self, batch, logs=None):
        self._check()

    def _check(self, needed=0):
        if time.monotonic() + needed > self._deadline:
            raise OutOfTime
