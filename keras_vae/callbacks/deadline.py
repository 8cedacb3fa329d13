"""Training that ends in time."""

import math
import time
from collections.abc import Callable

import keras

from keras_vae.training.processes import Agreement, Processes


class OutOfTime(Exception):
    """The time for a run is over."""


class Deadline(keras.callbacks.Callback):
    """Stops training at the first step that ends too late.

    Args:
        deadline: the end, as a time of `time.monotonic()`; None: there is none but `stop`.
        save: called before it stops within an epoch; it goes on where this returns False. After an epoch it is not
            called, so that a callback before this one may save what the epoch leaves.

    Attributes:
        stop: whether to stop at the next step, whatever the time.

    Raises:
        OutOfTime: from Keras' `fit`.
    """

    def __init__(self, deadline: float | None = None, save: Callable[[], bool] | None = None):
        super().__init__()
        self._deadline = math.inf if deadline is None else deadline
        self._save = save
        self.stop = False

    def on_train_begin(self, logs: dict | None = None) -> None:
        # All processes stop at the same step.
        self._agreed = Agreement(Processes(self.model))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self._agreed(self._is_over()) and (self._save is None or self._save()):
            raise OutOfTime

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self._agreed(self._is_over(), at_once=True):
            raise OutOfTime

    def _is_over(self):
        return self.stop or time.monotonic() > self._deadline
