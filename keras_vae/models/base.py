"""Latent-variable models as Keras models: what they all can do."""

import contextlib
import math
import random
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae import backend, draws, export, presets
from keras_vae.backend import Tensor
from keras_vae.inference import Inference, Latent
from keras_vae.likelihoods import Likelihood
from keras_vae.models.changes import Renewal, Settings, Watched
from keras_vae.models.functions import Functions
from keras_vae.models.use import Use
from keras_vae.names import check_whole
from keras_vae.objectives import Objective
from keras_vae.training import averages, checks, data, execution, guard, monitors
from keras_vae.training.step import ObjectiveTrainer


class LatentVariableModel(Use, ObjectiveTrainer, keras.Model):
    """Base class: training, evaluation and use of a model with latent variables.

    A subclass makes its networks and parts, calls `_set_up`, and says how to `run`; all else follows.

    Methods that take or return images do so in the units of the likelihood's data, as numpy arrays, in chunks of
    `batch_size`; inside a graph, use `run`, `infer` and the parts.

    Attributes:
        image_shape: *X, shape of one example.
        latent_dtype: "float32", or "int32" for codes.
        label_shape: shape of one example's label, where the model is conditional; otherwise None.
        labels_optional: whether a conditional model does without labels, too.
    """

    latent_dtype: str = "float32"
    # Found when it is asked for, unless the subclass says it.
    _latent_shape: tuple[int, ...] | None = None
    label_shape: tuple[int, ...] | None = None
    labels_optional: bool = False
    # A function that makes batches of what `fit` trained on; None where they cannot be had again.
    training_batches: Callable[[], Iterable[tuple]] | None = None
    # Whether `fit` chooses how many steps are made at a time.
    _chooses_steps: bool = False
    # Whether one of Keras' loops has the variables in its hands.
    _in_loop: bool = False

    def _set_up(
        self, image_shape: tuple[int, ...], likelihood: Likelihood, objective: Objective, seed: int | None
    ) -> None:
        """Takes what every model has; the last thing in a subclass's constructor."""
        self.image_shape = tuple(image_shape)
        self.likelihood = likelihood
        self.objective = objective
        self.seed = random.randrange(2**31) if seed is None else int(seed)
        # Of training; of validation, tests and what a caller asks for without a seed.
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.test_seed_generator = keras.random.SeedGenerator(self.seed)
        self._first_test_seed = np.array(self.test_seed_generator.state)
        self.step = self.add_weight(
            name="step", shape=(), dtype="int32", initializer="zeros", trainable=False, aggregation="only_first_replica"
        )
        self.trackers = {}
        self._functions = Functions(self)
        self.built = True
        self.settings = Settings(self)
        self._take(objective)

    def _take(self, objective):
        """Has what `objective` logs logged, and what it holds held."""
        objective.hold_numbers()
        wanted = ("elbo", "log_likelihood", "kl", *objective.names)
        for name in [name for name in self.trackers if name not in wanted]:
            self.trackers.pop(name)
        for name in wanted:
            if name not in self.trackers:
                self.trackers[name] = keras.metrics.Mean(name=name)

    def __setattr__(self, name: str, value: Any) -> None:
        former = vars(self).get(name)
        both = isinstance(former, keras.layers.Layer) and isinstance(value, keras.layers.Layer)
        if both and value is not former and "settings" in vars(self):
            # Keras would go on counting its weights; in its place, weights keep their order.
            if self._tracker.is_in_store("layers", value):
                self._tracker.untrack(former)
            else:
                self._tracker.replace_tracked_value("layers", former, value)
            self.settings.version += 1
        super().__setattr__(name, value)

    def renew(self) -> None:
        """Makes all compiled functions anew if what they were traced with is no longer what is set.

        Raises:
            ValueError: for weights that were added or replaced while `fit` or `evaluate` is under way.
        """
        if not self.settings.changed():
            return
        if self._in_loop and not (self.settings.same_variables() and set(self.objective.names) <= set(self.trackers)):
            raise ValueError(
                "Weights were added, frozen or replaced, or the objective logs other terms, since `fit` or `evaluate` "
                "began: set such things between two calls, and call `compile` after new weights. (A schedule of "
                f"keras_vae.schedules changes beta within one.) Received: objective={self.objective.spec}"
            )
        self._take(self.objective)
        self.settings.note()
        self._functions.clear()
        for kind in ("train", "test", "predict"):
            if getattr(self, f"{kind}_function") is not None:
                getattr(self, f"make_{kind}_function")(force=True)

    def make_train_function(self, force: bool = False) -> None:
        """Keras' own, but that it heeds what is set later; so do the two that follow."""
        self._make("train", super().make_train_function, force)

    def make_test_function(self, force: bool = False) -> None:
        self._make("test", super().make_test_function, force)

    def make_predict_function(self, force: bool = False) -> None:
        self._make("predict", super().make_predict_function, force)

    def _make(self, kind, make, force):
        name = f"{kind}_function"
        if getattr(self, name) is None or force:
            make(force)
            setattr(self, name, Watched(self, getattr(self, name), name))

    def _check_compiled(self):
        if self.compiled and tuple(map(id, self.trainable_variables)) != self._compiled_weights:
            raise ValueError(
                "The optimizer was made for other weights than the model has now (a part or network was replaced, "
                "frozen, quantised or given LoRA weights): call `compile` again before `fit`. "
                f"Received: {len(self._compiled_weights)} trainable variables then, {len(self.trainable_variables)} now"
            )

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one z, as `encode` returns it; several groups are flattened, one after the other."""
        if self._latent_shape is None:
            y = None if self.label_shape is None else ops.zeros((1, *self.label_shape), dtype="float32")
            latents, _ = self.run(draws.FromPrior(1, 1, backend.seed_pair(0)), y=y)
            shapes = [tuple(latent.prior.event_shape) for latent in latents]
            self._latent_shape = shapes[0] if len(shapes) == 1 else (sum(map(math.prod, shapes)),)
        return self._latent_shape

    @latent_shape.setter
    def latent_shape(self, shape: tuple[int, ...]) -> None:
        self._latent_shape = tuple(shape)

    # One pass

    def run(
        self,
        draw: draws.Draw,
        x: Tensor | None = None,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        training: bool = False,
    ) -> tuple[tuple[Latent, ...], Tensor]:
        """One pass from the top latent down to the decoder's features, with latents from where `draw` says.

        Args:
            draw: a `keras_vae.draws.Draw`, for K samples of B examples; asked once a group, `draw(posterior, prior)`.
            x: (B, *X), float32; None: there are no posteriors.
            y: labels, (B, ...) or (K, B, ...), or None.
            temperature: factor on the priors' standard deviation.
            training: whether layers such as dropout are in training mode.

        Returns:
            The `Latent` of each group, from the top; the features, (K, B, *F).
        """
        raise NotImplementedError

    def infer(
        self,
        x: Tensor,
        y: Tensor | None = None,
        samples: int = 1,
        training: bool = False,
        seed: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Inference:
        """One pass from images to latents and back.

        Args:
            x: (B, *X), tensor.
            y: (B, ...) or None.
            samples: K, samples of z for each example.
            training: whether layers such as dropout are in training mode.
            seed: integer tensor, (2,), or (B, 2), one for each example, whose noise then depends on no other; None:
                the next one of the model's.
            sample_weight: (B,), how much each example counts in means over the batch; None: all alike.
        """
        if seed is None:
            seed = backend.noise_seed(self.seed_generator if training else self.test_seed_generator)
        x = ops.cast(x, "float32")
        if self.likelihood.data == "unit interval":
            # Scaled data may pass the ends by its rounding, where densities are infinite.
            x = ops.clip(x, 0.0, 1.0)
        batch = x.shape[0] if len(seed.shape) == 2 else ops.shape(x)[0]
        latents, features = self.run(draws.FromPosterior(samples, batch, seed), x, y, training=training)
        weights = {"sample_weight": sample_weight} if self.likelihood.adapts else {}
        likelihood = self.likelihood.distribution(features, x=x, training=training, **weights)

        def decode(z):
            _, features = self.run(draws.Given(z, z.shape[0]), y=y, training=training)
            return self.likelihood.distribution(features)

        return Inference(
            x,
            y,
            likelihood,
            latents,
            self.updates,
            sample_weight=sample_weight,
            decode=decode,
            seed=backend.folded(seed, 2**16),
            training=training,
        )

    def generate(
        self,
        n: int | Tensor,
        y: Tensor | None = None,
        seed: Tensor | None = None,
        temperature: float | Tensor = 1.0,
    ) -> Tensor:
        """Decoder features of `n` draws from the prior.

        Args:
            n: how many, an integer or a scalar tensor.
            y: (n, ...) or None.
            seed: integer tensor, (2,), or (S, 2), one for each of S equal blocks of the draws.
            temperature: factor on the prior's standard deviation.

        Returns:
            (n, *F).
        """
        if seed is None:
            seed = backend.noise_seed(self.test_seed_generator)
        _, features = self.run(draws.FromPrior(1, n, seed), y=y, temperature=temperature)
        return features[0]

    def call(self, x: Tensor, y: Tensor | None = None, training: bool = False) -> Tensor:
        """Reconstructions of `x` by way of the points that stand for it, as tensors."""
        x = ops.cast(x, "float32")
        return self._image(self.run(draws.AtMean(ops.shape(x)[0]), x, y)[1])

    def _image(self, features):
        return self.likelihood.image(self.likelihood.distribution(features))[0]

    def _encode(self, x, y=None):
        x = ops.cast(x, "float32")
        latents, _ = self.run(draws.AtMean(ops.shape(x)[0]), x, y)
        if len(latents) == 1:
            return latents[0].z[0]
        return ops.concatenate([ops.reshape(latent.z[0], (-1, latent.size)) for latent in latents], axis=-1)

    def _decode(self, z, y=None):
        return self._image(self.run(draws.Given(z), y=y)[1])

    @property
    def updates(self) -> Tensor:
        """Updates made so far, a scalar: fewer than steps where gradients are accumulated."""
        optimizer = getattr(self, "optimizer", None)
        accumulated = getattr(getattr(optimizer, "inner_optimizer", optimizer), "gradient_accumulation_steps", None)
        return self.step.value // (accumulated or 1)

    # Training

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
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if "float16" in dtypes and kwargs.get("auto_scale_loss", True) and not scaled:
            # Keras looks at the model's own policy alone, and begins at a scale that is too large for losses in nats.
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**10)
        self._chooses_steps = steps_per_execution == "auto"
        super().compile(
            optimizer=optimizer, steps_per_execution=1 if self._chooses_steps else steps_per_execution, **kwargs
        )
        self.optimizer.build(self.trainable_variables)
        # The optimizer keeps them, so that no other ones can get their identities.
        self._compiled_weights = tuple(map(id, self.trainable_variables))
        self._functions.clear()

    def get_compile_config(self) -> dict | None:
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
        monitors.tell(callbacks)
        steps = execution.steps_per_execution(self, callbacks) if self._chooses_steps else self.steps_per_execution
        if steps != self.steps_per_execution:
            self.steps_per_execution = steps
            self.train_function = self.test_function = self.predict_function = None
        batches = checks.Batches(self)
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
                callbacks=[*order, *callbacks, Renewal(self), keeper],
                initial_epoch=initial_epoch,
                **train,
                **validation,
                **kwargs,
            )
        # Keras ends with the optimiser's moving averages, where it has any, as the weights themselves.
        backend.unshare([*self.trainable_variables, *self.optimizer.variables])
        if averages.is_averaging(self.optimizer):
            averages.use_averages(self)
        return history

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
        batches = checks.Batches(self)
        averages.update_statistics(self, data.batches_of(self, batches, data.Given(x, y, sample_weight), batch_size))

    def observe(self, x: Any, y: Any = None, sample_weight: Any = None, *, seed: np.ndarray) -> None:
        """One pass in training mode, as a step makes it, that changes nothing but statistics of batches."""
        given = {"x": x, "y": y, "sample_weight": sample_weight}
        given = {name: np.asarray(value) for name, value in given.items() if value is not None}
        self._functions(self._observe, seed, *given.values(), names=tuple(given))

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
        batches = checks.Batches(self)
        given = data.for_evaluation(self, batches, data.Given(x, y, sample_weight), batch_size)
        keeper = guard.Kept(self) if backend.LOOPS_TAKE_STATE else None
        with self._looping(), guard.usable_afterwards(self, keeper, batches):
            return super().evaluate(**given, **kwargs)

    def train_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, **kwargs: Any) -> Any:
        """Keras' `train_on_batch`: one update, on a batch that is checked as in `fit`."""
        self.renew()
        self._check_compiled()
        return super().train_on_batch(*self._batch(x, y, sample_weight), **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, **kwargs: Any) -> Any:
        """Keras' `test_on_batch`, on a batch that is checked as in `fit`."""
        self.renew()
        return super().test_on_batch(*self._batch(x, y, sample_weight), **kwargs)

    def _batch(self, x, y, sample_weight):
        x = self._checked(x)
        return x, self._labels(y, len(x)), checks.checked_weights(sample_weight, len(x))

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Keras' `predict_on_batch`: reconstructions, of a model that is not conditional."""
        self._labels(None, None)
        self.renew()
        return super().predict_on_batch(self._checked(x))

    def predict(self, x: Any, y: Any = None, **kwargs: Any) -> np.ndarray:
        """Keras' `predict`: reconstructions, as from `reconstruct`; those of a conditional model need `y`."""
        if kwargs.get("batch_size") is not None:
            check_whole(batch_size=kwargs["batch_size"])
        if self.label_shape is not None:
            return self.reconstruct(x, y, batch_size=kwargs.get("batch_size") or 32)
        self._labels(y, None)
        self.renew()
        return super().predict(self._checked(x) if checks.is_array(x) else x, **kwargs)

    def in_float32(self) -> "LatentVariableModel":
        """The model itself if it computes in float32; otherwise a copy that does, with the same weights, not compiled.

        The weights of mixed precision are in float32. A copy runs where bfloat16 is slow, and gives the same numbers on
        every machine.
        """
        if all(layer.compute_dtype == "float32" for layer in self._flatten_layers()):
            return self
        copy = type(self).from_config(_with_policy(self.get_config(), keras.DTypePolicy("float32")))
        copy.set_weights(self.get_weights())
        return copy

    def export(self, filepath: str | Path, format: str = "tf_saved_model", **kwargs: Any) -> None:
        """Writes the model to a directory, for serving where keras_vae is not installed; see `keras_vae.export`.

        Args:
            filepath: the directory.
            format: "tf_saved_model", with all endpoints; or "onnx", a file for each of encode, decode and serve.
        """
        if format not in export.FORMATS or kwargs:
            raise ValueError(
                f"`format` is {' or '.join(map(repr, export.FORMATS))}, and there are no other options. "
                f"Received: format={format!r}, {kwargs}"
            )
        export.FORMATS[format](self, filepath)

    def save_to_preset(self, directory: str | Path, **described: Any) -> None:
        """Writes the model to a directory that `from_preset` loads, for others to use.

        Args:
            directory: where; it is made if need be.
            **described: what else it holds, see `keras_vae.presets.save`: about, data, recipe, results, history.
        """
        presets.save(self, directory, **described)

    def push_to_hub(self, repo: str, **options: Any) -> str:
        """Uploads the model as a preset to the Hugging Face Hub, where `from_preset("hf://user/repo")` finds it.

        Args:
            repo: "user/repo"; it is made if need be.
            **options: private, token, commit_message, and what `save_to_preset` takes; see `keras_vae.presets.push`.

        Returns:
            The URL of the commit.

        Raises:
            PresetError: if the preset cannot be uploaded.
            ImportError: if huggingface_hub is not installed.
        """
        return presets.push(self, repo, **options)

    @classmethod
    def from_preset(cls, name: str | Path) -> "LatentVariableModel":
        """The model of a preset, its weights verified, not compiled.

        Args:
            name: "mnist_mlp", an entry of the zoo; a directory; or "hf://user/repo", "hf://user/repo@revision".

        Raises:
            PresetError: if there is none of this name, or for a file that is missing, damaged, or of a newer format.
            ValueError: if it is a model of another class.

        Example: `kv.VAE.from_preset("mnist_mlp").sample(16)`.
        """
        model = presets.load(name)
        if not isinstance(model, cls):
            raise ValueError(
                f"The preset is no {cls.__name__}: load it by {type(model).__name__}.from_preset. Received: {name}"
            )
        return model

    # State

    @contextlib.contextmanager
    def _looping(self):
        # A user may have assigned one variable to another.
        backend.unshare([*self.variables, *self.metrics_variables, *self.optimizer.variables])
        before, self._in_loop = self._in_loop, True
        try:
            yield
        finally:
            self._in_loop = before

    def _seed_states(self):
        others = {id(v) for v in (*self.weights, *self.objective.held)}
        return [v for v in self.non_trainable_variables if id(v) not in others]

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        # Keras saves no seed's state, and a resumed run would draw its noise again from the beginning.
        for index, variable in enumerate(self._seed_states()):
            store[f"seed_{index}"] = variable

    def load_own_variables(self, store: Any) -> None:
        seeds = {key: store[key] for key in store.keys() if key.startswith("seed_")}  # noqa: SIM118 (no real mapping)
        super().load_own_variables({key: store[key] for key in store.keys() if key not in seeds})  # noqa: SIM118
        states = self._seed_states()
        if len(states) == len(seeds):
            for index, variable in enumerate(states):
                variable.assign(seeds[f"seed_{index}"])


def _with_policy(config, policy):
    """A serialised model with another dtype policy in all of its layers."""
    if isinstance(config, dict):
        if str(config.get("class_name")).endswith("DTypePolicy"):
            return keras.dtype_policies.serialize(policy)
        return {key: _with_policy(value, policy) for key, value in config.items()}
    return [_with_policy(value, policy) for value in config] if isinstance(config, list) else config
