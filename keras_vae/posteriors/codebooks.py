"""Codebooks: quantisers to vectors that are learnt."""

import functools
import math
from typing import Any

import keras
from keras import ops

from keras_vae.backend import Tensor, noise_seed, tfd
from keras_vae.names import check_number, check_whole, plain
from keras_vae.parts import register
from keras_vae.posteriors.codes import Quantizer


class _Codebook(Quantizer):
    """The nearest vectors of codebooks, which are trained by a loss or are moving averages.

    A subclass calls `_take`, and has `_book_shape`, that of the weight.
    """

    def _take(self, codes, vector, commitment, decay, revival):
        check_whole(codes=codes, vector=vector)
        check_number(commitment=commitment, decay=0.0 if decay is None else decay, revival=revival)
        if decay is not None and decay >= 1:
            raise ValueError(f"`decay` is below 1, or None: a loss trains the codebook. Received: decay={decay!r}")
        self.codes, self.vector, self.commitment = plain(codes), plain(vector), float(commitment)
        self.decay, self.revival = None if decay is None else float(decay), float(revival)
        # Of what dead codes begin again at.
        self.seed_generator = keras.random.SeedGenerator(1711)

    @property
    def adapts(self) -> bool:
        """Whether the codebook is a moving average of what was nearest to it."""
        return self.decay is not None

    def build(self, features_shape: tuple[int, ...]) -> None:
        super().build(features_shape)
        averaged = {"trainable": False, "aggregation": "mean"} if self.adapts else {}
        start = keras.initializers.RandomNormal(stddev=self.vector**-0.5)
        self.codebook = self.add_weight(name="codebook", shape=self._book_shape, initializer=start, **averaged)
        if averaged:
            self.counts = self.add_weight(name="counts", shape=self._book_shape[:-1], initializer="zeros", **averaged)

    def distribution(
        self,
        features: Tensor,
        prior: tfd.Distribution | None = None,
        training: bool = False,
        sample_weight: Tensor | None = None,
    ) -> tfd.Distribution:
        """q(z|x); the codebook moves where it is a moving average.

        Args:
            features: (B, *F), the encoder's output.
            prior: p(z), which changes nothing.
            training: whether the codebook may move.
            sample_weight: (B,), how much each example counts in its averages; None: all alike.
        """
        q = super().distribution(features, prior, training)
        if training and self.trainable and self.adapts:
            self._move(q, sample_weight)
        return q

    def _rows(self, codes):
        """The places of codes in the book, all of whose vectors are one list."""
        return codes

    def _left(self, vectors, stand_for):
        """What each code quantises, where codes stand for that, (*lead, *D, V)."""
        return vectors

    def _closest(self, vectors, book):
        closeness = ops.matmul(vectors, ops.transpose(book)) - 0.5 * ops.sum(ops.square(book), axis=-1)
        # Keras' argmax takes floats apart bit by bit, which ONNX cannot.
        return ops.cast(ops.top_k(closeness, 1)[1][..., 0], "int32")

    @property
    def _book(self):
        return ops.reshape(self.codebook.value, (-1, self.vector))

    def _meaning(self):
        return functools.partial(_vectors_of, self._book, self._rows)

    def _move(self, q, sample_weight):
        """Takes what was quantised into the moving averages of what was nearest to it."""
        codes = q.mode()
        left = self._left(ops.stop_gradient(q.vectors), ops.stop_gradient(q.look_up(codes)))
        lead, places = ops.shape(codes)[: -len(self.event_shape)], math.prod(self.event_shape)
        weight = ops.ones(lead, dtype="float32") if sample_weight is None else ops.broadcast_to(sample_weight, lead)
        weight = ops.reshape(weight, (-1,))
        left = ops.reshape(left, (-1, places, self.vector))
        # An example that does not count may have any value, infinity too.
        weighted = ops.where(weight[:, None, None] > 0, left, 0.0) * weight[:, None, None]
        rows, number = ops.reshape(self._rows(codes), (-1,)), math.prod(self._book_shape[:-1])
        each = ops.reshape(ops.broadcast_to(weight[:, None], ops.shape(left)[:2]), (-1,))
        used = ops.segment_sum(each, rows, num_segments=number)
        sums = ops.segment_sum(ops.reshape(weighted, (-1, self.vector)), rows, num_segments=number)
        book, rate = self._book, 1.0 - self.decay
        counts = self.decay * ops.reshape(self.counts.value, (-1,)) + rate * used
        # The moving sum of vectors over the moving count.
        step = rate * (sums - used[:, None] * book) / ops.maximum(counts, 1e-12)[:, None]
        dead = ops.logical_and(counts < self.revival, ops.sum(weight) > 0)
        book = ops.where(dead[:, None], self._drawn(left, weight), book + step)
        self.codebook.assign(ops.reshape(book, self._book_shape))
        self.counts.assign(ops.reshape(ops.where(dead, 1.0, counts), self._book_shape[:-1]))

    def _drawn(self, left, weight):
        """A vector of the batch for each of the book, of those that its own codebook quantises.

        Examples are drawn in proportion to their weights.
        """
        number, places = math.prod(self._book_shape[:-1]), left.shape[1] // self.books
        drawn = tfd.Uniform(0.0, 1.0).sample((2, number), seed=noise_seed(self.seed_generator))
        example, place = ops.unstack(drawn)
        # Less than the sum, to which a product may be rounded.
        reached = example * ops.sum(weight) * (1.0 - 2.0**-22)
        example = ops.cast(ops.searchsorted(ops.cumsum(weight), reached, side="right"), "int32")
        example = ops.minimum(example, ops.shape(weight)[0] - 1)
        place = ops.cast(ops.minimum(ops.floor(place * places), places - 1.0), "int32")
        book = ops.arange(number, dtype="int32") // self.codes
        index = (example * places + place) * self.books + book
        return ops.take(ops.reshape(left, (-1, self.vector)), index, axis=0)

    def penalty(self, posterior: tfd.Distribution) -> Tensor:
        """The squared distances of both losses, (B,) or (K, B)."""
        stand_for = posterior.look_up(posterior.mode())
        constant, axes = ops.stop_gradient(stand_for), tuple(range(-len(self.event_shape) - 1, 0))
        left = self._left(posterior.vectors, constant)
        loss = self.commitment * ops.sum(ops.square(left - constant), axis=axes)
        if not self.adapts:
            loss = loss + ops.sum(ops.square(ops.stop_gradient(left) - stand_for), axis=axes)
        return loss


def _vectors_of(book, rows, codes):
    return ops.take(book, rows(codes), axis=0)


@register()
class VectorQuantizer(_Codebook):
    """The nearest vectors of a codebook (VQ-VAE).

    The codebook is trained by a loss, the squared distance of its vectors from those of the encoder; or, with `decay`,
    each of its vectors is the moving average of what was nearest to it, in which an example of weight 2 is there twice.
    A code whose moving count falls below `revival` begins again at a vector of the batch; so do all in the first step.

    Args:
        size: D codes, or the shape (h, w) of a map of codes.
        codes: how many there are in the codebook.
        vector: V, numbers in each vector.
        commitment: weight of the squared distance by which the encoder's vectors are drawn to those of the codebook.
        decay: of the moving averages; None: a loss trains the codebook.
        revival: moving count of uses in a batch below which a code begins again; 0: none does.

    Reference: van den Oord, Vinyals and Kavukcuoglu 2017 (arXiv 1711.00937), equation 3 and appendix A.1; Razavi, van
        den Oord and Vinyals 2019 (arXiv 1906.00446); Dhariwal et al. 2020 (arXiv 2005.00341), section 3.1 (revival).
    """

    def __init__(
        self,
        size: int | tuple[int, ...],
        codes: int = 512,
        vector: int = 64,
        commitment: float = 0.25,
        decay: float | None = None,
        revival: float = 0.01,
        **kwargs: Any,
    ):
        super().__init__(size, **kwargs)
        self._take(codes, vector, commitment, decay, revival)

    @property
    def _book_shape(self):
        return (self.codes, self.vector)

    def _nearest(self, vectors):
        return self._closest(vectors, ops.stop_gradient(self._book))


@register()
class ResidualQuantizer(_Codebook):
    """Sums of vectors of codebooks: each code is the nearest to what the codes before it have left (RQ-VAE).

        r_0 = encoder's vector,    k_l = argmin_k |r_{l-1} - e_l(k)|,    r_l = r_{l-1} - e_l(k_l)

    z has a last axis more than a map of vectors, the L codes of each, and the decoder sees the sum of e_l(k_l). Losses
    and moving averages are those of `VectorQuantizer` at each level: r_{l-1} is drawn to e_l(k_l), and the other way
    round, the levels before it being constants in the one, and the encoder in the other.

    Args:
        size: D vectors, or the shape (h, w) of a map of them; z has the shape (D, L), or (h, w, L).
        levels: L, codes for each vector.
        codes: how many there are in each codebook.
        vector: V, numbers in each vector.
        shared: whether all levels have one codebook, as in Lee et al.; otherwise each has its own, as in SoundStream.
        commitment: weight of the squared distance by which the encoder's vectors are drawn to the sums.
        decay: of the moving averages; None: a loss trains the codebooks.
        revival: moving count of uses in a batch below which a code begins again; 0: none does.

    Reference: Lee et al. 2022 (arXiv 2203.01941), section 3.1; Zeghidour et al. 2021 (arXiv
        2107.03312), algorithm 1.
    """

    def __init__(
        self,
        size: int | tuple[int, ...],
        levels: int = 4,
        codes: int = 512,
        vector: int = 64,
        shared: bool = False,
        commitment: float = 0.25,
        decay: float | None = None,
        revival: float = 0.01,
        **kwargs: Any,
    ):
        super().__init__(size, **kwargs)
        check_whole(levels=levels)
        self._take(codes, vector, commitment, decay, revival)
        self.levels, self.shared = plain(levels), bool(shared)
        self.event_shape = (*self.event_shape, self.levels)

    @property
    def places(self) -> tuple[int, ...]:
        """Shape of what has a vector each."""
        return self.event_shape[:-1]

    @property
    def books(self) -> int:
        """How many codebooks there are."""
        return 1 if self.shared else self.levels

    @property
    def _book_shape(self):
        return (self.books, self.codes, self.vector)

    def _rows(self, codes):
        return codes + self.codes * ops.arange(self.books, dtype="int32")

    def _left(self, vectors, stand_for):
        return vectors[..., None, :] - (ops.cumsum(stand_for, axis=-2) - stand_for)

    def _seen(self, vectors):
        return ops.sum(vectors, axis=-2)

    def _nearest(self, vectors):
        found = []
        for level in range(self.levels):
            book = ops.stop_gradient(self.codebook.value)[level % self.books]
            found.append(self._closest(vectors, book))
            vectors = vectors - ops.take(book, found[-1], axis=0)
        return ops.stack(found, axis=-1)
