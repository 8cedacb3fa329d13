"""Priors on the unit sphere."""

from collections.abc import Callable
from typing import Any

from keras_vae.backend import Tensor, tfd
from keras_vae.parts import register
from keras_vae.priors.base import Prior


@register()
class HypersphericalUniform(Prior):
    """The uniform distribution on the unit sphere.

    No region of it is more typical than another: a temperature changes nothing.

    Args:
        size: D, number of latent units, 2 or more; the sphere has D - 1 dimensions.

    Reference: Davidson et al. 2018 (arXiv 1804.00891), section 3.1.
    """

    support = "the unit sphere"

    def __init__(self, size: int | tuple[int, ...], **kwargs: Any):
        super().__init__(size, **kwargs)
        self.check_vector(least=2)

    def distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        return tfd.SphericalUniform(self.size)
