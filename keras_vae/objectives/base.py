"""What an objective is."""

from typing import Any

from keras_vae.backend import Tensor
from keras_vae.inference import Inference
from keras_vae.names import check_whole
from keras_vae.parts import Part


class Objective(Part):
    """Base class of objectives.

    Args:
        samples: K, samples of z for each example.
    """

    role = "objective"

    def __init__(self, samples: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        check_whole(samples=samples)
        self.samples = int(samples)

    def build(self, latent_shape: tuple[int, ...], image_shape: tuple[int, ...]) -> None:
        """Makes networks of its own, if there are any.

        Args:
            latent_shape: shape of one z, as `encode` gives it.
            image_shape: *X, shape of one example.
        """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the terms logged beside loss, elbo, log_likelihood and kl."""
        return ()

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        """The loss, and what else is to be logged.

        Args:
            inference: `Inference` of B examples.

        Returns:
            {"loss": ..., name: ...}, one entry for each of `names`; each (K, B), (B,) or a scalar, nats. Means over the
            batch are `inference.batch_mean`, in which each example counts by its weight.
        """
        raise NotImplementedError
