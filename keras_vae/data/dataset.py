"""What a data set is: images in three splits."""

from dataclasses import dataclass

import numpy as np


class DataError(ValueError):
    """A data set cannot be had, or cannot be seen in the way that was asked for; its message says what to do."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images of one split, and their labels or attributes where they have any.

    Attributes:
        images: (N, H, W, C) uint8, levels 0 to 255, or 0 and 1 in a binary data set.
        labels: (N,) int64, or None.
        attributes: {name: (N,) bool}, or None.
        attributes_known: (N,) bool, whether the attributes of an image are known (otherwise all are False), or None.
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    attributes: dict[str, np.ndarray] | None = None
    attributes_known: np.ndarray | None = None

    def __len__(self):
        return len(self.images)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Three disjoint splits of images of one shape.

    Attributes:
        name: what `load` was given.
        binary: whether the images are 0 and 1 rather than levels 0 to 255.
        train, validation, test: a `Split` each.
    """

    name: str
    binary: bool
    train: Split
    validation: Split
    test: Split

    @property
    def image_shape(self):
        """(H, W, C), the shape of one image."""
        return self.train.images.shape[1:]
