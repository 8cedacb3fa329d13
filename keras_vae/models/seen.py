"""What of the data is encoded, and what is scored."""

import keras
from keras import ops

from keras_vae import corruptions
from keras_vae.backend import Tensor


class Seen:
    """What a model sees of x: values may be missing or corrupted, and y may be what is scored.

    Mixed into `LatentVariableModel`, whose docstring has the attributes.
    """

    missing: bool = False
    corruption: corruptions.Corruption | keras.layers.Layer | None = None
    target: str | None = None
    _target_shape: tuple[int, ...] | None = None
    # Whether the encoder is told which elements are there.
    _takes_mask: bool = False

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one example of what is scored: *X, unless the model has targets of another shape."""
        return self.image_shape if self._target_shape is None else self._target_shape

    @property
    def takes_y(self) -> bool:
        """Whether there is something beside x: labels or targets."""
        return self.target is not None or self.label_shape is not None

    def _clipped(self, x):
        clipped = ops.clip(x, 0.0, 1.0)
        return ops.where(ops.isnan(x), x, clipped) if self.missing else clipped

    def _corrupted(self, x, seed):
        if isinstance(self.corruption, corruptions.Corruption):
            kind = self.likelihood.data
            corrupted = self.likelihood.with_noise(x, lambda x: self.corruption.corrupted(x, seed, kind))
        else:
            corrupted = ops.cast(self.corruption(x, training=True), "float32")
        # What is missing stays so.
        return ops.where(ops.isnan(x), x, corrupted) if self.missing else corrupted

    def network_inputs(self, x: Tensor) -> list[tuple[Tensor, tuple[int, ...]]]:
        """What the encoder takes of x, without labels, each with the shape of one example.

        Args:
            x: (B, *X), float32, NaN where an element is missing.

        Returns:
            x in the units of networks, 0 where it is missing; and, where the encoder takes it, a mask, 1 where it is
            there.
        """
        if not self.missing:
            return [(self.likelihood.network_input(x), self.image_shape)]
        there = ops.logical_not(ops.isnan(x))
        # Twice, since a gradient passes both.
        seen = ops.where(there, self.likelihood.network_input(ops.where(there, x, 0.0)), 0.0)
        inputs = [seen, ops.cast(there, "float32")] if self._takes_mask else [seen]
        return [(value, self.image_shape) for value in inputs]

    def _pseudo_inputs(self, inputs):
        """Inputs in the units of networks, none of them missing, as `network_inputs` gives them."""
        inputs = [inputs, ops.ones_like(inputs)] if self._takes_mask else [inputs]
        return [(value, self.image_shape) for value in inputs]
