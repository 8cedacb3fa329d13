"""A preset is a directory that holds a model: found, saved, loaded, verified, described, shared."""

import importlib

from keras_vae.presets.location import UnknownName, find
from keras_vae.presets.schema import (
    ATTRIBUTES,
    CARD,
    CONFIG,
    FILES,
    FORMAT_VERSION,
    MODEL,
    RESULTS,
    STATE,
    WEIGHTS,
    PresetError,
    check_no_run,
    limits,
    read,
    read_config,
    read_results,
)

# Imported when they are asked for, since they need Keras: to find and read presets takes no framework.
_LAZY = (
    "attributes",
    "card",
    "described",
    "fixed_batch",
    "fixed_batch_score",
    "load",
    "parameters",
    "push",
    "save",
    "sha256",
    "update_results",
    "verify",
    "write_card",
)

__all__ = [
    "ATTRIBUTES",
    "CARD",
    "CONFIG",
    "FILES",
    "FORMAT_VERSION",
    "MODEL",
    "RESULTS",
    "STATE",
    "WEIGHTS",
    "PresetError",
    "UnknownName",
    "check_no_run",
    "find",
    "limits",
    "read",
    "read_config",
    "read_results",
    *_LAZY,
]


def __getattr__(name):
    if name in _LAZY:
        globals()[name] = getattr(importlib.import_module("keras_vae.presets.directory"), name)
        return globals()[name]
    raise AttributeError(f"module 'keras_vae.presets' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
