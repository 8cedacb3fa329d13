"""Tables: which kind each column is, and rows as numbers and back."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_vae import files
from keras_vae.columns import COLUMN_KINDS, Column, as_columns
from keras_vae.data.dataset import DataError, DataSet, Split
from keras_vae.data.frames import number_rows, read_frame, write_frame
from keras_vae.names import one_of

if TYPE_CHECKING:
    import pandas as pd

# Of different values, above which those of a column of text are names of rows, if most of them are different.
_MANY = 50
# Counts are small numbers; larger ones, and years and codes that start high, are numbers like others.
_LARGEST_COUNT = 10_000


class Schema:
    """The columns of a table, and how rows are written as numbers.

    It is a sequence of `Column`s. `schema(frame, age="counts")` asks for another kind;
    `schema["age"] = dataclasses.replace(schema["age"], scale=10.0)` edits one.

    Args:
        columns: `Column`s, or dicts of their fields.
    """

    def __init__(self, columns: Any):
        self._columns = list(as_columns(columns))

    def __iter__(self) -> Iterator[Column]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __getitem__(self, name: str) -> Column:
        return self._columns[self._place(name)]

    def __setitem__(self, name: str, column: Column) -> None:
        self._columns[self._place(name)] = column

    def _place(self, name):
        names = [column.name for column in self._columns]
        return names.index(one_of(name, names, "column"))

    def __repr__(self) -> str:
        lines = [f"  {c.name!r}: {c.kind}{f' of {len(c.categories)}' if c.categories else ''}" for c in self]
        return "\n".join([f"<Schema of {len(self)} columns", *lines]) + ">"

    def encode(self, frame: "pd.DataFrame") -> np.ndarray:
        """Rows as numbers, (N, C) float32: standardised reals, counts, categories as 0, 1, 2 ...; NaN is missing.

        Args:
            frame: with these columns; others are not looked at.

        Raises:
            ValueError: for a column that is not there, or a value that is none of its kind.
        """
        # Names of columns are texts here, also where those of the frame are numbers.
        there = {str(name): name for name in frame.columns}
        absent = [column.name for column in self if column.name not in there]
        if absent:
            raise ValueError(
                f"The table lacks columns of the schema: {', '.join(map(repr, absent))}. "
                f"Received: columns {', '.join(map(repr, frame.columns))}"
            )
        encoded = [_encoded(column, frame[there[column.name]]) for column in self]
        return np.stack(encoded, axis=1).astype("float32")

    def decode(self, x: np.ndarray) -> "pd.DataFrame":
        """A DataFrame of rows that were written as numbers, (N, C), with names and types of the columns.

        Whole numbers are rounded, and numbers in float32 to the digits that they have: 14.23 comes back as 14.23. A
        category that is no whole number is the nearest one.
        """
        import pandas as pd

        exact = np.asarray(x).dtype != np.float32
        x = np.asarray(x, "float64")
        if x.ndim != 2 or x.shape[1] != len(self):
            raise ValueError(f"Expected rows of {len(self)} columns. Received: shape {x.shape}")
        return pd.DataFrame({column.name: _decoded(column, x[:, i], exact) for i, column in enumerate(self)})

    def filled(self, frame: "pd.DataFrame", x: np.ndarray) -> "pd.DataFrame":
        """The columns of a table as it was read, and what is missing in them from rows that are written as numbers."""
        found = self.decode(x)
        for name in frame.columns:
            if str(name) in found.columns:
                given = frame[name].reset_index(drop=True)
                values = found[str(name)]
                if not given.isna().any():
                    found[str(name)] = given
                elif given.notna().any():
                    found[str(name)] = given.astype(object).where(given.notna(), values).infer_objects()
        return found

    def write(self, x: np.ndarray, path: str | os.PathLike) -> None:
        """Writes rows that were written as numbers, (N, C), to a .csv file."""
        write_frame(self.decode(x), path)

    def save(self, path: str | os.PathLike) -> None:
        """Writes it as JSON."""
        entries = [vars(column) for column in self]
        files.replace(Path(path), lambda partial: partial.write_text(json.dumps(entries, indent=2) + "\n", "utf-8"))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Schema":
        """That of a file which `save` wrote."""
        return cls(json.loads(Path(path).read_text(encoding="utf-8")))


def schema(frame: "pd.DataFrame", **kinds: str) -> Schema:
    """The kinds of a table's columns, as its values show them.

    Text and pandas' categories are categorical, two values or truth values Bernoulli. Whole numbers of at least 0 are
    counts up to 10,000, otherwise numbers. Positive numbers are log-normal where that fits them better than a Normal.

    Args:
        frame: a pandas DataFrame; missing values are left out.
        **kinds: {name of a column: kind}, one of `kv.columns.COLUMN_KINDS`, in the place of what its values show.

    Returns:
        A `Schema`: `schema.encode(frame)` makes rows for a model, `schema.decode(rows)` a table.

    Raises:
        ValueError: for an empty table, a column that is constant, of dates, or of names of rows, or a kind that its
            values do not fit.
    """
    if not hasattr(frame, "columns"):
        raise ValueError(f"A schema is that of a pandas DataFrame. Received: {type(frame).__name__}")
    twice = sorted({str(name) for name in frame.columns[frame.columns.duplicated()]})
    if twice:
        raise ValueError(f"Several columns have one name: rename them. Received: {', '.join(map(repr, twice))}")
    for name, kind in kinds.items():
        one_of(name, tuple(map(str, frame.columns)), "column")
        one_of(kind, COLUMN_KINDS, f"kind of the column {name!r}")
    if not len(frame) or not len(frame.columns):
        raise ValueError(f"The table is empty. Received: shape {frame.shape}")
    return Schema([_column(str(name), frame[name], kinds.get(str(name))) for name in frame.columns])


def load_table(path: str | os.PathLike, seed: int = 0) -> DataSet:
    """The rows of a file in three splits, a tenth for validation and a tenth for tests, drawn at random.

    The kinds of columns are those of all rows; means and standard deviations are those of training rows.

    Raises:
        DataError: for a file that is no table, or has too few rows or a column that no model can learn.
    """
    frame = read_frame(path)
    try:
        found = schema(frame)
    except ValueError as error:
        raise DataError(f"{error} In {path}") from error
    if len(frame) < 10:
        raise DataError(f"A table needs ten rows for its three splits. Received: {len(frame)} rows in {path}")
    order = np.random.default_rng(seed).permutation(len(frame))
    count = max(1, len(frame) // 10)
    parts = [frame.iloc[np.sort(rows)] for rows in np.split(order, (count, 2 * count))]
    test, validation, train = parts
    found = Schema([_refitted(column, train[column.name]) for column in found])
    splits = [Split(found.encode(part)) for part in (train, validation, test)]
    return DataSet(Path(path).stem, False, *splits, schema=found)


def _refitted(column, values):
    """A column with the moments of other values."""
    if column.kind in ("bernoulli", "categorical"):
        return column
    numbers = values.dropna().to_numpy("float64")
    numbers = np.log(numbers) if column.kind == "log_normal" else numbers
    # What is constant here has the scale of all rows.
    scale = float(numbers.std()) if len(numbers) and numbers.std() > 0 else column.scale
    return dataclasses.replace(column, loc=float(numbers.mean()) if len(numbers) else column.loc, scale=scale)


def _column(name, values, kind):
    from pandas.api import types

    there = values.dropna()
    try:
        different = there.unique()
    except TypeError:
        raise ValueError(
            f"The column {name!r} holds neither numbers nor text: leave it out, frame.drop(columns={name!r}). "
            f"Received: {type(there.iloc[0]).__name__} in it"
        ) from None
    if len(different) < 2:
        raise ValueError(
            f"The column {name!r} has one value and tells nothing: leave it out, frame.drop(columns={name!r}). "
            f"Received: {_plain(different[0]) if len(different) else 'no value'!r}"
        )
    of_time = types.is_datetime64_any_dtype(values) or types.is_timedelta64_dtype(values)
    if of_time or (kind is None and _write_dates(different)):
        raise ValueError(
            f"The column {name!r} has dates: make numbers of them, days since a first one, hours of the day and the "
            f"like. Received: dtype={values.dtype}"
        )
    numeric = types.is_numeric_dtype(values) and not types.is_bool_dtype(values)
    if numeric and not np.isfinite(there.to_numpy("float64")).all():
        raise ValueError(f"The column {name!r} has infinite values: replace or remove them. Received: {there.max()}")
    if kind is None and number_rows(values) and len(values) > _MANY:
        raise ValueError(
            f"The column {name!r} counts the rows, and tells nothing of them: leave it out, "
            f"frame.drop(columns={name!r}). Received: {there.iloc[0]}, {there.iloc[1]} ... {there.iloc[-1]}"
        )
    categories = tuple(values.cat.categories) if isinstance(values.dtype, _categorical()) else different
    kind = kind or _kind(there, categories, numeric)
    if kind in ("bernoulli", "categorical"):
        if not numeric and len(different) > _MANY and len(different) > len(there) / 2:
            raise ValueError(
                f"The column {name!r} has another text in nearly every row, as names of rows have: leave it out, "
                f"frame.drop(columns={name!r}). Received: {len(different)} different values in {len(there)} rows"
            )
        if categories is different:
            mixed = len({isinstance(value, str) for value in different}) > 1
            categories = sorted(different, key=str if mixed else None)
        return Column(name, kind, categories=tuple(map(_plain, categories)), dtype=str(values.dtype))
    if not numeric:
        raise ValueError(f"The column {name!r} is no column of numbers: it cannot be {kind}. Received: {values.dtype}")
    numbers = there.to_numpy("float64")
    if kind == "counts" and not _are_counts(numbers):
        raise ValueError(
            f"The column {name!r} is no column of counts, whole numbers of at least 0. Received: smallest "
            f"{numbers.min()}, largest {numbers.max()}"
        )
    if kind == "log_normal":
        if not numbers.min() > 0:
            raise ValueError(f"A log_normal column is positive. Received: smallest {numbers.min()} of {name!r}")
        numbers = np.log(numbers)
    return Column(name, kind, float(numbers.mean()), float(numbers.std()), dtype=str(values.dtype))


def _write_dates(texts):
    """Whether all values are dates written out: 2024-01-31, 2024-01-31T12:00:00Z."""
    import pandas as pd

    if not all(isinstance(text, str) and "-" in text for text in texts):
        return False
    return bool(pd.to_datetime(pd.Series(texts), format="ISO8601", errors="coerce", utc=True).notna().all())


def _categorical():
    import pandas as pd

    return pd.CategoricalDtype


def _plain(value):
    return value.item() if hasattr(value, "item") else value


def _kind(there, different, numeric):
    if len(different) == 2:
        return "bernoulli"
    if not numeric:
        return "categorical"
    numbers = there.to_numpy("float64")
    if _are_counts(numbers) and numbers.max() <= _LARGEST_COUNT and numbers.min() < numbers.max() / 10:
        return "counts"
    if numbers.min() > 0:
        logarithms = np.log(numbers)
        # The mean log-density of a log-normal, and of a Normal, but for what they share.
        if -np.log(logarithms.std()) - logarithms.mean() > -np.log(numbers.std()):
            return "log_normal"
    return "normal"


def _are_counts(numbers):
    return bool(numbers.min() >= 0 and (numbers == np.round(numbers)).all())


def _encoded(column, values):
    if column.kind in ("bernoulli", "categorical"):
        codes, known = _codes(column, values)
        if not known.all():
            raise ValueError(
                f"The column {column.name!r} has values that the schema does not know: make the schema of all rows, or "
                f"leave these out. Received: {', '.join(map(repr, values[~known].unique()[:3]))}"
            )
        return codes
    try:
        numbers = values.to_numpy("float64", na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The column {column.name!r} holds numbers. Received: {error}") from None
    if column.kind == "counts":
        return numbers
    if column.kind == "log_normal":
        if np.nanmin(numbers, initial=np.inf) <= 0:
            raise ValueError(
                f"The column {column.name!r} is log_normal, and its values are positive. Received: {np.nanmin(numbers)}"
            )
        numbers = np.log(numbers)
    return (numbers - column.loc) / column.scale


def _codes(column, values):
    """Values as numbers of their categories, NaN where they are missing; and which of them are known."""
    import pandas as pd

    place = {value: number for number, value in enumerate(column.categories)}
    texts = all(isinstance(value, str) for value in column.categories)

    def code(value):
        # A file whose values all happen to be numbers is read as numbers, and truth values as 0 and 1.
        if texts and not isinstance(value, str):
            value = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        elif not texts and isinstance(value, str):
            value = {"True": True, "False": False}.get(value, value)
            with contextlib.suppress(ValueError):
                value = float(value)
        return place.get(value, np.nan)

    # The last one is that of missing values, whose index is -1.
    index, different = pd.factorize(values)
    codes = np.array([*map(code, map(_plain, different)), np.nan])[index]
    return codes, (index < 0) | ~np.isnan(codes)


def _decoded(column, values, exact):
    import pandas as pd

    missing = np.isnan(values)
    if column.kind in ("bernoulli", "categorical"):
        codes = np.clip(np.round(np.where(missing, 0, values)), 0, len(column.categories) - 1).astype(int)
        found = pd.Series(np.array(column.categories, dtype=object)[codes])
        found[missing] = None
    else:
        found = values if column.kind == "counts" else values * column.scale + column.loc
        found = np.exp(found) if column.kind == "log_normal" else found
        if not exact and column.kind != "counts":
            # Errors of float32 are relative to what is standardised: the scale, or the number by way of its logarithm.
            found = _rounded(found, column.scale if column.kind == "normal" else np.abs(found) * column.scale)
        found = pd.Series(found)
    dtype = _numpy(column.dtype)
    if column.kind not in ("bernoulli", "categorical") and (column.kind == "counts" or dtype.kind in "iu"):
        found = found.round()
        if dtype.kind in "iu":
            # A draw may lie outside of what the type holds, whose largest number need not be a float64.
            least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
            found = found.clip(least, most if int(float(most)) == most else np.nextafter(float(most), 0))
    # Numbers that are missing have no whole ones beside them in numpy.
    if missing.any() and dtype.kind in "iub" and isinstance(pd.api.types.pandas_dtype(column.dtype), np.dtype):
        return found
    return found.astype(column.dtype)


def _rounded(values, scales):
    """Values to a millionth of their scales, which are above 0 where values are numbers."""
    with np.errstate(all="ignore"):
        digits = np.clip(-np.floor(np.log10(scales * 1e-6)), 0, 15)
    power = 10.0 ** np.where(np.isfinite(digits), digits, 0)
    return np.round(values * power) / power


def _numpy(dtype):
    """numpy's dtype of a column, that of pandas' own types, too; object of others."""
    from pandas.api import types

    found = types.pandas_dtype(dtype)
    found = found if isinstance(found, np.dtype) else getattr(found, "numpy_dtype", None)
    return found if isinstance(found, np.dtype) else np.dtype(object)
