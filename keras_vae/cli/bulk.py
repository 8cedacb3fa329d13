"""Results of many examples, written as they come: memory does not grow with their number, and a later call goes on."""

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae import data, files
from keras_vae.runs.directory import acquired

_DTYPE = np.dtype("float64")


def write(
    out: Path,
    given: data.Given,
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
    columns: Sequence[str],
    made_by: dict[str, Any],
    shape: tuple[int, ...] | None = None,
    verbose: bool = True,
) -> None:
    """Writes a row of numbers for each example.

    Until all are there they are in OUT.partial, which a later call with the same arguments goes on with.

    Args:
        out: a .npy file; or a .csv or .parquet file, with a column for the names of examples.
        given: the examples.
        function: (examples (B, *X), their numbers (B,)) -> (B, columns).
        columns: the names of the numbers.
        made_by: what the numbers depend on, beside the examples and their files.
        shape: of a row in a .npy file; None: its first number alone.
        verbose: whether progress is shown.

    Raises:
        InUse: if another process writes the file.
    """
    files.make_directory(out.parent)
    with _alone(out):
        _write(out, given, function, columns, made_by, shape, verbose)


@contextlib.contextmanager
def _alone(out):
    """Keeps other processes from the file."""
    path = out.with_name(f"{out.name}.partial.lock")
    told = f"Another process writes this file: wait for it, stop it, or choose another --out. Received: {out}"
    lock = acquired(path, lambda: told)
    try:
        yield
    finally:
        # Before it is released, so that nobody holds a lock that others do not see.
        path.unlink(missing_ok=True)
        lock.release()


def _write(out, given, function, columns, made_by, shape, verbose):
    partial, about = (out.with_name(f"{out.name}.partial{end}") for end in ("", ".json"))
    made_by = {**made_by, "columns": list(columns), "images": [len(given), given.state()]}
    width = _DTYPE.itemsize * len(columns)
    done = 0
    if partial.is_file() and about.is_file() and json.loads(about.read_text(encoding="utf-8")) == made_by:
        done = partial.stat().st_size // width
        # A row that was cut.
        os.truncate(partial, done * width)
    else:
        files.replace(about, lambda path: path.write_text(files.json_text(made_by), encoding="utf-8"))
        partial.write_bytes(b"")
    progress = _progress(len(given), done, verbose)
    try:
        with files.appended(partial) as file:
            for block in given.blocks(done):
                rows = function(block, np.arange(done, done + len(block)))
                file.write(np.ascontiguousarray(rows, _DTYPE).tobytes())
                file.flush()
                done += len(block)
                progress(done)
    except BaseException:
        print(f"\n{done:,} of {len(given):,} are done: the same command goes on with the others", file=sys.stderr)
        raise
    rows = np.memmap(partial, _DTYPE, "r", shape=(done, len(columns)))
    files.replace(out, lambda path: _finish(path, out.suffix.lower(), rows, given, columns, shape))
    for path in (partial, about):
        path.unlink()


def _progress(count, done, verbose):
    import keras

    bar = keras.utils.Progbar(count, verbose=int(verbose), unit_name="image")
    bar.update(done)
    return bar.update


def _finish(path, suffix, rows, given, columns, shape):
    if suffix == ".npy":
        shape = () if shape is None else shape
        size, dtype = math.prod(shape), np.dtype("float32") if shape else _DTYPE
        files.check_room(path, len(rows) * size * dtype.itemsize)
        written = np.lib.format.open_memmap(path, "w+", dtype, (len(rows), *shape))
        for start in range(0, len(rows), 4096):
            part = rows[start : start + 4096, :size]
            written[start : start + 4096] = part.reshape(len(part), *shape)
        written.flush()
        return
    import pandas as pd

    names = [given.name(index) for index in range(len(rows))]
    frame = pd.DataFrame({"image": names, **{column: rows[:, i] for i, column in enumerate(columns)}})
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
