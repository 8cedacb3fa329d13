"""What is done to x before it is encoded, in training alone: a denoising model scores the clean x."""

from typing import Any

import keras
from keras import ops

from keras_vae import parts
from keras_vae.backend import Tensor, tfd
from keras_vae.names import check_number
from keras_vae.parts import Part, register

__all__ = ["Corruption", "Gaussian", "Masking", "SaltAndPepper", "check", "get"]

# Of data that is not between 0 and 1.
_ENDS = {"8-bit levels": (0.0, 255.0), "numbers": (-3.0, 3.0)}


class Corruption(Part):
    """Base class of corruptions; each is applied anew to every batch that is trained on, and to no other.

    Attributes:
        counts: whether it makes sense of counts.
    """

    role = "corruption"
    counts = False

    def corrupted(self, x: Tensor, seed: Tensor, data: str = "unit interval") -> Tensor:
        """`x` with noise.

        Args:
            x: (B, *X), in the units of the data; numbers of a `standardized` likelihood are standardised.
            seed: integer tensor, (2,); equal seeds give equal noise.
            data: the kind of data that the likelihood sees, one of `keras_vae.training.values.KINDS`.

        Returns:
            (B, *X).
        """
        raise NotImplementedError


def _chosen(x, rate, seed):
    """Whether each element of `x` is among those that have a chance of `rate`, and a uniform number beside it."""
    chance, beside = ops.split(tfd.Uniform(0.0, 1.0).sample((2, *ops.shape(x)), seed=seed), 2)
    return ops.squeeze(chance, axis=0) < rate, ops.squeeze(beside, axis=0)


def _check_rate(rate):
    check_number(rate=rate)
    if rate > 1:
        raise ValueError(f"`rate` is a share of the elements, at most 1. Received: rate={rate!r}")
    return float(rate)


@register()
class Gaussian(Corruption):
    """Additive Gaussian noise.

    Args:
        scale: its standard deviation; of 8-bit levels, as a share of 255; of `standardized` numbers, of theirs.

    Reference: Vincent et al. 2010, "Stacked denoising autoencoders"; Im et al. 2017, arXiv:1511.06406 (of VAEs).
    """

    def __init__(self, scale: float = 0.3, **kwargs: Any):
        super().__init__(**kwargs)
        check_number(scale=scale)
        self.scale = float(scale)

    def corrupted(self, x: Tensor, seed: Tensor, data: str = "unit interval") -> Tensor:
        # Of numbers, which a likelihood standardises, it is in standard deviations.
        unit = 255.0 if data == "8-bit levels" else 1.0
        return x + self.scale * unit * tfd.Normal(0.0, 1.0).sample(ops.shape(x), seed=seed)


@register()
class Masking(Corruption):
    """Elements are set to 0, each with a probability of its own.

    Args:
        rate: the probability.
        value: what they are set to, of `standardized` numbers in standard deviations from the mean; None: they are
            missing, of a model made with `missing=True`.

    Reference: Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders", section 2.3.
    """

    counts = True

    def __init__(self, rate: float = 0.3, value: float | None = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = _check_rate(rate)
        self.value = None if value is None else float(value)

    def corrupted(self, x: Tensor, seed: Tensor, data: str = "unit interval") -> Tensor:
        return ops.where(_chosen(x, self.rate, seed)[0], float("nan") if self.value is None else self.value, x)


@register()
class SaltAndPepper(Corruption):
    """Elements are set to the least or the greatest value, either with half the probability.

    Args:
        rate: the probability that an element is one of them.
        low: the least value; None: 0, of `standardized` numbers, in standard deviations from the mean, -3.
        high: the greatest value; None: 1, of 8-bit levels 255, of `standardized` numbers 3.

    Reference: Vincent et al. 2010, "Stacked denoising autoencoders", section 3.3.
    """

    def __init__(self, rate: float = 0.1, low: float | None = None, high: float | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = _check_rate(rate)
        self.low, self.high = (None if end is None else float(end) for end in (low, high))

    def corrupted(self, x: Tensor, seed: Tensor, data: str = "unit interval") -> Tensor:
        ends = _ENDS.get(data, (0.0, 1.0))
        low, high = (end if own is None else own for own, end in zip((self.low, self.high), ends, strict=True))
        chosen, beside = _chosen(x, self.rate, seed)
        return ops.where(chosen, ops.where(beside < 0.5, low, high), x)


def get(identifier: Corruption | keras.layers.Layer | str | None) -> Corruption | keras.layers.Layer | None:
    """A corruption from an instance or a spec, such as "masking:rate=0.5"; layers of one's own, and None, stay."""
    if identifier is None or (isinstance(identifier, keras.layers.Layer) and not isinstance(identifier, Part)):
        return identifier
    return parts.get(Corruption, identifier)


def check(
    corruption: Corruption | keras.layers.Layer | None,
    image_shape: tuple[int, ...],
    data: str,
    missing: bool,
    kinds: set[str] = frozenset(),
) -> None:
    """Refuses a corruption that a model cannot have.

    Args:
        corruption: one of `get`.
        image_shape: *X.
        data: the kind of data that the likelihood sees.
        missing: whether NaN stands for what is missing.
        kinds: of the columns of a table.

    Raises:
        ValueError: for noise on counts and categories, missing elements of a model that knows none, and layers that
            change the shape.
    """
    if isinstance(corruption, Corruption):
        if data == "counts" and not corruption.counts:
            raise ValueError(f"Counts with this noise are none: take 'masking'. Received: {corruption!r}")
        whole = sorted(kinds - {"normal", "log_normal"})
        if whole and not corruption.counts:
            raise ValueError(
                f"Columns that are {' or '.join(whole)} hold whole numbers, and none with this noise: take 'masking'. "
                f"Received: {corruption!r}"
            )
        if getattr(corruption, "value", 0.0) is None and not missing:
            raise ValueError(
                "Only a model made with missing=True takes elements that are missing: give `value` a number. "
                f"Received: {corruption!r}"
            )
    elif corruption is not None:
        shape = tuple(corruption(keras.KerasTensor((None, *image_shape)), training=True).shape[1:])
        if shape != tuple(image_shape):
            raise ValueError(
                f"A layer that corrupts x keeps its shape, {tuple(image_shape)}. Received: {corruption!r}, which makes "
                f"{shape}"
            )
