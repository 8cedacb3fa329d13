"""The values of schedules, logged."""

import keras
from keras import ops

from keras_vae.objectives import Objective
from keras_vae.schedules import Capacity, Schedule


class ScheduleLogger(keras.callbacks.Callback):
    """Logs `learning_rate` and the objective's schedules (`beta`, `capacity`, ...), as they are at each epoch's end.

    A schedule that the objective logs itself, as the mean over the epoch, keeps that value. Several capacities are
    logged by the names of their arguments, and the rates of a `keras.optimizers.MultiOptimizer` as Keras' callbacks do,
    `learning_rate_adam`.
    """

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        for name, schedule in _schedules(self.model.objective).items():
            logs.setdefault(name, float(ops.convert_to_numpy(schedule(self.model.updates))))
        for name, optimizer in _optimizers(self.model.optimizer).items():
            logs.setdefault(name, float(ops.convert_to_numpy(optimizer.learning_rate)))


def _schedules(objective):
    """{name: schedule} of an objective, and of the objectives that it wraps."""
    found = {}
    for name, value in vars(objective).items():
        if isinstance(value, Objective):
            found |= _schedules(value)
        elif isinstance(value, Schedule):
            found[name] = value
    capacities = [name for name, value in found.items() if isinstance(value, Capacity)]
    if len(capacities) == 1:
        found["capacity"] = found.pop(capacities[0])
    return found


def _optimizers(optimizer):
    """{the name of its rate: optimizer}, of one or of several."""
    several = getattr(optimizer, "optimizers", None)
    return {f"learning_rate_{one.name}": one for one in several} if several else {"learning_rate": optimizer}
