"""Bernoulli distributions of whole images that are cheap to evaluate."""

import math

from keras import ops

from keras_vae.backend import Tensor, tfd

# Between 1 and 2 each, so that float32 holds the product of so many.
_FACTORS = 64


class IndependentBernoulli(tfd.Independent):
    """`tfd.Independent` of `tfd.Bernoulli(logits=)`: log p(x) is the sum over elements of `x l - softplus(l)`.

    TFP evaluates two softplus for each element. There is no guard against infinite logits: a decoder's are finite.
    """

    def _log_prob(self, x):
        return self.log_prob_where(x)

    def log_prob_where(self, x: Tensor, there: Tensor | None = None) -> Tensor:
        """log p of the elements that are there.

        Args:
            x: (..., *event).
            there: (..., *event), bool; None: all of them are.
        """
        ndims, size = len(self.event_shape), math.prod(self.event_shape)

        def flat(value):
            return ops.reshape(value, (*ops.shape(value)[: len(value.shape) - ndims], size))

        there = None if there is None else flat(there)
        return self._log_mass(flat(self.distribution.logits_parameter()), flat(ops.cast(x, "float32")), there)

    def _log_mass(self, logits: Tensor, x: Tensor, there: Tensor | None) -> Tensor:
        return ops.sum(_where(there, x * logits - ops.softplus(logits), 0.0), axis=-1)


class ScoredBernoulli(IndependentBernoulli):
    """The same with one logarithm for dozens of elements: faster, but for its gradient, which is slower.

    log p(x) is the sum over elements of `(x - 1/2) l - |l|/2 - log(1 + exp(-|l|))`, and these logarithms are summed as
    that of a product. Evaluating a decoder's logits is most of what an importance-sampled likelihood of a dense net
    costs beside its matrix products.
    """

    def _log_mass(self, logits, x, there):
        size = logits.shape[-1]
        factors = next(n for n in range(min(_FACTORS, size), 0, -1) if size % n == 0)
        terms = _where(there, 1.0 + ops.exp(-ops.abs(logits)), 1.0)
        terms = ops.reshape(terms, (*ops.shape(logits)[:-1], factors, size // factors))
        logarithms = ops.log(ops.prod(terms, axis=-2))
        linear = _where(there, (x - 0.5) * logits - 0.5 * ops.abs(logits), 0.0)
        return ops.sum(linear, axis=-1) - ops.sum(logarithms, axis=-1)


def _where(there, value, otherwise):
    return value if there is None else ops.where(there, value, otherwise)
