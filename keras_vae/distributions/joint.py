"""Independent vectors side by side."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_vae.backend import Tensor, folded, tfd
from keras_vae.distributions.base import Distribution


class Joint(Distribution):
    """Vectors of units, one after the other, which are independent of each other; those of codes as whole floats.

    Args:
        parts: distributions with vectors as events.
        name: name of the distribution.

    Shape: batch that of the part with most axes, event (D,), the sum of the parts'.
    """

    def __init__(self, parts: Sequence[tfd.Distribution], name: str = "Joint"):
        parameters = dict(locals())
        self._parts = tuple(parts)
        reparameterized = all(part.reparameterization_type == tfd.FULLY_REPARAMETERIZED for part in parts)
        super().__init__(parameters, "float32", reparameterized)

    @property
    def parts(self) -> tuple[tfd.Distribution, ...]:
        """The distributions that it is made of."""
        return self._parts

    def split(self, z: Tensor) -> list[Tensor]:
        """The vectors of the parts, each of its own type, of (..., D)."""
        found, start = [], 0
        for part in self._parts:
            end = start + part.event_shape[0]
            found.append(ops.cast(z[..., start:end], keras.backend.standardize_dtype(part.dtype)))
            start = end
        return found

    @staticmethod
    def joined(vectors: Sequence[Tensor]) -> Tensor:
        """One vector, float32, of those of the parts."""
        return ops.concatenate([ops.cast(vector, "float32") for vector in vectors], axis=-1)

    @property
    def _widest(self):
        return max(self._parts, key=lambda part: len(part.batch_shape))

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {}

    def _batch_shape(self):
        return self._widest.batch_shape

    def _batch_shape_tensor(self, **_):
        return self._widest.batch_shape_tensor()

    def _event_shape(self):
        return (sum(part.event_shape[0] for part in self._parts),)

    def _event_shape_tensor(self):
        return ops.convert_to_tensor(self._event_shape(), dtype="int32")

    def _sample_n(self, n, seed=None):
        lead, rank = (n, *ops.unstack(self.batch_shape_tensor())), len(self.batch_shape)
        seeds = [seed if index == 0 else folded(seed, index) for index in range(len(self._parts))]
        samples = [
            part.sample(lead[: 1 + rank - len(part.batch_shape)], seed=seed)
            for part, seed in zip(self._parts, seeds, strict=True)
        ]
        return self.joined(samples)

    def _log_prob(self, z):
        """Nats."""
        return sum(part.log_prob(vector) for part, vector in zip(self._parts, self.split(z), strict=True))

    def _default_event_space_bijector(self):
        return None
