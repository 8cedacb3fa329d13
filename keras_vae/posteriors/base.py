"""What a posterior is."""

import math
from typing import Any

from keras_vae.backend import Tensor, tfd
from keras_vae.parts import LatentPart


class Posterior(LatentPart):
    """Base class of posteriors q(z|x).

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent.

    Attributes:
        discrete: whether z are codes, whole numbers that have no mean.
        has_codes: whether z, or some of its units, are codes.
        codes: how many codes there are, where z are codes; otherwise None.
        books: how many codebooks there are, one after the other along the last axis of z; 1: one for all.
        has_density: whether q(z|x) has a density.
        adapts: whether `distribution` fits something to the batch in training, and takes its `sample_weight`.
        deterministic: whether q(z|x) has all mass on one z, so that all samples are alike.
        relative: whether q(z|x) is relative to a prior that is a diagonal Normal, and changes with it.
        default_prior: spec of the prior of a model that is given none.
    """

    role = "posterior"
    discrete = False
    has_codes: bool = False
    codes: int | None = None
    books: int = 1
    has_density: bool = True
    adapts: bool = False
    deterministic: bool = False
    relative: bool = False
    default_prior: str = "standard_normal"

    def distribution(
        self, features: Tensor, prior: tfd.Distribution | None = None, training: bool = False
    ) -> tfd.Distribution:
        """q(z|x).

        Args:
            features: (B, *F), the encoder's output; (K, B, *F) below other groups.
            prior: p(z), for posteriors that are relative to it.
            training: whether what adapts to the features (a codebook) may.

        Returns:
            A TFP distribution, batch (B,) or (K, B), event (D,) (or (h, w, c)).
        """
        raise NotImplementedError

    def point(self, distribution: tfd.Distribution) -> Tensor:
        """The z that stands for x where one is asked for, (B, *D): the mean of q(z|x)."""
        return distribution.mean()

    def embed(self, z: Tensor, posterior: tfd.Distribution | None = None) -> Tensor:
        """What the decoder sees of z: z itself, unless z are codes.

        Args:
            z: (K, B, *D).
            posterior: the distribution that z was drawn from, where gradients are to reach it; None: there is no x.

        Returns:
            (K, B, *E), E being `embedding_shape`.
        """
        return z

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        """*E, the shape of what `embed` makes of one z."""
        return self.event_shape

    @property
    def latent_size(self) -> int | tuple[int, ...]:
        """The `size` of a prior over z."""
        return self.event_shape[0] if len(self.event_shape) == 1 else self.event_shape

    @property
    def suiting(self) -> dict[str, Any]:
        """Arguments of a prior over z that its spec may leave out, beside its size."""
        return {"codes": self.codes}

    @property
    def network_size(self) -> int | tuple[int, ...]:
        """The latent size of networks that go with it: `embedding_shape`, as one number where `size` is one."""
        return math.prod(self.embedding_shape) if isinstance(self.size, int) else self.embedding_shape

    @classmethod
    def size_seen(cls, shape: tuple[int, ...], **arguments: Any) -> int | tuple[int, ...]:
        """The `size` of which a decoder sees `shape`.

        Args:
            shape: of one example of the decoder's input.
            **arguments: of the constructor, but `size`.
        """
        return shape[0] if len(shape) == 1 else shape

    def penalty(self, posterior: tfd.Distribution) -> Tensor | float:
        """What training adds to the loss and no bound counts (a commitment), (B,) or (K, B), nats."""
        return 0.0
