"""What a data set is: images, or rows of a table, in three splits."""

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
        images: (N, H, W, C) uint8, levels 0 to 255, or 0 and 1 in a binary data set; rows of a table, (N, C) float32,
            as `Schema.encode` gives them.
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
        schema: the columns of a table; None: these are images.
    """

    name: str
    binary: bool
    train: Split
    validation: Split
    test: Split
    schema: Optional["Schema"] = None

    @property
    def has_missing(self) -> bool:
        """Whether some values of a table are missing, NaN."""
        splits = (self.train, self.validation, self.test)
        return self.schema is not None and any(np.isnan(split.images).any() for split in splits)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(H, W, C), the shape of one image; of a row, (C,)."""
        return self.train.images.shape[1:]
