"""p(z), a TFP distribution over z."""

import keras
from keras import ops

from keras_vae.backend import tfd
from keras_vae.parts import LatentPart, lookup


class Prior(LatentPart):
    """Base class of priors."""

    def __init__(self, size, **kwargs):
        super().__init__(size, **kwargs)
        self.built = True

    def distribution(self, y=None, temperature=1.0):
        """p(z), or p(z|y) where the prior is conditional.

        Args:
            y: labels, (B, ...), or None.
            temperature: factor on the standard deviation; below 1, samples are more typical and less various.

        Returns:
            A TFP distribution, batch () or (B,), event (D,) (or (h, w, c)).
        """
        raise NotImplementedError


@keras.saving.register_keras_serializable("keras_vae")
class StandardNormal(Prior):
    """N(0, I)."""

    def distribution(self, y=None, temperature=1.0):
        loc = ops.zeros(self.event_shape)
        return tfd.Independent(
            tfd.Normal(loc, ops.ones_like(loc) * temperature), reinterpreted_batch_ndims=len(self.event_shape)
        )


def get(identifier, size):
    """A prior from an instance, or from a name ("standard_normal") and the size of its latent."""
    return lookup(identifier, Prior, (StandardNormal,), size)
