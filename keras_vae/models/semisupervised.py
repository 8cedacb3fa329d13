"""A VAE whose labels are latent where they are not known."""

import dataclasses
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_vae import draws, likelihoods, objectives, posteriors, priors
from keras_vae.backend import Tensor, tfd
from keras_vae.inference import Inference, Latent
from keras_vae.likelihoods import Likelihood
from keras_vae.models import shapes
from keras_vae.models.composed import Composed
from keras_vae.models.scale import LatentScale
from keras_vae.names import check_number, check_whole
from keras_vae.objectives import Objective
from keras_vae.parts import Head, soft_clip
from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior

# Of logits: no class has a probability that float32 takes for zero, so that none is left out of log p(x).
_BOUND = 30.0
# The logit of a label that is known.
_CERTAIN = 1e4


@keras.saving.register_keras_serializable("keras_vae")
class SemiSupervisedVAE(Composed):
    """M2: images of a class y and a style z, p(x, y, z) = p(y) p(z) p(x|y, z); y is known for some of them.

    Where y is not known, it is a latent, q(y, z|x) = q(y|x) q(z|x, y), and all classes are summed over:

        known:    -L(x, y) = E_q(z|x,y)[log p(x|y, z) + log p(y) + log p(z) - log q(z|x, y)]
        unknown:  -U(x) = sum_y q(y|x) (-L(x, y)) + H(q(y|x))

    The loss is their mean over a batch, negative, and `alpha` times the mean of -log q(y|x) over its known labels. p(y)
    is uniform.

    Labels are whole numbers, (N,), and -1 where they are not known; without y none is. With y, `log_prob` is that of
    image and label, log p(x, y). Latents are of two groups, the class, one-hot, and z; in `encode` and `decode` one
    follows the other, and `split` takes them apart. `decode(z, y)` has the classes y in the place of those in z.

    Args:
        encoder: Keras model, [x, y] -> features, y being one-hot labels, (B, classes); no output layer.
        decoder: Keras model, [z, y] -> features; no output layer.
        classifier: Keras model, x -> features of q(y|x); no output layer.
        posterior, prior, likelihood: as of a `VAE`, for latents of real numbers; objectives are those for several
            groups: ELBO, IWAE and CIWAE, whose `samples` are those of each class.
        objective, seed, image_shape, name: as of a `VAE`.
        alpha: weight of -log q(y|x), as a share of the bound's; the paper's is 0.1 N, beside a sum over N examples.

    Raises:
        ValueError: if the networks and parts do not fit each other.

    Reference: Kingma, Rezende, Mohamed and Welling 2014, arXiv:1406.5298, equations 6 to 9.

    Example:
        encoder, decoder = kv.networks.mlp((28, 28, 1), latent_size=50)
        vae = kv.SemiSupervisedVAE(*kv.networks.labelled(encoder, decoder, 10), classifier=encoder)
        vae.compile(keras.optimizers.Adam(1e-3))
        vae.fit(images, labels, epochs=20)
        vae.classify(images)

    `fit` and `evaluate` log `accuracy`, too, that of the labels that are known.
    """

    fixed = ("encoder", "decoder", "classifier")
    pieces = (*fixed, "posterior", "prior", "likelihood", "objective")
    label_shape = ()
    labels_optional = True
    partial_names = ("accuracy",)

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        classifier: keras.Model,
        posterior: Posterior | str | None = None,
        prior: Prior | str | None = None,
        likelihood: Likelihood | str = "bernoulli",
        objective: Objective | str = "elbo",
        alpha: float = 0.1,
        seed: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, autocast=False, **kwargs)
        check_number(alpha=alpha)
        self.alpha = float(alpha)
        self.image_shape = shapes.input_shape(encoder, image_shape, "encoder", "image_shape=(28, 28, 1)")
        self.classes = self.class_units = _classes(encoder, decoder)
        self.head = Head((self.classes,), name="head")
        self.head.build(shapes.output_shape(classifier, self.image_shape, "classifier", "images"))
        networks = {"encoder": encoder, "decoder": decoder, "classifier": classifier}
        parts = {"posterior": posterior, "prior": prior, "likelihood": likelihood, "objective": objective}
        self._put_together(seed, **networks, **parts)

    def _fitted(self, encoder, decoder, classifier, posterior, prior, likelihood, objective):
        shapes.check_order(encoder, decoder, self.image_shape)
        label = (self.classes,)
        if not isinstance(posterior, Posterior):
            posterior = "diagonal_normal" if posterior is None else posterior
            posterior = posteriors.for_decoder(posterior, shapes.latent_size(decoder))
        prior = posterior.default_prior if prior is None else prior
        prior = priors.get(prior, posterior.latent_size, **posterior.suiting)
        likelihood, objective = likelihoods.get(likelihood), objectives.get(objective)
        shapes.check_latents(posterior, prior)
        if "optimal" in likelihood.spec:
            raise ValueError(
                "A scale that is fitted to each batch would count all classes of an image alike, and not by q(y|x): "
                f"take 'learned'. Received: likelihood={likelihood.spec!r}"
            )
        if posterior.has_codes or prior.uses_encoder or prior.label_shape not in (None, label):
            raise ValueError(
                "Beside the class, z is of real numbers, and its prior sees the one-hot class, or nothing. "
                f"Received: posterior={posterior.spec!r}, prior={prior.spec!r}"
            )
        shapes.build(posterior, shapes.output_shape(encoder, self.image_shape, "encoder", "images", label))
        shapes.build(prior, self.image_shape)
        shapes.check_relative(posterior, prior)
        seen = posterior.embedding_shape
        features = shapes.output_shape(decoder, seen, "decoder", "latents of the posterior's size", label)
        shapes.build_likelihood(likelihood, decoder, features, self.image_shape)
        self._group_shapes = (label, posterior.event_shape)
        shapes.build(objective, self.latent_shape, self.image_shape)
        return encoder, decoder, classifier, posterior, prior, likelihood, objective

    def fit_latent_scale(self, x: Any, y: Any = None, seed: int | None = None) -> LatentScale:
        """As of any model; the class is none of the numbers that have a scale."""
        scale = super().fit_latent_scale(x, y, seed)
        scale.mean[: self.classes], scale.std[: self.classes] = 0.0, 1.0
        return scale

    def get_config(self) -> dict:
        return super().get_config() | {"alpha": self.alpha}

    def __repr__(self):
        roles = ("posterior", "prior", "likelihood", "objective")
        head = f"<SemiSupervisedVAE {self.name!r}: images {self.image_shape}, {self.classes} classes"
        lines = (f"{role + ':':<12} {getattr(self, role).spec}" for role in roles)
        return "\n  ".join([head, *lines]) + ">"

    def run(
        self,
        draw: draws.Draw,
        x: Tensor | None = None,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        training: bool = False,
    ) -> tuple[tuple[Latent, ...], Tensor]:
        seen = None if x is None else self.likelihood.network_input(x)
        label = self._label(draw, seen, y, training)
        known = (label.z, (self.classes,))
        distribution = self.prior.training_distribution if training else self.prior.distribution
        prior, posterior = distribution(label.z, temperature), None
        if x is not None:
            features = shapes.applied(self.encoder, (seen, self.image_shape), known, training=training)
            posterior = self.posterior.distribution(features, prior, training)
        z = draw(posterior, prior, self.posterior.point)
        penalty = 0.0 if x is None else self.posterior.penalty(posterior)
        embedding = (self.posterior.embed(z, posterior), self.posterior.embedding_shape)
        features = shapes.applied(self.decoder, embedding, known, training=training)
        return (label, Latent(z, posterior, prior, penalty)), features

    def _label(self, draw, seen, y, training):
        """The group of the class, one-hot, (K, B, classes); its penalty is that of known labels, alpha -log q(y|x)."""
        prior = tfd.OneHotCategorical(logits=ops.zeros((self.classes,), dtype="float32"), dtype="float32")
        given = None if y is None else ops.one_hot(ops.cast(y, "int32"), self.classes, dtype="float32")
        known = None if y is None else ops.cast(y, "float32")[..., None] >= 0
        posterior, penalty = None, 0.0
        if seen is not None:
            logits = self._logits(seen, training)
            if y is not None:
                penalty = -self.alpha * ops.sum(given * ops.log_softmax(logits, axis=-1), axis=-1)
                logits = ops.where(known, _CERTAIN * given, logits)
            posterior = tfd.OneHotCategorical(logits=logits, dtype="float32")
        z = draw(posterior, prior, self._most_likely)
        return Latent(z if y is None else ops.where(known, given, z), posterior, prior, penalty)

    def _logits(self, seen, training=False):
        """Those of q(y|x), (B, classes)."""
        return soft_clip(self.head(self.classifier(seen, training=training))[..., 0], -_BOUND, _BOUND)

    def _most_likely(self, distribution):
        # ONNX has no argmax as TensorFlow has it.
        (best,) = ops.unstack(ops.top_k(distribution.logits, 1)[1], 1, axis=-1)
        return ops.one_hot(best, self.classes, dtype="float32")

    def _top(self):
        raise ValueError(
            f"The prior of z beside a class is trained, and not fitted afterwards. Received: {self.prior!r}"
        )

    def _draw(self, proposal, samples, batch, seed):
        every = ops.eye(self.classes, dtype="float32")
        every = ops.tile(every, (samples // self.classes, 1))[:, None]
        return draws.Holding(super()._draw(proposal, samples, batch, seed), {0: every})

    def infer(
        self,
        x: Tensor,
        y: Tensor | None = None,
        samples: int = 1,
        training: bool = False,
        seed: Tensor | None = None,
        sample_weight: Tensor | None = None,
        proposal: Literal["posterior", "prior"] = "posterior",
    ) -> Inference:
        """One pass as of any model, but that each of the K samples is taken for every class: (K * classes, B).

        `weights` are q(y|x) / K; where the label is known, all are samples of it, and count alike.
        """
        inference = super().infer(x, y, samples * self.classes, training, seed, sample_weight, proposal)
        label, *rest = inference.latents
        weights = ops.exp(label.posterior.log_prob(label.z))
        if y is not None:
            known = ops.cast(ops.cast(y, "float32") >= 0, "float32")
            weights = ops.where(known > 0, 1 / self.classes, weights)
            # The mean over known labels, by a mean over the batch.
            share = ops.sum(known * inference.counts) / ops.maximum(ops.sum(inference.counts), 1e-12)
            label = dataclasses.replace(label, penalty=label.penalty / ops.maximum(share, 1e-12))
        return dataclasses.replace(inference, latents=(label, *rest), weights=weights / samples)

    def partial_terms(self, x: Tensor, y: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """The share of known labels that q(y|x) finds most likely."""
        # No gradient has to do with it.
        logits = ops.stop_gradient(self._logits(self.likelihood.network_input(x)))
        right = ops.equal(ops.argmax(logits, axis=-1), ops.cast(y, "int32"))
        return {"accuracy": (ops.cast(right, "float32"), ops.cast(y >= 0, "float32"))}

    @property
    def decoder_weights(self) -> list[keras.Variable]:
        """Those of the decoder and of the likelihood's output layer."""
        return [*self.decoder.trainable_variables, *self.likelihood.trainable_variables]

    def classify(self, x: Any, batch_size: int = 256) -> np.ndarray:
        """q(y|x) of each image, (N, classes).

        Args:
            x: (N, *X).
            batch_size: how many are classified at a time.
        """
        check_whole(batch_size=batch_size)
        return self._functions.map(self._classify, int(batch_size), self._checked(x))

    def _classify(self, x):
        return ops.softmax(self._logits(self.likelihood.network_input(ops.cast(x, "float32"))), axis=-1)


def _classes(encoder, decoder):
    """How many classes the labels that both networks see have."""
    found = [shapes.label_shape(network, None) for network in (encoder, decoder)]
    if found[0] is None or found[0] != found[1] or len(found[0]) != 1:
        raise ValueError(
            "Encoder and decoder must see one-hot labels, as keras_vae.networks.labelled makes them. "
            f"Received: labels of shapes {found[0]} and {found[1]}"
        )
    return found[0][0]
