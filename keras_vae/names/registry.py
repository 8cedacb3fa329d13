"""The registry in which specs are looked up."""

import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

from keras_vae.names.checks import check_type, did_you_mean, listed, one_of, plain
from keras_vae.names.specs import Spec

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
        raise ValueError(f"{spec.name} needs {listed(missing)}. Received: {str(spec)!r}")
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
        raise ValueError(f"{spec.name} takes {listed(names)}. Received: {str(spec)!r}")
    options = dict(zip(names, spec.arguments, strict=False))
    for name, value in spec.options.items():
        if name in options:
            raise ValueError(f"`{name}` of {spec.name} is given twice. Received: {str(spec)!r}")
        if name not in names:
            raise ValueError(
                f"{spec.name} has no argument {name!r}. {did_you_mean(name, names)}It takes {listed(names)}. "
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


def snake_case(name: str) -> str:
    """`DiagonalNormal` -> `diagonal_normal`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
