"""Likelihoods of 8-bit levels."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_vae import distributions
from keras_vae.backend import Tensor, tfd
from keras_vae.likelihoods.base import LOG_SCALE_BOUND, Likelihood
from keras_vae.names import check_whole
from keras_vae.parts import register, soft_clip


class _Levels(Likelihood):
    """Masses over the 8-bit levels 0 to 255."""

    data = "8-bit levels"
    discrete = True

    def network_input(self, x: Tensor) -> Tensor:
        return ops.cast(x, "float32") / 127.5 - 1.0

    def unit_input(self, x: Tensor) -> Tensor:
        return ops.cast(x, "float32") / 255


@register()
class Categorical(_Levels):
    """Independent categorical pixels over 256 levels."""

    parameters = 256

    def distribution(self, features: Tensor, x: Tensor | None = None, training: bool = False) -> tfd.Distribution:
        return self._independent(tfd.Categorical(logits=self.head(features), dtype="float32"))

    def image(self, distribution: tfd.Distribution) -> Tensor:
        """The mean level."""
        # TensorFlow's softmax fails beyond rank 5 on the CPU.
        masses = ops.exp(ops.log_softmax(distribution.distribution.logits, axis=-1))
        return ops.sum(masses * ops.arange(256, dtype="float32"), axis=-1)


def _pixels(event_shape):
    """The event with an axis of channels: each element of a vector is a pixel."""
    return event_shape if len(event_shape) > 1 else (*event_shape, 1)


class _Logistics(_Levels):
    """Logistics over 8-bit levels, one or a mixture of `components`."""

    components = 1

    def build(self, features_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
        super().build(features_shape, event_shape)
        # Components that began alike would share every gradient; these cover the levels evenly.
        channels, m = _pixels(event_shape)[-1], self.components
        start = np.zeros((self._rows(event_shape), m))
        start[1 : 1 + channels] = (2 * np.arange(m) + 1) / m - 1
        start[1 + channels : 1 + 2 * channels] = -math.log(m + 2)
        bias = self.head.dense.bias
        bias.assign(np.tile(start.ravel(), bias.shape[0] // start.size))

    def head_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*_pixels(event_shape)[:-1], self._rows(event_shape) * self.components)

    def _rows(self, event_shape):
        """Numbers for each component of a pixel: weight, locations, scales and couplings."""
        return 1 + 2 * _pixels(event_shape)[-1] + (3 if self._coupled(event_shape) else 0)

    def _coupled(self, event_shape):
        return False

    def distribution(self, features: Tensor, x: Tensor | None = None, training: bool = False) -> tfd.Distribution:
        channels = _pixels(self.event_shape)[-1]
        raw = ops.squeeze(self.head(features), axis=-1)
        raw = ops.reshape(raw, (*ops.shape(raw)[:-1], self._rows(self.event_shape), self.components))
        # Not slices, whose gradients TensorFlow fills up with zeros one by one.
        logits, loc, log_scale, coupling = ops.split(raw, [1, 1 + channels, 1 + 2 * channels], axis=-2)
        return distributions.DiscretizedLogisticMixture(
            logits=ops.squeeze(logits, axis=-2),
            loc=loc,
            log_scale=soft_clip(log_scale, -LOG_SCALE_BOUND, LOG_SCALE_BOUND),
            coefficients=ops.tanh(coupling) if self._coupled(self.event_shape) else None,
            event_ndims=len(self.event_shape),
            channel_axis=len(self.event_shape) > 1,
        )

    def image(self, distribution: tfd.Distribution) -> Tensor:
        """The mean of the mixture before it is rounded, clipped to the levels."""
        return distribution.expected_image()


@register()
class DiscretizedLogisticMixture(_Logistics):
    """A mixture of logistics over 8-bit levels, its component shared by the channels of a pixel.

    Colour channels are coupled: green's locations depend on red, blue's on red and green.

    Args:
        components: M, components of the mixture.

    Reference: Salimans et al. 2017 (PixelCNN++), section 2.1 and 2.2; Child 2021 (VDVAE).
    """

    def __init__(self, components: int = 10, **kwargs: Any):
        super().__init__(**kwargs)
        check_whole(components=components)
        self.components = int(components)

    def _coupled(self, event_shape):
        # Colours, and no three channels of a signal.
        return len(event_shape) == 3 and event_shape[-1] == 3


@register()
class DiscretizedLogistic(_Logistics):
    """Independent discretised logistic pixels, location and scale given by the decoder.

    Reference: Kingma et al. 2016, section 5.2.
    """
