"""Variational autoencoders for Keras 3, as compositions of five parts."""

import importlib
import importlib.abc
import sys

__version__ = "0.1.0"
# Of the docstrings, for pdoc.
__docformat__ = "google"

# Where Python is embedded there may be none, and TensorFlow reads it while it is imported.
if not hasattr(sys, "argv"):
    sys.argv = [""]

# Imported when they are asked for (PEP 562): the command's help, say, need not wait for TensorFlow.
_MODULES = (
    "backend",
    "callbacks",
    "columns",
    "constraints",
    "corruptions",
    "data",
    "distributions",
    "draws",
    "features",
    "inference",
    "likelihoods",
    "metrics",
    "names",
    "networks",
    "objectives",
    "parts",
    "plotting",
    "posteriors",
    "presets",
    "priors",
    "samplers",
    "schedules",
    "variants",
)
_MEMBERS = {
    "VAE": "keras_vae.models.vae",
    "HierarchicalVAE": "keras_vae.models.hierarchical",
    "LatentVariableModel": "keras_vae.models.base",
    "SemiSupervisedVAE": "keras_vae.models.semisupervised",
    "probabilistic_pca": "keras_vae.models.linear",
    "register": "keras_vae.parts",
    "take_weights": "keras_vae.models.transfer",
}
# `kv.feed.ArrayFeed`, as it has been called from the beginning.
_ALIASES = {"feed": "keras_vae.training.stream"}

__all__ = sorted([*_MODULES, *_MEMBERS, *_ALIASES])


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"keras_vae.{name}")
    if name in _ALIASES:
        found = importlib.import_module(_ALIASES[name])
    elif name in _MEMBERS:
        found = getattr(importlib.import_module(_MEMBERS[name]), name)
    else:
        raise AttributeError(f"module 'keras_vae' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__():
    return [*__all__, "__version__"]


def _import_models():
    # All names, since pdoc asks for none that are not there.
    for name in (*_MEMBERS, *_ALIASES):
        __getattr__(name)


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Imports the models once Keras is: `keras.saving.load_model` finds only registered classes.

    Where a module of this package is what asks for Keras, they wait until that module is whole.
    """

    def __init__(self):
        self._unfinished = 0

    def find_spec(self, name, path=None, target=None):
        if name != "keras" and not name.startswith("keras_vae."):
            return None
        others = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, others), None)
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                self._unfinished += 1
                try:
                    execute(module)
                finally:
                    self._unfinished -= 1
                if self._unfinished == 0 and "keras" in sys.modules and self in sys.meta_path:
                    sys.meta_path.remove(self)
                    _import_models()

            spec.loader.exec_module = execute_and_register
        return spec


if "keras" in sys.modules:
    _import_models()
else:
    sys.meta_path.insert(0, _AfterKeras())
