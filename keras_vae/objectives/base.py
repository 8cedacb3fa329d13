"""What an objective is."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_vae.backend import Tensor, tfd
from keras_vae.inference import Inference, Latent, has_density
from keras_vae.names import check_whole
from keras_vae.parts import Part


class Objective(Part):
    """Base class of objectives.

    Args:
        samples: K, samples of z for each example.

    Attributes:
        whole_images: whether it looks at images, of which no element may be missing.
        moves_latents: whether it moves z from where q(z|x) drew them, by steps through all of space.
    """

    role = "objective"
    whole_images = False
    moves_latents = False

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

    def one_latent(self, inference: Inference, codes: bool = False) -> Latent:
        """The only group of latents, for objectives that are not defined for several.

        Args:
            inference: one pass.
            codes: whether latents may be codes, whole numbers.

        Raises:
            ValueError: for a model of several groups, and for codes.
        """
        if not codes:
            self.check_real(inference)
        if len(inference.latents) > 1:
            raise ValueError(
                "This objective is for models with one group of latents; several take bounds: ELBO, IWAE, MIWAE, "
                "CIWAE, PIWAE, DReG or StickingTheLanding. "
                f"Received: objective {self.spec!r}, {len(inference.latents)} groups"
            )
        return inference.latents[0]

    def check_real(self, inference: Inference) -> None:
        """Refuses codes, which have neither means nor distances."""
        parts = [part for latent in inference.latents for part in latent.parts]
        if any("int" in keras.backend.standardize_dtype(part.z.dtype) for part in parts):
            raise ValueError(
                "This objective is for latents of real numbers, and not for codes: take an ELBO, which weighs what a "
                f"codebook asks for, too. Received: objective {self.spec!r}, latents of whole numbers"
            )

    def check_alike(self, inference: Inference) -> None:
        """Refuses samples of which each has a weight of its own: labels that are enumerated."""
        if inference.weights is not None:
            raise ValueError(
                "This objective is for samples that count alike, and not for labels that are enumerated: take an ELBO, "
                f"IWAE or CIWAE. Received: objective {self.spec!r}"
            )


def negative_elbo(inference: Inference, beta: float = 1.0) -> Tensor:
    """`beta * KL - E_q[log p(x|z)]`, and what the posterior asks for, (B,), nats.

    Args:
        inference: one pass.
        beta: weight of the KL; where it is 0, none is computed, since some posteriors have none.
    """
    loss = inference.mean(inference.penalty) - inference.mean(inference.log_likelihood)
    return loss + beta * inference.mean(inference.kl) if beta else loss


def held(objective: Objective, inference: Inference) -> Callable[[Tensor], Tensor]:
    """z, as of `Inference.decode` -> log q(z|x), (K, B), whose gradients reach z alone.

    Raises:
        ValueError: where there is none, or z lets no gradient through.
    """
    latents = inference.latents
    constant = inference.densities is not None or (len(latents) == 1 and latents[0].held is not None)
    for q in (latent.posterior for latent in latents):
        if not constant or q.reparameterization_type != tfd.FULLY_REPARAMETERIZED or not has_density(q):
            raise ValueError(
                "This objective needs posteriors with a density, whose samples let gradients through, of a model that "
                "gives them as a constant, too (by `densities` of its Inference), as a VAE does. "
                f"Received: objective {objective.spec!r}, posterior {q}"
            )
    if len(latents) == 1 and latents[0].held is not None:
        return latents[0].held().log_prob
    return lambda z: inference.densities(z, True)[0]


def flat(z: Tensor) -> Tensor:
    """Samples as rows of units: (K, B, *D) -> (K * B, D)."""
    return ops.reshape(z, (-1, math.prod(z.shape[2:])))
