"""What a failed run leaves behind: a model that can be used."""

import contextlib
import warnings
from collections.abc import Iterator

import keras
import numpy as np

from keras_vae import backend
from keras_vae.training.pipelines import Batches
from keras_vae.training.processes import Processes


def _state(model):
    optimizer = model.optimizer.variables if getattr(model, "optimizer", None) else []
    held = {id(v) for v in model.objective.held}
    # Metrics begin anew with each epoch, and reading them takes all machines; but a loop that fails may lose them.
    metrics = model.metrics_variables if backend.LOOPS_TAKE_STATE else []
    return [*(v for v in model.variables if id(v) not in held), *metrics, *optimizer]


class Kept:
    """A copy of a model's state.

    Args:
        model: the model; its state is copied at once.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self.values = [backend.kept(v) for v in _state(model)]

    def restore(self) -> None:
        """Puts it back."""
        for variable, value in zip(_state(self._model), self.values, strict=True):
            variable.assign(value)
        self._model.objective.hold_again()


class LastGoodWeights(keras.callbacks.Callback):
    """Stops a run whose loss is no longer finite, and keeps the last weights that were good.

    Those are the weights (with the optimiser's state) at the end of the last epoch whose loss and weights were finite;
    in the first epoch, those at its beginning.

    Args:
        model: the model to watch.
    """

    def __init__(self, model: keras.Model):
        super().__init__()
        # Looking at a loss needs no weights, so Keras may go on dispatching steps meanwhile; but several processes stop
        # at the same step.
        self.async_safe = Processes(model).count == 1
        # Not `self.model`, which on JAX takes the state out of the running loop at each look.
        self._watched = model
        self._kept = None
        self._next_look = 0

    def _finite_state(self):
        """A copy of the model's state, or None if it has NaN or infinite values."""
        kept = Kept(self._watched)
        return kept if backend.all_finite(kept.values) else None

    def restore(self) -> None:
        """Puts the remembered state back, if there is one."""
        if self._kept is not None:
            self._kept.restore()

    def on_train_begin(self, logs: dict | None = None) -> None:
        # Not before, since a callback before this one may load a checkpoint.
        self._kept = self._finite_state()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._next_look = 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        # The mean over an epoch stays NaN once it is, so a look now and then is enough.
        if batch >= self._next_look:
            self._next_look = batch + 50
            if not np.isfinite(logs["loss"]):
                self._watched.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        kept = self._finite_state() if np.isfinite(logs["loss"]) else None
        if kept is not None:
            self._kept = kept
            return
        self.restore()
        self._watched.stop_training = True
        warnings.warn(
            f"Training stopped in epoch {epoch + 1}: the loss or the weights became NaN or infinite. The model has "
            "the last good weights, those of the end of the epoch before. Try a lower learning rate, gradient clipping "
            "(the optimiser's `global_clipnorm`), a KL warm-up, or a bounded scale of the likelihood. "
            f"Received: loss={logs['loss']}",
            RuntimeWarning,
            stacklevel=2,
        )


@contextlib.contextmanager
def usable_afterwards(model: keras.Model, keeper: Kept | LastGoodWeights | None, batches: Batches) -> Iterator[None]:
    """Runs Keras' `fit` or `evaluate`; when it fails, `model` stays as usable as it was.

    Args:
        model: the model.
        keeper: has `restore`; None where nothing can be lost.
        batches: what checks the data, whose error is raised instead of the pipeline's, and what lent it to Keras.
    """
    try:
        yield
    except BaseException:
        # A step that failed while it was traced is half made.
        model.train_function = model.test_function = None
        # A first batch that was refused means that no step was made; what TensorFlow ran beside it is undone.
        refused = batches.error is not None and not batches.passed
        if keeper and (refused or not all(backend.is_usable(v) for v in _state(model))):
            keeper.restore()
        if batches.error is not None:
            raise batches.error from None
        raise
    finally:
        batches.close()
