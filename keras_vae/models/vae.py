"""The variational autoencoder: one group of latent variables, put together from five parts."""

import keras
import numpy as np
from keras import ops

from keras_vae import backend, likelihoods, objectives, posteriors, priors
from keras_vae.inference import Inference, Latent
from keras_vae.models import shapes
from keras_vae.models.base import LatentVariableModel
from keras_vae.names import check_whole


@keras.saving.register_keras_serializable("keras_vae")
class VAE(LatentVariableModel):
    """A variational autoencoder: posterior, prior, likelihood, objective and two networks.

    Args:
        encoder: Keras model or layer, images (B, *X) -> features; no output layer, the posterior has it.
        decoder: Keras model or layer, z (B, D) -> features; no output layer, the likelihood has it.
        posterior: a posterior, or its name; None: `DiagonalNormal` of the decoder's input size.
        prior: a prior, or its name; None: `StandardNormal` of the posterior's size.
        likelihood: a likelihood, or its name.
        objective: an objective, or its name.
        seed: int that governs noise and order in training; None: a random one.
        image_shape: *X; needed where the encoder has no input shape of its own.
        name: name of the model.

    Raises:
        ValueError: if the networks and parts do not fit each other.

    Reference: Kingma and Welling 2014; Rezende, Mohamed and Wierstra 2014.

    Example:
        encoder, decoder = kv.networks.mlp((28, 28, 1), latent_size=20)
        vae = kv.VAE(encoder, decoder, likelihood="bernoulli")
        vae.compile(keras.optimizers.Adam(1e-3))
        vae.fit(images, epochs=20, validation_data=test_images)
    """

    def __init__(
        self,
        encoder,
        decoder,
        posterior=None,
        prior=None,
        likelihood="bernoulli",
        objective="elbo",
        seed=None,
        image_shape=None,
        name=None,
        **kwargs,
    ):
        super().__init__(name=name, autocast=False, **kwargs)
        image_shape = shapes.input_shape(encoder, image_shape, "encoder", "image_shape=(28, 28, 1)")
        size = getattr(posterior, "size", None) or shapes.latent_size(decoder)
        self.encoder, self.decoder = encoder, decoder
        self.posterior = posteriors.get("diagonal_normal" if posterior is None else posterior, size)
        event_shape = self.posterior.event_shape
        self.prior = priors.get("standard_normal" if prior is None else prior, self.posterior.size)
        if self.prior.event_shape != event_shape:
            raise ValueError(
                "Posterior and prior must be over latents of the same size. "
                f"Received: posterior of size {self.posterior.size}, prior of size {self.prior.size}"
            )
        likelihood = likelihoods.get(likelihood)
        features = shapes.output_shape(encoder, image_shape, "encoder", "images")
        if not self.posterior.built:
            self.posterior.build(features)
        features = shapes.output_shape(decoder, event_shape, "decoder", "latents of the posterior's size")
        if not likelihood.built:
            try:
                likelihood.build(features, image_shape)
            except ValueError as error:
                raise ValueError(f"The decoder does not fit the images. {error}") from error
        self._set_up(image_shape, likelihood, objectives.get(objective), seed)

    def get_config(self):
        parts = ("encoder", "decoder", "posterior", "prior", "likelihood", "objective")
        return {
            **{part: keras.saving.serialize_keras_object(getattr(self, part)) for part in parts},
            "seed": self.seed,
            "image_shape": self.image_shape,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        def restored(value):
            if not isinstance(value, dict):
                return value
            return keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)

        return cls(**{key: restored(value) for key, value in config.items()})

    def infer(self, x, y=None, samples=1, training=False, seed=None):
        if seed is None:
            seed = backend.noise_seed(self.seed_generator)
        x = ops.cast(x, "float32")
        posterior = self._posterior(x, training)
        z = posterior.sample(samples, seed=seed)
        features = self._features(z, training)
        likelihood = self.likelihood.distribution(features, x=x, training=training)
        return Inference(x, y, likelihood, (Latent(z, posterior, self.prior.distribution(y)),), self.step.value)

    def generate(self, n, y=None, seed=None, temperature=1.0):
        return self.decoder(self.prior.distribution(y, temperature).sample(n, seed=seed), training=False)

    def call(self, x, training=False):
        """Reconstructions of `x` by way of the posterior's mean, as tensors."""
        return self._decode(self._encode(x))

    def _posterior(self, x, training=False):
        return self.posterior.distribution(self.encoder(self.likelihood.network_input(x), training=training))

    def _features(self, z, training=False):
        """Decoder features of z, whatever its leading axes."""
        event = self.posterior.event_shape
        lead = ops.shape(z)[: len(z.shape) - len(event)]
        features = self.decoder(ops.reshape(z, (-1, *event)), training=training)
        return ops.reshape(features, (*lead, *features.shape[1:]))

    def _encode(self, x):
        return self._posterior(x).mean()

    def _decode(self, z):
        return self.likelihood.image(self.likelihood.distribution(self._features(z)))

    def encode(self, x, y=None, batch_size=256):
        """The posterior's mean of each image, (N, D)."""
        return self._functions.map(self._encode, self._checked(x), batch_size)

    def posterior_of(self, x, y=None):
        """q(z|x) of all images at once, a TFP distribution, batch (N,), event (D,)."""
        return self._posterior(ops.convert_to_tensor(self._checked(x)))

    def decode(self, z, y=None, batch_size=256):
        """The image of each latent, (N, *X), in the units of the likelihood's data.

        Args:
            z: (N, D).
        """
        z = np.asarray(z, dtype="float32")
        event = self.posterior.event_shape
        if z.shape[1:] != event or len(z) == 0:
            raise ValueError(f"Expected latents of shape (N, {', '.join(map(str, event))}). Received: shape {z.shape}")
        return self._functions.map(self._decode, z, batch_size)

    def reconstruct(self, x, y=None, batch_size=256):
        """Each image by way of its posterior's mean, (N, *X), in the units of the likelihood's data."""
        return self._functions.map(self.call, self._checked(x), batch_size)

    def interpolate(self, a, b, steps=10, spherical=False, y=None):
        """Images on the way from `a` to `b`, by way of their latents.

        Args:
            a, b: one image each, (*X), or as many of each, (N, *X).
            steps: images on the way, both ends (as reconstructions) included.
            spherical: along the great circle instead of the straight line.

        Returns:
            (steps, *X), or (N, steps, *X).

        Reference: White 2016, "Sampling generative networks", section 2.1 (spherical).
        """
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape:
            raise ValueError(f"Expected as many images on both sides. Received: shapes {a.shape} and {b.shape}")
        check_whole(least=2, steps=steps)
        single = a.shape == self.image_shape
        ends = [self.encode(image[None] if single else image) for image in (a, b)]
        path = _slerp if spherical else _lerp
        z = np.stack([path(*ends, t) for t in np.linspace(0.0, 1.0, steps, dtype="float32")], axis=1)
        images = self.decode(np.reshape(z, (-1, *z.shape[2:])))
        images = np.reshape(images, (len(z), steps, *images.shape[1:]))
        return images[0] if single else images


def _lerp(a, b, t):
    return (1.0 - t) * a + t * b


def _slerp(a, b, t):
    flat_a, flat_b = (np.reshape(v, (len(v), -1)) for v in (a, b))
    norms = np.linalg.norm(flat_a, axis=1) * np.linalg.norm(flat_b, axis=1)
    cosine = np.sum(flat_a * flat_b, axis=1) / np.maximum(norms, 1e-12)
    angle = np.reshape(np.arccos(np.clip(cosine, -1.0, 1.0)), (-1,) + (1,) * (a.ndim - 1))
    sine = np.sin(angle)
    # Along one ray the circle is the line.
    straight = sine < 1e-4
    sine = np.where(straight, 1.0, sine)
    curve = (np.sin((1.0 - t) * angle) * a + np.sin(t * angle) * b) / sine
    return np.where(straight, _lerp(a, b, t), curve).astype("float32")
