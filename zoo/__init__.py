"""Pretrained models: a directory of presets, listed and loaded by their names.

Nothing is imported before it is needed: to list them takes no framework.
"""

from pathlib import Path
from typing import Any

from keras_vae import presets
from keras_vae.presets import UnknownName, find, location

# Of the docstrings, for pdoc.
__docformat__ = "google"

__all__ = ["UnknownName", "attributes", "find", "info", "list_models", "list_recipes", "load"]


def list_models(pattern: str | None = None) -> list[str]:
    """The names of the entries, sorted.

    Args:
        pattern: which of them, "mnist*"; None: all.
    """
    return location.entries(pattern)


def list_recipes() -> list[str]:
    """The names that `keras-vae train zoo/NAME` knows, sorted: the entries, and those not trained yet."""
    return location.entries(trained=False)


def info(name: str | Path) -> dict[str, Any]:
    """What is known of an entry, without loading it.

    Args:
        name: of the entry, or of any preset, see `find`.

    Returns:
        {"name", "about" (title, paper, licence ...), "data", "recipe", "parameters", "metrics", "sha256", "directory"};
        each metric with its value, unit, split, images, samples and protocol.

    Raises:
        UnknownName: naming the nearest ones.
        PresetError: for an entry that is damaged.
    """
    directory = find(name)
    config, results = presets.read(directory)
    return {
        "name": config["about"]["name"],
        **{key: config[key] for key in ("about", "data", "recipe")},
        "parameters": results["weights"]["parameters"],
        "metrics": results["metrics"],
        "sha256": results["weights"]["sha256"],
        "directory": str(directory),
    }


def load(name: str | Path) -> Any:
    """The model of an entry, its weights verified, not compiled.

    Args:
        name: of the entry, or of any preset, see `find`.

    Raises:
        UnknownName: naming the nearest ones.
        PresetError: for an entry that is damaged.

    Example:
        vae = zoo.load("mnist_mlp")
        images = vae.sample(16, seed=0)
    """
    return presets.load(name)


def attributes(name: str | Path) -> dict[str, Any]:
    """The directions in latent space that move an attribute, {attribute: array}, of an entry trained on labelled faces.

    Args:
        name: of the entry, or of any preset, see `find`.

    Raises:
        UnknownName: naming the nearest ones.

    Example:
        z = vae.encode(faces) + 1.5 * zoo.attributes("celeba64_conv")["Smiling"]
        smiling = vae.decode(z)
    """
    return presets.attributes(name)
