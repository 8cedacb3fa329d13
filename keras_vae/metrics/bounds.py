"""Log-likelihoods and their bounds, in the units in which they are reported."""

import math
from typing import TypeVar

import numpy as np

_Numbers = TypeVar("_Numbers", float, np.ndarray)


def bits_per_dim(log_prob: _Numbers, dims: int) -> _Numbers:
    """Converts log-probabilities, or bounds on them, from nats per example to bits per dimension.

    Args:
        log_prob: nats per example, summed over the event: a number or an array of any shape.
        dims: number of dimensions of one example, 3072 for a 32x32 colour image.

    Returns:
        Bits per dimension, of the shape of `log_prob`; smaller is better.

    Raises:
        ValueError: if `dims` is less than 1.

    Example:
        >>> bits_per_dim(-3072 * math.log(256), dims=3072)
        8.0
    """
    if not dims >= 1:
        raise ValueError(f"`dims` must be the number of dimensions of one example. Received: dims={dims!r}")
    return -log_prob / (dims * math.log(2))
