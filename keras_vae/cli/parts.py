"""What `keras-vae parts` prints: the registry of parts."""

import dataclasses
import inspect
import re
from collections.abc import Callable

from keras_vae import files, names, variants
from keras_vae.runs.recipe import understood


def list_parts(role: str | None, as_json: bool) -> None:
    """Prints the parts of a role, or of all; a role without parts is refused with the nearest ones."""
    roles = names.roles() if role is None else (understood(names.one_of, role, names.roles(), "role"),)
    found = [described(role, name, made) for role in roles for name, made in names.known(role).items()]
    if as_json:
        print(files.json_text(found))
        return
    for role in roles:
        print(role)
        for part in (part for part in found if part["role"] == role):
            print(f"  {part['name']:<28} {part['description']}")
            for argument in part["arguments"]:
                default = "" if argument["default"] is None else f" = {argument['default']}"
                print(f"      {argument['name']}: {argument['type']}{default}")
            if part["source"]:
                print(f"      Reference: {part['source']}")


def list_variants(as_json: bool) -> None:
    """Prints the published variants, each with its parts and its paper."""
    found = [variants.get(name) for name in variants.list()]
    if as_json:
        print(files.json_text([dataclasses.asdict(variant) for variant in found]))
        return
    for variant in found:
        print(f"{variant.name:<22} {variant.purpose}")
        parts = [f"--{role} {spec}" for role, spec in variant.parts.items()]
        if variant.fitted:
            parts.append(f"and then fit-prior {variant.fitted}")
        print(f"    {variant.paper}: {' '.join(parts) or 'the default parts'}")


def described(role: str, name: str, made: Callable) -> dict:
    """What a part says of itself.

    Args:
        role: of the part.
        name: its name in specs.
        made: its class, or function.

    Returns:
        {"role", "name", "arguments", "description", "source"}; an argument is {"name", "type", "default"}, the default
        as a spec has it, None where there is none.
    """
    text = inspect.cleandoc(made.__doc__ or "")
    source = re.search(r"^References?:\s*(.+?)(?=\n\s*\n|\n\w+:|\Z)", text, re.DOTALL | re.MULTILINE)
    hints = names.hints(made)
    return {
        "role": role,
        "name": name,
        "arguments": [
            {
                "name": argument.name,
                "type": _shown(hints.get(argument.name, type(argument.default))),
                "default": None if argument.default is argument.empty else names.written(argument.default),
            }
            for argument in names.arguments(made)[names.LEADING.get(role, 0) :]
        ],
        "description": text.partition("\n")[0],
        "source": " ".join(source[1].split()) if source else None,
    }


def _shown(hint):
    """An annotation without the modules that its classes are from."""
    return re.sub(r"\b[a-z_.]+\.(?=[A-Z])", "", inspect.formatannotation(hint))
