"""What values a likelihood may see, and how users give them."""

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

KINDS = {
    "binary": "binary images: 0 or 1",
    "unit interval": "values in [0, 1]",
    "open unit interval": "values strictly between 0 and 1",
    "8-bit levels": "8-bit levels: whole numbers from 0 to 255",
    "counts": "counts: whole numbers of at least 0",
    "table": "rows of a table, as kv.data.schema(frame).encode(frame) gives them",
    "numbers": "numbers in any units, which the model standardises",
    "real": "real numbers of moderate size, such as pixels in [0, 1]",
}
_BITS = "12- and 16-bit levels are divided by 4095 and 65535, 8-bit ones by 255."

# What to do with data of one kind, found where a likelihood expects another.
_ADVICE = {
    "binary": "Use likelihood='bernoulli' for binary images.",
    "unit interval": (
        "Use likelihood='continuous_bernoulli', 'normal' or 'laplace' for values in [0, 1]; or binarise them for "
        "'bernoulli', or pass the 8-bit levels themselves (uint8) for 'discretized_logistic_mixture'."
    ),
    "8-bit levels": (
        "Use likelihood='discretized_logistic_mixture', 'discretized_logistic' or 'categorical' for 8-bit levels; or "
        "divide them by 255 for 'continuous_bernoulli' or 'normal' ((x + 0.5) / 256 for 'beta'), or binarise them for "
        "'bernoulli' (keras_vae.data.convert does each)."
    ),
    "real": "Use likelihood='standardized' for numbers in any units, or 'normal' or 'laplace' for moderate ones.",
}


# The largest absolute value that a network can be trained on, and the one from which on it hardly can.
LARGEST, LARGE = 1000.0, 100.0
# The largest of counts, up to which float32 has every whole number.
_LARGEST_COUNT = 2**24
# float32's rounding of values that are scaled to [0, 1].
_ROUNDING = 1e-6


def as_array(x: Any, missing: bool = False) -> np.ndarray:
    """What a user calls an array, as numpy has it; floats as float32, which is what a model sees.

    Args:
        x: numpy array, a backend's tensor, nested lists, a DataFrame, or a scipy.sparse matrix.
        missing: whether values may be missing; then those that are masked are.

    Raises:
        ValueError: for masked values, dictionaries, streams, and what else is no array of numbers.
    """
    if isinstance(x, dict):
        key = next(iter(x), "image")
        raise ValueError(
            f"Expected an array of images, not a dictionary: pass its images, x[{key!r}]; of a stream of dictionaries, "
            f"kv.data.from_dicts(stream, {key!r}). Received: a dict with the keys {', '.join(map(repr, x))}"
        )
    if not is_array(x):
        raise ValueError(
            "Expected an array: encode, decode, reconstruct, impute, log_prob, fit, evaluate and predict take streams, "
            "other methods arrays alone. "
            f"Received: {type(x).__name__}"
        )
    if np.ma.is_masked(x) and missing:
        x = x.astype("float32").filled(np.nan)
    if np.ma.is_masked(x):
        raise ValueError(
            "The data has masked values, which a model would see as they are stored: replace them, x.filled(value), "
            "or leave those examples out. A model that is made with missing=True takes them as they are. "
            f"Received: {int(np.ma.count_masked(x))} masked values"
        )
    x = x.toarray() if _is_sparse(x) else np.asarray(x)
    if not (np.issubdtype(x.dtype, np.number) or x.dtype == bool) or np.iscomplexobj(x):
        raise ValueError(f"Images must be arrays of numbers. Received: dtype={x.dtype}")
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
    if np.issubdtype(x.dtype, np.inexact) and x.dtype != np.float32:
        with np.errstate(over="ignore"):
            return x.astype("float32")
    return x


def is_stream(x: Any) -> bool:
    """Whether `x` yields batches: a tf.data.Dataset, a PyDataset, a generator, a loader of another library."""
    if is_array(x) or isinstance(x, (dict, str, tuple)):
        return False
    return isinstance(x, keras.utils.PyDataset) or hasattr(x, "__iter__")


def batches(stream: Any) -> Iterator[Any]:
    """The batches of one pass over a stream, tuples or arrays, in numpy."""
    if isinstance(stream, keras.utils.PyDataset):
        numbers = itertools.count() if stream.num_batches is None else range(stream.num_batches)
        stream = map(stream.__getitem__, numbers)
    elif hasattr(stream, "as_numpy_iterator"):
        stream = stream.as_numpy_iterator()
    for batch in stream:
        yield tuple(batch) if isinstance(batch, list) else batch


def _is_sparse(x):
    return hasattr(x, "toarray") and hasattr(x, "nnz")


def kind_of(x: np.ndarray) -> str:
    """The narrowest kind of data that a finite array looks like: binary, unit interval, 8-bit levels or real."""
    fits = (
        kind
        for kind in ("binary", "8-bit levels", "unit interval")
        if _supports(kind, x, float(x.min()), float(x.max()))
    )
    return next(fits, "real")


# Elements that are looked at together, so that looking at a large array takes little memory.
_AT_ONCE = 2**22


def _parts(x):
    rows = max(1, _AT_ONCE // max(1, x[:1].size))
    return (x[start : start + rows] for start in range(0, len(x), rows))


def _are_whole(x):
    return x.dtype.kind in "iub" or all(np.array_equal(part, np.round(part)) for part in _parts(x))


def _supports(kind, x, low, high):
    """Whether values of `kind` can be those of an array whose smallest and largest are `low` and `high`."""
    if kind == "binary":
        return bool(low >= 0 and high <= 1) and all(np.all((part == 0) | (part == 1)) for part in _parts(x))
    if kind == "8-bit levels":
        return bool(low >= 0 and high <= 255) and _are_whole(x)
    if kind == "counts":
        return bool(low >= 0 and high <= _LARGEST_COUNT) and _are_whole(x)
    if kind == "unit interval":
        return bool(low >= -_ROUNDING and high <= 1 + _ROUNDING)
    if kind == "open unit interval":
        return bool(low > 0 and high < 1)
    if kind == "numbers":
        return True
    # Whole numbers in integers are counts, levels or classes, but for a mask.
    return max(-low, high) <= LARGEST and (x.dtype.kind not in "iu" or (low >= 0 and high <= 1))


def _there(x, missing):
    """The elements that are there, all of them numbers, with the smallest and the largest; of none, 0 and 0."""
    there = x[~np.isnan(x)] if missing else x
    low, high = (float(there.min()), float(there.max())) if there.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        where = tuple(int(i) for i in np.argwhere(np.isinf(x) if missing else ~np.isfinite(x))[0])
        found, advice = "NaN or infinite", " (NaN may stand for what is missing if the model is made with missing=True)"
        found, advice = ("infinite", "") if missing else (found, advice)
        raise ValueError(
            f"The images contain {found} values, or some too large for float32; remove or replace them{advice}. "
            f"Received: {x[where]} at index {where}"
        )
    return there, low, high


def check_values(x: np.ndarray, likelihood: Any, whole: bool = False, missing: bool = False) -> None:
    """Refuses an array that `likelihood` cannot see.

    Args:
        x: array of images, as of `as_array`, not empty.
        likelihood: has `data`, one of `KINDS`, and `seen_range`.
        whole: whether `x` is a whole data set: then its kind is guessed at, too, and a range that makes training hard
            is warned of.
        missing: whether NaN stands for elements that are missing.

    Raises:
        ValueError: for NaN, infinities, or another kind of data; it names the likelihood for what was found.
    """
    name, wanted, count = type(likelihood).__name__, likelihood.data, len(x)
    rows = x
    x, low, high = _there(x, missing)
    if not x.size:
        return
    if wanted == "table":
        likelihood.check(rows, whole)
        return
    # A dark image in bytes still is one of 8-bit levels; so may be a black image alone.
    guessed = whole or (likelihood.seen_range is None and count > 1)
    misread = wanted == "8-bit levels" and guessed and x.dtype != np.uint8 and _supports("binary", x, low, high)
    if _supports(wanted, x, low, high) and not misread:
        _check_range(low, high, likelihood, whole)
        return
    found = kind_of(x)
    advice = _ADVICE[found]
    if wanted == "open unit interval" and found in ("binary", "unit interval"):
        advice = (
            "A density on the open interval is zero or infinite at 0 and 1, and float32 rounds what is near to them: "
            "pass (levels + 0.5) / 256 instead of levels / 255 (keras_vae.data.convert does it), or use "
            "likelihood='continuous_bernoulli'."
        )
    elif wanted == "counts":
        advice = (
            "Pass counts as they were counted: not divided by their sum, nor as logarithms, nor with fractions, and "
            f"none above {_LARGEST_COUNT:,}. Use likelihood='normal' or 'student_t' for other numbers."
        )
    elif found == "real" and max(-low, high) > 1:
        advice = (
            "Use likelihood='standardized' for numbers in any units: the model standardises them, and gives densities "
            f"and samples in those units. {_BITS}"
        )
        if _supports("counts", x, low, high):
            advice += " Counts have likelihoods of their own: 'poisson', 'negative_binomial', 'multinomial'."
    raise ValueError(
        f"{name} expects {KINDS[wanted]}; the data looks like {KINDS[found] if found != 'real' else 'other numbers'}. "
        f"{advice} Received: dtype={x.dtype}, smallest {low}, largest {high}"
    )


def _check_range(low, high, likelihood, whole):
    if likelihood.data not in ("real", "numbers"):
        return
    if whole and likelihood.data == "real" and max(-low, high) > LARGE:
        warnings.warn(
            f"Values as large as these are hard to train on: use likelihood='standardized'. {_BITS} "
            f"Received: smallest {low}, largest {high}",
            stacklevel=2,
        )
    elif not whole and likelihood.seen_range is not None:
        least, most = likelihood.seen_range
        span = max(most - least, 1e-6)
        if low < least - 100 * span or high > most + 100 * span:
            raise ValueError(
                "These values are in other units than those that the model was fitted to: scale them in the same way. "
                f"Received: smallest {low}, largest {high}; fitted to values from {least:.6g} to {most:.6g}"
            )


def check_shape(shape: tuple[int | None, ...], image_shape: tuple[int, ...]) -> None:
    """Refuses images of another shape.

    Args:
        shape: (N, ...), None where unknown.
        image_shape: shape of one image.

    Raises:
        ValueError: saying how to mend what is easily mended.
    """
    shape, image_shape = tuple(shape), tuple(image_shape)
    given = shape[1:]
    if len(given) == len(image_shape) and all(a is None or a == b for a, b in zip(given, image_shape, strict=True)):
        return
    hint = ""
    if given == image_shape[:-1] and image_shape[-1] == 1:
        hint = "Add the channel axis: x[..., None]. "
    elif shape == image_shape:
        hint = "Add the batch axis: x[None]. "
    raise ValueError(f"Expected images of shape (N, {', '.join(map(str, image_shape))}). {hint}Received: shape {shape}")


def check_array(
    x: Any, image_shape: tuple[int, ...], likelihood: Any, whole: bool = False, missing: bool = False
) -> np.ndarray:
    """`x` as an array; refuses one that is empty, of another shape, or of another kind of data.

    Args:
        x: what a user calls an array.
        image_shape: shape of one image.
        likelihood: see `check_values`; None: of one that networks see and nothing scores, whose numbers may be any.
        whole: whether it is a whole data set.
        missing: whether NaN stands for elements that are missing.
    """
    x = as_array(x, missing)
    check_shape(x.shape, image_shape)
    if len(x) == 0:
        raise ValueError(f"The data set is empty. Received: shape {x.shape}")
    if likelihood is None:
        _there(x, missing)
    else:
        check_values(x, likelihood, whole, missing)
    return x


def is_array(x: Any) -> bool:
    """Whether `x` is an array in memory (numpy, a backend's tensor, nested lists), not a stream of batches."""
    return isinstance(x, (np.ndarray, list)) or keras.ops.is_tensor(x) or hasattr(x, "__array__") or _is_sparse(x)
