"""Priors whose numbers were fitted after training."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae import distributions
from keras_vae.backend import Tensor, tfd
from keras_vae.names import check_whole, plain
from keras_vae.priors.base import Prior


@keras.saving.register_keras_serializable("keras_vae")
class FittedMixture(Prior):
    """A mixture of Normals of full covariance, fitted to latents after training; before that, N(0, I).

    Its numbers are weights that no optimiser trains. `VAE.fit_prior` makes one.

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent, whose units it takes as one vector.
        components: M, Normals in the mixture.
        active: A, how many units the mixture is over; the others are independent, N(0, 1). None: all.

    Reference: Ghosh, Sajjadi, Vergari, Black and Schölkopf 2020, "From variational to deterministic autoencoders",
    section 4 (ex-post density estimation).
    """

    def __init__(self, size: int | tuple[int, ...], components: int = 1, active: int | None = None, **kwargs: Any):
        super().__init__(size, **kwargs)
        check_whole(components=components)
        units = int(np.prod(self.event_shape))
        self.components, self.active = plain(components), units if active is None else plain(active)
        check_whole(active=self.active)
        if self.active > units:
            raise ValueError(f"`active` is at most the number of latent units, {units}. Received: active={active!r}")

    def build(self, input_shape: tuple[int, ...]) -> None:
        def weight(name, value):
            value = np.asarray(value)
            made = self.add_weight(
                name=name, shape=value.shape, dtype=value.dtype.name, initializer="zeros", trainable=False
            )
            made.assign(value)
            return made

        m, a = self.components, self.active
        self.logits = weight("logits", np.zeros(m, "float32"))
        self.loc = weight("loc", np.zeros((m, a), "float32"))
        self.scale_tril = weight("scale_tril", np.tile(np.eye(a, dtype="float32"), (m, 1, 1)))
        # The active units, then the others.
        self.order = weight("order", np.arange(np.prod(self.event_shape), dtype="int32"))

    def assign(self, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray, active: np.ndarray) -> None:
        """Sets the mixture.

        Args:
            weights: (M,), above 0.
            means: (M, A).
            covariances: (M, A, A), positive definite, float64.
            active: which units the mixture is over, bool, of the latent's shape.
        """
        self.logits.assign(np.log(weights))
        self.loc.assign(means)
        self.scale_tril.assign(np.linalg.cholesky(covariances))
        self.order.assign(np.concatenate([np.flatnonzero(active), np.flatnonzero(~active)]).astype("int32"))

    def distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        scale_tril = temperature * ops.convert_to_tensor(self.scale_tril)
        return distributions.NormalMixture(
            self.logits, self.loc, scale_tril, self.order, self.event_shape, scale=temperature
        )
