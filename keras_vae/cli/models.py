"""The model that a command is on: a preset, or a run, whether complete or not."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import zoo
from keras_vae import presets
from keras_vae.runs import directory
from keras_vae.runs.recipe import UsageError

if TYPE_CHECKING:
    from keras_vae.models.base import LatentVariableModel


def check(name: str) -> None:
    """Refuses what is no model, before a framework is imported for it.

    Raises:
        UnknownName: naming the nearest ones.
        PresetError: for a file that is missing, or not as the schema says.
        UsageError: for a run whose state is damaged.
    """
    found = zoo.find(name)
    if directory.is_unfinished(found):
        directory.read(found)
        directory.state(found)
    else:
        presets.read(found)


def load(name: str) -> "LatentVariableModel":
    """The model of a preset; of a run, with the weights that were tested, or would be now."""
    from keras_vae.runs import recorder

    return recorder.trained(name)[0]


def digest(model: "LatentVariableModel") -> str:
    """A digest of a model's weights."""
    found = hashlib.sha256()
    for variable in model.weights:
        found.update(np.asarray(variable).tobytes())
    return found.hexdigest()


def info(name: str) -> dict:
    """What `zoo.info` returns; of a run that is not complete without metrics, and with the epochs that are done."""
    found = zoo.find(name)
    if not directory.is_unfinished(found):
        return zoo.info(name)
    config, _ = directory.read(found)
    _, record = directory.state(found)
    return {
        "name": config["about"].get("name", found.resolve().name),
        **{key: config[key] for key in ("about", "data", "recipe")},
        "epochs": len(record.get("history", ())),
        "metrics": {},
        "directory": str(found),
    }


def complete(name: str) -> Path:
    """The directory of a preset, or of a run that has results.

    Raises:
        UsageError: for a run that has none yet.
    """
    found = zoo.find(name)
    if directory.is_unfinished(found):
        dataset = directory.read(found)[0]["recipe"].get("dataset", "DATASET")
        raise UsageError(
            f"This run has no results yet: keras-vae train {dataset} --out {found} --resume goes on to them. "
            f"Received: {name!r}"
        )
    return found
