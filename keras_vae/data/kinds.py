"""What the numbers of an array are: bits, levels of pictures, counts or measurements; and as a data set has them."""

import numpy as np

# From what fits fewest to what fits all.
KINDS = ("binary", "levels", "counts", "numbers")
# The largest level of pictures of so many bits.
_DEPTHS = (255, 1023, 4095, 65535)


def _blocks(x):
    return (x[start : start + 4096] for start in range(0, len(x), 4096))


def kind_of(x: np.ndarray) -> str:
    """What the numbers of an array are, one of `KINDS`."""
    if x.dtype == bool:
        return "binary"
    pictures = x.ndim > 2
    if x.dtype.kind in "iu":
        if int(x.min(initial=0)) < 0:
            return "numbers"
        if x.max(initial=0) <= 1:
            return "binary"
        levels = x.dtype == np.uint8 or (pictures and x.max(initial=0) <= _DEPTHS[-1])
        return "levels" if levels else "counts"
    low, high = float(np.fmin.reduce(x, axis=None)), float(np.fmax.reduce(x, axis=None))
    if low >= 0 and high <= 1 and all(np.all((part == 0) | (part == 1)) for part in _blocks(x)):
        return "binary"
    if pictures and low >= 0 and high <= 1 and high > 0 and all(_are_levels(255 * part) for part in _blocks(x)):
        return "levels"
    if low >= 0 and all(np.array_equal(part, np.round(part)) for part in _blocks(x)):
        return "levels" if pictures and high <= 255 else "counts"
    return "numbers"


def _are_levels(x):
    return bool(np.all(np.abs(x - np.round(x)) < 1e-3))


def depth_of(x: np.ndarray) -> int:
    """The largest level that pictures may have, by those that there are; 1 of those that were divided by 255."""
    if x.dtype.kind == "f" and x.max(initial=0) <= 1:
        return 1
    return next(depth for depth in _DEPTHS if x.max(initial=0) <= depth)


def _as_pictures(x):
    """Pictures with their channels last."""
    if x.ndim == 3:
        return x[..., None], []
    if x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[-1] not in (1, 2, 3, 4):
        return np.moveaxis(x, 1, -1), ["its channels were before rows and columns, and are behind them now"]
    return x, []


def _binary(x):
    x, said = _as_pictures(x)
    return x.astype("uint8", copy=False), [*said, "its numbers are 0 and 1"]


def _levels(x, depth):
    x, said = _as_pictures(x)
    if depth == 255:
        return x.astype("uint8", copy=False), said
    if depth == 1:
        return np.round(255 * x).astype("uint8"), [*said, "its numbers are levels divided by 255"]
    bits = depth.bit_length()
    return np.round(x / depth * 255).astype("uint8"), [*said, f"its levels have {bits} bits, of which 8 are kept"]


def converted(x: np.ndarray, kind: str, depth: int | None = None) -> tuple[np.ndarray, list[str]]:
    """An array as a data set has it, and what was done to it.

    Args:
        x: examples, (N, ...).
        kind: one of `KINDS`.
        depth: the largest level, as of `depth_of`; None: by the array itself.
    """
    if kind == "binary":
        return _binary(x)
    if kind == "levels":
        return _levels(x, depth_of(x) if depth is None else depth)
    return x.astype("float32", copy=False), []
