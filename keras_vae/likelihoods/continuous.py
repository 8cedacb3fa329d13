"""Likelihoods of real values."""

import math
import numbers
from typing import Any

import keras
from keras import ops

from keras_vae.backend import Tensor, tfd
from keras_vae.inference import weighted_mean
from keras_vae.likelihoods.base import LOG_SCALE_BOUND, Likelihood
from keras_vae.names import one_of, plain
from keras_vae.parts import register, soft_clip

# Of the average of a fitted scale.
_MOMENTUM = 0.99


class _LocationScale(Likelihood):
    """Independent densities around a location that the decoder gives.

    Args:
        scale: "learned", one for all pixels; "per_pixel", given by the decoder; "optimal", the one that maximises the
            likelihood of the batch in training, and its moving average otherwise; or a positive number, which weighs
            the errors against the KL: 1, say, is far too much for values in [0, 1], and collapses the posterior.
    """

    MODES = ("learned", "per_pixel", "optimal")

    def __init__(self, scale: float | str = "learned", **kwargs: Any):
        super().__init__(**kwargs)
        scale = plain(scale)
        if isinstance(scale, numbers.Real) and not isinstance(scale, bool):
            scale = float(scale)
            if not (scale > 0 and math.isfinite(scale)):
                raise ValueError(f"`scale` must be positive and finite. Received: scale={scale!r}")
        else:
            one_of(scale, self.MODES, "scale (or a positive number)")
        self.scale = scale
        self.parameters = 2 if scale == "per_pixel" else 1
        self.adapts = scale == "optimal"

    def build(self, features_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
        super().build(features_shape, event_shape)
        if self.scale == "learned":
            self.log_scale = self.add_weight(name="log_scale", shape=(), initializer="zeros")
        elif self.scale == "optimal":
            # Of scale**power; `_moment / _mass` is its average without the bias of a start at zero.
            for name in ("moment", "mass"):
                weight = self.add_weight(name=name, shape=(), initializer="zeros", trainable=False, aggregation="mean")
                setattr(self, f"_{name}", weight)

    @property
    def statistics(self) -> list[tuple[keras.Variable, float]]:
        return [(v, _MOMENTUM) for v in (self._moment, self._mass)] if self.adapts else []

    def distribution(
        self,
        features: Tensor,
        x: Tensor | None = None,
        training: bool = False,
        sample_weight: Tensor | None = None,
    ) -> tfd.Distribution:
        loc, *raw = ops.unstack(self.head(features), self.parameters, axis=-1)
        scale = self._scale(loc, raw, x, training, sample_weight)
        return self._independent(self.family(loc, scale * ops.ones_like(loc)))

    def _scale(self, loc, raw, x, training, sample_weight):
        if self.scale == "per_pixel":
            return ops.exp(soft_clip(raw[0], -LOG_SCALE_BOUND, LOG_SCALE_BOUND))
        if self.scale == "learned":
            return ops.exp(soft_clip(self.log_scale, -LOG_SCALE_BOUND, LOG_SCALE_BOUND))
        if self.scale == "optimal":
            return ops.power(self._optimal_moment(loc, x, training, sample_weight), 1.0 / self.power)
        return self.scale

    def _optimal_moment(self, loc, x, training, sample_weight):
        least = math.exp(-LOG_SCALE_BOUND * self.power)
        if training:
            # Elements of one batch: nothing of it may reach the value that a test reports.
            errors = ops.power(ops.abs(ops.cast(x, "float32") - loc), self.power)
            # Examples first: (K, B, *X) -> (B,).
            errors = ops.mean(errors, axis=(0, *range(2, len(errors.shape))))
            moment = weighted_mean(errors, sample_weight) + least
            for average, value in ((self._moment, ops.stop_gradient(moment)), (self._mass, 1.0)):
                average.assign(_MOMENTUM * average + (1 - _MOMENTUM) * value)
            return moment
        return ops.where(self._mass > 0, self._moment / ops.maximum(self._mass, 1e-9), 1.0)


@register("normal", "gaussian")
class Normal(_LocationScale):
    """Independent Normal pixels; with a fixed scale s, squared errors divided by 2 s^2, plus the constants.

    Args:
        scale: the standard deviation: "learned", one for all pixels; "per_pixel", given by the decoder; "optimal", the
            root mean squared error of the batch in training, and its moving average otherwise; or a positive number.

    Reference: Rybkin, Daniilidis and Levine 2021, "Simple and effective VAE training with calibrated decoders"
    (optimal: section 3.2).
    """

    family, power = tfd.Normal, 2


@register()
class Laplace(_LocationScale):
    """Independent Laplace pixels; with a fixed scale, absolute errors divided by it, plus the constants.

    Args:
        scale: "learned", one for all pixels; "per_pixel", given by the decoder; "optimal", the mean absolute error of
            the batch in training, and its moving average otherwise; or a positive number.
    """

    family, power = tfd.Laplace, 1


@register()
class Beta(Likelihood):
    """Independent Beta densities on (0, 1), both concentrations given by the decoder."""

    data = "open unit interval"
    parameters = 2

    def distribution(self, features: Tensor, x: Tensor | None = None, training: bool = False) -> tfd.Distribution:
        concentrations = ops.softplus(self.head(features)) + 1e-3
        return self._independent(tfd.Beta(concentrations[..., 0], concentrations[..., 1]))


@register()
class ContinuousBernoulli(Likelihood):
    """Independent densities on [0, 1], proportional to p^x (1 - p)^(1 - x).

    Reference: Loaiza-Ganem and Cunningham 2019.
    """

    data = "unit interval"

    def distribution(self, features: Tensor, x: Tensor | None = None, training: bool = False) -> tfd.Distribution:
        return self._independent(tfd.ContinuousBernoulli(logits=ops.squeeze(self.head(features), axis=-1)))
