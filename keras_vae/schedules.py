"""Numbers that change with the training step, and how they weigh the KL in a loss."""

import dataclasses
import numbers
from collections.abc import Callable

import keras
from keras import ops

from keras_vae import names
from keras_vae.backend import Tensor
from keras_vae.names import check_number, known_as


class Schedule:
    """A function of the training step; subclasses are frozen dataclasses, so that they compare, print and save."""

    def __post_init__(self):
        # Numbers of numpy's would be no part of a recipe, and TensorFlow casts none of them.
        for name, value in vars(self).items():
            object.__setattr__(self, name, names.plain(value))

    def __call__(self, step: Tensor) -> Tensor:
        """The value at `step`.

        Args:
            step: scalar integer tensor, the number of updates made so far.

        Returns:
            A float32 scalar tensor.
        """
        raise NotImplementedError

    def weigh(self, kl: Tensor, step: Tensor, batch_mean: Callable[[Tensor], Tensor] = ops.mean) -> Tensor:
        """The KL's part of a loss at `step`: `value * kl`.

        Args:
            kl: (B,), nats, or a scalar.
            step: scalar integer tensor, the number of updates made so far.
            batch_mean: takes means over the batch, (B,) -> scalar.

        Returns:
            (B,) or a scalar, nats.
        """
        return self(step) * kl

    @property
    def spec(self) -> names.Spec:
        """The schedule as a spec."""
        options = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default
        }
        return names.Spec(names.name_of("schedule", type(self)), options=options)

    def get_config(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict) -> "Schedule":
        return cls(**config)


def _progress(step, start, steps):
    return ops.clip((ops.cast(step, "float32") - start) / steps, 0.0, 1.0)


@known_as("schedule", "constant")
@keras.saving.register_keras_serializable("keras_vae")
@dataclasses.dataclass(frozen=True)
class Constant(Schedule):
    """The same value at every step.

    Args:
        value: the value.
    """

    value: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_number(value=self.value)

    def __call__(self, step: Tensor) -> Tensor:
        return ops.convert_to_tensor(self.value, dtype="float32")


@known_as("schedule", "linear_warmup")
@keras.saving.register_keras_serializable("keras_vae")
@dataclasses.dataclass(frozen=True)
class LinearWarmup(Schedule):
    """A straight line from `start` to `end`, then `end`.

    Args:
        steps: updates that the way takes.
        start: value at the beginning.
        end: value after `delay + steps` updates.
        delay: updates before it sets out.

    Reference: Bowman et al. 2016 (KL annealing); Sonderby et al. 2016, section 2.3 (warm-up).
    """

    steps: int
    start: float = 0.0
    end: float = 1.0
    delay: int = 0

    def __post_init__(self):
        super().__post_init__()
        check_number(zero=False, steps=self.steps)
        check_number(start=self.start, end=self.end, delay=self.delay)

    def __call__(self, step: Tensor) -> Tensor:
        return self.start + (self.end - self.start) * _progress(step, self.delay, self.steps)


@known_as("schedule", "cyclical")
@keras.saving.register_keras_serializable("keras_vae")
@dataclasses.dataclass(frozen=True)
class Cyclical(Schedule):
    """Warm-ups one after the other: in each period a straight line from `start` to `end`, then `end` until the next.

    Args:
        period: updates from one restart to the next.
        ratio: share of the period that the line takes, in (0, 1].
        start: value at each restart.
        end: value after each line.
        cycles: number of periods; afterwards the value is `end`. `None`: for ever.

    Reference: Fu et al. 2019, "Cyclical annealing schedule", section 4.
    """

    period: int
    ratio: float = 0.5
    start: float = 0.0
    end: float = 1.0
    cycles: int | None = None

    def __post_init__(self):
        super().__post_init__()
        check_number(zero=False, period=self.period, ratio=self.ratio)
        check_number(start=self.start, end=self.end)
        if self.ratio > 1:
            raise ValueError(f"`ratio` is a share of the period, at most 1. Received: ratio={self.ratio!r}")
        if self.cycles is not None:
            check_number(zero=False, cycles=self.cycles)

    def __call__(self, step: Tensor) -> Tensor:
        # In integers, since float32 cannot tell neighbouring steps apart beyond 2**24.
        step = ops.cast(step, "int32")
        value = self.start + (self.end - self.start) * _progress(step % self.period, 0, self.ratio * self.period)
        if self.cycles is None:
            return value
        return ops.where(step >= self.cycles * self.period, ops.cast(self.end, "float32"), value)


@known_as("schedule", "sigmoid")
@keras.saving.register_keras_serializable("keras_vae")
@dataclasses.dataclass(frozen=True)
class Sigmoid(Schedule):
    """A logistic curve from 0 to `end`.

    Args:
        midpoint: update at which the value is `end / 2`.
        width: updates that take the logistic function's argument from 0 to 1; `None`: a tenth of `midpoint`.
        end: value that it tends to.

    Reference: Bowman et al. 2016, "Generating sentences from a continuous space", section 3.1.
    """

    midpoint: int
    width: float | None = None
    end: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_number(zero=False, midpoint=self.midpoint)
        check_number(end=self.end)
        if self.width is not None:
            check_number(zero=False, width=self.width)

    def __call__(self, step: Tensor) -> Tensor:
        width = self.midpoint / 10 if self.width is None else self.width
        return self.end * ops.sigmoid((ops.cast(step, "float32") - self.midpoint) / width)


@known_as("schedule", "capacity")
@keras.saving.register_keras_serializable("keras_vae")
@dataclasses.dataclass(frozen=True)
class Capacity(Schedule):
    """A KL held at a capacity epsilon, itself warmed up: the loss's term is `gamma * |mean KL - value|`.

    It is the constrained form of the beta-VAE, "maximise the likelihood subject to KL = epsilon", by a penalty.

    Args:
        epsilon: capacity at the end, nats.
        steps: updates over which it grows from `start`; 0: `epsilon` from the beginning.
        gamma: weight of the penalty.
        start: capacity at the beginning, nats.

    Reference: Burgess et al. 2018, "Understanding disentangling in beta-VAE", equation 8; Higgins et al. 2017, equation
    2.
    """

    epsilon: float
    steps: int = 0
    gamma: float = 1000.0
    start: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_number(epsilon=self.epsilon, steps=self.steps, gamma=self.gamma, start=self.start)

    def __call__(self, step: Tensor) -> Tensor:
        if self.steps == 0:
            return ops.convert_to_tensor(self.epsilon, dtype="float32")
        return self.start + (self.epsilon - self.start) * _progress(step, 0, self.steps)

    def weigh(self, kl: Tensor, step: Tensor, batch_mean: Callable[[Tensor], Tensor] = ops.mean) -> Tensor:
        """The penalty `gamma * |mean(kl) - capacity|`, a scalar in nats; the mean is over the batch."""
        return self.gamma * ops.abs(batch_mean(kl) - self(step))


def get(value: float | str | names.Spec | Schedule) -> Schedule:
    """`value` as a schedule: one already, a spec ("linear_warmup:1000"), or a number, which becomes a `Constant`.

    Raises:
        ValueError: for anything else, and for weights that are negative or not finite.
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, (str, names.Spec)):
        return names.make("schedule", value)
    number = names.plain(value)
    if isinstance(number, numbers.Real) and not isinstance(number, bool):
        return Constant(float(number))
    raise ValueError(f"Expected a number, a spec or a schedule of keras_vae.schedules. Received: {value!r}")
