"""Parts and models as users would write them: what the library promises holds for these, too."""

import keras
import numpy as np
from keras import layers, ops

import keras_vae as kv
from keras_vae.backend import tfd
from keras_vae.inference import Latent


def _normal(loc, scale, rank=1):
    return tfd.Independent(tfd.Normal(loc, scale), reinterpreted_batch_ndims=rank)


@keras.saving.register_keras_serializable("tests")
def student_t(features):
    """Heavy-tailed pixels."""
    return tfd.Independent(tfd.StudentT(5.0, features, 0.3), reinterpreted_batch_ndims=3)


@keras.saving.register_keras_serializable("tests")
class TwoLevels(kv.LatentVariableModel):
    """z1 -> z2 -> x, with q(z1|x) and q(z2|z1, x); `scale` is that of a Normal, None means binary pixels."""

    def __init__(self, image_shape, sizes=(2, 3), width=8, scale=None, seed=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        top, bottom = self.sizes = tuple(sizes)
        self.width, self.scale = width, scale
        self.hidden = [layers.Dense(width, "tanh", name=name) for name in ("up", "down")]
        self.heads = [kv.parts.Head((size,), 2, name=f"head_{i}") for i, size in enumerate((top, bottom, bottom))]
        pixels = int(np.prod(image_shape))
        for layer, size in zip((*self.hidden, *self.heads), (pixels, bottom, width, width + top, top), strict=True):
            layer.build((None, size) if layer in self.hidden else (size,))
        likelihood = kv.likelihoods.Bernoulli() if scale is None else kv.likelihoods.Normal(scale)
        likelihood.build((width,), tuple(image_shape))
        self._set_up(image_shape, likelihood, kv.objectives.ELBO(), seed)

    def run(self, draw, x=None, y=None, temperature=1.0, training=False):
        up, down = self.hidden
        seen = None if x is None else up(ops.reshape(x, (-1, up.input_spec.axes[-1])))
        prior = _normal(ops.zeros(self.sizes[0]), temperature * ops.ones(self.sizes[0]))
        posterior = None if x is None else self._head(0, seen)
        top = Latent(draw(posterior, prior), posterior, prior)
        prior = self._head(2, top.z, temperature)
        posterior = None
        if x is not None:
            beside = ops.broadcast_to(ops.cast(seen, "float32"), (*ops.shape(top.z)[:-1], self.width))
            posterior = self._head(1, ops.concatenate([beside, top.z], axis=-1))
        bottom = Latent(draw(posterior, prior), posterior, prior)
        return (top, bottom), down(bottom.z)

    def _head(self, index, features, temperature=1.0):
        loc, raw = ops.unstack(self.heads[index](features), 2, axis=-1)
        return _normal(loc, temperature * (ops.softplus(raw) + 1e-3))

    def get_config(self):
        own = {"image_shape": self.image_shape, "sizes": self.sizes, "width": self.width, "scale": self.scale}
        return {**super().get_config(), **own, "seed": self.seed}


@keras.saving.register_keras_serializable("tests")
class ShiftedNormal(kv.priors.Prior):
    """p(z|y), a Normal around a linear function of the label.

    Args:
        size: D.
        labels: number of classes.
    """

    def __init__(self, size, labels=10, **kwargs):
        super().__init__(size, **kwargs)
        self.labels, self.label_shape = labels, (labels,)

    def build(self, input_shape):
        self.dense = layers.Dense(self.event_shape[0], use_bias=False, dtype="float32", name="shift")
        self.dense.build((None, self.labels))

    def distribution(self, y=None, temperature=1.0, encode=None):
        loc = self.dense(y)
        return _normal(loc, temperature * ops.ones_like(loc))


@keras.saving.register_keras_serializable("tests")
class Squares(kv.posteriors.DiagonalNormal):
    """A Normal of which the decoder sees squares, too, with tenths for points, and a price on large means."""

    @property
    def embedding_shape(self):
        return (2 * self.event_shape[0],)

    def embed(self, z, posterior=None):
        return ops.concatenate([z, ops.square(z)], axis=-1)

    def point(self, distribution):
        return ops.round(10 * distribution.mean()) / 10

    def penalty(self, posterior):
        return 0.1 * ops.sum(ops.square(posterior.mean()), axis=-1)


@keras.saving.register_keras_serializable("tests")
class Adversarial(kv.objectives.ELBO):
    """An ELBO, and a game with a critic that tells draws of q(z|x) from draws of p(z)."""

    def build(self, latent_shape, image_shape):
        # A part computes in float32 whatever the policy, its own networks where they say so.
        hidden = layers.Dense(8, "tanh", dtype="float32", name="hidden")
        output = layers.Dense(1, dtype="float32", name="output")
        self.critic = keras.Sequential([keras.Input((int(np.prod(latent_shape)),)), hidden, output], name="critic")

    @property
    def names(self):
        return (*super().names, "critic")

    def terms(self, inference):
        (latent,) = inference.latents
        lead = ops.shape(latent.z)[:2]
        samples = latent.prior.sample(lead[: 2 - len(latent.prior.batch_shape)], seed=inference.seed)
        theirs, ours = (ops.reshape(z, (-1, latent.size)) for z in (samples, latent.z))
        own = ops.softplus(-self.critic(theirs)) + ops.softplus(self.critic(ops.stop_gradient(ours)))
        fooled = ops.softplus(-kv.parts.frozen(self.critic)(ours))
        own, fooled = (ops.reshape(v, lead) for v in (own, fooled))
        terms = super().terms(inference)
        return {**terms, "loss": terms["loss"] + inference.mean(own + fooled), "critic": own}


def conditional_mlp(image_shape, latent_size, labels=10, width=16):
    """An encoder of [x, y] and a decoder of [z, y]."""

    def network(shape, name):
        first, y = keras.Input(shape, name=f"{name}_input"), keras.Input((labels,), name=f"{name}_labels")
        seen = layers.Concatenate(name=f"{name}_both")([layers.Flatten(name=f"{name}_flatten")(first), y])
        return keras.Model([first, y], layers.Dense(width, "relu", name=f"{name}_dense")(seen), name=name)

    return network(image_shape, "encoder"), network((latent_size,), "decoder")


def edges(image_shape):
    """A network of two feature maps, of random weights."""
    x = keras.Input(image_shape, name="edges_input")
    maps = layers.Conv2D(3, 3, padding="same", activation="tanh", name="edges_fine")(x)
    return keras.Model(x, [maps, layers.Conv2D(2, 3, strides=2, name="edges_coarse")(maps)], name="edges")
