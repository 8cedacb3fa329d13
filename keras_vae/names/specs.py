"""Specs such as "iwae:50": names with arguments, read and written."""

import ast
import dataclasses
import keyword
import numbers
import re
from typing import Any

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
