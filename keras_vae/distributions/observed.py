"""Products over elements of which some may be missing."""

from keras import ops

from keras_vae.backend import Tensor, tfd
from keras_vae.distributions.base import Distribution
from keras_vae.distributions.columns import Columns
from keras_vae.distributions.logistic import DiscretizedLogisticMixture

# What stands for a missing element, whose density does not count: inside the support of all kinds of data.
_INSIDE = 0.5


class Observed(Distribution):
    """A product over elements, of which those that are NaN in x are missing: they are integrated out.

    log p(x) is the sum over the elements that are there, 0 where there is none.

    Args:
        whole: the distribution of all elements, see `is_product`.
        name: name of the distribution.
    """

    def __init__(self, whole: tfd.Distribution, name: str = "Observed"):
        parameters = dict(locals())
        self._whole = whole
        super().__init__(parameters, whole.dtype)

    @property
    def whole(self) -> tfd.Distribution:
        """The distribution of all elements."""
        return self._whole

    def _log_prob(self, x):
        there = ops.logical_not(ops.isnan(x))
        # A density of NaN would be one in the gradient, too.
        x = ops.where(there, x, _INSIDE)
        if hasattr(self._whole, "log_prob_where"):
            return self._whole.log_prob_where(x, there)
        log_probs = self._whole.distribution.log_prob(x)
        return ops.sum(ops.where(there, log_probs, 0.0), axis=tuple(range(-len(self.event_shape), 0)))

    def _mean(self):
        return self._whole.mean()

    def _sample_n(self, n, seed=None):
        return self._whole.sample(n, seed=seed)

    def _event_shape(self):
        return self._whole.event_shape

    def _event_shape_tensor(self):
        return self._whole.event_shape_tensor()

    def _batch_shape(self):
        return self._whole.batch_shape

    def _batch_shape_tensor(self):
        return self._whole.batch_shape_tensor()

    def _default_event_space_bijector(self):
        return None


def is_product(distribution: tfd.Distribution) -> bool:
    """Whether the elements of an event are independent of each other, so that any of them may be missing."""
    if isinstance(distribution, DiscretizedLogisticMixture):
        # Else the channels of a pixel share a component, or one is moved by another.
        return 1 in distribution.loc.shape[-2:] and distribution.coefficients is None
    if isinstance(distribution, Columns):
        return True
    # TFP's `Independent` is of another class around a distribution that is not its own.
    independent = hasattr(distribution, "reinterpreted_batch_ndims")
    return independent and len(distribution.distribution.event_shape) == 0


def whole(distribution: tfd.Distribution | Tensor) -> tfd.Distribution | Tensor:
    """The distribution of all elements, whether or not some may be missing; anything else is returned as it is."""
    return distribution.whole if isinstance(distribution, Observed) else distribution
