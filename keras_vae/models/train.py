"""Latent-variable models as Keras models: compiling, training, evaluating."""

import contextlib
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae import backend
from keras_vae.backend import Tensor
from keras_vae.models.changes import Renewal
from keras_vae.names import check_whole
from keras_vae.training import averages, checks, collapse, data, execution, guard, monitors, processes, values
from keras_vae.training.pipelines import Batches
from keras_vae.training.step import ObjectiveTrainer


class Train(ObjectiveTrainer):
    """Keras' `compile`, `fit`, `evaluate` and `predict`, as a model with an objective has them.

    Attributes:
        training_batches: a function that makes batches of what `fit` trained on; None where they cannot be had again.
    """

    training_batches: Callable[[], Iterable[tuple]] | None = None
    # Whether `fit` chooses how many steps are made at a time.
    _chooses_steps: bool = False
    # Whether one of Keras' loops has the variables in its hands.
    _in_loop: bool = False

    @property
    def steps(self) -> int:
        """Training steps made so far."""
        return int(ops.convert_to_numpy(self.step))

    @property
    def updates(self) -> Tensor:
        """Updates made so far, a scalar: fewer than steps where gradients are accumulated."""
        optimizer = getattr(self, "optimizer", None)
        accumulated = getattr(getattr(optimizer, "inner_optimizer", optimizer), "gradient_accumulation_steps", None)
        return self.step.value // (accumulated or 1)

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "adam",
        loss: None = None,
        metrics: None = None,
        weighted_metrics: None = None,
        loss_weights: None = None,
        steps_per_execution: int | str = "auto",
        **kwargs: Any,
    ) -> None:
        """Keras' `compile`, without a loss: that is the objective's. The loss is scaled if any layer is in float16.

        Args:
            steps_per_execution: how many steps Keras makes at a time, which changes no number; callbacks hear of the
                last of them. "auto": several, where the networks are small and no callback of yours wants each batch.
                On replicas of a TensorFlow strategy it is always one.
            (others): as Keras has them.

        Raises:
            ValueError: if a loss or metrics are given.
        """
        given = {"loss": loss, "metrics": metrics, "weighted_metrics": weighted_metrics, "loss_weights": loss_weights}
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"`compile({name}=...)` has no meaning here: a model's loss is its objective's, and loss, elbo, "
                    "log_likelihood and kl are logged. Give `objective=` to the constructor, and measure what else you "
                    f"need in a callback. Received: {name}={value!r}"
                )
        optimizer = keras.optimizers.get(optimizer)
        dtypes = {layer.compute_dtype for layer in self._flatten_layers()}
        if "bfloat16" in dtypes and not backend.has_bfloat16():
            warnings.warn(
                "This processor has no bfloat16 and emulates it, which is several times slower than float32: make the "
                "networks under keras.config.set_dtype_policy('float32') here; their weights are the same. "
                "Received: layers with the policy mixed_bfloat16",
                stacklevel=2,
            )
        for policy in self._lost_policies():
            warnings.warn(
                "A file of this model would not say in which precision its layers compute, and what loads it would "
                f"compute in another: let {type(self).__name__}.get_config begin with super().get_config(), which has "
                f"the `dtype`, and the constructor hand it on. Received: layers with the policy {policy}",
                stacklevel=2,
            )
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if "float16" in dtypes and kwargs.get("auto_scale_loss", True) and not scaled:
            # Keras looks at the model's own policy alone, and begins at a scale that is too large for losses in nats.
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**10)
        self._chooses_steps = steps_per_execution == "auto"
        if self._chooses_steps or execution.on_replicas(self):
            steps_per_execution = 1
        super().compile(optimizer=optimizer, steps_per_execution=steps_per_execution, **kwargs)
        self.optimizer.build(self.trainable_variables)
        # The optimizer keeps them, so that no other ones can get their identities.
        self._compiled_weights = tuple(map(id, self.trainable_variables))
        self._functions.clear()

    def get_compile_config(self) -> dict | None:
        if not self._has_own_optimizer():
            # `fit` would refuse it, and no file with it could be loaded.
            return None
        config = super().get_compile_config()
        return config | {"steps_per_execution": "auto"} if config and self._chooses_steps else config

    def compile_from_config(self, config: dict) -> None:
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**{name: value for name, value in config.items() if value is not None})

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Iterable[keras.callbacks.Callback] | keras.callbacks.Callback | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_batch_size: int | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Keras' `fit`: arrays, tf.data, PyDataset or generators of x, (x, y) or (x, y, sample_weight).

        Data is checked before the first step. The order of arrays is a function of the model's seed and its step, so
        that a second call goes on, and a resumed run goes on exactly. Validation draws noise of its own, the same in
        each epoch: it changes no training. An example of weight 0 counts as if it were not there, one of weight 2 as
        if it were there twice. A loss that is no longer finite stops the run with a warning and the last good weights.
        A posterior that has become the prior is warned of.

        Args:
            y: labels, (N, *label_shape), of a conditional model; integers (N,) where `class_weight` needs them; else
                None. In a stream of (x, y, sample_weight), y is None where the model takes none.
            (others): as Keras has them.

        Raises:
            ValueError: for data that the likelihood may not see, of another shape, empty or not finite; for labels that
                are missing, too many, or given to a model that is not conditional.
        """
        self.renew()
        self._check_compiled()
        callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
        callbacks = processes.Processes(self).heard_by(callbacks)
        monitors.tell(callbacks)
        counted = kwargs.get("validation_steps") or (steps_per_epoch and not data.Given(x).arrays)
        self._choose_steps(callbacks, bool(counted))
        batches = Batches(self)
        train, validation, order, self.training_batches = data.for_fit(
            self,
            batches,
            data.Given(x, y, sample_weight),
            batch_size=batch_size,
            shuffle=shuffle,
            class_weight=class_weight,
            steps_per_epoch=steps_per_epoch,
            validation_split=validation_split,
            validation_data=validation_data,
            validation_batch_size=validation_batch_size,
        )
        keeper = guard.LastGoodWeights(self)
        with self._looping(), guard.usable_afterwards(self, keeper, batches):
            history = super().fit(
                epochs=epochs,
                verbose=verbose,
                callbacks=[
                    *(*order, *callbacks, Renewal(self), keeper, *collapse.watched(callbacks)),
                    *execution.progress(self, verbose, callbacks),
                ],
                initial_epoch=initial_epoch,
                **train,
                **validation,
                **kwargs,
            )
        # Keras ends with the optimiser's moving averages, where it has any, as the weights themselves.
        backend.unshare([*self.trainable_variables, *self.optimizer.variables])
        # A callback may have put back the weights of an epoch, which have statistics of their own.
        if averages.is_averaging(self.optimizer) and averages.are_used(self):
            averages.refresh_statistics(self)
        return history

    def _choose_steps(self, callbacks=(), counted=False):
        steps = execution.steps_per_execution(self, callbacks, counted)
        if self._chooses_steps and steps != self.steps_per_execution:
            self.steps_per_execution = steps
            self.train_function = self.test_function = self.predict_function = None

    def update_statistics(self, x: Any, y: Any = None, sample_weight: Any = None, batch_size: int = 128) -> None:
        """Estimates anew what the model keeps of its training batches: a fitted scale, batch normalisation's moments.

        They belong to the weights that they were measured with. `fit` does it where the optimiser averages the weights
        (`use_ema`); do it after you have set or averaged weights yourself.

        Args:
            x: (N, *X), training images; some thousands will do.
            y: (N, *label_shape), where the model is conditional.
            sample_weight: (N,).
            batch_size: as in training.
        """
        batches = Batches(self)
        averages.update_statistics(self, data.batches_of(self, batches, data.Given(x, y, sample_weight), batch_size))

    def observe(self, x: Any, y: Any = None, sample_weight: Any = None, *, seed: np.ndarray) -> None:
        """One pass in training mode, as a step makes it, that changes nothing but statistics of batches."""
        given = {"x": x, "y": y, "sample_weight": sample_weight}
        given = {name: np.asarray(value) for name, value in given.items() if value is not None}
        self._functions(self._observe, names=tuple(given))(seed, *given.values())

    def _observe(self, seed, *arrays, names):
        inference = self.infer(
            seed=seed, training=True, samples=self.objective.samples, **dict(zip(names, arrays, strict=True))
        )
        return ops.mean(inference.log_likelihood)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, sample_weight: Any = None, **kwargs: Any
    ) -> dict[str, float] | list[float]:
        """Keras' `evaluate`: the objective's terms on `x`, checked as in `fit`; equal calls give equal numbers."""
        # Inside `fit` the arguments were checked, and Keras has made its iterator of them.
        within_fit = kwargs.get("_use_cached_eval_dataset")
        self.test_seed_generator.state.assign(self._first_test_seed)
        if within_fit:
            return super().evaluate(x, y, batch_size, sample_weight=sample_weight, **kwargs)
        self.renew()
        if kwargs.get("steps"):
            self._choose_steps(counted=True)
        batches = Batches(self)
        given = data.for_evaluation(self, batches, data.Given(x, y, sample_weight), batch_size)
        keeper = guard.Kept(self) if backend.LOOPS_TAKE_STATE else None
        if not isinstance(callbacks := kwargs.get("callbacks"), keras.callbacks.CallbackList):
            callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
            kwargs["callbacks"] = [*callbacks, *execution.progress(self, kwargs.get("verbose", "auto"), callbacks)]
        with self._looping(), guard.usable_afterwards(self, keeper, batches):
            return super().evaluate(**given, **kwargs)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Keras' `train_on_batch`: one update, on a batch that is checked as in `fit`, weighed by classes as there."""
        self.renew()
        self._check_compiled()
        if class_weight is not None:
            sample_weight = data.class_weights(y, sample_weight, class_weight)
            y = None if self.label_shape is None else y
        return super().train_on_batch(*self._batch(x, y, sample_weight), **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, **kwargs: Any) -> Any:
        """Keras' `test_on_batch`, on a batch that is checked as in `fit`."""
        self.renew()
        return super().test_on_batch(*self._batch(x, y, sample_weight), **kwargs)

    def _batch(self, x, y, sample_weight):
        x = self._checked(x)
        given = x, checks.checked_y(self, y, len(x)), checks.checked_weights(sample_weight, len(x))
        if processes.come_dealt_out():
            return given
        own = processes.own_rows(len(x))
        return tuple(None if a is None else a[own] for a in given)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Keras' `predict_on_batch`: reconstructions, of a model that is not conditional."""
        self._labels(None, None)
        self.renew()
        return super().predict_on_batch(self._checked(x))

    def predict(self, x: Any, y: Any = None, **kwargs: Any) -> np.ndarray:
        """Keras' `predict`: reconstructions, as from `reconstruct`; those of a conditional model need `y`."""
        if kwargs.get("batch_size") is not None:
            check_whole(batch_size=kwargs["batch_size"])
        # Of several processes, each gets all.
        if self.label_shape is not None or (values.is_array(x) and processes.Processes(self).count > 1):
            made = self.reconstruct(x, y, batch_size=kwargs.get("batch_size") or 32)
            return np.concatenate(list(made)) if values.is_stream(x) else made
        self._labels(y, None)
        self.renew()
        return super().predict(self._checked(x) if values.is_array(x) else x, **kwargs)

    def quantize(self, mode: str | None = None, **kwargs: Any) -> None:
        """Keras' `quantize`, of the networks; parts, whose layers say what a density is, stay float32."""
        for layer in self.layers:
            if isinstance(layer, keras.Model):
                layer.quantize(mode, **kwargs)

    @contextlib.contextmanager
    def _looping(self):
        # A user may have assigned one variable to another. Keras says what a model lacks that was not compiled.
        optimizer = self.optimizer.variables if self.compiled else ()
        backend.unshare([*self.variables, *self.metrics_variables, *optimizer])
        before, self._in_loop = self._in_loop, True
        try:
            with processes.as_dealt():
                yield
        finally:
            self._in_loop = before
