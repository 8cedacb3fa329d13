"""The package's own parts as its source has them, so that a slip is told before a framework is imported."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from keras_vae import names

_PACKAGE = Path(__file__).parent
_ROOMS = ("posteriors", "priors", "likelihoods", "objectives", "networks", "models", "runs")


def check_spec(role: str, spec: names.Spec, others: bool = False) -> None:
    """Refuses a spec whose name or arguments no part has; its values are not looked at.

    Args:
        role: of the part.
        spec: a spec.
        others: whether there may be parts that are not the package's own.

    Raises:
        ValueError: naming the nearest names.
    """
    known = arguments(role)
    if spec.name in known or not others:
        names.matched(spec, known[names.one_of(spec.name, tuple(known), role.replace("_", " "))])


@functools.cache
def arguments(role: str) -> dict[str, list[str]]:
    """{name: arguments of its spec} of the package's parts of a role, aliases included."""
    found = {}
    for node in _definitions().values():
        for call in (d for d in node.decorator_list if isinstance(d, ast.Call)):
            given = [ast.literal_eval(argument) for argument in call.args]
            decorator = ast.unparse(call.func).rpartition(".")[2]
            if decorator == "register":
                given = [_role(node), *(given or [names.snake_case(node.name)])]
            elif decorator != "known_as":
                continue
            if given[0] == role:
                found |= dict.fromkeys(given[1:], _taken(node)[names.LEADING[role] :])
    return found


@functools.cache
def _definitions() -> dict[str, ast.ClassDef | ast.FunctionDef]:
    """The classes and functions of the rooms that have parts, by their names."""
    files = [*_PACKAGE.glob("*.py"), *(path for room in _ROOMS for path in sorted((_PACKAGE / room).glob("*.py")))]
    nodes = (node for path in files for node in ast.parse(path.read_text(encoding="utf-8")).body)
    return {node.name: node for node in nodes if isinstance(node, (ast.ClassDef, ast.FunctionDef))}


def _lineage(node: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """A class and those that it inherits from."""
    yield node
    for base in node.bases:
        if parent := _definitions().get(ast.unparse(base).rpartition(".")[2]):
            yield from _lineage(parent)


def _role(node):
    for cls in _lineage(node):
        for line in cls.body:
            if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "role":
                return ast.literal_eval(line.value)
    raise ValueError(f"A part needs a role. Received: {node.name}")


def _taken(node):
    """Names of arguments, those behind a constructor's `**kwargs` included."""
    found = {}
    for function in _constructors(node):
        found |= dict.fromkeys(a.arg for a in (*function.args.args, *function.args.kwonlyargs) if a.arg != "self")
        if not function.args.kwarg:
            break
    return list(found)


def _constructors(node):
    if isinstance(node, ast.FunctionDef):
        yield node
        return
    for cls in _lineage(node):
        yield from (line for line in cls.body if isinstance(line, ast.FunctionDef) and line.name == "__init__")
