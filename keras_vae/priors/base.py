"""What a prior is."""

from keras_vae.parts import LatentPart


class Prior(LatentPart):
    """Base class of priors."""

    role = "prior"

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
