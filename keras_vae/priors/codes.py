"""Priors over codes, whole numbers from 0."""

from collections.abc import Callable
from typing import Any

from keras_vae import distributions
from keras_vae.backend import Tensor, tfd
from keras_vae.names import check_whole, plain
from keras_vae.parts import register
from keras_vae.priors.base import Prior


class _OfCodes(Prior):
    """A prior over codes.

    Args:
        size: D codes, or the shape (h, w) of a map of codes.
        codes: how many different ones there are; in a spec, that of the posterior unless it says otherwise.
    """

    def __init__(self, size: int | tuple[int, ...], codes: int, **kwargs: Any):
        super().__init__(size, **kwargs)
        check_whole(codes=codes)
        self.codes = plain(codes)

    @property
    def support(self) -> str:
        return f"whole numbers below {self.codes}"


@register()
class UniformCodes(_OfCodes):
    """Independent codes that are equally likely; a temperature changes nothing.

    Args:
        size: D codes, or the shape (h, w) of a map of codes.
        codes: how many different ones there are; in a spec, that of the posterior unless it says otherwise.

    Reference: van den Oord, Vinyals and Kavukcuoglu 2017 (arXiv 1711.00937), section 3.1.
    """

    def distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        code = distributions.UniformCodes(self.codes, self.event_shape)
        return tfd.Independent(code, reinterpreted_batch_ndims=len(self.event_shape))
