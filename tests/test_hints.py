"""Type hints on every public signature."""

import importlib
import inspect
import pkgutil

import pytest

import keras_vae
import zoo


def modules():
    """The names of all public modules."""
    for package in (keras_vae, zoo):
        yield package.__name__
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not any(part.startswith("_") for part in module.name.split(".")):
                yield module.name


def signatures(module):
    """(name, function, whether it constructs) of each public function and method that the module defines."""
    for name in getattr(module, "__all__", vars(module)):
        found = getattr(module, name)
        if name.startswith("_") or getattr(found, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(found):
            yield from methods(found)
        elif callable(found):
            yield name, inspect.unwrap(found), False


def methods(cls):
    for name, value in vars(cls).items():
        function = value.fget if isinstance(value, property) else getattr(value, "func", value)
        function = getattr(function, "__func__", function)
        # The constructors of dataclasses are made from annotations.
        made = name == "__init__" and not hasattr(cls, "__dataclass_fields__")
        # TFP adds methods of its own to its distributions.
        ours = inspect.isfunction(function) and function.__module__ == cls.__module__
        if ours and (made or not name.startswith("_")):
            yield f"{cls.__name__}.{name}", function, made


def missing(module):
    """What the public signatures of a module lack."""
    for name, function, constructs in signatures(module):
        signature = inspect.signature(function)
        for parameter in signature.parameters.values():
            if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls"):
                yield f"{module.__name__}: {name}({parameter.name})"
        if signature.return_annotation is signature.empty and not constructs:
            yield f"{module.__name__}: {name} -> ?"


@pytest.mark.parametrize("name", list(modules()))
def test_public_signatures_have_hints(name):
    assert list(missing(importlib.import_module(name))) == []


def test_type_checkers_are_told():
    from importlib import resources

    assert resources.files(keras_vae).joinpath("py.typed").is_file()


class Example:
    """What the checks of this file must find, and what not."""

    def __init__(self, given: int, rest):
        self.given = given

    @property
    def bare(self):
        return self.given

    @classmethod
    def half(cls, x: int):
        return cls(x, None)

    @staticmethod
    def whole(x: int) -> int:
        return x

    def _private(self, x):
        return x


def test_missing_hints_are_found():
    found = [
        f"{name} {sorted(p.name for p in inspect.signature(f).parameters.values() if p.annotation is p.empty)}"
        for name, f, _ in methods(Example)
    ]
    assert found == [
        "Example.__init__ ['rest', 'self']",
        "Example.bare ['self']",
        "Example.half ['cls']",
        "Example.whole []",
    ]
    said = list(missing(importlib.import_module(__name__)))
    for name in ("Example.__init__(rest)", "Example.bare -> ?", "Example.half -> ?"):
        assert f"{__name__}: {name}" in said
    assert not any("whole" in line or "_private" in line or "(self)" in line for line in said)
