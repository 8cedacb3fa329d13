"""What a prior is."""

from collections.abc import Callable

from keras_vae.backend import Tensor, tfd
from keras_vae.parts import LatentPart


class Prior(LatentPart):
    """Base class of priors p(z).

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent.

    Attributes:
        label_shape: shape of one example's label, of conditional priors p(z|y); None: the prior takes none.
        uses_encoder: whether the prior is made of the model's encoder, by `encode`.
        classes: how many classes the prior learns to tell apart, by labels of few latents as a rule; None: none.
    """

    role = "prior"
    label_shape: tuple[int, ...] | None = None
    uses_encoder: bool = False
    classes: int | None = None

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Makes the weights, if there are any.

        Args:
            input_shape: shape of what the encoder sees of one example.
        """

    def distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        """p(z), or p(z|y) where the prior is conditional.

        Args:
            y: labels, (B, ...) or (K, B, ...), or None.
            temperature: factor on the standard deviation; below 1, samples are more typical and less various.
            encode: pseudo-inputs (N, *input_shape) -> q(z|u), batch (N,), by the model's encoder, for priors made
                of it.

        Returns:
            A TFP distribution, batch (), (B,) or (K, B), event (D,) (or (h, w, c)).
        """
        raise NotImplementedError

    def training_distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        """p(z) as a step of training has it: `distribution`, unless its density is an estimate, with noise.

        Args:
            y: as in `distribution`.
            temperature: as in `distribution`.
            encode: as in `distribution`.

        Returns:
            A TFP distribution, as `distribution` does; an estimate has new noise in each.
        """
        return self.distribution(y, temperature, encode)
