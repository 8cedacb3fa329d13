"""Latent-variable models as Keras models: what they all can do."""

import random

import keras
import numpy as np
from keras import ops

from keras_vae import backend, export, presets
from keras_vae.models.functions import Functions, padded
from keras_vae.names import check_whole
from keras_vae.training import checks, guard
from keras_vae.training import stream as feed
from keras_vae.training.step import ObjectiveTrainer


class LatentVariableModel(ObjectiveTrainer, keras.Model):
    """Base class: training, evaluation and use of a model with latent variables.

    A subclass makes its networks and parts, calls `_set_up`, and says how to `infer` and to `generate`.

    Methods that take or return images do so in the units of the likelihood's data, as numpy arrays, in chunks of
    `batch_size`; inside a graph, use `infer` and the parts.
    """

    def _set_up(self, image_shape, likelihood, objective, seed):
        """Takes what every model has; the last thing in a subclass's constructor."""
        self.image_shape = tuple(image_shape)
        self.likelihood = likelihood
        self.objective = objective
        self.seed = random.randrange(2**31) if seed is None else int(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.step = self.add_weight(
            name="step", shape=(), dtype="int32", initializer="zeros", trainable=False, aggregation="only_first_replica"
        )
        names = ("elbo", "log_likelihood", "kl", *objective.names)
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self._functions = Functions(self)
        self.built = True

    def infer(self, x, y=None, samples=1, training=False, seed=None):
        """One pass from images to latents and back.

        Args:
            x: (B, *X), tensor.
            y: (B, ...) or None.
            samples: K, samples of z for each example.
            training: whether layers such as dropout are in training mode.
            seed: integer tensor of shape (2,); None: the model's own next one.

        Returns:
            `Inference`.
        """
        raise NotImplementedError

    def generate(self, n, y=None, seed=None, temperature=1.0):
        """Decoder features of `n` draws from the prior.

        Args:
            n: how many, an integer or a scalar tensor.
            y: (n, ...) or None.
            seed: integer tensor of shape (2,).
            temperature: factor on the prior's standard deviation.

        Returns:
            (n, *F).
        """
        raise NotImplementedError

    # Training

    def compile(self, optimizer="adam", loss=None, metrics=None, weighted_metrics=None, loss_weights=None, **kwargs):
        """Keras' `compile`, without a loss: that is the objective's.

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
        super().compile(optimizer=optimizer, **kwargs)
        self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config):
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**{name: value for name, value in config.items() if value is not None})

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        **kwargs,
    ):
        """Keras' `fit`: arrays, tf.data, PyDataset or generators of x, (x, y) or (x, y, sample_weight).

        Data is checked before the first step. The order of arrays is a function of the model's seed and the epoch, so
        that a resumed run goes on exactly. A loss that is no longer finite stops the run with a warning and the last
        good weights.

        Raises:
            ValueError: for data that the likelihood may not see, of another shape, empty or not finite.
        """
        if validation_split and checks.is_array(x):
            (x, y, sample_weight), validation_data = feed.split((x, y, sample_weight), validation_split)
        first = checks.FirstBatch(self.image_shape, self.likelihood)
        callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
        if checks.is_array(x):
            x = self._checked(x)
            feed.check_devices(len(x), batch_size or 32)
            if class_weight is not None:
                sample_weight, class_weight = feed.class_weights(y, sample_weight, class_weight), None
            kwargs.setdefault("validation_batch_size", batch_size)
            x = feed.ArrayFeed(
                x, y, sample_weight, batch_size or 32, self.seed, shuffle=bool(shuffle), steps_per_epoch=steps_per_epoch
            )
            y = sample_weight = batch_size = steps_per_epoch = None
        elif isinstance(x, feed.ArrayFeed):
            x.check(self.image_shape, self.likelihood)
        if isinstance(x, feed.ArrayFeed):
            callbacks.insert(0, feed.EpochOrder(x))
            x, shuffle = x.stream(), False
        else:
            x = first.wrap(x, labelled=class_weight is not None)
        if validation_data is not None:
            parts = keras.utils.unpack_x_y_sample_weight(validation_data)
            images = self._checked(parts[0]) if checks.is_array(parts[0]) else first.wrap(parts[0])
            validation_data = (images, *parts[1:]) if any(part is not None for part in parts[1:]) else images
        keeper = guard.LastGoodWeights(self)
        with guard.usable_afterwards(self, keeper, first):
            history = super().fit(
                x=x,
                y=y,
                batch_size=batch_size,
                epochs=epochs,
                verbose=verbose,
                callbacks=[*callbacks, keeper],
                validation_split=validation_split if validation_data is None else 0.0,
                validation_data=validation_data,
                shuffle=shuffle,
                class_weight=class_weight,
                sample_weight=sample_weight,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                **kwargs,
            )
        # Keras ends with the optimiser's moving averages, where it has any, as the weights themselves.
        backend.unshare([*self.trainable_variables, *self.optimizer.variables])
        return history

    def evaluate(self, x=None, y=None, batch_size=None, **kwargs):
        """Keras' `evaluate`: the objective's terms on `x`, with data checked as in `fit`."""
        if kwargs.get("_use_cached_eval_dataset"):
            return super().evaluate(x, y, batch_size, **kwargs)
        first = checks.FirstBatch(self.image_shape, self.likelihood)
        x = self._checked(x) if checks.is_array(x) else first.wrap(x)
        with guard.usable_afterwards(self, guard.LastGoodWeights(self), first):
            return super().evaluate(x, y, batch_size, **kwargs)

    def predict(self, x, **kwargs):
        """Keras' `predict`: reconstructions, as from `reconstruct`."""
        return super().predict(self._checked(x) if checks.is_array(x) else x, **kwargs)

    def _checked(self, x):
        x = np.asarray(x)
        checks.check_array(x, self.image_shape, self.likelihood)
        return x

    # Use

    def sample(self, n, y=None, seed=None, temperature=1.0, batch_size=256):
        """Images of the model's own.

        Args:
            n: how many.
            y: (n, ...) or None.
            seed: int; None: another one at each call.
            temperature: factor on the prior's standard deviation.
            batch_size: how many are made at a time.

        Returns:
            (n, *X), the likelihood's means (`likelihood.image`), in the units of its data.
        """
        check_whole(n=n, batch_size=batch_size)
        # A power of two, so that few functions are compiled whatever numbers are asked for.
        size = min(batch_size, 1 << (int(n) - 1).bit_length())
        seed = int(backend.seed_pair(seed)[0])
        temperature = np.float32(temperature)
        chunks = []
        for index, start in enumerate(range(0, n, size)):
            labels = [] if y is None else [padded(np.asarray(y)[start : start + size], size)]
            chunks.append(self._functions(self._sample, temperature, backend.seed_pair(seed, index), *labels, n=size))
        return np.concatenate([ops.convert_to_numpy(c) for c in chunks])[:n]

    def _sample(self, temperature, seed, y=None, *, n):
        features = self.generate(n, y=y, seed=seed, temperature=temperature)
        return self.likelihood.image(self.likelihood.distribution(features))

    def log_prob(self, x, samples=100, y=None, seed=None, chunk=1024, verbose=0):
        """An importance-sampled estimate of log p(x), a lower bound in expectation that tightens with `samples`.

        Args:
            x: (N, *X).
            samples: K, importance samples from q(z|x) for each image.
            y: (N, ...) or None.
            seed: int; None: another one at each call. Equal calls give equal numbers.
            chunk: how many z are decoded at a time, which bounds the memory.
            verbose: 1 shows progress.

        Returns:
            (N,), nats for each image.

        Reference: Burda, Grosse and Salakhutdinov 2016, equation 8; Rezende, Mohamed and Wierstra 2014, appendix E.
        """
        check_whole(samples=samples, chunk=chunk)
        x = self._checked(x)
        images = min(len(x), max(1, min(16, chunk)))
        at_once = min(int(samples), max(1, chunk // images))
        seed = int(backend.seed_pair(seed)[0])
        rounds = -(-samples // at_once)
        progress = keras.utils.Progbar(-(-len(x) // images), verbose=verbose, unit_name="chunk")
        totals = np.empty(len(x))
        for start in range(0, len(x), images):
            batch = [padded(a[start : start + images], images) for a in (x, y) if a is not None]
            total = -np.inf
            for number in range(rounds):
                valid = np.int32(min(at_once, samples - number * at_once))
                pair = backend.seed_pair(seed, (start // images) * rounds + number)
                part = self._functions(self._log_sum_weights, pair, valid, *batch, samples=at_once)
                total = np.logaddexp(total, ops.convert_to_numpy(part).astype("float64"))
            totals[start : start + images] = total[: len(x) - start]
            progress.add(1)
        return totals - np.log(samples)

    def _log_sum_weights(self, seed, valid, x, y=None, *, samples):
        """The logarithm of the sum of the first `valid` of `samples` importance weights, (B,)."""
        log_weight = self.infer(x, y, samples=samples, seed=seed).log_weight
        counted = ops.arange(samples, dtype="int32")[:, None] < valid
        return ops.logsumexp(ops.where(counted, log_weight, -np.inf), axis=0)

    def export(self, filepath, format="tf_saved_model", **kwargs):
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

    def save_to_preset(self, directory, **described):
        """Writes the model to a directory that `from_preset` loads, for others to use.

        Args:
            directory: where; it is made if need be.
            **described: what else it is to hold, see `keras_vae.presets.save`: about, data, recipe, results, history.
        """
        presets.save(self, directory, **described)

    @classmethod
    def from_preset(cls, directory):
        """The model of a preset's directory, its weights verified, not compiled.

        Raises:
            PresetError: for a file that is missing, damaged, or of a newer format.
            ValueError: if it is a model of another class.

        Example: `kv.VAE.from_preset("zoo/mnist_mlp").sample(16)`.
        """
        model = presets.load(directory)
        if not isinstance(model, cls):
            raise ValueError(
                f"The preset is no {cls.__name__}: load it by {type(model).__name__}.from_preset. Received: {directory}"
            )
        return model

    # State

    def _seed_states(self):
        weights = {id(v) for v in self.weights}
        return [v for v in self.non_trainable_variables if id(v) not in weights]

    def save_own_variables(self, store):
        super().save_own_variables(store)
        # Keras saves no seed's state, and a resumed run would draw its noise again from the beginning.
        for index, variable in enumerate(self._seed_states()):
            store[f"seed_{index}"] = variable

    def load_own_variables(self, store):
        seeds = {key: store[key] for key in store.keys() if key.startswith("seed_")}  # noqa: SIM118 (no real mapping)
        super().load_own_variables({key: store[key] for key in store.keys() if key not in seeds})  # noqa: SIM118
        states = self._seed_states()
        if len(states) == len(seeds):
            for index, variable in enumerate(states):
                variable.assign(seeds[f"seed_{index}"])
