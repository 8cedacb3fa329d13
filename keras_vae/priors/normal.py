"""Normal priors."""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_vae.backend import Tensor, tfd
from keras_vae.names import check_whole, plain
from keras_vae.parts import Head, register, soft_clip
from keras_vae.priors.base import Prior

# exp(7) in scale: far beyond any use, near enough to keep float32 exact.
LOG_SCALE_BOUND = 7.0


@register()
class StandardNormal(Prior):
    """N(0, I).

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent.

    Reference: Kingma and Welling 2014, section 3.
    """

    def distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        loc = ops.zeros(self.event_shape, dtype="float32")
        return tfd.Independent(
            tfd.Normal(loc, ops.ones_like(loc) * temperature), reinterpreted_batch_ndims=len(self.event_shape)
        )


@register()
class ConditionalNormal(Prior):
    """N(m(y), s(y)^2), diagonal, its mean and log-scale linear in the label y: a Normal for each class of one-hot ones.

    A temperature scales the standard deviation. At first it is N(0, I) for each y, as the priors of a deep hierarchy
    have to be (Child 2021, section 3.3).

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent.
        label_shape: shape of one label, or the number of classes of one-hot labels.

    Reference: Sohn, Lee and Yan 2015, section 4.1: the prior network.
    """

    def __init__(self, size: int | tuple[int, ...], label_shape: int | tuple[int, ...], **kwargs: Any):
        super().__init__(size, **kwargs)
        shape = plain(label_shape)
        self.label_shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        for axis in self.label_shape:
            check_whole(label_shape=axis)

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.head = Head(self.event_shape, parameters=2, start="zeros", name="head")
        self.head.build(self.label_shape)

    def distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        loc, raw = ops.unstack(self.head(ops.cast(y, "float32")), 2, axis=-1)
        scale = ops.exp(soft_clip(raw, -LOG_SCALE_BOUND, LOG_SCALE_BOUND))
        return tfd.Independent(tfd.Normal(loc, scale * temperature), reinterpreted_batch_ndims=len(self.event_shape))
