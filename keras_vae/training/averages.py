"""The optimiser's moving averages of the weights, in the place of the weights."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator

import keras
import numpy as np
from keras import ops

from keras_vae import backend

# Batches that statistics are estimated from: their error then is far below that of one epoch's noise.
BATCHES = 50


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """For a while, the optimiser's moving averages in the place of the weights, which come back to the last bit.

    (Keras' `SwapEMAWeights` swaps by additions, whose rounding a resumed run would not repeat.)
    """
    kept = _values([*model.trainable_variables, *(v for v, _ in statistics(model))])
    use_averages(model)
    try:
        yield
    finally:
        _put_back(kept)


def is_averaging(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether an optimiser keeps moving averages of the weights."""
    return bool(getattr(getattr(optimizer, "inner_optimizer", optimizer), "use_ema", False))


def use_averages(model: keras.Model) -> None:
    """Puts the optimiser's moving averages in the place of the weights, and statistics of theirs beside them."""
    model.optimizer.finalize_variable_values(model.trainable_variables)
    backend.unshare([*model.trainable_variables, *model.optimizer.variables])
    refresh_statistics(model)


def refresh_statistics(model: keras.Model) -> None:
    """Estimates anew, from the batches that `fit` was given last, what a model keeps of those it is trained on."""
    if model.training_batches is not None:
        update_statistics(model, model.training_batches())


def are_used(model: keras.Model) -> bool:
    """Whether the weights are the optimiser's moving averages, as Keras leaves them unless a callback sets others."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    averages = optimizer._model_variables_moving_average
    return backend.all_equal(zip(model.trainable_variables, averages, strict=True))


def statistics(model: keras.Model) -> list[tuple[keras.Variable, float]]:
    """What a model keeps of the batches it is trained on, (variable, momentum): those of batch normalisation, and of
    likelihoods that are fitted to the batch.

    They belong to the weights that the batches were seen with.
    """
    normalisations = [v for v in model._flatten_layers() if isinstance(v, keras.layers.BatchNormalization)]
    found = [(v, layer.momentum) for layer in normalisations for v in (layer.moving_mean, layer.moving_variance)]
    return [*found, *model.likelihood.statistics]


def update_statistics(model: keras.Model, batches: Iterable[tuple]) -> None:
    """Estimates anew, from at most `BATCHES` batches, what a model keeps of the batches it is trained on.

    Args:
        model: a `LatentVariableModel`; nothing else of it changes, no state of a seed either.
        batches: tuples (x,), (x, y) or (x, y, sample_weight) of equal sizes.
    """
    estimated = statistics(model)
    if not estimated:
        return
    own = {id(v) for v, _ in estimated}
    kept = _values([v for v in model.non_trainable_variables if id(v) not in own])
    seen = []
    for number, batch in enumerate(itertools.islice(batches, BATCHES), start=1):
        for variable, _ in estimated:
            variable.assign(np.zeros(variable.shape))
        model.observe(*batch, seed=backend.seed_pair(model.seed, number))
        # A moving average that began at zero has this much of the batch.
        seen.append([np.array(variable) / (1 - momentum) for variable, momentum in estimated])
    for (variable, _), values in zip(estimated, zip(*seen, strict=True), strict=True):
        variable.assign(np.mean(values, axis=0))
    _put_back(kept)


def _values(variables):
    return [(v, backend.kept(v)) for v in variables]


def _put_back(kept):
    for variable, value in kept:
        variable.assign(value)


class _Corrected:
    """Averages that forget the first weights soon: after t updates the momentum is at most (1 + t) / (10 + t).

    Keras' own begin at the first weights, which are half of them after 700 updates at a momentum of 0.999.
    """

    def _update_model_variables_moving_average(self, trainable_variables):
        momentum, updates = self.ema_momentum, ops.cast(self.iterations, "float32")
        self.ema_momentum = ops.minimum(momentum, (1.0 + updates) / (10.0 + updates))
        try:
            super()._update_model_variables_moving_average(trainable_variables)
        finally:
            self.ema_momentum = momentum


@keras.saving.register_keras_serializable("keras_vae")
class AveragedAdam(_Corrected, keras.optimizers.Adam):
    """Keras' Adam, whose moving averages of the weights, with `use_ema`, are corrected at the beginning."""


@keras.saving.register_keras_serializable("keras_vae")
class AveragedAdamW(_Corrected, keras.optimizers.AdamW):
    """Keras' AdamW, in the same way."""


class ValidatedAverage(keras.callbacks.Callback):
    """Validation sees the optimiser's moving averages of the weights."""

    def __init__(self):
        super().__init__()
        self._stack = contextlib.ExitStack()

    def on_test_begin(self, logs: dict | None = None) -> None:
        self._stack.enter_context(averaged_weights(self.model))

    def on_test_end(self, logs: dict | None = None) -> None:
        self._stack.close()
