"""What has a score in the place of a density."""

from collections.abc import Callable

from keras import ops

from keras_vae.backend import Tensor
from keras_vae.distributions.base import Distribution


class Scored(Distribution):
    """A point that other values are scored against: no density, and comparable with nothing.

    Args:
        loc: the point, and mean.
        score: (value, loc) -> what stands for a log-density, (*batch).
        event_ndims: rank of the event.
        name: name of the distribution.

    Shape: loc (*batch, *event).
    """

    def __init__(
        self, loc: Tensor, score: Callable[[Tensor, Tensor], Tensor], event_ndims: int = 3, name: str = "Scored"
    ):
        parameters = dict(locals())
        self._loc = ops.convert_to_tensor(loc, "float32")
        self._score, self._event_ndims = score, event_ndims
        super().__init__(parameters, self._loc.dtype)

    @property
    def loc(self) -> Tensor:
        """The point."""
        return self._loc

    def _event_shape(self):
        return self._loc.shape[-self._event_ndims :]

    def _event_shape_tensor(self):
        return ops.shape(self._loc)[-self._event_ndims :]

    def _batch_shape(self):
        return self._loc.shape[: -self._event_ndims]

    def _batch_shape_tensor(self):
        return ops.shape(self._loc)[: -self._event_ndims]

    def _log_prob(self, x):
        return self._score(x, self._loc)

    def _mean(self):
        return self._loc

    def _sample_n(self, n, seed=None):
        raise ValueError(
            "A likelihood that is no density has no samples, only means: leave out mean=False. "
            f"Received: {type(self).__name__}"
        )

    def _default_event_space_bijector(self):
        return None
