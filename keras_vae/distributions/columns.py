"""Rows of a table, whose columns are of several kinds."""

from typing import NamedTuple

import numpy as np
from keras import ops

from keras_vae import backend
from keras_vae.backend import Tensor, tfd
from keras_vae.distributions.base import Distribution


class Block(NamedTuple):
    """Columns of one kind.

    Args:
        places: where they stand in a row.
        kind: "real", "binary", "counts" or "categories"; those of the last have as many categories each.
        distribution: of single elements, batch (..., number of columns).
        log_scale: what log p of each column falls by, because of its units, (number of columns,).
        slope: what it falls by for each unit of x, (number of columns,): for logarithms.
    """

    places: tuple[int, ...]
    kind: str
    distribution: tfd.Distribution
    log_scale: np.ndarray | float = 0.0
    slope: np.ndarray | float = 0.0


class Columns(Distribution):
    """Independent columns of several kinds: reals, 0 and 1, counts, and categories as 0, 1, 2, ...

    Args:
        blocks: the columns by kind; each is in one of them.
        name: name of the distribution.
    """

    def __init__(self, blocks: tuple[Block, ...], name: str = "Columns"):
        parameters = dict(locals())
        self._blocks = tuple(blocks)
        places = np.concatenate([block.places for block in self._blocks])
        # Blocks put one after the other, brought into the order of the row.
        self._order = tuple(int(place) for place in np.argsort(places))
        super().__init__(parameters, "float32")

    def _in_order(self, values):
        return ops.take(ops.concatenate(values, axis=-1), self._order, axis=-1)

    def element_log_probs(self, x: Tensor) -> Tensor:
        """log p of each element, (..., C) nats, in the units of the table."""
        terms = []
        for block in self._blocks:
            part = ops.take(x, block.places, axis=-1)
            term = block.distribution.log_prob(ops.cast(part, block.distribution.dtype))
            terms.append(term - block.log_scale - block.slope * part)
        return self._in_order(terms)

    def log_prob_where(self, x: Tensor, there: Tensor | None = None) -> Tensor:
        """log p of the elements that are there.

        Args:
            x: (..., C).
            there: (..., C), bool; None: all of them are.
        """
        terms = self.element_log_probs(ops.cast(x, "float32"))
        return ops.sum(terms if there is None else ops.where(there, terms, 0.0), axis=-1)

    def _log_prob(self, x):
        return self.log_prob_where(x)

    def _mean(self):
        """Means; of categories, which have none, the most frequent ones."""
        return self._in_order([_middle(block) for block in self._blocks])

    def _mode(self):
        """The most frequent symbols, and the means of what is a number; counts are rounded."""
        rounding = {"binary": lambda value: ops.cast(value > 0.5, "float32"), "counts": ops.round}
        return self._in_order([rounding.get(b.kind, lambda value: value)(_middle(b)) for b in self._blocks])

    def expectations(self) -> Tensor:
        """Means of numbers, and the probabilities of categories, block after block, (..., W)."""
        found = []
        for block in self._blocks:
            if block.kind == "categories":
                chances = block.distribution.probs_parameter()
                found.append(ops.reshape(chances, (*ops.shape(chances)[:-2], len(block.places) * chances.shape[-1])))
            else:
                found.append(block.distribution.mean())
        return ops.concatenate(found, axis=-1)

    def _sample_n(self, n, seed=None):
        drawn = [
            ops.cast(block.distribution.sample(n, seed=backend.folded(seed, number)), "float32")
            for number, block in enumerate(self._blocks)
        ]
        return self._in_order(drawn)

    def _event_shape(self):
        return (len(self._order),)

    def _event_shape_tensor(self):
        return ops.convert_to_tensor((len(self._order),), "int32")

    def _batch_shape(self):
        return self._blocks[0].distribution.batch_shape[:-1]

    def _batch_shape_tensor(self):
        return self._blocks[0].distribution.batch_shape_tensor()[:-1]

    def _default_event_space_bijector(self):
        return None


def _middle(block):
    if block.kind == "categories":
        return ops.cast(block.distribution.mode(), "float32")
    return block.distribution.mean()
