"""Weights of one model as the beginning of another."""

import collections
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_vae.models.composed import Composed


def take_weights(model: Composed, source: Composed) -> list[str]:
    """Gives a model the weights of another one, as far as both have them.

    Networks and parts are gone through side by side: the k-th layer of a class takes the variables of the k-th layer of
    this class, where they have the same names and shapes. A model without batch normalisation takes that of its source
    as part of the convolutions before it, so that it computes the same. Step, noise and optimizer stay the model's own.

    Args:
        model: it need not be trained yet.
        source: a model, of another size or with other parts, too.

    Returns:
        The paths of the variables that keep the values that they have.

    Raises:
        ValueError: if the source has no variable that fits.
    """
    given = {key: variable.value for key, variable in _variables(source)}
    for name in model.pieces:
        if not _normalisations(getattr(model, name)):
            given |= _folded(name, getattr(source, name, None))
    kept, taken = [], 0
    for key, variable in _variables(model):
        value = given.get(key)
        if value is None or tuple(value.shape) != tuple(variable.shape):
            kept.append(f"{key[0]}: {variable.path}")
        else:
            variable.assign(ops.convert_to_numpy(value))
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


def _normalisations(piece):
    """The batch normalisations of a piece, of a network or another."""
    layers = [layer for part in _as_tuple(piece) for layer in part._flatten_layers()]
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


def _folded(name, piece):
    """{key of `_variables`: value} of the convolutions of a network, with the normalisations that follow them."""
    found = {}
    counted = collections.Counter()
    for layer in piece._flatten_layers() if isinstance(piece, keras.Model) else ():
        kind = type(layer).__name__
        norm = _norm_after(layer) if hasattr(layer, "kernel") else None
        if norm is not None:
            scale = 1 / ops.sqrt(norm.moving_variance + norm.epsilon)
            scale = scale * norm.gamma if norm.scale else scale
            shift = -norm.moving_mean if layer.bias is None else layer.bias - norm.moving_mean
            shift = shift * scale + (norm.beta if norm.center else 0)
            # Transposed convolutions have their outputs in front of their inputs.
            kernel = layer.kernel * (scale[:, None] if kind.endswith("Transpose") else scale)
            found[(name, kind, counted[kind], "kernel")] = kernel
            found[(name, kind, counted[kind], "bias")] = shift
        counted[kind] += 1
    return found


def _norm_after(layer):
    """The batch normalisation that sees nothing but a layer's output, whole or cropped; None: there is none."""
    followers = [node.operation for node in layer._outbound_nodes]
    if len(followers) != 1:
        return None
    (follower,) = followers
    if type(follower).__name__.startswith("Cropping"):
        return _norm_after(follower)
    return follower if isinstance(follower, keras.layers.BatchNormalization) else None
