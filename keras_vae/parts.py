"""What posteriors, priors, likelihoods and objectives share: float32, names, saving, a linear head."""

import contextlib
import functools
import math
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_vae import backend, names, schedules
from keras_vae.backend import Tensor
from keras_vae.names import check_whole, plain

# What no compiled function reads: what any layer has, and what parts note about themselves.
UNREAD = frozenset(vars(keras.layers.Layer())) | {"version", "seen_range", "seen_depth", "seen_columns", "_held"}


@contextlib.contextmanager
def policy_scope(policy: keras.DTypePolicy | str) -> Iterator[None]:
    """Within it, layers that are made without a policy compute in this one."""
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)


class Part(keras.layers.Layer):
    """A replaceable part of a model; it computes in float32 whatever the precision policy.

    A part has methods, not `call`: Keras' layers take only tensors in positions, and parts take and return
    distributions. Its constructor's arguments are its attributes, so that one `get_config` serves all parts.

    They may be set later, to what the constructor takes, as long as the part keeps its weights: functions that were
    compiled with the former ones are made anew. A weight of the loss, a schedule that is a number, is held in a
    variable, so that setting it costs nothing.

    Attributes:
        role: "posterior", "prior", "likelihood" or "objective"; it begins the paths of the part's weights,
            "objective/critic/dense/kernel", in every process.
        version: grows with each attribute that is set.

    Raises:
        ValueError: when an attribute is set that the constructor refuses, or that needs other weights.
    """

    role: str | None = None
    version = 0

    def __init__(self, **kwargs: Any):
        kwargs.setdefault("dtype", "float32")
        if self.role is not None:
            kwargs.setdefault("name", self.role)
        super().__init__(**kwargs)
        # A namespace, since Keras takes variables in an attribute or a dictionary for weights, which are saved.
        self._held = types.SimpleNamespace()

    def __setattr__(self, name: str, value: Any) -> None:
        if getattr(self, "built", False) and name not in UNREAD:
            if name in _arguments(type(self)):
                value = self._checked(name, value)
            vars(self)["version"] = self.version + 1
        super().__setattr__(name, value)

    def _checked(self, name, value):
        """`value` as the constructor takes it for the argument `name`."""
        before = {argument: self.argument(argument) for argument in _arguments(type(self))}
        fresh = type(self)(**before | {name: value})
        value = fresh.argument(name)
        if getattr(fresh, "support", None) != getattr(self, "support", None):
            raise ValueError(
                f"With another `{name}` z lie elsewhere, where other parts may have none: make a new model. "
                f"Received: {name}={value!r} in the place of {before[name]!r}"
            )
        if not isinstance(value, (float, schedules.Schedule)) or type(value) is not type(before[name]):
            fresh.build_from_config(self.get_build_config() or {})
            weights, others = ([(w.name, w.shape) for w in part.weights] for part in (self, fresh))
            if weights != others:
                raise ValueError(
                    f"The {self.role or 'part'} has its weights, which `{name}` would change: put another one into the "
                    f"model, vae.{self.role or 'part'} = ..., and compile it. "
                    f"Received: {name}={value!r} in the place of {before[name]!r}"
                )
        self._hold(name, value)
        return value

    def _hold(self, name, value):
        held = getattr(self._held, name, None)
        if held is None or not isinstance(value, schedules.Constant):
            return
        if not backend.is_usable(held):
            raise ValueError(
                f"On JAX, `fit` holds the state of the model: a callback sets `{name}` by way of its own model, "
                f"self.model.{self.role}.{name} = ... Received: {name}={value.value}"
            )
        held.assign(value.value)

    def hold_numbers(self) -> None:
        """Puts the schedules that are numbers into variables, which compiled functions read whenever they run."""
        for name in _arguments(type(self)):
            value = getattr(self, name)
            if isinstance(value, schedules.Constant) and not hasattr(self._held, name):
                held = keras.Variable(
                    value.value, trainable=False, dtype="float32", aggregation="only_first_replica", name=name
                )
                setattr(self._held, name, held)

    def schedule(self, name: str) -> schedules.Schedule:
        """The schedule that is the argument `name`, as a compiled function is to read it."""
        value, held = getattr(self, name), getattr(self._held, name, None)
        return _Held(held) if held is not None and isinstance(value, schedules.Constant) else value

    def hold_again(self) -> None:
        """Puts the numbers back into their variables, which a failed step may have lost."""
        for name, held in vars(self._held).items():
            if isinstance(value := getattr(self, name), schedules.Constant):
                held.assign(value.value)

    @property
    def held(self) -> list[keras.Variable]:
        """The variables of `hold_numbers`; they are part of the state, and no weights."""
        return list(vars(self._held).values())

    @property
    def variables(self) -> list[keras.Variable]:
        """Keras' `variables`, and those that are held."""
        return [*super().variables, *self.held]

    def argument(self, name: str) -> Any:
        """What the constructor was given as `name`: the attribute of that name."""
        return getattr(self, name)

    def get_config(self) -> dict:
        """The constructor's arguments, serialised."""
        own = {p.name: keras.saving.serialize_keras_object(self.argument(p.name)) for p in names.arguments(type(self))}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict) -> "Part":
        return cls(**{name: _restored(value) for name, value in config.items()})

    @property
    def spec(self) -> str:
        """The part as a spec, "vamp:components=500": its name, and the arguments that are not their defaults."""
        # A size, which is not written, comes first; of what has no default, only what can be written is.
        told = [
            (p, _told(self.argument(p.name))) for p in names.arguments(type(self))[names.LEADING.get(self.role, 0) :]
        ]
        options = {
            p.name: value
            for p, value in told
            if (isinstance(value, (int, float, str)) if p.default is p.empty else not _same(value, p.default))
        }
        return str(names.Spec(names.name_of(self.role, type(self)), options=options))

    def __repr__(self):
        return f"<{type(self).__name__} {self.spec}>" if self.role else super().__repr__()


class _Held(schedules.Schedule):
    """The number that a variable has when a step runs, however often it is set.

    Args:
        variable: scalar.
    """

    def __init__(self, variable: keras.Variable):
        self._variable = variable

    def __call__(self, step: Tensor) -> Tensor:
        return self._variable.value


@functools.cache
def _arguments(cls):
    return tuple(p.name for p in names.arguments(cls))


def _restored(value):
    return keras.saving.deserialize_keras_object(value) if isinstance(value, dict) else value


def _told(value):
    if isinstance(value, schedules.Schedule):
        return value.value if isinstance(value, schedules.Constant) else value.spec
    return value


def _same(value, default):
    return type(value) is type(default) and bool(value == default)


def register(name: str | None = None, *aliases: str, package: str = "keras_vae") -> Callable[[type[Part]], type[Part]]:
    """Class decorator: makes a part saveable, and known to specs, in Python and on the command line.

    Args:
        name: in specs; None: the class's own in snake case, `FatTails` as "fat_tails".
        *aliases: further names.
        package: under which Keras registers the class.

    Raises:
        ValueError: for a name that another part has.

    Example:
        @kv.register(package="my_project")
        class FatTails(kv.likelihoods.Likelihood): ...

        kv.VAE(encoder, decoder, likelihood="fat_tails")
    """

    def decorate(cls):
        known = names.known_as(cls.role, name or names.snake_case(cls.__name__), *aliases)
        return known(keras.saving.register_keras_serializable(package)(cls))

    return decorate


def get(base: type[Part], identifier: "Part | str", *leading: Any, **suiting: Any) -> Part:
    """The part that `identifier` stands for.

    Args:
        base: the parts' base class.
        identifier: an instance of `base`, returned as it is, or a spec such as "normal:learned".
        *leading: what a class found by its name is made with, before the spec's own arguments.
        **suiting: arguments for classes that take them, unless the spec says otherwise; None: there is none.

    Raises:
        ValueError: for anything else, naming the nearest names.
    """
    if isinstance(identifier, base):
        return identifier
    if isinstance(identifier, (str, names.Spec)):
        spec = names.Spec.parse(identifier) if isinstance(identifier, str) else identifier
        taken = [argument.name for argument in names.arguments(names.find(base.role, spec.name))]
        # A name, which Keras takes, is no argument of a part.
        given = {k: v for k, v in suiting.items() if k == "name" or (v is not None and k in taken)}
        return names.make(base.role, spec, *leading, **given)
    known = ", ".join(map(repr, names.known(base.role)))
    raise ValueError(
        f"Expected a {base.role}: an instance of keras_vae's {base.__name__}, or a spec by one of the names {known}. "
        f"Received: {identifier!r}"
    )


class LatentPart(Part):
    """A part over latents.

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent.

    Attributes:
        support: where z lie, in words; posterior and prior must agree. None: wherever the other's do.

    Raises:
        ValueError: unless all sizes are positive integers.
    """

    support: str | None = "real numbers"

    def __init__(self, size: int | tuple[int, ...], **kwargs: Any):
        super().__init__(**kwargs)
        self.size = plain(size)
        self.event_shape = (self.size,) if isinstance(self.size, int) else self.size
        if not isinstance(self.event_shape, tuple) or not self.event_shape:
            raise ValueError(f"A latent size is a positive integer, or a tuple of them. Received: size={size!r}")
        for axis in self.event_shape:
            check_whole(size=axis)

    def check_vector(self, least: int = 1) -> None:
        """Refuses maps of latents, and vectors of fewer units than `least`."""
        if len(self.event_shape) != 1 or self.event_shape[0] < least:
            units = f" of {least} units or more" if least > 1 else ""
            raise ValueError(
                f"A {type(self).__name__} {self.role} needs a latent vector{units}, not a map. "
                f"Received: size={self.size!r}"
            )


def joint_units(part: LatentPart, count: int) -> tuple[int, tuple[int, int]]:
    """How many units of a part are codes, and (units of numbers, units of codes).

    Args:
        part: of a vector, whose last units are codes.
        count: how many of them.

    Raises:
        ValueError: for maps, and where there are not both.
    """
    part.check_vector(least=2)
    check_whole(count=count)
    if count >= part.size:
        raise ValueError(
            f"Of all units so many are codes, and at least one is a number. Received: {count} of {part.size} units"
        )
    return plain(count), (part.size - plain(count), plain(count))


def joint_support(parts: Sequence[LatentPart]) -> str:
    """Where z of several vectors lie, in words."""
    return ", then ".join(f"{math.prod(p.event_shape)} of {p.support or LatentPart.support}" for p in parts)


@keras.saving.register_keras_serializable("keras_vae")
class Head(Part):
    """The last, linear layer of a part: `parameters` numbers for each element of an event, in float32.

    Features whose leading axes are those of the event are mapped position by position (a 1x1 convolution), any
    others as one vector.

    Args:
        event_shape: shape of the event, e.g. (28, 28, 1) for an image, (16,) for a latent vector.
        parameters: how many numbers each element gets.
        start: initializer of the weights; with "zeros", nothing is said of the features at first.

    Shape: features (*lead, *features_shape) -> (*lead, *event_shape, parameters).

    Raises:
        ValueError: when built on a map of features whose positions are not the event's.
    """

    def __init__(self, event_shape: tuple[int, ...], parameters: int = 1, start: str = "glorot_uniform", **kwargs: Any):
        super().__init__(**kwargs)
        self.event_shape, self.parameters, self.start = plain(tuple(event_shape)), plain(parameters), start

    def build(self, features_shape: tuple[int, ...]) -> None:
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
        self.dense = keras.layers.Dense(
            units * self.parameters, kernel_initializer=self.start, dtype=self.dtype_policy, name="dense"
        )
        self.dense.build((None, inputs))

    def call(self, features: Tensor) -> Tensor:
        lead = ops.shape(features)[: len(features.shape) - len(self.features_shape)]
        inputs = self.features_shape[-1] if self.by_position else math.prod(self.features_shape)
        # A matrix, to whose product TensorFlow adds the bias in one go.
        outputs = self.dense(ops.reshape(features, (-1, inputs)))
        return ops.reshape(outputs, (*lead, *self.event_shape, self.parameters))


def soft_clip(x: Tensor, low: float, high: float) -> Tensor:
    """`x` kept between `low` and `high` by softplus, so that gradients die out slowly instead of at an edge."""
    x = low + ops.softplus(x - low)
    return high - ops.softplus(high - x)


def soft_clip_inverse(y: ArrayLike, low: float, high: float) -> np.ndarray:
    """The array that `soft_clip` makes `y` of; what it does not reach, within 1e-3 of `low` and `high`, is moved."""

    def inverse_softplus(value):
        return value + np.log(-np.expm1(-value))

    y = np.clip(np.asarray(y, "float64"), low + 1e-3, high - 1e-3)
    return low + inverse_softplus(high - low - inverse_softplus(high - y))


def frozen(layer: keras.layers.Layer, method: str = "__call__") -> Callable:
    """A method of `layer` through which no gradient reaches its weights; what it would update stays as it is.

    With it two players share one loss and one optimiser: `frozen(critic)(z)` is the model's side of a game, and
    `critic(stop_gradient(z))` the critic's own.
    """
    return _with_values(layer, getattr(layer, method), ops.stop_gradient)


def unchanging(layer: keras.layers.Layer, function: Callable) -> Callable:
    """`function`, but that what it would update in `layer` (seeds, statistics of batches) stays as it is."""
    return _with_values(layer, function, lambda value: value)


def _with_values(layer, function, made):
    """`function` while each variable of `layer` has the value that `made` makes of its own, and keeps no other."""

    def call(*args, **kwargs):
        values = [(v, made(v.value)) for v in layer.variables]
        with keras.StatelessScope(state_mapping=values):
            return function(*args, **kwargs)

    return call
