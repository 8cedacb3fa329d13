"""What an objective is."""

from keras_vae.names import check_whole
from keras_vae.parts import Part


class Objective(Part):
    """Base class of objectives.

    Args:
        samples: K, samples of z for each example.
    """

    role = "objective"

    def __init__(self, samples=1, **kwargs):
        super().__init__(**kwargs)
        check_whole(samples=samples)
        self.samples = samples
        self.built = True

    @property
    def names(self):
        """Names of the terms logged beside loss, elbo, log_likelihood and kl."""
        return ()

    def terms(self, inference):
        """The loss, and what else is to be logged.

        Args:
            inference: `Inference` of B examples.

        Returns:
            {"loss": ..., name: ...}, one entry for each of `names`; each (K, B), (B,) or a scalar, nats.
        """
        raise NotImplementedError
