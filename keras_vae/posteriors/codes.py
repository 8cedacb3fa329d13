"""Codes: whole numbers, each of which stands for a vector that the decoder sees."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_vae import distributions
from keras_vae.backend import Tensor, tfd
from keras_vae.names import check_number, check_whole, plain
from keras_vae.parts import Head, register
from keras_vae.posteriors.base import Posterior

# float32 tells as many whole numbers apart.
LARGEST = 2**24


class _Coded(Posterior):
    """Latents of codes, each of which stands for a vector of `vector` numbers.

    A subclass has `codes`, how many there are, and `vector`.

    Args:
        size: D codes, or the shape (h, w) of a map of codes.

    Attributes:
        places: shape of what has a vector each, that of z unless several codes go to a vector.
    """

    discrete = True
    has_codes = True
    default_prior = "uniform_codes"
    vector: int

    @property
    def places(self) -> tuple[int, ...]:
        """Shape of what has a vector each."""
        return self.event_shape

    @property
    def support(self) -> str:
        return f"whole numbers below {self.codes}"

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        return (*self.places, self.vector)

    @classmethod
    def size_seen(cls, shape: tuple[int, ...], **arguments: Any) -> int | tuple[int, ...]:
        vector = cls(1, **arguments).vector
        if shape[-1] % vector or (len(shape) > 1 and shape[-1] != vector):
            raise ValueError(
                f"The decoder sees {vector} numbers for each code: it must take a map of them, (h, w, {vector}), "
                f"or a multiple of {vector} numbers. Received: a decoder that takes {shape}"
            )
        return shape[0] // vector if len(shape) == 1 else shape[:-1]

    def build(self, features_shape: tuple[int, ...]) -> None:
        by_position = tuple(features_shape[:-1]) == self.places or len(self.places) > 1
        self.head = Head(self.embedding_shape if by_position else (math.prod(self.embedding_shape),), name="head")
        self.head.build(features_shape)

    def _raw(self, features):
        """What the network gives for each vector, (*lead, *places, V)."""
        raw = self.head(features)[..., 0]
        lead = ops.shape(raw)[: len(raw.shape) - len(self.head.event_shape)]
        return ops.reshape(raw, (*lead, *self.embedding_shape))


class Quantizer(_Coded):
    """q(z|x) has all mass on the codes of what the encoder gives.

    KL(q || p) = -log p(codes), the length of the codes in nats, and the ELBO, log p(x|codes) + log p(codes), is a lower
    bound on log p(x). Gradients pass the rounding as if it were not there (straight through, Bengio et al. 2013).
    """

    deterministic = True

    def distribution(
        self, features: Tensor, prior: tfd.Distribution | None = None, training: bool = False
    ) -> tfd.Distribution:
        vectors = self._vectors(features)
        codes = self._nearest(ops.stop_gradient(vectors))
        return distributions.Codes(codes, vectors, self._meaning(), len(self.event_shape), len(self.embedding_shape))

    def point(self, distribution: tfd.Distribution) -> Tensor:
        """The codes, (B, *D)."""
        return distribution.mode()

    def embed(self, z: Tensor, posterior: tfd.Distribution | None = None) -> Tensor:
        if posterior is None:
            return self._seen(self._meaning()(z))
        vectors = posterior.vectors
        return ops.stop_gradient(self._seen(posterior.look_up(z))) + (vectors - ops.stop_gradient(vectors))

    def _meaning(self):
        """A function from codes to what they stand for now, (*lead, *D, V), whatever is learnt afterwards."""
        raise NotImplementedError

    def _seen(self, vectors):
        """What the decoder sees of what codes stand for, (*lead, *D, V) -> (*lead, *places, V)."""
        return vectors

    def _vectors(self, features):
        """What is quantised, (*lead, *places, V)."""
        return self._raw(features)

    def _nearest(self, vectors):
        """(*lead, *places, V) -> codes (*lead, *D), int32."""
        raise NotImplementedError


@register()
class FiniteScalar(Quantizer):
    """The points of a fixed grid: each number is bounded, and rounded to one of its levels (FSQ).

    There is no codebook, and nothing to commit to. The decoder sees the points of the grid, between -1 and 1.

    Args:
        size: D codes, or the shape (h, w) of a map of codes.
        levels: of each number, 3 or more; there are as many codes as their product.
        normalized: whether the numbers of an example are divided by their root mean square before they are bounded. The
            paper does not. Without it the first steps, which move the numbers of all examples alike, can drive them
            past the outermost levels, where the bound has no gradient: all examples then share one code for good.

    Reference: Mentzer et al. 2024 (arXiv 2309.15505), section 3.1 and appendix A.1.
    """

    def __init__(
        self,
        size: int | tuple[int, ...],
        levels: tuple[int, ...] = (8, 5, 5, 5),
        normalized: bool = True,
        **kwargs: Any,
    ):
        super().__init__(size, **kwargs)
        self.normalized = bool(normalized)
        self.levels = plain(levels)
        if not isinstance(self.levels, tuple) or not self.levels:
            raise ValueError(f"`levels` must be a list, such as [8, 5, 5, 5]. Received: levels={levels!r}")
        for level in self.levels:
            check_whole(least=3, levels=level)
        if math.prod(self.levels) > LARGEST:
            raise ValueError(f"There are at most 2^24 codes, the product of `levels`. Received: levels={levels!r}")

    @property
    def codes(self) -> int:
        """How many codes there are."""
        return math.prod(self.levels)

    @property
    def vector(self) -> int:
        """V, how many numbers a code stands for."""
        return len(self.levels)

    def _vectors(self, features):
        levels = np.array(self.levels)
        half = ((levels - 1) * (1 - 1e-3) / 2).astype("float32")
        # With an even number of levels they lie half a step lower, and 0 still is sent to 0.
        offset = np.where(levels % 2 == 0, 0.5, 0.0).astype("float32")
        raw = self._raw(features)
        if self.normalized:
            squares = ops.mean(ops.square(raw), axis=tuple(range(-len(self.embedding_shape), 0)), keepdims=True)
            raw = raw * ops.rsqrt(squares + 1e-6)
        bounded = ops.tanh(raw + np.arctanh(offset / half)) * half - offset
        return bounded / self._halves

    @property
    def _halves(self):
        return (np.array(self.levels) // 2).astype("float32")

    def _nearest(self, vectors):
        digits = ops.cast(ops.round(vectors * self._halves) + self._halves, "int32")
        return ops.sum(digits * self._places, axis=-1)

    @property
    def _places(self):
        return np.cumprod([1, *self.levels[:-1]]).astype("int32")

    def _meaning(self):
        return self._points

    def _points(self, z):
        digits = z[..., None] // self._places % np.array(self.levels, "int32")
        return ops.cast(digits, "float32") / self._halves - 1.0


@register()
class OneHot(_Coded):
    """Independent categorical variables, which the decoder sees one-hot; gradients are those of a relaxation.

    A code is drawn as the largest of logits with Gumbel noise, and gradients pass through the softmax of the same sum
    (straight-through Gumbel-softmax). The KL is exact. `encode` returns the likeliest codes.

    Args:
        size: D variables, or the shape (h, w) of a map of them.
        classes: of each variable.
        temperature: of the softmax: the lower, the less biased are the gradients, and the more various.

    Reference: Jang, Gu and Poole 2017 (arXiv 1611.01144), section 2.2; Maddison, Mnih and Teh 2017 (arXiv 1611.00712),
        whose temperature this is.
    """

    def __init__(self, size: int | tuple[int, ...], classes: int = 10, temperature: float = 0.67, **kwargs: Any):
        super().__init__(size, **kwargs)
        check_whole(classes=classes)
        check_number(zero=False, temperature=temperature)
        self.classes, self.temperature = plain(classes), float(temperature)

    @property
    def codes(self) -> int:
        """How many codes there are."""
        return self.classes

    @property
    def vector(self) -> int:
        """V, how many numbers a code stands for."""
        return self.classes

    def distribution(
        self, features: Tensor, prior: tfd.Distribution | None = None, training: bool = False
    ) -> tfd.Distribution:
        code = distributions.RelaxedCategorical(self._raw(features), self.temperature)
        return tfd.Independent(code, reinterpreted_batch_ndims=len(self.event_shape))

    def point(self, distribution: tfd.Distribution) -> Tensor:
        """The likeliest codes, (B, *D)."""
        return distribution.mode()

    def embed(self, z: Tensor, posterior: tfd.Distribution | None = None) -> Tensor:
        seen = ops.one_hot(z, self.classes, dtype="float32")
        if posterior is None:
            return seen
        soft = posterior.distribution.relaxed(ops.shape(z))
        return seen + (soft - ops.stop_gradient(soft))
