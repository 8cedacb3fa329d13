"""Normal priors."""

from keras import ops

from keras_vae.backend import tfd
from keras_vae.parts import register
from keras_vae.priors.base import Prior


@register()
class StandardNormal(Prior):
    """N(0, I).

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent.

    Reference: Kingma and Welling 2014, section 3.
    """

    def distribution(self, y=None, temperature=1.0, encode=None):
        loc = ops.zeros(self.event_shape)
        return tfd.Independent(
            tfd.Normal(loc, ops.ones_like(loc) * temperature), reinterpreted_batch_ndims=len(self.event_shape)
        )
