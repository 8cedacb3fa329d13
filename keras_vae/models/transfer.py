"""Weights of one model as the beginning of another."""

import collections
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_vae.models.composed import Composed


def take_weights(model: Composed, source: Composed) -> list[str]:
    """Gives a model the weights of another one, as far as both have them.

    Networks and parts are gone through side by side: the k-th layer of a class takes the variables of the k-th layer of
    this class, where they have the same names and shapes. Step, noise and optimizer stay the model's own.

    Args:
        model: it need not be trained yet.
        source: a model, of another size or with other parts, too.

    Returns:
        The paths of the variables that keep the values that they have.

    Raises:
        ValueError: if the source has no variable that fits.
    """
    given = dict(_variables(source))
    kept, taken = [], 0
    for key, variable in _variables(model):
        value = given.get(key)
        if value is None or tuple(value.shape) != tuple(variable.shape):
            kept.append(f"{key[0]}: {variable.path}")
        else:
            variable.assign(np.array(value))
            taken += 1
    if not taken:
        raise ValueError(
            "None of these weights fits the model: take one with the same networks, as its recipe names them. "
            f"Received: {source.name!r} for {model.name!r}"
        )
    return kept


def _variables(model: Composed) -> Iterator[tuple[tuple, keras.Variable]]:
    """({piece, class, number of the layer among those of its class, name}, variable) of networks and parts."""
    for name in model.pieces:
        counted = collections.Counter()
        for piece in _as_tuple(getattr(model, name)):
            for layer in piece._flatten_layers():
                kind = type(layer).__name__
                for variable in (*layer._trainable_variables, *layer._non_trainable_variables):
                    yield (name, kind, counted[kind], variable.name), variable
                counted[kind] += 1


def _as_tuple(value: Any) -> tuple:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)
