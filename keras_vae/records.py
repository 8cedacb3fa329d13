"""What a run leaves on disk while it goes on; every file is there whole, or as it was before."""

import csv
import json
import math
import os
import shutil
import statistics
import time

import keras


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
    """Writes what each epoch leaves: a line in history.csv and timings.csv, then the model.

    In this order, since a resumed run cuts lines that the model does not know of, and cannot make up for missing ones.
    An epoch whose numbers are not finite leaves nothing and ends the training.

    Args:
        out: the run directory, a `Path`.
        done: epochs that the run has behind it.
    """

    def __init__(self, out, done):
        super().__init__()
        self._out = out
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
        replace(self._out / "model.keras", self.model.save)


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
