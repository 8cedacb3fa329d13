"""Normal priors."""

from collections.abc import Callable

from keras import ops

from keras_vae.backend import Tensor, tfd
from keras_vae.parts import register
from keras_vae.priors.base import Prior


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
