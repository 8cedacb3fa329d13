"""Likelihoods of real values."""

import math
from typing import Any

from keras import ops

from keras_vae import distributions
from keras_vae.backend import Tensor, tfd
from keras_vae.likelihoods.base import LOG_SCALE_BOUND, Averaging, Likelihood, number_or_mode
from keras_vae.names import check_number
from keras_vae.parts import register, soft_clip


class _LocationScale(Averaging):
    """Independent densities around a location that the decoder gives.

    Args:
        scale: "learned", one for all pixels; "per_column", one learned for each element of a vector, or each channel;
            "per_pixel", given by the decoder; "optimal", the one that maximises the likelihood of the batch in
            training, and its moving average otherwise; or a positive number, which weighs the errors against the KL: 1,
            say, is far too much for values in [0, 1], and collapses the posterior.
    """

    MODES = ("learned", "per_column", "per_pixel", "optimal")

    def __init__(self, scale: float | str = "learned", **kwargs: Any):
        super().__init__(**kwargs)
        self.scale = number_or_mode("scale", scale, self.MODES)
        self.parameters = 2 if self.scale == "per_pixel" else 1
        self.adapts = self.scale == "optimal"

    def build(self, features_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
        super().build(features_shape, event_shape)
        if self.scale in ("learned", "per_column"):
            shape = () if self.scale == "learned" else self.event_shape[-1:]
            self.log_scale = self.add_weight(name="log_scale", shape=shape, initializer="zeros")

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
        if self.scale in ("learned", "per_column"):
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
            return self.observe(errors + least, sample_weight)
        # Of scale**power.
        return self.average(1.0)


@register("normal", "gaussian")
class Normal(_LocationScale):
    """Independent Normal pixels; with a fixed scale s, squared errors divided by 2 s^2, plus the constants.

    Args:
        scale: the standard deviation: "learned", one for all pixels; "per_column", one learned for each element of a
            vector, or each channel; "per_pixel", given by the decoder; "optimal", the root mean squared error of the
            batch in training, and its moving average otherwise; or a positive number.

    Reference: Rybkin, Daniilidis and Levine 2021, "Simple and effective VAE training with calibrated decoders"
    (optimal: section 3.2).
    """

    family, power = tfd.Normal, 2


@register()
class Laplace(_LocationScale):
    """Independent Laplace pixels; with a fixed scale, absolute errors divided by it, plus the constants.

    Args:
        scale: "learned", one for all pixels; "per_column", one learned for each element of a vector, or each channel;
            "per_pixel", given by the decoder; "optimal", the mean absolute error of the batch in training, and its
            moving average otherwise; or a positive number.
    """

    family, power = tfd.Laplace, 1


class _FixedForm(_LocationScale):
    """Families whose best scale has no closed form."""

    MODES = ("learned", "per_column", "per_pixel")


@register()
class StudentT(_FixedForm):
    """Independent Student t pixels, whose heavy tails forgive outliers.

    Args:
        freedom: degrees of freedom; the tails of small ones are the heavier. The variance is infinite up to 2.
        scale: "learned", one for all pixels; "per_column", one learned for each element of a vector, or each channel;
            "per_pixel", given by the decoder; or a positive number.

    Reference: Takahashi, Iwata, Yamanaka, Yamada and Yagi 2018, "Student-t variational autoencoder for robust density
    estimation".
    """

    def __init__(self, freedom: float = 5.0, scale: float | str = "learned", **kwargs: Any):
        super().__init__(scale=scale, **kwargs)
        check_number(zero=False, freedom=freedom)
        self.freedom = float(freedom)

    def family(self, loc: Tensor, scale: Tensor) -> tfd.Distribution:
        """The density around `loc`."""
        return tfd.StudentT(self.freedom, loc, scale)

    def image(self, distribution: tfd.Distribution) -> Tensor:
        """The location, which is the mean where there is one."""
        return distribution.distribution.loc


@register()
class LogCosh(_FixedForm):
    """Independent pixels of density proportional to exp(-log cosh(a t) / a), t = (x - location) / scale.

    The errors count as squares near 0, and as absolute values beyond 1 / a.

    Args:
        sharpness: a.
        scale: "learned", one for all pixels; "per_column", one learned for each element of a vector, or each channel;
            "per_pixel", given by the decoder; or a positive number.

    Reference: Chen, Chen, Guo and Xiao 2019, "Log hyperbolic cosine loss improves variational auto-encoder"; here
    normalised.
    """

    def __init__(self, sharpness: float = 10.0, scale: float | str = "learned", **kwargs: Any):
        super().__init__(scale=scale, **kwargs)
        check_number(zero=False, sharpness=sharpness)
        self.sharpness = float(sharpness)

    def family(self, loc: Tensor, scale: Tensor) -> tfd.Distribution:
        """The density around `loc`."""
        return distributions.LogCosh(loc, scale, self.sharpness)


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
