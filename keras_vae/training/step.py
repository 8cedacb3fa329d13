"""The train and test step, the only ones: once for TensorFlow and once for JAX."""

from typing import Any

import keras
from keras import ops

from keras_vae import backend
from keras_vae.backend import Tensor
from keras_vae.inference import weighted_mean


class _Scoring:
    """What both backends' steps share: from a batch to a loss and named terms.

    A class that mixes this in is a `keras.Model` with `infer`, `objective`, `takes_y`, `codes`, `books`, `kl_names`,
    `partial_names`, `partial_terms`, `step` and `trackers` {name: Mean}.
    """

    def _score(self, data, training):
        """Scores a batch.

        Returns:
            The loss that is minimised, a scalar; {name: (B,) or scalar} of what is logged, of some examples alone
            {name: (values, weights)}; (B,) weights or None; the number of examples, a scalar, as a sum of weights, 1
            where there are none.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        # Where the model takes none, they have become weights; labels without elements are none, too.
        y = None if y is None or not self.takes_y or y.shape[-1:] == (0,) else ops.cast(y, "float32")
        if sample_weight is not None:
            sample_weight = ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
        samples = self.objective.samples
        inference = self.infer(x, y, samples=samples, training=training, sample_weight=sample_weight)
        terms = {
            "elbo": inference.elbo,
            "log_likelihood": inference.log_likelihood,
            "kl": inference.kl,
            **{name: latent.kl for name, latent in zip(self.kl_names, inference.latents, strict=False)},
            **self.objective.terms(inference),
        }
        if self.codes:
            terms["perplexity"] = inference.perplexity(self.codes, self.books)
        terms = {name: inference.mean(value) for name, value in terms.items()}
        loss = inference.batch_mean(ops.convert_to_tensor(terms.pop("loss")))
        if y is not None:
            given = 1.0 if sample_weight is None else sample_weight
            partial = self.partial_terms(inference.x, y)
            terms |= {name: (values, weights * given) for name, (values, weights) in partial.items()}
        count = ops.cast(ops.shape(x)[0], "float32") if sample_weight is None else ops.sum(sample_weight)
        return loss + sum(self.losses), terms, sample_weight, count

    def _log(self, loss, terms, sample_weight, count):
        """Adds a batch to the epoch's means; returns them so far."""
        for tracker, value in ((self._loss_tracker, loss), *((self.trackers[n], v) for n, v in terms.items())):
            # As `update_state` does, in two operations instead of ten.
            if isinstance(value, tuple):
                values, weights = value
                tracker.total.assign_add(ops.sum(values * weights))
                tracker.count.assign_add(ops.sum(weights))
                continue
            tracker.total.assign_add(_times(weighted_mean(value, sample_weight), count))
            tracker.count.assign_add(count)
        # Without labels some terms are none.
        left_out = set(self.partial_names) - set(terms)
        return {name: value for name, value in self.get_metrics_result().items() if name not in left_out}


if backend.NAME == "tensorflow":
    import tensorflow as tf

    class ObjectiveTrainer(_Scoring):
        """Steps in TensorFlow's form, which `fit` and `evaluate` compile."""

        def train_step(self, data: Any) -> dict[str, Tensor]:
            """One update; returns the means of the epoch so far, in nats."""
            with _after(data):
                with tf.GradientTape() as tape:
                    loss, *rest, count = self._score(data, training=True)
                    scaled = self.optimizer.scale_loss(_part(loss, count))
                variables = self.trainable_variables
                self.optimizer.apply(tape.gradient(scaled, variables), variables)
                self.step.assign_add(1)
                return _reducible(self._log(loss, *rest, count))

        def test_step(self, data: Any) -> dict[str, Tensor]:
            """Scores a batch as training would; returns the means so far, in nats."""
            with _after(data):
                return _reducible(self._log(*self._score(data, training=False)))

        def _maybe_symbolic_build(self, iterator=None, data_batch=None):
            """Nothing: all is built. (Keras would call the model on a batch, which fails on several machines.)"""

    def _part(loss, count):
        """What a replica adds to the loss of the whole batch, by how many of its examples it has."""
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync == 1:
            return loss
        return _times(loss, tf.math.divide_no_nan(count, context.all_reduce("sum", count)))

    def _times(value, count):
        # The last batch may leave a replica without examples, and their mean is NaN.
        alone = tf.distribute.get_strategy().num_replicas_in_sync == 1
        return value * count if alone else tf.math.multiply_no_nan(value, count)

    def _reducible(logs):
        """Logs of a replica as Keras reduces them: over several machines, along an axis."""
        several = isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy)
        return {name: value[None] for name, value in logs.items()} if several else logs

    def _after(data):
        """Makes what follows wait for the batch: else TensorFlow counts a step, and moves seeds, at the data's end."""
        return tf.control_dependencies([part for part in tf.nest.flatten(data) if part is not None])

else:
    import jax

    class ObjectiveTrainer(_Scoring):
        """Steps in JAX's form, state in and state out, which `fit` and `evaluate` compile."""

        def _stateless_score(self, trainable, non_trainable, data, training):
            variables = [*self.trainable_variables, *self.non_trainable_variables]
            values = [*trainable, *non_trainable]
            with keras.StatelessScope(
                state_mapping=list(zip(variables, values, strict=True)), collect_losses=True
            ) as scope:
                scored = self._score(data, training)
                if training:
                    self.step.assign_add(1)
            return *scored, _values(scope, self.non_trainable_variables)

        def _stateless_log(self, metrics, *scored):
            with keras.StatelessScope(state_mapping=list(zip(self.metrics_variables, metrics, strict=True))) as scope:
                logs = self._log(*scored)
            return logs, _values(scope, self.metrics_variables)

        def train_step(self, state: tuple, data: Any) -> tuple[dict[str, Tensor], tuple]:
            """One update; returns the means of the epoch so far, in nats, and the new state."""
            trainable, non_trainable, optimizer_variables, metrics = state

            def scaled_loss(trainable):
                loss, *rest = self._stateless_score(trainable, non_trainable, data, training=True)
                mapping = list(zip(self.optimizer.variables, optimizer_variables, strict=True))
                with keras.StatelessScope(state_mapping=mapping):
                    return self.optimizer.scale_loss(loss), (loss, *rest)

            gradients, (*scored, non_trainable) = jax.grad(scaled_loss, has_aux=True)(trainable)
            trainable, optimizer_variables = self.optimizer.stateless_apply(optimizer_variables, gradients, trainable)
            logs, metrics = self._stateless_log(metrics, *scored)
            return logs, (trainable, non_trainable, optimizer_variables, metrics)

        def test_step(self, state: tuple, data: Any) -> tuple[dict[str, Tensor], tuple]:
            """Scores a batch as training would; returns the means so far, in nats, and the new state."""
            trainable, non_trainable, metrics = state
            *scored, non_trainable = self._stateless_score(trainable, non_trainable, data, training=False)
            logs, metrics = self._stateless_log(metrics, *scored)
            return logs, (trainable, non_trainable, metrics)

    def _times(value, count):
        return value * count

    def _values(scope, variables):
        """The values that `variables` have after what happened in a stateless scope."""
        current = [scope.get_current_value(v) for v in variables]
        return [v.value if value is None else value for v, value in zip(variables, current, strict=True)]
