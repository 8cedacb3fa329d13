"""Files of tables."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_vae import files
from keras_vae.columns import TABLE_SUFFIXES
from keras_vae.data.dataset import DataError

if TYPE_CHECKING:
    import pandas as pd


def is_table(path: str | os.PathLike) -> bool:
    """Whether a file is one of a table, by its name."""
    return Path(path).suffix.lower() in TABLE_SUFFIXES


def read_frame(path: str | os.PathLike) -> "pd.DataFrame":
    """The table of a file.

    Raises:
        DataError: for a file that is none.
    """
    import pandas as pd

    path = Path(path)
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        how = {"sep": "\t" if path.suffix.lower() == ".tsv" else ",", "skipinitialspace": True}
        frame = _read_text(path, **how)
        if len(frame.columns) == 1 and ";" in str(frame.columns[0]):
            # As spreadsheets write it where numbers have a comma.
            how["sep"] = ";"
            frame = _read_text(path, **how)
            if any(_have_commas(frame[name]) for name in frame.columns):
                frame = _read_text(path, decimal=",", **how)
        first = frame.columns[0]
        if len(frame.columns) > 1 and str(first).startswith("Unnamed: 0") and number_rows(frame[first]):
            # The index that pandas writes unless it is told not to.
            frame = frame.drop(columns=first)
        _check_header(frame)
        return frame
    except (ValueError, ImportError, OSError) as error:
        told = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"This table cannot be read ({told}). Received: {path}") from error


def read_frames(paths: Iterable[str | os.PathLike]) -> "pd.DataFrame":
    """The tables of several files, one below the other."""
    import pandas as pd

    return pd.concat(list(map(read_frame, paths)), ignore_index=True)


def write_frame(frame: "pd.DataFrame", path: str | os.PathLike) -> None:
    """Writes a table to a .csv file."""
    files.replace(Path(path), lambda partial: frame.to_csv(partial, index=False))


def number_rows(values: "pd.Series") -> bool:
    """Whether a column counts its rows, from any number on."""
    numbers = values.to_numpy()
    whole = numbers.dtype.kind in "iu" and len(numbers) > 2
    return bool(whole and np.array_equal(numbers, numbers[0] + np.arange(len(numbers), dtype=numbers.dtype)))


def _read_text(path, **how):
    import pandas as pd

    frame = pd.read_csv(path, **how)
    if not frame.index.equals(pd.RangeIndex(len(frame))) and frame.iloc[:, -1].isna().all():
        # Each row ends in a separator: pandas takes the first column for names of rows, and shifts the others.
        frame = pd.read_csv(path, index_col=False, **how)
    if str(frame.columns[-1]).startswith("Unnamed: ") and frame.iloc[:, -1].isna().all():
        # The first line ends in one, too.
        frame = frame.iloc[:, :-1]
    return frame


def _check_header(frame):
    """Refuses a first line of numbers, and rows that are longer than it, but for R's, which begin with their names."""
    if not frame.index.is_unique or frame.index.nlevels > 1:
        raise ValueError("its rows have more fields than its first line has names")
    # Text of a row may be a name, its numbers are none. Years and places of pixels are.
    of_numbers = [str(name) for name in frame.select_dtypes("number").columns]
    if of_numbers and all(map(_is_number, of_numbers)) and not all(name.isdecimal() for name in of_numbers):
        raise ValueError(f"its first line has numbers, {', '.join(of_numbers[:3])}, where the names of columns belong")


def _is_number(text):
    try:
        return np.isfinite(float(text))
    except ValueError:
        return False


def _have_commas(values):
    there = values.dropna()
    return len(there) > 0 and there.dtype.kind not in "biufc" and there.astype(str).str.fullmatch(r"-?\d+,\d+").all()
