"""What all samplers are."""

import keras
import numpy as np


class Sampler:
    """Base class of samplers: where `vae.sample(n, sampler=...)` has its latents from, in the place of the prior.

    Attributes:
        label_shape: shape of a label that it takes though the model takes none; None: it takes the model's, if any.
    """

    label_shape: tuple[int, ...] | None = None

    def draw(
        self, model: keras.Model, n: int, y: np.ndarray | None = None, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Draws latents; the first of them are the same whatever `n` is.

        Args:
            model: a `LatentVariableModel`.
            n: how many.
            y: (n, *label_shape), the labels that are asked for, where the model is conditional; None: any.
            seed: int.

        Returns:
            z, (n, *latent_shape), as `model.decode` takes them; their labels, (n, *label_shape), or None.
        """
        raise NotImplementedError
