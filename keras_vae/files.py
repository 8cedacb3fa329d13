"""Files that are there whole, or as they were before: replacement, JSON, CSV."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Has `write(path)` make a file or directory, and puts it in the place of `path` once it is whole."""
    replace_together({path: write})


def replace_together(writers: dict[Path, Callable[[Path], Any]]) -> None:
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


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON."""
    replace(path, lambda partial: dump_json(partial, value))


def dump_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON, straight into the file."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


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
        path: the file.
        rows: how many of its lines still count; the others are cut.
    """

    def __init__(self, path: Path, rows: int):
        self._path = path
        self._rows = []
        if path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                self._rows = list(csv.DictReader(file))[:rows]
            replace(path, lambda partial: self._write(partial, "w", self._rows))

    def column(self, name: str) -> list[float]:
        """The numbers of one column."""
        return [float(row[name]) for row in self._rows]

    def columns(self) -> dict[str, list[float]]:
        """{column: its numbers}."""
        return {name: self.column(name) for name in self._rows[0]} if self._rows else {}

    def append(self, row: dict[str, float]) -> None:
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
