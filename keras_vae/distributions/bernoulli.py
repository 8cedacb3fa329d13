"""A Bernoulli distribution of whole images that is cheap to evaluate."""

import math

from keras import ops

from keras_vae.backend import Tensor, tfd

# Between 1 and 2 each, so that float32 holds the product of so many.
_FACTORS = 64


class IndependentBernoulli(tfd.Independent):
    """`tfd.Independent` of `tfd.Bernoulli(logits=)`, with one logarithm for dozens of elements.

    log p(x) is the sum over elements of `x l - max(l, 0) - log(1 + exp(-|l|))`, and these logarithms are summed as that
    of a product. Evaluating a decoder's logits is most of what an importance-sampled likelihood of a dense net costs
    beside its matrix products. There is no guard against infinite logits: a decoder's are finite.
    """

    def _log_prob(self, x):
        ndims = len(self.event_shape)
        size = math.prod(self.event_shape)

        def flat(value):
            return ops.reshape(value, (*ops.shape(value)[: len(value.shape) - ndims], size))

        return _log_mass(flat(self.distribution.logits_parameter()), flat(ops.cast(x, "float32")))


@ops.custom_gradient
def _log_mass(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x), (*batch, D) -> (*batch,); the gradient of a product would cost more than that of a sum."""
    *lead, size = ops.shape(logits)
    factors = next(n for n in range(min(_FACTORS, size), 0, -1) if size % n == 0)
    products = ops.prod(ops.reshape(1.0 + ops.exp(-ops.abs(logits)), (*lead, factors, size // factors)), axis=-2)
    log_mass = ops.sum(x * logits - ops.relu(logits), axis=-1) - ops.sum(ops.log(products), axis=-1)

    def gradient(*args, upstream=None):
        upstream = (args[0] if upstream is None else upstream)[..., None]
        of_x = upstream * logits
        return upstream * (x - ops.sigmoid(logits)), ops.sum(of_x, axis=tuple(range(len(of_x.shape) - len(x.shape))))

    return log_mass, gradient
