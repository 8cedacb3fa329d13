"""Log-likelihoods and their bounds, in the units in which they are reported."""

import math
from typing import NamedTuple, TypeVar

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


class Agreement(NamedTuple):
    """How two estimates of log p(x) of the same images compare; see `agreement`.

    Args:
        difference: mean of the second less the first over the images that can be compared, nats; NaN of none.
        error: standard error of the difference.
        images: how many can be compared.
        agrees: whether the difference is within its error; None where no image can be compared.
    """

    difference: float
    error: float
    images: int
    agrees: bool | None


def agreement(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], largest: float = 0.3
) -> Agreement:
    """Compares two estimates of log p(x) by their standard errors, such as those of samples of posterior and prior.

    Images whose error is above `largest` in either estimate cannot be compared: a handful of samples has nearly all
    weight there, and the error itself is no longer known. The difference may be three standard errors, and what
    logarithms of means are too low by, half a squared error for each image.

    Args:
        first: (estimates, standard errors), each (N,), nats, as `vae.log_prob(..., errors=True)` returns them.
        second: the same of the same images.
        largest: error up to which an image is compared, nats.

    Raises:
        ValueError: for arrays of different shapes.

    Example:
        posterior, prior = (vae.log_prob(x, 5000, proposal=name, errors=True) for name in ("posterior", "prior"))
        kv.metrics.agreement(posterior, prior).agrees
    """
    arrays = [np.asarray(array, dtype="float64") for array in (*first, *second)]
    if len({array.shape for array in arrays}) > 1 or arrays[0].ndim != 1:
        raise ValueError(
            "Expected estimates and standard errors of the same images, (N,) each. "
            f"Received: shapes {', '.join(str(array.shape) for array in arrays)}"
        )
    known = (arrays[1] <= largest) & (arrays[3] <= largest)
    count = int(known.sum())
    if not count:
        return Agreement(math.nan, math.nan, 0, None)
    one, one_error, other, other_error = (array[known] for array in arrays)
    difference, squares = float(np.mean(other - one)), one_error**2 + other_error**2
    error = math.sqrt(squares.sum()) / count
    return Agreement(difference, error, count, bool(abs(difference) <= 3 * error + squares.mean() / 2))
