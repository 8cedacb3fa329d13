"""Mixtures: of learned Normals, and of the posteriors of learned inputs."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_vae.backend import Tensor, tfd
from keras_vae.distributions import tempered
from keras_vae.names import check_whole, plain
from keras_vae.parts import register, soft_clip
from keras_vae.priors.base import Prior
from keras_vae.priors.normal import LOG_SCALE_BOUND


@register("mixture")
class NormalMixture(Prior):
    """A mixture of diagonal Normals, sum_k w_k N(m_k, s_k^2), all of it learned.

    A temperature scales the standard deviation inside each component; the weights stay.

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent.
        components: K.

    Reference: Tomczak and Welling 2018 (arXiv 1705.07120), section 4.2 ("MoG"); Dilokthanakul et al. 2016
        (arXiv 1611.02648).
    """

    def __init__(self, size: int | tuple[int, ...], components: int = 10, **kwargs: Any):
        super().__init__(size, **kwargs)
        check_whole(components=components)
        self.components = plain(components)

    def build(self, input_shape: tuple[int, ...]) -> None:
        shape = (self.components, *self.event_shape)
        self.logits = self.add_weight(name="logits", shape=(self.components,), initializer="zeros")
        self.loc = self.add_weight(name="loc", shape=shape, initializer=keras.initializers.RandomNormal(stddev=1.0))
        self.log_scale = self.add_weight(name="log_scale", shape=shape, initializer="zeros")

    def start_from(self, z: ArrayLike, seed: int = 0) -> None:
        """Has the mixture begin at the clusters of latents, found by EM.

        Args:
            z: (N, *D), latents of a model that was trained with another prior or objective, `vae.encode(images)`.
            seed: of EM's start.

        Raises:
            ValueError: for latents of another shape, or fewer than there are components.

        Reference: Jiang et al. 2017 (arXiv 1611.05148), section 3.4.
        """
        from sklearn.mixture import GaussianMixture

        z = np.asarray(z, dtype="float64")
        if z.shape[1:] != self.event_shape or len(z) < self.components:
            raise ValueError(
                f"Give latents of shape (N, {', '.join(map(str, self.event_shape))}), at least one for each of "
                f"{self.components} components. Received: shape {z.shape}"
            )
        found = GaussianMixture(self.components, covariance_type="diag", random_state=seed)
        found.fit(z.reshape(len(z), -1))
        self.logits.assign(np.log(found.weights_))
        self.loc.assign(found.means_.reshape(self.loc.shape))
        self.log_scale.assign(0.5 * np.log(found.covariances_).reshape(self.loc.shape))

    def distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        scale = ops.exp(soft_clip(self.log_scale.value, -LOG_SCALE_BOUND, LOG_SCALE_BOUND))
        normal = tfd.Independent(
            tfd.Normal(self.loc.value, scale * temperature), reinterpreted_batch_ndims=len(self.event_shape)
        )
        return tfd.MixtureSameFamily(tfd.Categorical(logits=self.logits.value), normal)


@register("vamp")
class VampPrior(Prior):
    """The mixture of the posteriors of K learned inputs, sum_k w_k q(z|u_k), by the model's own encoder.

    The encoder is in inference mode for it, so that layers such as batch normalisation see real data alone. A
    temperature scales each component as it scales priors: towards its mean, the Normal of a flow, or the concentration
    on a sphere.

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent.
        components: K, pseudo-inputs.
        weighted: whether the mixture's weights are learned, too; otherwise all are 1/K.

    Reference: Tomczak and Welling 2018 (arXiv 1705.07120), equation 9. There, pseudo-inputs are kept within [0, 1];
        here they are free, in the units of what the encoder sees.

    Example:
        vae = kv.VAE(encoder, decoder, prior="vamp:components=100")
        vae.prior.start_from(vae.likelihood.network_input(images[:100]))
    """

    uses_encoder = True
    # That of the posterior.
    support = None

    def __init__(self, size: int | tuple[int, ...], components: int = 500, weighted: bool = False, **kwargs: Any):
        super().__init__(size, **kwargs)
        check_whole(components=components)
        self.components, self.weighted = plain(components), bool(weighted)

    def build(self, input_shape: tuple[int, ...]) -> None:
        start = keras.initializers.RandomUniform(0.0, 1.0)
        self.inputs = self.add_weight(name="inputs", shape=(self.components, *input_shape), initializer=start)
        if self.weighted:
            self.logits = self.add_weight(name="logits", shape=(self.components,), initializer="zeros")

    def start_from(self, inputs: Tensor) -> None:
        """Has the pseudo-inputs begin at data.

        Args:
            inputs: (components, *X), as the encoder sees them, `vae.likelihood.network_input(images)`.

        Raises:
            ValueError: for another shape.
        """
        expected = tuple(self.inputs.shape)
        if tuple(inputs.shape) != expected:
            raise ValueError(
                f"Give one input for each of the {self.components} components, of shape {expected}. "
                f"Received: shape {tuple(inputs.shape)}"
            )
        self.inputs.assign(ops.cast(inputs, "float32"))

    def distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        logits = self.logits.value if self.weighted else ops.zeros((self.components,), dtype="float32")
        return tfd.MixtureSameFamily(tfd.Categorical(logits=logits), tempered(encode(self.inputs.value), temperature))
