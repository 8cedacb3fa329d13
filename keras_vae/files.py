"""Files that are there whole, or as they were before, also after a power cut: replacement, JSON, CSV."""

import contextlib
import csv
import ctypes
import errno
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

_PARTIAL, _PREVIOUS = "partial.", "previous."


def replace(path: Path, write: Callable[[Path], Any], keep_previous: bool = False) -> None:
    """Has `write(path)` make a file or directory, and puts it in the place of `path` once it is whole, and on the disk.

    Args:
        path: what is replaced.
        write: takes the path to write to, and fails by an exception.
        keep_previous: whether the file that was there stays, as `previous(path)`.

    Raises:
        OSError: if it cannot be written; then what was there before still is.
    """
    replace_together({path: write}, keep_previous)


def replace_together(writers: dict[Path, Callable[[Path], Any]], keep_previous: bool = False) -> None:
    """`replace` for several paths, {path: write}, none of which is touched before all are whole; in this order."""
    partials = {path: path.with_name(f"{_PARTIAL}{path.name}") for path in writers}
    path = None
    try:
        for path, partial in partials.items():
            _remove(partial)
            writers[path](partial)
            _flush(partial)
        for path, partial in partials.items():
            if keep_previous and path.exists():
                os.replace(path, previous(path))
                _flush_entries(path.parent)
            if path.is_dir():
                _exchange(partial, path)
            else:
                os.replace(partial, path)
            _flush_entries(path.parent)
    except OSError as error:
        if error.errno is None and path.name in str(error):
            raise
        if error.errno is None:
            raise OSError(f"{error}. Received: {path}") from error
        named = str(error.filename or path).replace(f"{_PARTIAL}{path.name}", path.name)
        raise OSError(error.errno, error.strerror, named) from error
    finally:
        for partial in partials.values():
            _remove(partial)


def check_room(path: Path, size: int) -> None:
    """Refuses a file for which the disk has no room, before a writer begins that a full disk would crash.

    HDF5 ends the process that failed to write, and so does what is mapped to memory.

    Args:
        path: of the file.
        size: its bytes.

    Raises:
        OSError: of ENOSPC, with the path.
    """
    if path.parent.is_dir() and shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@contextlib.contextmanager
def appended(path: Path) -> Iterator[BinaryIO]:
    """A file open for bytes at its end.

    Raises:
        OSError: with the path, which those of a full disk come without.
    """
    try:
        with open(path, "ab") as file:
            yield file
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def previous(path: Path) -> Path:
    """Where `replace` keeps the file that was there before."""
    return path.with_name(f"{_PREVIOUS}{path.name}")


def is_partial(path: Path) -> bool:
    """Whether `replace` was writing this when its process ended."""
    return path.name.startswith(_PARTIAL)


def remove_partials(directory: Path) -> None:
    """Removes what `replace` was writing to a directory when its process was killed."""
    for path in filter(is_partial, directory.iterdir()):
        _remove(path)


def make_directory(path: Path) -> None:
    """Makes a directory, and those above it, unless they are there; also a power cut leaves them."""
    missing = [made for made in (path, *path.parents) if not made.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _flush_entries(made.parent)


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path):
    """Waits until a file, or all that is in a directory, is on the disk."""
    if path.is_dir():
        for inside in path.iterdir():
            _flush(inside)
        _flush_entries(path)
    else:
        with open(path, "rb+") as file:
            os.fsync(file.fileno())


def _flush_entries(directory):
    """Waits until the names in a directory are on the disk."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no such thing.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _exchange(one, two):
    """Swaps two directories; at no moment is there none of either name, where the system can do it."""
    library = ctypes.CDLL(None) if os.name == "posix" else None
    names = os.fsencode(one), os.fsencode(two)
    # Linux, relative to the working directory, by the flag RENAME_EXCHANGE; macOS, by RENAME_SWAP.
    for name, arguments in (("renameat2", (-100, names[0], -100, names[1], 2)), ("renamex_np", (*names, 2))):
        function = getattr(library, name, None)
        if function is not None and function(*arguments) == 0:
            return
    aside = one.with_name(f"{one.name}.aside")
    os.replace(two, aside)
    os.replace(one, two)
    os.replace(aside, one)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON."""
    replace(path, lambda partial: dump_json(partial, value))


def json_text(value: Any) -> str:
    """`value` as JSON on one line, which has no infinite numbers and no NaN: null stands for them.

    Numbers and arrays of numpy are written as Python's.
    """
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)


def _finite(value):
    if type(value).__module__ == "numpy":
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def dump_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON, straight into the file: an entry a line, and a line for each entry of those."""
    path.write_text(_lines(value) + "\n", encoding="utf-8")


def _lines(value, depth=0):
    # What lies deeper, such as a model's layers, would be more blanks than text.
    if depth == 2 or not value or not isinstance(value, (dict, list)):
        return json_text(value)
    if isinstance(value, dict):
        (begin, end), items = "{}", [f"{json_text(str(key))}: {_lines(item, depth + 1)}" for key, item in value.items()]
    else:
        (begin, end), items = "[]", [_lines(item, depth + 1) for item in value]
    indent = "\n" + "  " * depth
    return f"{begin}{indent}  " + f",{indent}  ".join(items) + f"{indent}{end}"


def read_json(path: Path) -> Any:
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
        path: the file, which is replaced by these rows.
        rows: {column: number} of each line.
    """

    def __init__(self, path: Path, rows: list[dict[str, float]]):
        self._path = path
        self.rows = list(rows)
        if self.rows:
            self._write()
        else:
            path.unlink(missing_ok=True)

    @staticmethod
    def read(path: Path) -> list[dict[str, float]]:
        """The rows of a file up to the first that is torn; none where there is no file."""
        rows = []
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return rows
        # A line without its end may have lost digits.
        for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
            try:
                rows.append({name: _number(value) for name, value in row.items()})
            except (TypeError, ValueError):
                break
        return rows

    def column(self, name: str) -> list[float]:
        """The numbers of one column."""
        return [float(row[name]) for row in self.rows]

    def columns(self) -> dict[str, list[float]]:
        """{column: its numbers}."""
        return {name: self.column(name) for name in self.rows[0]} if self.rows else {}

    def append(self, row: dict[str, float]) -> None:
        """Adds {column: number} as a line."""
        self.rows.append(row)
        self._write()

    def _write(self):
        def write(partial):
            with open(partial, "w", newline="", encoding="utf-8") as file:
                if self.rows:
                    writer = csv.DictWriter(file, self.rows[0], lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(self.rows)

        replace(self._path, write)


def _number(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return int(text) if text.isdigit() else value
