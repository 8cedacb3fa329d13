"""Columns of tables, and how their values are written as numbers."""

import dataclasses
import math
from typing import Any

from keras_vae.names import check_number, one_of

# Of files that hold tables.
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
COLUMN_KINDS = ("normal", "log_normal", "bernoulli", "categorical", "counts")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table, and how its values are written as numbers.

    Args:
        name: of the column.
        kind: "normal" and "log_normal", real numbers, which are standardised, the latter by their logarithms;
            "bernoulli" and "categorical", one of two or of more values, written as 0, 1, 2, ...; "counts", whole
            numbers of at least 0, as they are.
        loc: mean of the numbers, or of their logarithms; of counts, their mean.
        scale: standard deviation of these.
        categories: the values, in order, of what is one of several.
        dtype: of the column in a DataFrame.

    Raises:
        ValueError: for a kind that there is not, a scale of 0, or too few categories.
    """

    name: str
    kind: str
    loc: float = 0.0
    scale: float = 1.0
    categories: tuple = ()
    dtype: str = "float64"

    def __post_init__(self):
        one_of(self.kind, COLUMN_KINDS, f"kind of the column {self.name!r}")
        check_number(zero=False, scale=self.scale)
        if not math.isfinite(self.loc):
            raise ValueError(f"`loc` must be finite. Received: loc={self.loc!r} for the column {self.name!r}")
        object.__setattr__(self, "categories", tuple(self.categories))
        least = {"bernoulli": 2, "categorical": 2}.get(self.kind, 0)
        if len(self.categories) < least or (self.kind == "bernoulli" and len(self.categories) > 2):
            raise ValueError(
                f"A {self.kind} column has {'two' if self.kind == 'bernoulli' else 'at least two'} categories. "
                f"Received: categories={self.categories!r} of the column {self.name!r}"
            )
        if len(set(map(repr, self.categories))) < len(self.categories):
            raise ValueError(
                f"Each category stands once. Received: categories={self.categories!r} of the column {self.name!r}"
            )

    @property
    def width(self) -> int:
        """How many numbers a network sees of it."""
        return len(self.categories) if self.kind == "categorical" else 1


def as_columns(columns: Any) -> tuple[Column, ...]:
    """A schema, or its entries, as columns.

    Args:
        columns: an iterable of `Column`s, or of dicts of their fields.
    """
    found = tuple(column if isinstance(column, Column) else Column(**column) for column in columns)
    if not found:
        raise ValueError("A table has at least one column. Received: none")
    called = [column.name for column in found]
    if twice := sorted({name for name in called if called.count(name) > 1}):
        raise ValueError(f"Several columns have one name. Received: {', '.join(map(repr, twice))}")
    return found
