"""Distances between images that take the place of a density: structural similarity, and the features of a network.

They train decoders, and nothing else: with them, log p(x|z), ELBO and log p(x) are comparable with nothing.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae import features as feature_networks
from keras_vae.backend import Tensor, tfd
from keras_vae.distributions import Scored
from keras_vae.likelihoods.base import LOG_SCALE_BOUND, Likelihood, number_or_mode
from keras_vae.names import check_number, check_whole, plain
from keras_vae.parts import frozen, register, soft_clip

# Of the paper, from the finest scale.
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@register("ms_ssim")
class MultiScaleSSIM(Likelihood):
    """The multi-scale structural similarity of x and the decoder's image; no density, comparable with nothing.

    log p(x|z) = -weight * D * (1 - MS-SSIM), of D pixels and channels. Images that are too small for all scales have
    fewer, with weights of sum 1, and a window no larger than they are.

    Args:
        weight: nats that an element costs where images have nothing in common.
        scales: from 1 to 5, each of half the resolution.
        window: side of the Gaussian window, in pixels; its standard deviation is 1.5.

    Reference: Wang, Simoncelli and Bovik 2003, "Multiscale structural similarity for image quality assessment";
    Snell et al. 2017, "Learning to generate images with perceptual similarity metrics".
    """

    data = "unit interval"
    normalized = False

    def __init__(self, weight: float = 1.0, scales: int = 5, window: int = 11, **kwargs: Any):
        super().__init__(**kwargs)
        check_number(zero=False, weight=weight)
        check_whole(scales=scales, window=window)
        if scales > len(_WEIGHTS):
            raise ValueError(f"`scales` is at most {len(_WEIGHTS)}. Received: scales={scales!r}")
        self.weight, self.scales, self.window = float(weight), plain(scales), plain(window)

    def build(self, features_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
        if len(event_shape) != 3:
            raise ValueError(f"SSIM compares images (h, w, c). Received: event_shape={tuple(event_shape)}")
        super().build(features_shape, event_shape)

    def distribution(self, features: Tensor, x: Tensor | None = None, training: bool = False) -> tfd.Distribution:
        return Scored(ops.sigmoid(self.head(features)[..., 0]), self._score)

    def _score(self, x, loc):
        return self.weight * math.prod(self.event_shape) * (self._similarity(x, loc) - 1.0)

    def _similarity(self, x, y):
        """MS-SSIM of images of values in [0, 1], (..., h, w, c) -> (...)."""
        sides = self.event_shape[:2]
        window = min(self.window, *sides)
        scales = 1 + min(self.scales - 1, int(math.log2(min(sides) / window)))
        weights = np.array(_WEIGHTS[:scales]) / sum(_WEIGHTS[:scales])
        total = 0.0
        for number, weight in enumerate(weights):
            luminance, structure = _ssim_terms(x, y, window)
            value = luminance * structure if number == scales - 1 else structure
            value = ops.mean(value, axis=(-3, -2))
            # Below 0 images are opposites; the floor keeps powers and their gradients finite.
            total = total + weight * ops.log(ops.maximum(value, 1e-4))
            x, y = _halved(x), _halved(y)
        return ops.mean(ops.exp(total), axis=-1)


def _ssim_terms(x, y, window):
    """Similarity of luminance, and of contrast and structure, at each position where the window fits."""
    c1, c2 = 0.01**2, 0.03**2
    mean_x, mean_y = _blurred(x, window), _blurred(y, window)
    luminance = (2 * mean_x * mean_y + c1) / (ops.square(mean_x) + ops.square(mean_y) + c1)
    variances = _blurred(ops.square(x) + ops.square(y), window) - ops.square(mean_x) - ops.square(mean_y)
    covariance = _blurred(x * y, window) - mean_x * mean_y
    return luminance, (2 * covariance + c2) / (variances + c2)


def _blurred(x, window):
    """Means of a Gaussian window, (..., h, w, c), where it fits: products with band matrices."""
    taps = np.exp(-0.5 * ((np.arange(window) - (window - 1) / 2) / 1.5) ** 2)
    taps /= taps.sum()
    height, width = (
        np.stack([np.pad(taps, (i, side - window - i)) for i in range(side - window + 1)]).astype("float32")
        for side in x.shape[-3:-1]
    )
    return ops.einsum("jw,...hwc->...hjc", width, ops.einsum("ih,...hwc->...iwc", height, x))


def _halved(x):
    """Means of 2x2 pixels; the last row and column of an odd number of them are repeated."""
    height, width = x.shape[-3:-1]
    for axis, side in ((-3, height), (-2, width)):
        if side % 2:
            x = ops.concatenate([x, ops.take(x, [side - 1], axis=axis)], axis=axis)
    height, width, channels = (height + 1) // 2, (width + 1) // 2, x.shape[-1]
    return ops.mean(ops.reshape(x, (*ops.shape(x)[:-3], height, 2, width, 2, channels)), axis=(-4, -2))


@register()
class Perceptual(Likelihood):
    """The distance of x and the decoder's image in the features of a network; no density, comparable with nothing.

    log p(x|z) = sum_i log N(f_i(x); f_i(decoded), scale^2) over all numbers f_i of the features: with the identity for
    a network it is `Normal`.

    Args:
        features: a Keras model, images (B, *X) -> features, or a list of them (several layers), each counted alike;
            or one that is known by a spec, "random_filters" or "efficientnet_lite0". It is frozen (`trainable =
            False`), runs in inference mode, and is saved with the model.
        scale: the standard deviation: "learned", one for all features, or a positive number.

    Reference: Hou, Shen, Sun and Qiu 2017, "Deep feature consistent variational autoencoder"; Higgins et al. 2017,
    "DARLA" (features of a denoising autoencoder).

    Example: `Perceptual(keras.Model(vgg.inputs, [vgg.get_layer(name).output for name in names]))`.
    """

    normalized = False

    def __init__(self, features: keras.Model | str = "random_filters", scale: float | str = "learned", **kwargs: Any):
        super().__init__(**kwargs)
        self.features = feature_networks.checked(features)
        self.scale = number_or_mode("scale", scale, ("learned",))

    def build(self, features_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
        super().build(features_shape, event_shape)
        self._network = feature_networks.get(self.features, event_shape)
        given = keras.KerasTensor((None, *event_shape))
        try:
            found = keras.tree.flatten(self._network(given, training=False))
        except Exception as error:  # A user's network may raise anything.
            raise ValueError(
                f"`features` cannot take images of shape {tuple(event_shape)}. "
                f"Received: {type(error).__name__}: {str(error).strip().splitlines()[0]}"
            ) from error
        if not found or any(getattr(value, "shape", (1,))[0] is not None for value in found):
            raise ValueError(f"`features` must return tensors (B, ...). Received: {found}")
        if self.scale == "learned":
            self.log_scale = self.add_weight(name="log_scale", shape=(), initializer="zeros")

    def distribution(self, features: Tensor, x: Tensor | None = None, training: bool = False) -> tfd.Distribution:
        return Scored(self.head(features)[..., 0], self._score, event_ndims=len(self.event_shape))

    def _score(self, x, loc):
        scale = self.scale
        if scale == "learned":
            scale = ops.exp(soft_clip(self.log_scale, -LOG_SCALE_BOUND, LOG_SCALE_BOUND))
        total = 0.0
        for expected, found in zip(self._seen(x), self._seen(loc), strict=True):
            log_prob = tfd.Normal(found, scale).log_prob(expected)
            total = total + ops.sum(log_prob, axis=-1)
        return total

    def _seen(self, images):
        """The features of images (..., *X), each tensor as vectors, (..., F)."""
        lead = ops.shape(images)[: len(images.shape) - len(self.event_shape)]
        found = frozen(self._network)(ops.reshape(images, (-1, *self.event_shape)), training=False)
        return [
            ops.reshape(ops.cast(value, "float32"), (*lead, math.prod(value.shape[1:])))
            for value in keras.tree.flatten(found)
        ]
