"""Pretrained models: a directory of presets, and the way to one by its name.

Nothing is imported before it is needed: to list them takes no framework.
"""

import difflib
import fnmatch
import json
import re
from pathlib import Path

# Of the docstrings, for pdoc.
__docformat__ = "google"

_FOLDER = Path(__file__).resolve().parent
# A recipe alone, config.json without these, is an entry that nobody has trained yet.
_TRAINED = ("model.weights.h5", "results.json")


class UnknownName(ValueError):
    """No entry has this name; the message names the nearest ones."""

    # Of the command: the arguments cannot be meant.
    exit_code = 2


def list_models(pattern=None):
    """The names of the entries, sorted.

    Args:
        pattern: which of them, "mnist*"; None: all.
    """
    names = [name for name in list_recipes() if all((_FOLDER / name / file).is_file() for file in _TRAINED)]
    return names if pattern is None else fnmatch.filter(names, pattern)


def list_recipes():
    """The names that `keras-vae train zoo/NAME` knows, sorted: the entries, and those not trained yet."""
    return sorted(path.parent.name for path in _FOLDER.glob("*/config.json"))


def info(name):
    """What is known of an entry, without loading it.

    Args:
        name: of the entry, or the directory of any preset.

    Returns:
        {"name", "about" (title, paper, licence ...), "data", "recipe", "parameters", "metrics", "sha256", "directory"};
        each metric with its value, unit, split, images, samples and protocol.

    Raises:
        UnknownName: naming the nearest ones.
    """
    directory = find(name)
    config, results = (_read_json(directory / file) for file in ("config.json", "results.json"))
    return {
        "name": directory.name,
        **{key: config.get(key, {}) for key in ("about", "data", "recipe")},
        "parameters": results["weights"]["parameters"],
        "metrics": results["metrics"],
        "sha256": results["weights"]["sha256"],
        "directory": str(directory),
    }


def load(name):
    """The model of an entry, its weights verified, not compiled.

    Args:
        name: of the entry, or the directory of any preset.

    Raises:
        UnknownName: naming the nearest ones.
        ValueError: for an entry that is damaged.

    Example:
        vae = zoo.load("mnist_mlp")
        images = vae.sample(16, seed=0)
    """
    directory = find(name)
    import keras_vae as kv

    return kv.LatentVariableModel.from_preset(directory)


def attributes(name):
    """The directions in latent space that move an attribute, {name: array}, of an entry trained on labelled faces.

    Args:
        name: of the entry, or the directory of any preset.

    Raises:
        UnknownName: naming the nearest ones.

    Example:
        z = vae.encode(faces) + 1.5 * zoo.attributes("celeba64_conv")["Smiling"]
        smiling = vae.decode(z)
    """
    from keras_vae import presets

    return presets.attributes(find(name))


def find(name, trained=True):
    """The directory of an entry.

    Args:
        name: "mnist_mlp", "zoo/mnist_mlp", or the directory of any preset.
        trained: whether it must have weights; otherwise a recipe will do.

    Raises:
        UnknownName: naming the nearest ones.
        ValueError: for the directory of a preset that lacks a file.
    """
    known = list_models() if trained else list_recipes()
    short = re.sub("^zoo/", "", str(name)).rstrip("/")
    if short in known:
        return _FOLDER / short
    path = Path(name).expanduser()
    if all((path / file).is_file() for file in (("config.json", *_TRAINED) if trained else ("config.json",))):
        return path
    if short not in list_recipes() and (path / "config.json").is_file():
        missing = [file for file in _TRAINED if not (path / file).is_file()]
        raise ValueError(f"The preset has no {missing[0]}: copy the whole directory again. Received: {str(name)!r}")
    if short in list_recipes():
        raise UnknownName(
            f"Nobody has trained this entry yet: keras-vae train zoo/{short} does. Trained: {_listed(known)}. "
            f"Received: {str(name)!r}"
        )
    near = difflib.get_close_matches(short, known, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise UnknownName(
        f"There is no such entry in the zoo, and no preset in a directory of this name. {hint}Known: {_listed(known)}. "
        f"Received: {str(name)!r}"
    )


def _read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}). Received: {path.parent}") from error


def _listed(names):
    return ", ".join(map(repr, names)) or "none"
