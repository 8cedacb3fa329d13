"""Points: codes of autoencoders."""

import math

from keras_vae.backend import Tensor, tfd
from keras_vae.parts import Head, register
from keras_vae.posteriors.base import Posterior


@register()
class Point(Posterior):
    """A point, an autoencoder's code, which has no density.

    Its logarithm counts as 0: the logged KL is -log p(z) at the code, and the ELBO is log p(x, z), which is no bound on
    log p(x). With `elbo` the model is an autoencoder with the prior as a penalty on its codes, for the standard Normal
    half their squared norm; with `elbo:beta=0` it is a plain one.

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent.

    Reference: Ghosh et al. 2020 (arXiv 1903.12436), section 3.
    """

    has_density = False
    deterministic = True

    def build(self, features_shape: tuple[int, ...]) -> None:
        self.head = Head(self.event_shape, name="head")
        self.head.build(features_shape)

    def distribution(
        self, features: Tensor, prior: tfd.Distribution | None = None, training: bool = False
    ) -> tfd.Distribution:
        # Compiled functions may compute a code twice, and round it otherwise: it is never far from itself.
        code = tfd.Deterministic(self.head(features)[..., 0], atol=math.inf)
        return tfd.Independent(code, reinterpreted_batch_ndims=len(self.event_shape))
