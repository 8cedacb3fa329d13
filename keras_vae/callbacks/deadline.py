"""A training that ends in time."""

import statistics
import time

import keras


class OutOfTime(Exception):
    """The minutes that a run was given are over."""


class Deadline(keras.callbacks.Callback):
    """Ends the training before an epoch that would not be done in time, or, if need be, in the midst of it.

    Args:
        deadline: a time of `time.monotonic()`.

    Raises:
        OutOfTime: out of Keras' `fit`.
    """

    def __init__(self, deadline):
        super().__init__()
        self._deadline = deadline
        self._begun = []

    def on_epoch_begin(self, epoch, logs=None):
        self._begun.append(time.monotonic())
        lengths = [end - begin for begin, end in zip(self._begun, self._begun[1:], strict=False)]
        # The first one is longer, because functions are compiled in it.
        self._check(statistics.median((lengths[1:] or lengths or [0])[-3:]))

    def on_train_batch_end(self, batch, logs=None):
        self._check()

    def on_test_batch_end(self, batch, logs=None):
        self._check()

    def _check(self, needed=0):
        if time.monotonic() + needed > self._deadline:
            raise OutOfTime
