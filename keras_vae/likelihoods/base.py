"""What a likelihood is."""

import math
import numbers
from collections.abc import Callable, Iterable

import keras
import numpy as np
from keras import ops

from keras_vae.backend import Tensor, tfd
from keras_vae.inference import weighted_mean
from keras_vae.names import one_of, plain
from keras_vae.parts import Head, Part

# Of moving averages over batches.
_MOMENTUM = 0.99
# exp(-7) is a standard deviation of a quarter of an 8-bit level in [0, 1].
LOG_SCALE_BOUND = 7.0


class Likelihood(Part):
    """Base class of likelihoods; each owns its output layer.

    Attributes:
        data: which data it may see, one of `keras_vae.training.values.KINDS`.
        parameters: numbers that the output layer gives for each element of x.
        normalized: whether it is a density or mass; otherwise what it gives for log p(x|z), and all bounds made of it,
            are comparable with nothing.
        discrete: whether it is a mass over 8-bit levels, so that bits per dimension mean something without naming a
            dequantisation.
        seen_range: smallest and largest value of the arrays that it was trained on; None: of none, or not known.
        seen_depth: largest level of the files of arrays that it was trained on, 4095 of 12 bits, 1 of bits; None: 255,
            or not known.
        seen_columns: names of the columns of the DataFrame that it was trained on; None: of none.
        adapts: whether `distribution` fits something to the batch in training, and takes its `sample_weight`.
    """

    role = "likelihood"

    data = "real"
    parameters = 1
    normalized = True
    discrete = False
    adapts = False
    seen_range: tuple[float, float] | None = None
    seen_depth: int | None = None
    seen_columns: tuple[str, ...] | None = None

    def see(self, x: np.ndarray) -> None:
        """Remembers the range of an array that training begins with."""
        low, high = float(x.min()), float(x.max())
        if math.isnan(low):
            # Of the elements that are not missing, if there are any.
            low, high = (float(extreme.reduce(x, axis=None)) for extreme in (np.fmin, np.fmax))
            if math.isnan(low):
                return
        if self.seen_range is not None:
            low, high = min(low, self.seen_range[0]), max(high, self.seen_range[1])
        self.seen_range = (low, high)

    def see_given(self, x: np.ndarray) -> None:
        """Looks at the x of a model that scores targets, which `see` has seen."""

    def with_noise(self, x: Tensor, noise: Callable[[Tensor], Tensor]) -> Tensor:
        """`noise` of `x`, in the units that noise has."""
        return noise(x)

    def check_stream(self) -> None:
        """Refuses to be trained on a stream, of which no array is seen first, where that needs one.

        Raises:
            ValueError: saying what to do.
        """

    def get_config(self) -> dict:
        seen = {} if self.seen_range is None else {"seen_range": list(self.seen_range)}
        depth = {} if self.seen_depth is None else {"seen_depth": self.seen_depth}
        columns = {} if self.seen_columns is None else {"seen_columns": list(self.seen_columns)}
        return {**super().get_config(), **seen, **depth, **columns}

    @classmethod
    def from_config(cls, config: dict) -> "Likelihood":
        config = dict(config)
        seen, depth, columns = (config.pop(f"seen_{name}", None) for name in ("range", "depth", "columns"))
        likelihood = super().from_config(config)
        likelihood.seen_depth = depth
        likelihood.seen_columns = None if columns is None else tuple(columns)
        likelihood.seen_range = None if seen is None else tuple(seen)
        return likelihood

    @property
    def statistics(self) -> list[tuple[keras.Variable, float]]:
        """Moving averages over training batches, each with its momentum."""
        return []

    def build(self, features_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
        """Makes the output layer.

        Args:
            features_shape: shape of the decoder's output for one example.
            event_shape: *X, shape of one example.

        Raises:
            ValueError: if features of that shape cannot give the event.
        """
        self.event_shape = tuple(event_shape)
        self.head = Head(self.head_shape(self.event_shape), self.parameters, name="head")
        self.head.build(features_shape)

    def head_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The event of the output layer: that of x, unless a position has other parameters than an element."""
        return event_shape

    def network_input(self, x: Tensor) -> Tensor:
        """`x` as the encoder sees it: float32, of moderate size."""
        return ops.cast(x, "float32")

    def unit_input(self, x: Tensor) -> Tensor:
        """`x` as networks see it that were trained on photographs of values in [0, 1], where x has levels."""
        return self.network_input(x)

    def distribution(self, features: Tensor, x: Tensor | None = None, training: bool = False) -> tfd.Distribution:
        """p(x|z).

        Args:
            features: (K, B, *F), or any leading axes, the decoder's output.
            x: (B, *X), for likelihoods that adapt to it while training.
            training: whether they may.

        Returns:
            A TFP distribution, batch (K, B), event (*X).
        """
        raise NotImplementedError

    def start_at(self, mean: np.ndarray) -> None:
        """Sets the output layer's bias so that features of zero give `mean`.

        Args:
            mean: (*X), strictly between 0 and 1.
        """
        raise ValueError(
            "Only Bernoulli's output can start at the mean of the images: leave out `output_bias`. "
            f"Received: {type(self).__name__}"
        )

    def image(self, distribution: tfd.Distribution) -> Tensor:
        """What a picture of `distribution` shows: its mean, in the units of x."""
        return distribution.mean()

    def averaged(self, distribution: tfd.Distribution) -> Tensor:
        """What stands for `distribution` in a mean over several: (..., *X), or numbers of another last axis."""
        return self.image(distribution)

    def settled(self, mean: np.ndarray) -> np.ndarray:
        """The example, (N, *X), that such a mean of `averaged` stands for."""
        return mean

    def _independent(self, distribution):
        return tfd.Independent(distribution, reinterpreted_batch_ndims=len(self.event_shape))


class Averaging(Likelihood):
    """A likelihood that, where it `adapts`, keeps a moving average of a positive number of its training batches."""

    def build(self, features_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
        super().build(features_shape, event_shape)
        if self.adapts:
            # `_moment / _mass` is the average without the bias of a start at zero.
            for name in ("moment", "mass"):
                weight = self.add_weight(name=name, shape=(), initializer="zeros", trainable=False, aggregation="mean")
                setattr(self, f"_{name}", weight)

    @property
    def statistics(self) -> list[tuple[keras.Variable, float]]:
        return [(v, _MOMENTUM) for v in (self._moment, self._mass)] if self.adapts else []

    def observe(self, value: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Takes the weighted mean of `value`, (B,), into the average, without a gradient; returns that mean."""
        mean = weighted_mean(value, sample_weight)
        for average, of_batch in ((self._moment, ops.stop_gradient(mean)), (self._mass, 1.0)):
            average.assign(_MOMENTUM * average + (1 - _MOMENTUM) * of_batch)
        return mean

    def average(self, start: float) -> Tensor:
        """The average; `start` before any batch was seen."""
        return ops.where(self._mass > 0, self._moment / ops.maximum(self._mass, 1e-9), start)


def number_or_mode(name: str, value: float | str, modes: Iterable[str]) -> float | str:
    """`value` as a float above 0, or one of `modes`.

    Args:
        name: of the argument, for the message.

    Raises:
        ValueError: for anything else.
    """
    value = plain(value)
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return one_of(value, modes, f"{name} (or a positive number)")
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"`{name}` must be positive and finite. Received: {name}={float(value)!r}")
    return float(value)
