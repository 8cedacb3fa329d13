"""Modules of a user that register parts."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from keras_vae.runs.recipe import UsageError


def find_parts(modules: Iterable[str]) -> None:
    """Refuses modules that there are not, without importing any; the arguments are those of `import_parts`."""

    def find(module):
        # What is within a package takes importing it.
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            raise ImportError("there is no module of this name")

    _each(modules, lambda path: path.stat(), find)


def import_parts(modules: Iterable[str]) -> None:
    """Imports modules that register parts.

    Args:
        modules: names, found from the working directory, too, or paths of .py files.

    Raises:
        UsageError: for a module that there is not.
    """
    _each(modules, _import_file, importlib.import_module)


def _each(modules, of_file, of_name):
    for module in modules:
        try:
            if module.endswith(".py"):
                of_file(Path(module))
            else:
                if os.getcwd() not in sys.path:
                    sys.path.append(os.getcwd())
                of_name(module)
        except (ImportError, OSError) as error:
            raise UsageError(
                f"The module of your own parts cannot be imported ({error}): give --import a name that Python finds "
                f"from {os.getcwd()}, or the path of a .py file. Received: --import {module}"
            ) from error


def _import_file(path: Path) -> ModuleType:
    name, path = path.stem, path.resolve()
    there = sys.modules.get(name)
    if there is not None:
        if getattr(there, "__file__", None) and Path(there.__file__).resolve() == path:
            return there
        raise ImportError(f"another module of the name {name!r} is there already: rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
