"""What a data set is: images, numbers, or rows of a table, in three splits."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

import numpy as np

if TYPE_CHECKING:
    from keras_vae.data.table import Schema


class DataError(ValueError):
    """Data that cannot be found, read or converted; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split, with their labels or attributes if they have any.

    Attributes:
        images: (N, H, W, C) uint8, levels 0 to 255, or 0 and 1 in a binary data set; numbers of any shape, (N, ...)
            float32; rows of a table, (N, C) float32, as `Schema.encode` gives them.
        labels: (N,) int64, or None.
        attributes: {name: (N,) bool}, or None.
        attributes_known: (N,) bool, or None; where an image's attributes are not known, all of them are False.
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    attributes: dict[str, np.ndarray] | None = None
    attributes_known: np.ndarray | None = None

    def __post_init__(self):
        # Some data sets have a column of labels.
        if self.labels is not None and self.labels.ndim == 2 and self.labels.shape[1] == 1:
            object.__setattr__(self, "labels", self.labels[:, 0])

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Three disjoint splits of images of one shape.

    Attributes:
        name: the name that `load` was given.
        binary: whether the images are 0 and 1 instead of levels 0 to 255.
        train: the `Split` to train on.
        validation: the `Split` to choose settings by.
        test: the `Split` to report results on.
        schema: the columns of a table; None: these are no rows of one.
        numbers: "counts" or "numbers" of any kind, in the place of images; None: these are none.
        class_names: of the labels 0, 1, ...; None: they have no others.
        depth: largest level of the arrays that the images were made of, 4095 of 12 bits, 1 of levels divided by 255;
            None: not known.
        notes: what reading did to the data, and what was left out.
    """

    name: str
    binary: bool
    train: Split
    validation: Split
    test: Split
    schema: Optional["Schema"] = None
    numbers: str | None = None
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    depth: int | None = None

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(getattr(self, name)):,} for {name}" for name in ("train", "validation", "test"))
        kind = "a table" if self.schema is not None else self.numbers or ("bits" if self.binary else "8-bit levels")
        lines = [f"{self.name}: {counts}; each {' x '.join(map(str, self.image_shape))}, {kind}", *self.notes]
        if self.train.labels is not None:
            values, sizes = np.unique(self.train.labels, return_counts=True)
            named = [str(value) if self.class_names is None else self.class_names[value] for value in values]
            told = ", ".join(f"{name} {size:,}" for name, size in zip(named[:10], sizes, strict=False))
            lines.append(f"{len(values)} classes in training: {told}{', ...' if len(values) > 10 else ''}")
        return "\n  ".join(lines)

    @property
    def raw(self) -> bool:
        """Whether its numbers are what a model sees, with nothing to convert: rows of a table, counts, measurements."""
        return self.schema is not None or self.numbers is not None

    @property
    def pictures(self) -> bool:
        """Whether its examples are pictures, grey or RGB."""
        return not self.raw and len(self.image_shape) == 3 and self.image_shape[-1] in (1, 3)

    @property
    def has_missing(self) -> bool:
        """Whether some of its numbers are missing, NaN."""
        return self.raw and any(np.isnan(split.images).any() for split in (self.train, self.validation, self.test))

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(H, W, C), the shape of one image; of a row, (C,)."""
        return self.train.images.shape[1:]
