"""Latents near those of real images."""

from typing import Any

import keras
import numpy as np

from keras_vae.names import check_number
from keras_vae.samplers.base import Sampler


class Neighbourhood(Sampler):
    """Latents near those of real images: z = encode(x) + scale * noise, for x drawn from some images.

    Args:
        x: (N, *X), the images.
        scale: standard deviation of the noise, in the units of latents.
        y: (N, *label_shape), their labels, where the model is conditional. A sample has the label of its image, unless
            `sample` is given others.

    Raises:
        ValueError: for no images, another number of labels, or a scale that is no number of at least 0; from `sample`,
            for codes.

    Example: `vae.sample(16, sampler=kv.samplers.Neighbourhood(images, scale=0.1))`.
    """

    def __init__(self, x: Any, scale: float = 0.1, y: Any = None):
        check_number(scale=scale)
        if not len(x) or (y is not None and len(y) != len(x)):
            labels = "" if y is None else f" and {len(y)} labels"
            raise ValueError(f"One image is needed at least, and a label for each. Received: {len(x)} images{labels}")
        self.x, self.scale, self.y = x, float(scale), y

    def draw(
        self, model: keras.Model, n: int, y: np.ndarray | None = None, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray | None]:
        if model.has_codes or model.class_units:
            raise ValueError(
                "Codes, which are whole numbers, and classes have no neighbours. "
                f"Received: latents of type {model.latent_dtype}, of a {type(model).__name__}"
            )
        chosen, noise = (np.random.default_rng([seed, number]) for number in range(2))
        x = np.asanyarray(self.x)
        index = chosen.integers(len(x), size=n)
        own = None if self.y is None else np.asarray(self.y)[index]
        z = model.encode(x[index], own)
        z += self.scale * noise.standard_normal(z.shape, dtype="float32")
        return z, own if y is None else y
