"""What a posterior is."""

from keras_vae.parts import LatentPart


class Posterior(LatentPart):
    """Base class of posteriors."""

    role = "posterior"

    def distribution(self, features):
        """q(z|x).

        Args:
            features: (B, *F), the encoder's output.

        Returns:
            A TFP distribution, batch (B,), event (D,) (or (h, w, c)).
        """
        raise NotImplementedError
