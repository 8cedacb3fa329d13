"""Posteriors on the unit sphere."""

from typing import Any

from keras import ops

from keras_vae import distributions
from keras_vae.backend import Tensor, tfd
from keras_vae.parts import Head, register, soft_clip
from keras_vae.posteriors.base import Posterior

# A concentration of 10,000 is a standard deviation of a hundredth: beyond it float32 has few digits of a cosine.
CONCENTRATION_BOUND = 1e4


class _OnSphere(Posterior):
    """A direction and a concentration around it; the decoder sees z on the sphere, whatever z a caller gives.

    Args:
        size: D, number of latent units, 2 or more; the sphere has D - 1 dimensions.
    """

    support = "the unit sphere"
    default_prior = "hyperspherical_uniform"

    def __init__(self, size: int | tuple[int, ...], **kwargs: Any):
        super().__init__(size, **kwargs)
        self.check_vector(least=2)

    def build(self, features_shape: tuple[int, ...]) -> None:
        self.head = Head((self.size + 1,), name="head")
        self.head.build(features_shape)

    def _parameters(self, features):
        raw = self.head(features)[..., 0]
        return _normalised(raw[..., :-1]), 1.0 + soft_clip(raw[..., -1], 0.0, CONCENTRATION_BOUND)

    def point(self, distribution: tfd.Distribution) -> Tensor:
        """The mean direction, (B, D)."""
        return distribution.mean_direction

    def embed(self, z: Tensor, posterior: tfd.Distribution | None = None) -> Tensor:
        return _normalised(z)


def _normalised(z):
    return z / ops.sqrt(ops.sum(ops.square(z), axis=-1, keepdims=True) + 1e-12)


@register()
class PowerSpherical(_OnSphere):
    """A power spherical distribution, proportional to (1 + m'z)^k on the unit sphere; k is 1 + softplus(...).

    The decoder sees z / |z|, so that a line between two z is a way on the sphere.

    Args:
        size: D, number of latent units, 2 or more; the sphere has D - 1 dimensions.

    Reference: De Cao and Aziz 2020 (arXiv 2006.04437), equation 5.
    """

    def distribution(
        self, features: Tensor, prior: tfd.Distribution | None = None, training: bool = False
    ) -> tfd.Distribution:
        return distributions.PowerSpherical(*self._parameters(features))


@register()
class VonMisesFisher(_OnSphere):
    """A von Mises-Fisher distribution, proportional to exp(k m'z) on the unit sphere; k is 1 + softplus(...).

    The decoder sees z / |z|, so that a line between two z is a way on the sphere.

    Args:
        size: D, number of latent units, 2 or more; the sphere has D - 1 dimensions.

    Reference: Davidson et al. 2018 (arXiv 1804.00891), section 3.
    """

    def distribution(
        self, features: Tensor, prior: tfd.Distribution | None = None, training: bool = False
    ) -> tfd.Distribution:
        return distributions.VonMisesFisher(*self._parameters(features))
