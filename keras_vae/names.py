"""Names: specs such as "iwae:50", the registry that they are looked up in, and checks of arguments."""

import ast
import dataclasses
import difflib
import inspect
import keyword
import math
import numbers
import re
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any

# The roles, as they are listed, each with the number of arguments that its parts are given before those of their spec:
# a size; the latents to fit to; (image_shape, latent_size); image_shape; (recipe, steps of an epoch).
LEADING = {
    "posterior": 1,
    "prior": 1,
    "fitted_prior": 1,
    "likelihood": 0,
    "corruption": 0,
    "objective": 0,
    "network": 2,
    "features": 1,
    "model": 1,
    "schedule": 0,
    "learning_rate_schedule": 2,
}

_REGISTRY: dict[str, dict[str, Callable]] = {}
_CONSTANTS = {"true": True, "false": False, "none": None}


class Name(str):
    """A bare word in a spec, e.g. `learned` in "normal:learned": a string, which may stand for no other type."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """A name with arguments, as it is written in Python, on the command line, in a recipe and in a card.

    Args:
        name: of what is meant.
        arguments: by position.
        options: by keyword.

    Example: `str(Spec.parse("normal: scale = learned")) == "normal:scale=learned"`.
    """

    name: str
    arguments: tuple = ()
    options: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "Spec":
        """Reads `name`, `name:value` or `name:key=value,key=value`.

        Values are numbers, words, lists `[500, 300]`, `true`, `false`, `none`, or specs with their arguments in
        parentheses: "elbo:beta=linear_warmup(1000)".

        Raises:
            ValueError: for anything else.
        """
        name, colon, rest = text.partition(":")
        name = name.strip().lower()
        try:
            if not re.fullmatch(r"[a-z_][a-z0-9_]*", name) or (colon and not rest.strip()):
                raise ValueError(text)
            spec = _called(ast.parse(f"{name}({rest.strip()})", mode="eval").body)
        except (SyntaxError, ValueError, AttributeError):
            raise ValueError(
                f'A part is written "name", "name:value" or "name:key=value,key=value". Received: {text!r}'
            ) from None
        return spec

    def __str__(self):
        parts = [written(value) for value in self.arguments]
        parts += [f"{key}={written(value)}" for key, value in self.options.items()]
        return f"{self.name}:{','.join(parts)}" if parts else self.name

    def __hash__(self):
        return hash(str(self))

    def replaced(self, **options: Any) -> "Spec":
        """The same with some options set."""
        return dataclasses.replace(self, options=self.options | options)


def _called(node):
    """The spec of a call's syntax tree; AttributeError for anything else."""
    options = {}
    for argument in node.keywords:
        if argument.arg is None or argument.arg in options:
            raise ValueError(argument.arg)
        options[argument.arg] = _value(argument.value)
    return Spec(node.func.id.lower(), tuple(map(_value, node.args)), options)


def _value(node):
    if isinstance(node, ast.Name):
        return _CONSTANTS.get(node.id.lower(), Name(node.id))
    if isinstance(node, ast.Call):
        return _called(node)
    if isinstance(node, (ast.List, ast.Tuple)):
        return tuple(map(_value, node.elts))
    value = ast.literal_eval(node)
    if isinstance(value, (bytes, complex, dict, set)):
        raise ValueError(value)
    return value


def written(value: Any) -> str:
    """A value as it stands in a spec."""
    if isinstance(value, Spec):
        inner = str(value).partition(":")[2]
        return f"{value.name}({inner})"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(written, value))}]"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, numbers.Real):
        # Not numpy's own, which print as calls.
        return repr(int(value) if isinstance(value, numbers.Integral) else float(value))
    bare = isinstance(value, str) and value.isidentifier() and not keyword.iskeyword(value)
    return str(value) if bare and value.lower() not in _CONSTANTS else repr(value)


def known_as(role: str, *names: str) -> Callable[[Callable], Callable]:
    """Decorator: has specs of a role find a class or function.

    Args:
        role: one of `LEADING`, or one of your own.
        *names: the first is the one that is shown, the others are understood, too.

    Raises:
        ValueError: for a name that something else has already.
    """

    def decorate(made):
        known = _REGISTRY.setdefault(role, {})
        for name in names:
            other = known.get(name, made)
            # The same definition, executed again, as in a notebook, replaces the former.
            if (other.__module__, other.__qualname__) != (made.__module__, made.__qualname__):
                raise ValueError(f"There is another {role} of this name, {other!r}. Received: {name!r}")
            known[name] = made
        return made

    return decorate


def roles() -> tuple[str, ...]:
    """The roles that have parts."""
    return tuple(dict.fromkeys([*(role for role in LEADING if role in _REGISTRY), *_REGISTRY]))


def known(role: str) -> dict[str, Callable]:
    """{name: class or function} of a role, aliases left out."""
    first = {}
    for name, made in _REGISTRY.get(role, {}).items():
        first.setdefault(made, name)
    return {name: made for made, name in first.items()}


def name_of(role: str, made: Callable) -> str:
    """The name of a class or function in specs; that of a class without one is its own, in snake case."""
    return {value: name for name, value in known(role).items()}.get(made) or snake_case(made.__name__)


def find(role: str, name: str) -> Callable:
    """The class or function of that name.

    Raises:
        ValueError: naming the nearest names.
    """
    return _REGISTRY[role][one_of(name, tuple(_REGISTRY.get(role, {})), role.replace("_", " "))]


def make(role: str, spec: "str | Spec", *leading: Any, **given: Any) -> Any:
    """What a spec stands for.

    Args:
        role: of the part.
        spec: text, or a `Spec`.
        *leading: arguments before those of the spec.
        **given: keyword arguments that the spec may replace.

    Raises:
        ValueError: for unknown names and arguments, and for values of another type than their annotation says.
    """
    made, options = bound(role, spec, *leading, **given)
    return made(*leading, **options)


def bound(role: str, spec: "str | Spec", *leading: Any, **given: Any) -> tuple[Callable, dict]:
    """What `make` calls, and with which keyword arguments, all checked and nothing called.

    Raises:
        ValueError: as `make` does.
    """
    spec = Spec.parse(spec) if isinstance(spec, str) else spec
    made = find(role, spec.name)
    expected = hints(made)
    parameters = arguments(made)
    for parameter, value in zip(parameters, leading, strict=False):
        check_type(parameter.name, value, expected.get(parameter.name, Any), f"{spec.name}'s ")
    parameters = parameters[len(leading) :]
    options = matched(spec, [p.name for p in parameters])
    for name, value in options.items():
        check_type(name, value, expected.get(name, Any), f"{spec.name}'s ")
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in options and p.name not in given]
    if missing:
        raise ValueError(f"{spec.name} needs {_listed(missing)}. Received: {str(spec)!r}")
    return made, {**given, **{name: plain(value) for name, value in options.items()}}


def matched(spec: Spec, names: list[str]) -> dict[str, Any]:
    """{argument: value} of a spec.

    Args:
        spec: a spec.
        names: of the arguments that its part takes, in order.

    Raises:
        ValueError: for arguments that it does not take, naming the nearest ones.
    """
    if len(spec.arguments) > len(names):
        raise ValueError(f"{spec.name} takes {_listed(names)}. Received: {str(spec)!r}")
    options = dict(zip(names, spec.arguments, strict=False))
    for name, value in spec.options.items():
        if name in options:
            raise ValueError(f"`{name}` of {spec.name} is given twice. Received: {str(spec)!r}")
        if name not in names:
            raise ValueError(
                f"{spec.name} has no argument {name!r}. {_hint(name, names)}It takes {_listed(names)}. "
                f"Received: {str(spec)!r}"
            )
        options[name] = value
    return options


def arguments(made: Callable) -> list[inspect.Parameter]:
    """The arguments that a class or function takes by name, in order; those behind a constructor's `**kwargs`, too."""
    found = {}
    for function in _signatures(made):
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name != "self" and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                found.setdefault(parameter.name, parameter)
    return list(found.values())


def hints(made: Callable) -> dict[str, Any]:
    """{argument: annotation} of a class or function."""
    found = {}
    for function in reversed(list(_signatures(made))):
        found |= typing.get_type_hints(function)
    return found


def _signatures(made):
    """`made`; or of a class its constructor and, as long as they pass on their `**kwargs`, those it inherits."""
    if not inspect.isclass(made):
        yield made
        return
    for cls in made.__mro__:
        # What Keras' layers take, such as a name, is no argument of a part.
        if cls.__module__.partition(".")[0] in ("keras", "builtins"):
            return
        if "__init__" in vars(cls):
            yield cls.__init__
            if not any(p.kind == p.VAR_KEYWORD for p in inspect.signature(cls.__init__).parameters.values()):
                return


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


def snake_case(name: str) -> str:
    """`DiagonalNormal` -> `diagonal_normal`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def nearest(name: Any, names: Iterable, cutoff: float = 0.5) -> list[str]:
    """Those of `names` that `name` may be a slip of, the likeliest first."""
    return difflib.get_close_matches(str(name), [str(n) for n in names], n=3, cutoff=cutoff)


def _hint(name, names):
    near = nearest(name, names)
    return f"Did you mean {' or '.join(map(repr, near))}? " if near else ""


def _listed(names):
    return ", ".join(names) or "no arguments"


def one_of(value: Any, choices: Iterable, what: str) -> Any:
    """`value` if it is among `choices`; otherwise a ValueError that names the nearest ones."""
    if value in choices:
        return value
    known = ", ".join(map(repr, choices))
    raise ValueError(f"Unknown {what}. {_hint(value, choices)}Known: {known}. Received: {value!r}")


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
