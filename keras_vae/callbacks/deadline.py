"""Training that ends in time."""

import statistics
import time

import keras


class OutOfTime(Exception):
    """The time for a run is over."""


class Deadline(keras.callbacks.Callback):
    """Stops training before an epoch that would end too late, or, if need be, within it.

    Args:
        deadline: the end, as a time of `time.monotonic()`.

    Raises:
        OutOfTime: from Keras' `fit`.
    """

    def __init__(self, deadline: float):
        super().__init__()
        self._deadline = deadline
        self._begun = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._begun.append(time.monotonic())
        lengths = [end - begin for begin, end in zip(self._begun, self._begun[1:], strict=False)]
        # The first epoch is longer, because functions are compiled in it.
        self._check(statistics.median((lengths[1:] or lengths or [0])[-3:]))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._check()

    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._check()

    def _check(self, needed=0):
        if time.monotonic() + needed > self._deadline:
            raise OutOfTime
