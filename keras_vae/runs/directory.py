"""The directory of a run: what is in it, who writes it, and how it is taken up again.

No framework is imported here, so that the command refuses what cannot be done before it waits for one.
"""

import contextlib
import json
import os
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from keras_vae import files, presets
from keras_vae.presets import CONFIG, MODEL, RESULTS, STATE, WEIGHTS
from keras_vae.runs.recipe import FIELDS, Recipe, UsageError, written

if TYPE_CHECKING:
    import filelock

# Of the best epoch on validation images.
BEST = "best.weights.h5"
HISTORY, TIMINGS = "history.csv", "timings.csv"
# What was measured, until the results are written.
MEASURED = "measured.json"
_LOCK, _HOLDER = ".lock", ".lock.json"
# In a state's archive: config.json, history and timings as they were, and how far an unfinished epoch is.
_RECORD = "run.json"


class InUse(RuntimeError):
    """Another process writes the run."""


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Makes a run's directory, and keeps other processes from it; one that stays empty is removed again.

    Raises:
        InUse: if a process has it already; the message says which.
        OSError: if it cannot be written.
    """
    there = out.exists()
    files.make_directory(out)
    lock = _acquired(out)
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        (out / _HOLDER).write_text(json.dumps({"pid": os.getpid(), "since": since}), encoding="utf-8")
        files.remove_partials(out)
        yield
    finally:
        (out / _HOLDER).unlink(missing_ok=True)
        if not there and [path.name for path in out.iterdir()] == [_LOCK]:
            (out / _LOCK).unlink()
            out.rmdir()
        lock.release()


def check_free(out: Path) -> None:
    """Raises `InUse` if another process writes the run."""
    if (out / _LOCK).exists():
        _acquired(out).release()


def _acquired(out):
    def told():
        holder = None
        # The other process may be about to write it.
        with contextlib.suppress(ValueError):
            holder = files.read_json(out / _HOLDER)
        who = f"process {holder['pid']}, since {holder['since']}" if holder else "another process"
        return f"The run is being written by {who}: wait for it, stop it, or choose another --out. Received: {out}"

    return acquired(out / _LOCK, told)


def acquired(path: Path, told: Callable[[], str]) -> "filelock.BaseFileLock":
    """A lock, which the caller releases.

    Args:
        path: of its file.
        told: what to say where another process has it.

    Raises:
        InUse: saying that.
    """
    import filelock

    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise InUse(told()) from None
    return lock


def check_new(out: Path) -> None:
    """Refuses a directory in which a run cannot begin.

    Raises:
        UsageError: if it holds anything but what a run leaves that was killed before it began.
    """
    if out.is_dir() and all(path.name in (_LOCK, _HOLDER) or files.is_partial(path) for path in out.iterdir()):
        return
    if out.exists():
        raise UsageError(f"The run directory exists: go on by --resume, or choose another --out. Received: {out}")


def check_preset(preset: Path, recipe: Recipe | None = None) -> None:
    """Refuses to replace a preset.

    Args:
        preset: a directory, which may be there.
        recipe: that of the run that goes on; a preset that it wrote earlier is its own.

    Raises:
        UsageError: for a model that would be lost.
    """
    if not (preset / WEIGHTS).exists():
        return
    # One that is damaged, or has no recipe, is nobody's.
    with contextlib.suppress(presets.PresetError, UsageError):
        if recipe and contradictions(Recipe.of(presets.read_config(preset / CONFIG)["recipe"]), recipe) == []:
            return
    raise UsageError(
        f"There is a preset already: choose another --preset, or replace it by --overwrite. Received: {preset}"
    )


# Fields that change nothing in the epochs which are done.
_MAY_CHANGE = ("epochs", "data_dir", "eval_images", "eval_samples", "imports")


def contradictions(before: Recipe, now: Recipe) -> list[tuple[str, str]]:
    """The fields in which a recipe cannot be that of a run which goes on, as both write them."""
    pairs = [(name, getattr(before, name), getattr(now, name)) for name in FIELDS if name not in _MAY_CHANGE]
    return [(written(name, one), written(name, other)) for name, one, other in pairs if one != other]


def check_recipe(out: Path, record: dict, recipe: Recipe) -> None:
    """Refuses to go on by another recipe than that which a state was trained by.

    Args:
        out: the directory of the run.
        record: that of the state.
        recipe: of config.json, which somebody may have edited.

    Raises:
        UsageError: naming what differs.
    """
    config = record.get("config", {})
    if config.get("format_version") != presets.FORMAT_VERSION:
        return
    before = Recipe.of(config["recipe"])
    for then, now in contradictions(before, recipe):
        raise UsageError(f"The run in {out} was trained with {then}: put it back into {CONFIG}. Received: {now} there")


def read(out: Path) -> tuple[dict, dict | None]:
    """config.json and, where the run is complete, results.json; a config.json that was lost is that of the state.

    Raises:
        UsageError: if there is no run in the directory.
        PresetError: for a file that is not as the schema says.
    """
    lost = _lost(out / CONFIG)
    if lost:
        _, record = state(out)
        if "config" not in record:
            raise UsageError(f"There is no run to resume ({lost}): start one without --resume. Received: {out}")
        warnings.warn(f"{lost}: it is written anew from the run's state. Received: {out}", RuntimeWarning, stacklevel=2)
        files.write_json(out / CONFIG, record["config"])
    if not (out / RESULTS).exists():
        return presets.read_config(out / CONFIG), None
    # Results that are damaged are measured again.
    return presets.read_config(out / CONFIG), None if _lost(out / RESULTS) else presets.read_results(out / RESULTS)


def _lost(path):
    """What is wrong with a JSON file, or None."""
    try:
        return None if files.read_json(path) is not None else f"no {path.name}"
    except ValueError:
        return f"{path.name} is damaged"


def is_unfinished(directory: Path) -> bool:
    """Whether a directory is that of a run which is no preset yet: one that goes on, or was killed, or is older."""
    return not all((directory / name).exists() for name in (WEIGHTS, RESULTS)) and any(
        (directory / name).exists() for name in (STATE, files.previous(directory / STATE).name, MODEL)
    )


def begin(out: Path, recipe: Recipe, about: dict, data: dict) -> dict:
    """Writes what decides the run; results that are there, of another recipe, go. Returns what config.json holds."""
    # First, or those of fewer epochs would pass for those of the run that begins.
    (out / RESULTS).unlink(missing_ok=True)
    config = {"format_version": presets.FORMAT_VERSION, "about": about, "data": data}
    config |= {"recipe": recipe.entries(), "seed": recipe.seed}
    files.write_json(out / CONFIG, config)
    return config


def state(out: Path) -> tuple[Path | None, dict]:
    """The newest state of a run that is whole, and what `add_record` put there; None and {} where there is none.

    Raises:
        UsageError: if all that there are are damaged.
    """
    latest = out / STATE
    found = [path for path in (latest, files.previous(latest)) if path.exists()]
    found = found or [path for path in (out / MODEL,) if path.exists()]
    for path in found:
        if (record := _record(path)) is not None:
            if path is not found[0]:
                warnings.warn(
                    f"{found[0]} is damaged: the run goes on from the state before, {path.name}.",
                    RuntimeWarning,
                    stacklevel=2,
                )
            return path, record
    if found:
        raise UsageError(
            f"The run cannot go on, since its state is damaged: start another one. "
            f"Received: {' and '.join(map(str, found))}"
        )
    return None, {}


def is_whole(path: Path) -> bool:
    """Whether a Keras archive is there, and not damaged."""
    return _record(path) is not None


def _record(path):
    """What `add_record` put into a state; None if the file is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return None
            return json.loads(archive.read(_RECORD)) if _RECORD in archive.namelist() else {}
    # What zipfile makes of damaged headers: RuntimeError of "encrypted" files, ValueError of what is no text.
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None


def add_record(path: Path, record: dict) -> None:
    """Adds to a Keras archive what else a run needs to go on."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_RECORD, json.dumps(record))
