"""A flow from noise to latents, learned without a density."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_vae import backend, networks
from keras_vae.backend import Tensor
from keras_vae.names import check_number, check_whole, plain
from keras_vae.samplers.base import Sampler
from keras_vae.training.averages import AveragedAdamW
from keras_vae.training.checks import checked_labels

# Latents that take one way at a time.
_CHUNK = 256
# Of the logarithm of t / (1 - t).
_TIME_STD = 1.0


@keras.saving.register_keras_serializable("keras_vae")
class FlowMatching(Sampler, keras.Model):
    """Latents at the end of a way from N(0, I) along a velocity that a network has learned.

    It is a Keras model of latents: `fit(z)` or `fit([z, y])` trains it, with callbacks, and it saves and reloads. The
    network sees latents standardised by `normalization`, and learns the velocity z - e of straight ways
    (1 - t) e + t z from noise e, the times' logits being N(0, 1).

    Args:
        latent_shape: (D,) or (h, w, c).
        width: see `keras_vae.networks.diffusion_transformer`.
        blocks: likewise.
        heads: likewise.
        label_shape: shape of a label y, by which samples are asked for; None: there are none.
        steps: of the way, each by the midpoint rule.
        guidance: w, by which velocities are v(none) + w (v(y) - v(none)); 1: none.
        dropped: share of labels that training leaves out, for guidance.
        seed: of training.

    Reference: Lipman, Chen, Ben-Hamu, Nickel and Le 2023, arXiv:2210.02747; Liu, Gong and Liu 2023, arXiv:2209.03003;
    times: Esser et al. 2024, arXiv:2403.03206, section 3.1; guidance: Ho and Salimans 2022, arXiv:2207.12598.

    Example:
        sampler = kv.samplers.flow_matching(vae, images, epochs=50)
        vae.sample(16, sampler=sampler)
    """

    def __init__(
        self,
        latent_shape: tuple[int, ...],
        width: int = 256,
        blocks: int = 6,
        heads: int = 4,
        label_shape: tuple[int, ...] | None = None,
        steps: int = 20,
        guidance: float = 1.0,
        dropped: float = 0.1,
        seed: int = 0,
        **kwargs: Any,
    ):
        # The network casts what it is given, and gives float32, as all else is.
        super().__init__(autocast=False, **kwargs)
        check_whole(steps=steps)
        check_number(guidance=guidance, dropped=dropped)
        if dropped > 1:
            raise ValueError(f"`dropped` is a share, 1 at most. Received: dropped={dropped!r}")
        self.config = {
            "latent_shape": plain(tuple(latent_shape)),
            **plain({"width": width, "blocks": blocks, "heads": heads}),
            "label_shape": None if label_shape is None else plain(tuple(label_shape)),
            **plain({"steps": steps, "guidance": guidance, "dropped": dropped, "seed": seed}),
        }
        self.latent_shape, self.label_shape = self.config["latent_shape"], self.config["label_shape"]
        self.steps, self.guidance, self.dropped = int(steps), float(guidance), float(dropped)
        self.network = networks.diffusion_transformer(self.latent_shape, width, blocks, heads, self.label_shape)
        self.normalization = layers.Normalization(axis=-1, dtype="float32", name="normalization")
        self.normalization.build((None, *self.latent_shape))
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True
        self._end = None

    def get_config(self) -> dict:
        return {**super().get_config(), **self.config}

    def call(self, inputs: Tensor | list[Tensor], training: bool = False) -> Tensor:
        """The loss of each latent: the squared error of the velocity at one time, mean over its elements, (B,)."""
        z, *y = inputs if isinstance(inputs, (list, tuple)) else (inputs,)
        z = self.normalization(z)
        shape, new = ops.shape(z), {"seed": self.seed_generator}
        noise = keras.random.normal(shape, **new)
        t = ops.sigmoid(_TIME_STD * keras.random.normal((shape[0],), **new))
        if y and training:
            kept = ops.cast(keras.random.uniform((shape[0],), **new) >= self.dropped, "float32")
            y = [_along(kept, y[0]) * y[0]]
        here = _along(t, z)
        error = self.network([(1 - here) * noise + here * z, t, *y], training=training) - (z - noise)
        return ops.mean(ops.square(error), axis=tuple(range(1, len(z.shape))))

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> keras.callbacks.History:
        if y is None and kwargs.get("sample_weight") is not None:
            # Without a y, which nothing looks at, Keras would drop the weights.
            y = np.zeros(len(kwargs["sample_weight"]), "float32")
        history = super().fit(x, y, **kwargs)
        # Keras ends with the optimiser's averages as the weights, in arrays that both have.
        backend.unshare([*self.trainable_variables, *self.optimizer.variables])
        return history

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The mean of what `call` returned, in which each latent counts by its weight."""
        if sample_weight is None:
            return ops.mean(y_pred)
        sample_weight = ops.reshape(sample_weight, (-1,))
        return ops.sum(sample_weight * y_pred) / ops.maximum(ops.sum(sample_weight), 1e-12)

    def velocity(self, z: Tensor, t: Tensor, *y: Tensor) -> Tensor:
        """Where standardised latents z, (B, *D), go at time t, (B,)."""
        found = self.network([z, t, *y])
        if y and self.guidance != 1:
            free = self.network([z, t, ops.zeros_like(y[0])])
            found = free + self.guidance * (found - free)
        return found

    def _follow(self, noise, *y):
        """The end of the way from `noise`."""
        step = 1.0 / self.steps

        def go(i, z):
            t = ops.broadcast_to(ops.cast(i, "float32") * step, (ops.shape(z)[0],))
            halfway = z + 0.5 * step * self.velocity(z, t, *y)
            return z + step * self.velocity(halfway, t + 0.5 * step, *y)

        z = backend.repeated(go, noise, self.steps)
        return z * ops.sqrt(self.normalization.variance) + self.normalization.mean

    def draw(
        self, model: keras.Model, n: int, y: np.ndarray | None = None, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray | None]:
        if tuple(model.latent_shape) != self.latent_shape:
            raise ValueError(
                f"This sampler draws latents of shape {self.latent_shape}. Received: a model whose latents have shape "
                f"{tuple(model.latent_shape)}"
            )
        # Labels are asked for, by models that take none, too.
        asked = []
        if self.label_shape is not None:
            asked = [np.zeros((n, *self.label_shape), "float32") if y is None else np.asarray(y, "float32")]
        noise = np.random.default_rng(seed).standard_normal((n, *self.latent_shape), dtype="float32")
        if self._end is None:
            self._end = backend.compiled(self, self._follow)
        size = min(_CHUNK, backend.power_of_two(n))
        batches = (
            [backend.padded(a[start : start + size], size) for a in (noise, *asked)] for start in range(0, n, size)
        )
        return np.concatenate([ops.convert_to_numpy(self._end(*batch)) for batch in batches])[:n], y


def _along(value, z):
    """(B,) with the axes of z."""
    return ops.reshape(value, (-1, *[1] * (len(z.shape) - 1)))


def flow_matching(
    model: keras.Model,
    x: Any,
    y: Any = None,
    epochs: int = 50,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    seed: int = 0,
    callbacks: list[keras.callbacks.Callback] | None = None,
    verbose: int = 0,
    **arguments: Any,
) -> FlowMatching:
    """Trains a `FlowMatching` on draws z ~ q(z|x), one for each image.

    Args:
        model: a trained `LatentVariableModel`.
        x: (N, *X), training images.
        y: (N, *label_shape), labels by which samples are to be asked for, one-hot, say; None: none.
        epochs: passes over the draws.
        batch_size: latents in a step.
        learning_rate: of AdamW at first; it falls along a cosine. Averages of the weights are what is kept.
        seed: of draws, weights and training.
        callbacks: Keras' callbacks, for progress or resuming.
        verbose: Keras' `verbose`.
        **arguments: of `FlowMatching`.

    Returns:
        The sampler: `model.sample(n, sampler=sampler)`.

    Raises:
        ValueError: for a model of codes, whole numbers that no way leads to; for numbers out of range, and labels that
            are no vectors or maps, or not as many as images.
    """
    check_whole(epochs=epochs, batch_size=batch_size)
    check_number(zero=False, learning_rate=learning_rate)
    if model.has_codes or model.class_units:
        raise ValueError(
            "No flow leads to codes, whole numbers, or classes. Received: a model whose latents are, or have among "
            "them, such"
        )
    label_shape = None if y is None else np.shape(y)[1:]
    if label_shape == () or (label_shape is not None and len(y) != len(x)):
        raise ValueError(
            "Labels must be one-hot, `keras.utils.to_categorical(y)`, or vectors or maps of another kind, one for each "
            f"image. Received: y of shape {np.shape(y)} for {len(x)} images"
        )
    if y is not None:
        y = checked_labels(y, len(x), label_shape)
    keras.utils.set_random_seed(seed)
    sampler = FlowMatching(model.latent_shape, label_shape=label_shape, seed=seed, **arguments)
    z = np.concatenate([z for z, _ in model._draws(x, y if model.label_shape is not None else None, seed)])
    sampler.normalization.adapt(z)
    steps = epochs * -(-len(z) // batch_size)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, alpha=0.05, warmup_target=learning_rate, warmup_steps=min(200, steps // 10)
    )
    averaging = {"use_ema": True, "ema_momentum": 0.999}
    sampler.compile(AveragedAdamW(rate, weight_decay=0.01, beta_2=0.99, clipnorm=1.0, **averaging))
    data = z if y is None else [z, y]
    sampler.fit(data, batch_size=batch_size, epochs=epochs, callbacks=callbacks, verbose=verbose)
    return sampler
