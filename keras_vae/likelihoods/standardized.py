"""Numbers of any size, which the model standardises itself."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_vae import parts
from keras_vae.backend import Tensor, tfb, tfd
from keras_vae.likelihoods.base import Likelihood
from keras_vae.names import Spec
from keras_vae.parts import register

# Of a standard deviation, as a share of the mean: below the first there is one value; below the second float32 has too
# few of the digits.
_CONSTANT, _FAR = 1e-10, 1e-5
# Of the units of x and those of targets.
_OTHER = 20.0
# Examples whose moments are taken at a time.
_AT_ONCE = 4096


@register()
class Standardized(Likelihood):
    """A likelihood of real numbers, for data in its own units: kelvins, prices, microvolts.

    log p(x|z) = log p_of((x - loc) / scale | z) - sum_i log scale_i, i over the elements of x. Encoder and decoder see
    (x - loc) / scale; samples, reconstructions and densities are in the units of x, so that log p(x) compares with that
    of any density of the data as it is.

    `loc` and `scale` are mean and standard deviation of the array that training begins with: of each element of a
    vector, (D,); of each channel, the last axis, of what has several axes. They are weights that are not trained.
    Before training on a stream of batches, show an array: `vae.likelihood.see(x)`.

    Args:
        of: the spec of a likelihood of real numbers: "normal", "student_t:freedom=3.0", "laplace".

    Raises:
        ValueError: for a likelihood of another kind of data.

    Example: `kv.VAE(encoder, decoder, likelihood="standardized")`.
    """

    data = "numbers"

    def __init__(self, of: str = "normal", **kwargs: Any):
        super().__init__(**kwargs)
        self.of = str(Spec.parse(str(of)))
        self.part = parts.get(Likelihood, self.of, name="of")
        if self.part.data != "real":
            raise ValueError(
                "`of` is a likelihood of real numbers: 'normal', 'student_t' or 'laplace', with their arguments. "
                f"Received: of={self.of!r}"
            )
        self.parameters, self.adapts, self.normalized = self.part.parameters, self.part.adapts, self.part.normalized

    def build(self, features_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
        self.event_shape = tuple(event_shape)
        self.part.build(features_shape, event_shape)
        fixed = {"shape": self.event_shape[-1:], "trainable": False, "aggregation": "mean"}
        self.loc = self.add_weight(name="loc", initializer="zeros", **fixed)
        self.scale = self.add_weight(name="scale", initializer="ones", **fixed)

    @property
    def statistics(self) -> list:
        return self.part.statistics

    def see(self, x: np.ndarray) -> None:
        """Takes mean and standard deviation of the first array that is seen; remembers the range of all.

        Args:
            x: (N, *X); NaN is missing.
        """
        if not self._knows_units:
            loc, scale = _moments(x)
            spread = scale / np.maximum(np.abs(loc), 1e-300)
            constant = np.flatnonzero(~(spread > _CONSTANT) | ~(scale > 0))
            if (far := ~(spread > _FAR)).sum() > len(constant):
                place = int(np.flatnonzero(far & (spread > _CONSTANT))[0])
                raise ValueError(
                    "These numbers are so far from 0 that float32 would lose what tells them apart: take an offset off "
                    f"them, x - x.mean(axis=0). Received: mean {loc[place]:.7g} and standard deviation "
                    f"{scale[place]:.3g} in column {place}"
                )
            if len(constant):
                warnings.warn(
                    "Columns with one value have no scale, and tell a model nothing: leave them out. "
                    f"Received: {len(constant)} of {len(scale)} columns with one value, the first number {constant[0]}",
                    stacklevel=2,
                )
                scale[constant] = 1.0
            self.loc.assign(loc.astype("float32"))
            self.scale.assign(scale.astype("float32"))
        super().see(x)

    def see_given(self, x: np.ndarray) -> None:
        """Refuses, of a model that scores targets, x of other columns, and warns of x in other units."""
        if x.shape[-1] != self.event_shape[-1]:
            raise ValueError(
                "x is standardised by the units of the targets, and has other columns: standardise it by a "
                "keras.layers.Normalization at the beginning of the encoder, and take a likelihood of standardised "
                f"targets. Received: x of shape {x.shape}, targets {self.event_shape}"
            )
        loc, scale = _moments(x)
        mean, scale = (loc - np.array(self.loc)) / np.array(self.scale), scale / np.array(self.scale)
        if np.abs(mean).max() > _OTHER or scale.max() > _OTHER or scale.min() < 1 / _OTHER:
            warnings.warn(
                "x is standardised by the units of the targets, and has others: networks see it far from 0, or next "
                "to constant. Bring both to one scale. Received: x with means up to "
                f"{np.abs(mean).max():.3g} and deviations from {scale.min():.3g} to {scale.max():.3g}, in those of y",
                stacklevel=2,
            )

    @property
    def _knows_units(self):
        # Weights of a file, or of another model, may bring them.
        started = not np.any(np.array(self.loc)) and np.all(np.array(self.scale) == 1)
        return self.seen_range is not None or not started

    def check_stream(self) -> None:
        if not self._knows_units:
            raise ValueError(
                "The units of a stream are not known before training: show an array of its examples, "
                "vae.likelihood.see(x). Received: a stream"
            )

    def network_input(self, x: Tensor) -> Tensor:
        return self.part.network_input(self._standardized(x))

    def with_noise(self, x: Tensor, noise: Callable[[Tensor], Tensor]) -> Tensor:
        """Noise is in standard deviations from the mean."""
        return self.loc + self.scale * noise(self._standardized(x))

    def _standardized(self, x):
        return (ops.cast(x, "float32") - self.loc) / self.scale

    def distribution(
        self, features: Tensor, x: Tensor | None = None, training: bool = False, **weights: Any
    ) -> tfd.Distribution:
        seen = None if x is None else self._standardized(x)
        inner = self.part.distribution(features, seen, training, **weights)
        units = tfb.Shift(self.loc.value)(tfb.Scale(self.scale.value))
        if isinstance(inner, tfd.Independent):
            return self._independent(tfd.TransformedDistribution(inner.distribution, units))
        return tfd.TransformedDistribution(inner, units)

    def image(self, distribution: tfd.Distribution) -> Tensor:
        """That of the likelihood which is standardised, in the units of x."""
        if isinstance(distribution, tfd.Independent):
            inner = self._independent(distribution.distribution.distribution)
        else:
            inner = distribution.distribution
        return self.loc + self.scale * self.part.image(inner)


def _moments(x):
    """Mean and standard deviation of each element of a vector, or of each channel, (C,) float64; NaN is left out."""
    count, total, squares = (np.zeros(x.shape[-1]) for _ in range(3))
    # Far from 0, squares would lose the variance.
    start = None
    for first in range(0, len(x), _AT_ONCE):
        part = np.asarray(x[first : first + _AT_ONCE], "float64").reshape(-1, x.shape[-1])
        there = ~np.isnan(part)
        if start is None:
            start = np.nan_to_num(np.where(there, part, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1))
        part = np.where(there, part - start, 0)
        count, total, squares = count + there.sum(axis=0), total + part.sum(axis=0), squares + (part**2).sum(axis=0)
    mean = total / np.maximum(count, 1)
    return start + mean, np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
