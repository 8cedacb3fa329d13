"""What posteriors, priors, likelihoods and objectives share: float32, a linear head, finding them by name."""

import difflib
import math
import numbers
import re

import keras
from keras import ops


class Part(keras.layers.Layer):
    """A replaceable part of a model; it computes in float32 whatever the precision policy.

    A part has methods, not `call`: Keras' layers take only tensors in positions, and parts take and return
    distributions.
    """

    def __init__(self, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)


class LatentPart(Part):
    """A part over latents.

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent.

    Raises:
        ValueError: unless all sizes are positive integers.
    """

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        shape = (size,) if isinstance(size, numbers.Integral) else size
        if not isinstance(shape, (tuple, list)) or not shape:
            raise ValueError(f"A latent size is a positive integer, or a tuple of them. Received: size={size!r}")
        for axis in shape:
            check_whole(size=axis)
        self.size = size
        self.event_shape = tuple(shape)


@keras.saving.register_keras_serializable("keras_vae")
class Head(Part):
    """The last, linear layer of a part: `parameters` numbers for each element of an event, in float32.

    Features whose leading axes are those of the event are mapped position by position (a 1x1 convolution), any
    others as one vector.

    Args:
        event_shape: shape of the event, e.g. (28, 28, 1) for an image, (16,) for a latent vector.
        parameters: how many numbers each element gets.

    Shape: features (*lead, *features_shape) -> (*lead, *event_shape, parameters).

    Raises:
        ValueError: when built on a map of features whose positions are not the event's.
    """

    def __init__(self, event_shape, parameters=1, **kwargs):
        super().__init__(**kwargs)
        self.event_shape = tuple(event_shape)
        self.parameters = parameters

    def get_config(self):
        return {**super().get_config(), "event_shape": self.event_shape, "parameters": self.parameters}

    def build(self, features_shape):
        features_shape, event_shape = tuple(features_shape), self.event_shape
        self.features_shape = features_shape
        self.by_position = len(event_shape) > 1 and len(features_shape) > 1
        if self.by_position and features_shape[:-1] != event_shape[:-1]:
            raise ValueError(
                f"Features of shape {features_shape} cannot give an output of shape {event_shape}: a map of features "
                f"must have the output's positions {event_shape[:-1]}, its last axis being free; a flat vector of "
                f"features can give any output. Received: features_shape={features_shape}, event_shape={event_shape}"
            )
        if None in features_shape:
            raise ValueError(f"Features must have a fixed shape. Received: features_shape={features_shape}")
        units = event_shape[-1] if self.by_position else math.prod(event_shape)
        inputs = features_shape[-1] if self.by_position else math.prod(features_shape)
        self.dense = keras.layers.Dense(units * self.parameters, dtype=self.dtype_policy, name="dense")
        self.dense.build((None, inputs))

    def call(self, features):
        lead = ops.shape(features)[: len(features.shape) - len(self.features_shape)]
        if not self.by_position and len(self.features_shape) > 1:
            features = ops.reshape(features, (*lead, math.prod(self.features_shape)))
        return ops.reshape(self.dense(features), (*lead, *self.event_shape, self.parameters))


def soft_clip(x, low, high):
    """`x` kept between `low` and `high` by softplus, so that gradients die out slowly instead of at an edge."""
    x = low + ops.softplus(x - low)
    return high - ops.softplus(high - x)


def snake_case(name):
    """`DiagonalNormal` -> `diagonal_normal`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def one_of(value, choices, what):
    """`value` if it is among `choices`; otherwise a ValueError that names the nearest ones."""
    if value in choices:
        return value
    near = difflib.get_close_matches(str(value), [str(c) for c in choices], n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise ValueError(f"Unknown {what}. {hint}Known: {', '.join(map(repr, choices))}. Received: {value!r}")


def check_whole(least=1, **values):
    """Refuses arguments, given by name, that are not whole numbers of at least `least`."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
            raise ValueError(f"`{name}` must be a whole number of at least {least}. Received: {name}={value!r}")


def lookup(identifier, base, classes, *args, aliases=None):
    """The part that `identifier` stands for.

    Args:
        identifier: an instance of `base`, returned as it is, or a name such as "continuous_bernoulli".
        base: the parts' base class.
        classes: the classes that have names.
        *args: what a class found by its name is made with.
        aliases: further names, {name: class}.

    Raises:
        ValueError: for anything else, naming the nearest names.
    """
    if isinstance(identifier, base):
        return identifier
    what = snake_case(base.__name__)
    names = {snake_case(c.__name__): c for c in classes} | (aliases or {})
    if isinstance(identifier, str):
        return names[one_of(identifier.lower(), names, what)](*args)
    raise ValueError(
        f"Expected a {what}: an instance of keras_vae's {base.__name__}, or one of the names "
        f"{', '.join(map(repr, names))}. Received: {identifier!r}"
    )
