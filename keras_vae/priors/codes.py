"""Priors over codes, whole numbers from 0."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from keras_vae import distributions
from keras_vae.backend import Tensor, tfd
from keras_vae.names import check_whole, plain
from keras_vae.parts import register
from keras_vae.priors.base import Prior


class _OfCodes(Prior):
    """A prior over codes.

    Args:
        size: D codes, or the shape (h, w) of a map of codes.
        codes: how many different ones there are; in a spec, that of the posterior unless it says otherwise.
    """

    def __init__(self, size: int | tuple[int, ...], codes: int, **kwargs: Any):
        super().__init__(size, **kwargs)
        check_whole(codes=codes)
        self.codes = plain(codes)

    @property
    def support(self) -> str:
        return f"whole numbers below {self.codes}"


@register()
class UniformCodes(_OfCodes):
    """Independent codes that are equally likely; a temperature changes nothing.

    Args:
        size: D codes, or the shape (h, w) of a map of codes.
        codes: how many different ones there are; in a spec, that of the posterior unless it says otherwise.

    Reference: van den Oord, Vinyals and Kavukcuoglu 2017 (arXiv 1711.00937), section 3.1.
    """

    def distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        code = distributions.UniformCodes(self.codes, self.event_shape)
        return tfd.Independent(code, reinterpreted_batch_ndims=len(self.event_shape))


@register()
class AutoregressiveCodes(_OfCodes):
    """Codes of which each is predicted from those before it, in reading order, by a causal network.

    The network embeds the codes and their places; its layers look back 1, 2, 4, ... places, and add what they find.
    It begins as the uniform prior. A sample takes a pass for each code. As a rule it is fitted to the codes of a model
    that is trained already, by `vae.fit_prior`.

    Args:
        size: D codes, or the shape (h, w) of a map of codes.
        codes: how many different ones there are; in a spec, that of the posterior unless it says otherwise.
        width: of the network.
        depth: layers, which look 2^depth places back; None: as many as look at all.

    Reference: van den Oord, Vinyals and Kavukcuoglu 2017 (arXiv 1711.00937), section 3.3; van den Oord et al. 2016
        (arXiv 1609.03499), section 2.1, for causal layers with growing steps.

    Example: `vae.fit_prior(images, "autoregressive_codes:width=128", epochs=50)`.
    """

    def __init__(
        self, size: int | tuple[int, ...], codes: int, width: int = 64, depth: int | None = None, **kwargs: Any
    ):
        super().__init__(size, codes, **kwargs)
        check_whole(width=width, depth=1 if depth is None else depth)
        self.width, self.depth = plain(width), plain(depth)

    def build(self, input_shape: tuple[int, ...]) -> None:
        length, width = math.prod(self.event_shape), self.width
        self.embedding = layers.Embedding(self.codes, width, dtype="float32", name="embedding")
        self.embedding.build((None, length))
        start = keras.initializers.RandomNormal(stddev=0.05)
        self.places = self.add_weight(name="places", shape=(length, width), initializer=start)
        depth = max(1, math.ceil(math.log2(length))) if self.depth is None else self.depth
        self.looks = [layers.Dense(width, "swish", dtype="float32", name=f"look_{i}") for i in range(depth)]
        self.finds = [layers.Dense(width, dtype="float32", name=f"find_{i}") for i in range(depth)]
        self.last = layers.Dense(self.codes, kernel_initializer="zeros", dtype="float32", name="last")
        for look in self.looks:
            look.build((None, length, 2 * width))
        for layer in (*self.finds, self.last):
            layer.build((None, length, width))

    def distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        return distributions.AutoregressiveCodes(self._logits, self.event_shape, self.codes, temperature)

    def _logits(self, z):
        """Codes (N, L) -> (N, L, C)."""
        hidden = _later(self.embedding(z), 1) + self.places.value
        for index, (look, find) in enumerate(zip(self.looks, self.finds, strict=True)):
            hidden = hidden + find(look(ops.concatenate([hidden, _later(hidden, 2**index)], axis=-1)))
        return self.last(hidden)


def _later(hidden, steps):
    """(N, L, W) moved on by so many places; zeros come first."""
    return ops.pad(hidden, ((0, 0), (steps, 0), (0, 0)))[:, : hidden.shape[1]]
