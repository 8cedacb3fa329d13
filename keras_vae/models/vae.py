"""The variational autoencoder: one group of latent variables, put together from five parts."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae import backend, likelihoods, objectives, posteriors, priors
from keras_vae.backend import Tensor, tfd
from keras_vae.corruptions import Corruption
from keras_vae.draws import Draw, FromPosterior
from keras_vae.inference import Latent
from keras_vae.likelihoods import Likelihood
from keras_vae.models import shapes
from keras_vae.models.composed import Composed
from keras_vae.names import check_whole
from keras_vae.objectives import Objective
from keras_vae.parts import LatentPart, frozen
from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior


@keras.saving.register_keras_serializable("keras_vae")
class VAE(Composed):
    """A variational autoencoder: posterior, prior, likelihood, objective and two networks.

    Args:
        encoder: Keras model or layer, images (B, *X) -> features; no output layer, the posterior has it. With a second
            input, [x, y], it sees labels; with `missing`, [x, mask] and [x, mask, y], it sees what is there.
        decoder: Keras model or layer, z (B, D) -> features; no output layer, the likelihood has it. With a second
            input, [z, y], it sees labels.
        posterior: a posterior, or a spec; None: `DiagonalNormal` of the decoder's input size.
        prior: a prior, or a spec ("standard_normal"); None: the one that goes with the posterior,
            as a rule `StandardNormal`.
        likelihood: a likelihood, or a spec ("normal:learned").
        objective: an objective, or a spec ("elbo:beta=4.0").
        seed: int that governs noise and order in training; None: a random one.
        image_shape: *X; needed where the encoder has no input shape of its own.
        label_shape: shape of one example's label y, for networks whose inputs are not known before they are called and
            that take [x, y] and [z, y]; a Keras model with two inputs says it itself.
        name: name of the model.
        missing: whether NaN in x stands for elements that are missing: the encoder sees 0 for them, and the likelihood,
            a product over elements, scores the others.
        corruption: what is done to x before it is encoded, in training alone, the clean x being scored: a corruption, a
            spec ("masking:rate=0.3"), or a Keras layer.
        target: "y" where y is scored, and x is what it is given: `fit(x, y)`; None: x itself.
        target_shape: shape of one target; None: that of x.

    Raises:
        ValueError: if the networks and parts do not fit each other.

    Reference: Kingma and Welling 2014; Rezende, Mohamed and Wierstra 2014; Mattei and Frellsen 2019, arXiv:1812.02633
    (missing); Im et al. 2017, arXiv:1511.06406 (corruption).

    Example:
        encoder, decoder = kv.networks.mlp((28, 28, 1), latent_size=20)
        vae = kv.VAE(encoder, decoder, likelihood="bernoulli")
        vae.compile(keras.optimizers.Adam(1e-3))
        vae.fit(images, epochs=20, validation_data=test_images)
    """

    pieces = ("encoder", "decoder", "posterior", "prior", "likelihood", "objective")

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        posterior: Posterior | str | None = None,
        prior: Prior | str | None = None,
        likelihood: Likelihood | str = "bernoulli",
        objective: Objective | str = "elbo",
        seed: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        label_shape: tuple[int, ...] | None = None,
        name: str | None = None,
        missing: bool = False,
        corruption: Corruption | keras.layers.Layer | str | None = None,
        target: str | None = None,
        target_shape: tuple[int, ...] | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, autocast=False, **kwargs)
        self.image_shape = shapes.input_shape(encoder, image_shape, "encoder", "image_shape=(28, 28, 1)")
        self._take_data(missing, corruption, target, target_shape)
        self._given_label_shape = label_shape
        networks = {"encoder": encoder, "decoder": decoder}
        parts = {"posterior": posterior, "prior": prior, "likelihood": likelihood, "objective": objective}
        self._put_together(seed, **networks, **parts)

    def _fitted(self, encoder, decoder, posterior, prior, likelihood, objective):
        """Networks and parts by name, all of them built, if they fit each other; `label_shape` follows from them."""
        shapes.check_order(encoder, decoder, self.image_shape)
        if not isinstance(posterior, Posterior):
            posterior = "diagonal_normal" if posterior is None else posterior
            posterior = posteriors.for_decoder(posterior, shapes.latent_size(decoder))
        prior = posterior.default_prior if prior is None else prior
        prior = priors.get(prior, posterior.latent_size, **posterior.suiting)
        likelihood, objective = likelihoods.get(likelihood), objectives.get(objective)
        shapes.check_latents(posterior, prior)
        if objective.moves_latents and not posterior.has_codes and posterior.support not in (None, LatentPart.support):
            raise ValueError(
                "This objective moves z along straight lines, and these lie elsewhere: take 'iwae' or 'dreg', or a "
                f"posterior of real numbers. Received: objective={objective.spec!r}, posterior={posterior.spec!r}, "
                f"whose z are {posterior.support}"
            )
        mask = self.image_shape if self.missing and shapes.takes_mask(encoder, self.image_shape) else None
        labels = [
            shapes.label_shape(network, self._given_label_shape, others)
            for network, others in ((encoder, 1 if mask is None else 2), (decoder, 1))
        ]
        shapes.check_mask(encoder, mask is not None, {labels[1], prior.label_shape})
        if prior.uses_encoder and (labels[0] is not None or posterior.has_codes):
            raise ValueError(
                "This prior is made of q(z|u) of inputs u that it learns: it needs a posterior with a density, and an "
                f"encoder that sees no labels. Received: prior={prior.spec!r}, posterior={posterior.spec!r}, "
                f"labels of the encoder {labels[0]}"
            )
        found = {*labels, prior.label_shape} - {None}
        if len(found) > 1:
            raise ValueError(f"Encoder, decoder and prior must take labels of one shape. Received: {sorted(found)}")
        if found and self.target is not None:
            raise ValueError(
                "A model that scores targets takes no labels: y is one or the other. "
                f"Received: target={self.target!r}, labels of shape {found.pop()}"
            )
        features = shapes.output_shape(encoder, self.image_shape, "encoder", "images", mask, labels[0])
        shapes.build(posterior, features)
        shapes.build(prior, self.image_shape)
        shapes.check_relative(posterior, prior)
        what = "latents of the posterior's size"
        seen = posterior.embedding_shape
        seen = shapes.as_taken(decoder, seen) if posterior.discrete else seen
        features = shapes.output_shape(decoder, seen, "decoder", what, labels[1])
        shapes.build_likelihood(likelihood, decoder, features, self.target_shape)
        shapes.build(objective, posterior.event_shape, self.target_shape)
        self._check_data(self.corruption, likelihood, objective, features)
        self._takes_mask = mask is not None
        self._encoder_labels, self._decoder_labels, self._seen = *labels, seen
        self.label_shape = found.pop() if found else None
        return encoder, decoder, posterior, prior, likelihood, objective

    def get_config(self) -> dict:
        return super().get_config() | {"label_shape": self.label_shape}

    def __repr__(self):
        networks = ", ".join(f"{n.name} ({n.count_params():,} parameters)" for n in (self.encoder, self.decoder))
        parts = {role: getattr(self, role).spec for role in ("posterior", "prior", "likelihood", "objective")}
        lines = [f"{role + ':':<12} {text}" for role, text in {**parts, "networks": networks}.items()]
        labels = "" if self.label_shape is None else f", labels {self.label_shape}"
        head = f"<VAE {self.name!r}: images {self.image_shape}, latents {self.latent_shape}{labels}{self._data_shown()}"
        return "\n  ".join([head, *lines]) + ">"

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one z."""
        return self.posterior.event_shape

    @property
    def latent_dtype(self) -> str:
        """ "float32", or "int32" where the posterior's z are codes."""
        return "int32" if self.posterior.discrete else "float32"

    @property
    def has_codes(self) -> bool:
        """Whether z, or some of its units, are codes."""
        return self.posterior.has_codes

    @property
    def codes(self) -> int | None:
        """How many codes there are, where the posterior's z are codes."""
        return self.posterior.codes

    @property
    def books(self) -> int:
        """How many codebooks there are, one after the other along the last axis of z."""
        return self.posterior.books

    @property
    def adapts(self) -> bool:
        """Whether the posterior fits something to batches in training, such as a codebook."""
        return self.posterior.adapts

    @property
    def deterministic(self) -> bool:
        """Whether q(z|x) has all mass on one z."""
        return self.posterior.deterministic

    def run(
        self,
        draw: Draw,
        x: Tensor | None = None,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        training: bool = False,
        sample_weight: Tensor | None = None,
    ) -> tuple[tuple[Latent, ...], Tensor]:
        prior = self._prior(y, temperature, training)
        posterior, held = (None, None) if x is None else self._posterior(x, y, prior, training, sample_weight)
        z = draw(posterior, prior, self.posterior.point)
        penalty = 0.0 if posterior is None else self.posterior.penalty(posterior)
        seen = self.posterior.embed(z, posterior)
        if self._seen != self.posterior.embedding_shape:
            seen = ops.reshape(seen, (*ops.shape(z)[:2], *self._seen))
        label = [] if self._decoder_labels is None else [(y, self._decoder_labels)]
        features = shapes.applied(self.decoder, (seen, self._seen), *label, training=training)
        return (Latent(z, posterior, prior, penalty, held),), features

    def _top(self):
        return self.posterior, self.prior

    def _prior(self, y, temperature=1.0, training=False):
        distribution = self.prior.training_distribution if training else self.prior.distribution
        return distribution(y, temperature, self._encode_pseudo_inputs)

    def _encode_pseudo_inputs(self, inputs):
        # They are in the encoder's units, and have no labels. In inference mode: they are no data, whose statistics
        # layers such as batch normalisation keep, and p(z) is the same in training and tests.
        return self.posterior.distribution(shapes.applied(self.encoder, *self._pseudo_inputs(inputs)))

    @property
    def decoder_weights(self) -> list[keras.Variable]:
        """Those of the decoder and of the likelihood's output layer."""
        return [*self.decoder.trainable_variables, *self.likelihood.trainable_variables]

    def _posterior(self, x, y=None, prior=None, training=False, sample_weight=None):
        """q(z|x), and a function that gives it again as a constant."""
        label = [] if self._encoder_labels is None else [(y, self._encoder_labels)]
        features = shapes.applied(self.encoder, *self.network_inputs(x), *label, training=training)

        def held():
            # Of a posterior that is relative to a prior with weights, these are constant, too.
            base = frozen(self, "_prior")(y, training=training) if self.posterior.relative else prior
            return frozen(self.posterior, "distribution")(ops.stop_gradient(features), base, training)

        weights = {"sample_weight": sample_weight} if self.adapts else {}
        return self.posterior.distribution(features, prior, training, **weights), held

    def _checked_latents(self, z):
        cast = super()._checked_latents(z)
        if self.posterior.has_codes and not self.posterior.discrete:
            self.posterior.check_codes(cast)
        return cast

    def classify(self, x: Any, y: Any = None, samples: int = 16, seed: int = 0, batch_size: int = 16) -> np.ndarray:
        """The class or cluster of each image: E_q(z|x)[p(component|z)] of a prior that is a mixture, or of classes.

        Args:
            x: (N, *X).
            y: (N, *label_shape), where the model is conditional.
            samples: of z for each image.
            seed: int; the noise of an image depends on it and on the image's number alone.
            batch_size: how many are classified at a time; each has noise of its own, so that many take long to trace.

        Returns:
            (N, components), probabilities.

        Raises:
            ValueError: for a prior that has neither.

        Reference: Jiang et al. 2017, arXiv:1611.05148 (VaDE), equation 16; for the prior "m2", Kingma et al. 2014,
        arXiv:1406.5298.
        """
        check_whole(samples=samples, batch_size=batch_size)
        x = self._checked(x)
        seeds = backend.seed_pairs(int(seed), range(len(x)))
        y = self._labels(y, len(x))
        return self._functions.map(self._classify, int(batch_size), x, seeds, y, samples=int(samples))

    def _classify(self, x, seeds, y=None, *, samples):
        (latent,), _ = self.run(FromPosterior(samples, x.shape[0], seeds), ops.cast(x, "float32"), y)
        if not hasattr(latent.prior, "posterior_marginal"):
            raise ValueError(
                "Clusters are the components of a mixture: give the model prior='mixture:components=10', or 'vamp', or "
                f"fit one to a trained model, vae.fit_prior(x). Received: prior={self.prior.spec!r}"
            )
        return ops.mean(latent.prior.posterior_marginal(latent.z).probs_parameter(), axis=0)

    def posterior_of(self, x: Any, y: Any = None) -> tfd.Distribution:
        """q(z|x) of all images at once, a TFP distribution, batch (N,), event (D,).

        Args:
            x: (N, *X).
            y: (N, *label_shape), where the model is conditional.
        """
        x = self._checked(x)
        y = self._labels(y, len(x))
        return self._posterior(ops.convert_to_tensor(x, dtype="float32"), y, self._prior(y))[0]
