"""The schedules of a training, logged."""

import keras
from keras import ops

from keras_vae import schedules


class ScheduleLogger(keras.callbacks.Callback):
    """Logs `learning_rate` and the objective's schedules (`beta` or `capacity`, ...) as they are at the epoch's end.

    What the objective logs itself, as its mean over the epoch, stays as it is.
    """

    def on_epoch_end(self, epoch, logs=None):
        model = self.model
        for name, value in vars(model.objective).items():
            if isinstance(value, schedules.Schedule):
                name = "capacity" if isinstance(value, schedules.Capacity) else name
                logs.setdefault(name, float(ops.convert_to_numpy(value(model.step))))
        logs.setdefault("learning_rate", float(ops.convert_to_numpy(model.optimizer.learning_rate)))
