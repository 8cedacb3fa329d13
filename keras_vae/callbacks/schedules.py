"""The values of schedules, logged."""

import keras
from keras import ops

from keras_vae.objectives import Objective
from keras_vae.schedules import Capacity, Schedule


class ScheduleLogger(keras.callbacks.Callback):
    """Logs `learning_rate` and the objective's schedules (`beta`, `capacity`, ...), as they are at each epoch's end.

    A schedule that the objective logs itself, as the mean over the epoch, keeps that value.
    """

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        for name, schedule in _schedules(self.model.objective).items():
            logs.setdefault(name, float(ops.convert_to_numpy(schedule(self.model.step))))
        logs.setdefault("learning_rate", float(ops.convert_to_numpy(self.model.optimizer.learning_rate)))


def _schedules(objective):
    """{name: schedule} of an objective, and of the objectives that it wraps."""
    found = {}
    for name, value in vars(objective).items():
        if isinstance(value, Objective):
            found |= _schedules(value)
        elif isinstance(value, Schedule):
            found["capacity" if isinstance(value, Capacity) else name] = value
    return found
