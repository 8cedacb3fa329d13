"""Checks of arguments, in words that say what was expected."""

import difflib
import inspect
import math
import numbers
import types
import typing
from collections.abc import Iterable
from typing import Any

from keras_vae.names.specs import Name, Spec


def plain(value: Any) -> Any:
    """`value` as it is saved: Python's numbers in the place of numpy's, tuples in that of arrays and lists."""
    if isinstance(value, Name):
        return str(value)
    # Without numpy, for which the command's help need not wait.
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(map(plain, value)) if isinstance(value, (list, tuple)) else value


def check_type(name: str, value: Any, hint: Any, owner: str = "") -> None:
    """Refuses a value, written in a spec or a recipe, of another type than `hint`.

    Raises:
        ValueError: saying what is expected.
    """
    value = plain(value)
    if not _fits(value, hint):
        raise ValueError(f"{owner}`{name}` must be {_described(hint)}. Received: {name}={value!r}")


def _fits(value, hint):
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, choice) for choice in inner)
    if origin is typing.Literal:
        return value in inner
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            return False
        return all(_fits(item, inner[0]) for item in value) if inner else True
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if isinstance(value, Spec):
        # What it stands for is looked up where it is taken.
        return hint is str
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if hint is float:
        return _is_finite(value)
    if hint in (str, type(None), list, tuple, dict):
        kind = (list, tuple) if hint in (list, tuple) else hint
        return isinstance(value, kind)
    # Of other classes: only objects, which no spec can write.
    return isinstance(value, hint) if inspect.isclass(hint) else True


def _is_finite(value):
    try:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        # A whole number that is no float.
        return False


_DESCRIPTIONS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a word",
    type(None): "none",
    dict: "an object",
}


def _described(hint):
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_described(choice) for choice in inner))
    if origin is typing.Literal:
        return " or ".join(map(repr, inner))
    if origin in (list, tuple):
        return f"a list, each of it {_described(inner[0])}" if inner else "a list"
    return _DESCRIPTIONS.get(hint, getattr(hint, "__name__", str(hint)))


def nearest(name: Any, names: Iterable, cutoff: float = 0.5) -> list[str]:
    """Those of `names` that `name` may be a slip of, the likeliest first."""
    return difflib.get_close_matches(str(name), [str(n) for n in names], n=3, cutoff=cutoff)


def did_you_mean(name: Any, names: Iterable) -> str:
    """A question that names the nearest ones, and a space; nothing where none is near."""
    near = nearest(name, names)
    return f"Did you mean {' or '.join(map(repr, near))}? " if near else ""


def listed(names: Iterable[str]) -> str:
    """Names in a sentence."""
    return ", ".join(names) or "no arguments"


def one_of(value: Any, choices: Iterable, what: str) -> Any:
    """`value` if it is among `choices`; otherwise a ValueError that names the nearest ones."""
    if value in choices:
        return value
    known = ", ".join(map(repr, choices))
    raise ValueError(f"Unknown {what}. {did_you_mean(value, choices)}Known: {known}. Received: {value!r}")


def check_whole(least: int = 1, **values: Any) -> None:
    """Refuses arguments, given by name, that are not whole numbers of at least `least`."""
    for name, value in values.items():
        number = plain(value)
        if isinstance(number, bool) or not isinstance(number, numbers.Integral) or number < least:
            raise ValueError(f"`{name}` must be a whole number of at least {least}. Received: {name}={value!r}")


def check_number(zero: bool = True, **values: Any) -> None:
    """Refuses arguments, given by name, that are not finite numbers above 0; 0 itself will do where `zero`."""
    for name, value in values.items():
        if not _is_finite(plain(value)) or value < 0 or not (zero or value > 0):
            least = "of at least 0" if zero else "above 0"
            raise ValueError(f"`{name}` must be a finite number {least}. Received: {name}={value!r}")


def checked_widths(widths: Iterable[int]) -> tuple[int, ...]:
    """Widths of layers as a tuple of positive whole numbers.

    Raises:
        ValueError: for anything else.
    """
    widths = plain(widths)
    if not isinstance(widths, tuple):
        raise ValueError(f"`widths` must be a list of whole numbers, one for each layer. Received: widths={widths!r}")
    for width in widths:
        check_whole(widths=width)
    return widths
