"""The optimiser's moving averages of the weights, in the place of the weights."""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np

from keras_vae import backend


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """For a while, the optimiser's moving averages in the place of the weights, which come back to the last bit.

    (Keras' `SwapEMAWeights` swaps by additions, whose rounding a resumed run would not repeat.)
    """
    weights = [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]
    use_averages(model)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(value)


def use_averages(model: keras.Model) -> None:
    """Puts the optimiser's moving averages in the place of the weights."""
    model.optimizer.finalize_variable_values(model.trainable_variables)
    backend.unshare([*model.trainable_variables, *model.optimizer.variables])


class ValidatedAverage(keras.callbacks.Callback):
    """Validation sees the optimiser's moving averages of the weights."""

    def __init__(self):
        super().__init__()
        self._stack = contextlib.ExitStack()

    def on_test_begin(self, logs: dict | None = None) -> None:
        self._stack.enter_context(averaged_weights(self.model))

    def on_test_end(self, logs: dict | None = None) -> None:
        self._stack.close()
