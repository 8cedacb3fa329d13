"""How many steps Keras makes at a time."""

from collections.abc import Iterable

import keras

from keras_vae import backend

# Enough to hide what Python costs between the steps of a small network.
SEVERAL = 16

_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


def steps_per_execution(
    model: keras.Model, callbacks: Iterable[keras.callbacks.Callback] = (), counted: bool = False
) -> int:
    """How many steps are fastest: several for networks without convolutions, whose steps Python would hold up.

    Args:
        model: the model.
        callbacks: those of a user; where one wants to be called at each batch, it is one step.
        counted: whether a user says how many steps are made, which several at a time might overrun.
    """
    one = counted or model.run_eagerly or on_replicas(model) or not backend.LOOPS_IN_GRAPHS
    if one or any(map(_wants_batches, callbacks)):
        return 1
    slow = (keras.layers.RNN, keras.layers.MultiHeadAttention)
    layers = model._flatten_layers()
    return 1 if any(isinstance(layer, slow) or hasattr(layer, "kernel_size") for layer in layers) else SEVERAL


def on_replicas(model: keras.Model) -> bool:
    """Whether replicas of a TensorFlow strategy train the model, on which a loop of several steps fails."""
    return getattr(getattr(model, "distribute_strategy", None), "num_replicas_in_sync", 1) > 1


def _wants_batches(callback):
    overridden = any(
        getattr(getattr(callback, hook), "__func__", None) is not getattr(keras.callbacks.Callback, hook)
        for hook in _HOOKS
    )
    # Keras' own, such as TensorBoard, look at batches by a frequency alone; but one has functions of a user's.
    own = type(callback).__module__.startswith("keras.") and not isinstance(callback, keras.callbacks.LambdaCallback)
    counts = any(isinstance(getattr(callback, name, None), int) for name in ("save_freq", "update_freq"))
    return overridden and (counts or not own)


class Progress(keras.callbacks.ProgbarLogger):
    """Keras' bar, which the last steps of an epoch, of several at a time, do not send past its end."""

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        super().on_train_batch_end(self._made(batch), logs)

    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        super().on_test_batch_end(self._made(batch), logs)

    def _made(self, batch):
        return batch if self.target is None else min(batch, self.target - 1)


def progress(
    model: keras.Model, verbose: str | int, callbacks: Iterable[keras.callbacks.Callback] = ()
) -> list[keras.callbacks.Callback]:
    """A bar in the place of Keras' own, where several steps are made at a time, and the caller has none."""
    own = any(isinstance(callback, keras.callbacks.ProgbarLogger) for callback in callbacks)
    return [Progress()] if model.steps_per_execution > 1 and verbose in ("auto", 1) and not own else []
