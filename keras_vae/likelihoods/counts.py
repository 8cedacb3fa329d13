"""Likelihoods of counts."""

import math
from typing import Any

from keras import ops

from keras_vae import distributions
from keras_vae.backend import Tensor, tfd
from keras_vae.likelihoods.base import LOG_SCALE_BOUND, Averaging, number_or_mode
from keras_vae.parts import register, soft_clip

# exp(15) is a rate of 3 million.
LOG_RATE_BOUND = 15.0


class _Counts(Averaging):
    """Masses over counts; encoders see log(1 + x)."""

    data = "counts"

    def network_input(self, x: Tensor) -> Tensor:
        return ops.log1p(ops.cast(x, "float32"))

    def _total(self, x, training, sample_weight):
        """The total of each example's counts, (B, 1, ...) beside (K, B, *X); without x their average in training."""
        if x is None:
            return self.average(1.0)
        total = ops.sum(ops.cast(x, "float32"), axis=tuple(range(-len(self.event_shape), 0)), keepdims=True)
        if training:
            self.observe(ops.reshape(total, (-1,)), sample_weight)
        return ops.maximum(total, 1e-6)

    def _log_shares(self, raw):
        """The logarithm of a softmax over the event."""
        flat = ops.reshape(raw, (*ops.shape(raw)[: -len(self.event_shape)], math.prod(self.event_shape)))
        return ops.reshape(ops.log_softmax(flat, axis=-1), ops.shape(raw))


class _Rates(_Counts):
    """Independent counts, of rates that the decoder gives."""

    def __init__(self, offset: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.offset = bool(offset)
        self.adapts = self.offset

    def distribution(
        self,
        features: Tensor,
        x: Tensor | None = None,
        training: bool = False,
        sample_weight: Tensor | None = None,
    ) -> tfd.Distribution:
        raw, *rest = ops.unstack(self.head(features), self.parameters, axis=-1)
        if self.offset:
            log_rate = self._log_shares(raw) + ops.log(self._total(x, training, sample_weight))
        else:
            log_rate = soft_clip(raw, -LOG_RATE_BOUND, LOG_RATE_BOUND)
        return self._independent(self._family(log_rate, rest))


@register()
class Poisson(_Rates):
    """Independent Poisson counts.

    Args:
        offset: whether rates are shares of the total of x, its library size or exposure, a softmax of what the decoder
            gives: p(x|z) then is given that total; where there is no x, in `sample` and `decode`, it is the average
            of training.
    """

    def _family(self, log_rate, rest):
        return distributions.Poisson(log_rate=log_rate)


@register()
class NegativeBinomial(_Rates):
    """Independent negative binomial counts of mean m and variance m + m^2 / r.

    Args:
        dispersion: r, the inverse dispersion: "learned", one for each element of x; "per_pixel", given by the decoder;
            or a positive number. Large ones make the counts those of a Poisson.
        offset: whether means are shares of the total of x, its library size or exposure, a softmax of what the decoder
            gives: p(x|z) then is given that total; where there is no x, in `sample` and `decode`, it is the average
            of training.

    Reference: Lopez, Regier, Cole, Jordan and Yosef 2018, "Deep generative modeling for single-cell transcriptomics"
    (scVI), with the observed library size.
    """

    MODES = ("learned", "per_pixel")

    def __init__(self, dispersion: float | str = "learned", offset: bool = False, **kwargs: Any):
        super().__init__(offset=offset, **kwargs)
        self.dispersion = number_or_mode("dispersion", dispersion, self.MODES)
        self.parameters = 2 if dispersion == "per_pixel" else 1

    def build(self, features_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
        super().build(features_shape, event_shape)
        if self.dispersion == "learned":
            self.log_dispersion = self.add_weight(name="log_dispersion", shape=self.event_shape, initializer="zeros")

    def _family(self, log_rate, rest):
        return distributions.NegativeBinomial(*self._counts_of(log_rate, rest))

    def _counts_of(self, log_rate, rest):
        """r, and the log-odds of successes."""
        if isinstance(self.dispersion, float):
            log_r = ops.full_like(log_rate, math.log(self.dispersion))
        else:
            raw = rest[0] if self.dispersion == "per_pixel" else ops.convert_to_tensor(self.log_dispersion)
            log_r = soft_clip(raw, -LOG_SCALE_BOUND, LOG_SCALE_BOUND)
        return ops.exp(log_r), log_rate - log_r


@register()
class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """Independent counts that are 0 with a probability from the decoder, otherwise negative binomial.

    Args:
        dispersion: r, the inverse dispersion: "learned", one for each element of x; "per_pixel", given by the decoder;
            or a positive number.
        offset: whether means are shares of the total of x, its library size or exposure, a softmax of what the decoder
            gives: p(x|z) then is given that total; where there is no x, in `sample` and `decode`, it is the average
            of training.

    Reference: Lopez, Regier, Cole, Jordan and Yosef 2018, "Deep generative modeling for single-cell transcriptomics"
    (scVI), with the observed library size.
    """

    def __init__(self, dispersion: float | str = "learned", offset: bool = False, **kwargs: Any):
        super().__init__(dispersion, offset, **kwargs)
        self.parameters += 1

    def _family(self, log_rate, rest):
        *rest, inflation = rest
        return distributions.ZeroInflatedNegativeBinomial(*self._counts_of(log_rate, rest), inflation)


@register()
class Multinomial(_Counts):
    """Counts given their total, with probabilities from a softmax over all elements of x (Mult-VAE).

    log p(x|z) has the multinomial coefficient, which the paper leaves out. Means and samples have the average total of
    training.

    Reference: Liang, Krishnan, Hoffman and Jebara 2018, "Variational autoencoders for collaborative filtering",
    equation 2.
    """

    adapts = True

    def distribution(
        self,
        features: Tensor,
        x: Tensor | None = None,
        training: bool = False,
        sample_weight: Tensor | None = None,
    ) -> tfd.Distribution:
        if x is not None and training:
            self._total(x, training, sample_weight)
        total = ops.round(self.average(1.0))
        return distributions.Multinomial(self.head(features)[..., 0], total, event_ndims=len(self.event_shape))
