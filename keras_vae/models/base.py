"""Latent-variable models as Keras models: what they all can do."""

import math
import random
from typing import Literal

import keras
import numpy as np
from keras import ops

from keras_vae import backend, distributions, draws
from keras_vae.backend import Tensor
from keras_vae.inference import Inference, Latent, joined
from keras_vae.likelihoods import Likelihood
from keras_vae.models.changes import Renewed, Settings
from keras_vae.models.functions import Functions
from keras_vae.models.imputation import Imputation
from keras_vae.models.scale import LatentScale
from keras_vae.models.scoring import Scoring
from keras_vae.models.seen import Seen
from keras_vae.models.stored import Stored
from keras_vae.models.train import Train
from keras_vae.models.use import Use
from keras_vae.objectives import Objective
from keras_vae.parts import frozen, unchanging
from keras_vae.training.processes import Processes


class LatentVariableModel(Use, Scoring, Imputation, Seen, Stored, Train, Renewed, keras.Model):
    """Base class: training, evaluation and use of a model with latent variables.

    A subclass makes its networks and parts, calls `_set_up`, and says how to `run`; all else follows.

    Methods that take or return images do so in the units of the likelihood's data, as numpy arrays, in chunks of
    `batch_size`; inside a graph, use `run`, `infer` and the parts.

    Attributes:
        image_shape: *X, shape of one example.
        latent_dtype: "float32", or "int32" for codes.
        codes: how many codes there are, whose perplexity is logged; None: latents are no codes.
        books: how many codebooks they are of, one after the other along the last axis of z.
        adapts: whether `run` fits something to the batch in training, and takes its `sample_weight`.
        deterministic: whether q(z|x) has all mass on one z, so that all samples are alike.
        label_shape: shape of one example's label, where the model is conditional; otherwise None.
        labels_optional: whether a conditional model does without labels, too.
        missing: whether NaN in x stands for elements that are missing: the likelihood scores the others alone.
        corruption: what is done to x before it is encoded, in training alone, a `Corruption` or a layer; None: nothing.
        target: "y" where the model scores y, and x is what it is given; None: it scores x itself.
        kl_names: names by which the KLs of several groups are logged, from the top; none where they are not.
        partial_names: names of what is logged of some examples alone, as `partial_terms` gives it.
        classes: how many classes labels name, as whole numbers, -1 being one that is not known; None: labels are
            arrays of any numbers.
        class_units: how many units of a latent vector, the first ones, are a class and no numbers.
        latent_scale: mean and standard deviation of each latent unit (or channel) over the data; None: not fitted yet.
    """

    latent_dtype: str = "float32"
    codes: int | None = None
    books: int = 1
    adapts: bool = False
    deterministic: bool = False
    # Found when they are asked for, unless the subclass says them.
    _latent_shape: tuple[int, ...] | None = None
    _group_shapes: tuple[tuple[int, ...], ...] | None = None
    label_shape: tuple[int, ...] | None = None
    labels_optional: bool = False
    kl_names: tuple[str, ...] = ()
    partial_names: tuple[str, ...] = ()
    classes: int | None = None
    class_units: int = 0
    latent_scale: LatentScale | None = None

    def _set_up(
        self, image_shape: tuple[int, ...], likelihood: Likelihood, objective: Objective, seed: int | None
    ) -> None:
        """Takes what every model has; the last thing in a subclass's constructor."""
        self.image_shape = tuple(image_shape)
        self.likelihood = likelihood
        self.objective = objective
        # Processes that train one model together have one seed, also where each of them would have drawn its own.
        self.seed = Processes().from_chief(random.randrange(2**31)) if seed is None else int(seed)
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
        known = ("elbo", "log_likelihood", "kl", *self.kl_names, *(["perplexity"] if self.codes else ()))
        wanted = (*known, *objective.names, *self.partial_names)
        for name in [name for name in self.trackers if name not in wanted]:
            self.trackers.pop(name)
        for name in wanted:
            if name not in self.trackers:
                self.trackers[name] = keras.metrics.Mean(name=name)

    def partial_terms(self, x: Tensor, y: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """What is logged of some examples alone where there are labels: {name: (values (B,), weights (B,))}."""
        return {}

    @property
    def has_codes(self) -> bool:
        """Whether latents, or some of their units, are codes: whole numbers between which there is no way."""
        return self.latent_dtype != "float32"

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one z, as `encode` returns it; several groups are flattened, one after the other."""
        if self._latent_shape is None:
            shapes = self.group_shapes
            self._latent_shape = shapes[0] if len(shapes) == 1 else (sum(map(math.prod, shapes)),)
        return self._latent_shape

    @latent_shape.setter
    def latent_shape(self, shape: tuple[int, ...]) -> None:
        self._latent_shape = tuple(shape)

    @property
    def group_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of one z of each group, from the top."""
        if self._group_shapes is None:
            y = None if self.label_shape is None else ops.zeros((1, *self.label_shape), dtype="float32")
            latents, _ = self.run(draws.FromPrior(1, 1, backend.seed_pair(0)), y=y)
            self._group_shapes = tuple(tuple(latent.prior.event_shape) for latent in latents)
        return self._group_shapes

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
        proposal: Literal["posterior", "prior"] = "posterior",
    ) -> Inference:
        """One pass from images to latents and back.

        Args:
            x: (B, *X), tensor.
            y: labels or targets, (B, ...), or None.
            samples: K, samples of z for each example.
            training: whether layers such as dropout are in training mode.
            seed: integer tensor, (2,), or (B, 2), one for each example, whose noise then depends on no other; None:
                the next one of the model's.
            sample_weight: (B,), how much each example counts in means over the batch; None: all alike.
            proposal: what z are drawn from, "posterior" or "prior".
        """
        if seed is None:
            seed = backend.noise_seed(self.seed_generator if training else self.test_seed_generator)
        seen = x = ops.cast(x, "float32")
        if self.target is not None:
            x, y = ops.cast(y, "float32"), None
        if self.likelihood.data == "unit interval":
            # Scaled data may pass the ends by its rounding, where densities are infinite.
            x = self._clipped(x)
            seen = x if self.target is None else seen
        if training and self.corruption is not None:
            seen = self._corrupted(seen, backend.folded(seed, 2**14))
        batch = x.shape[0] if len(seed.shape) == 2 else ops.shape(x)[0]
        # For what fits something to the batch.
        given = {"sample_weight": sample_weight}
        draw = self._draw(proposal, samples, batch, seed)
        latents, features = self.run(draw, seen, y, training=training, **given if self.adapts else {})
        weights = given if self.likelihood.adapts else {}

        def observe(features):
            likelihood = self.likelihood.distribution(features, x=x, training=training, **weights)
            return distributions.Observed(likelihood) if self.missing else likelihood

        def decode(z):
            return observe(self.run(draws.Given(z, z.shape[0]), y=y, training=training)[1])

        def densities(z, constant):
            run = frozen(self, "run") if constant else unchanging(self, self.run)
            latents, _ = run(draws.Given(z, z.shape[0]), seen, y, training=training)
            pairs = [(latent.posterior.log_prob(latent.z), latent.prior.log_prob(latent.z)) for latent in latents]
            return tuple(map(sum, zip(*pairs, strict=True)))

        def encode(x):
            latents, _ = self.run(draws.AtMean(ops.shape(x)[0]), x, y, training=training)
            return ops.reshape(joined(latents)[0], (-1, sum(latent.size for latent in latents)))

        def picture(shown, unit=False):
            shown = shown if ops.is_tensor(shown) else self.likelihood.image(distributions.whole(shown))
            return self.likelihood.unit_input(shown) if unit else self.likelihood.network_input(shown)

        return Inference(
            x,
            y,
            observe(features),
            latents,
            self.updates,
            sample_weight=sample_weight,
            decode=unchanging(self, decode),
            encode=unchanging(self, encode),
            densities=densities,
            features=features,
            observe=unchanging(self, observe),
            picture=picture,
            decoder_weights=tuple(self.decoder_weights),
            seed=backend.folded(seed, 2**16),
            training=training,
            seen=seen,
        )

    def _draw(self, proposal, samples, batch, seed):
        """Where latents come from in training and scoring."""
        return {"posterior": draws.FromPosterior, "prior": draws.FromPrior}[proposal](samples, batch, seed)

    @property
    def decoder_weights(self) -> list[keras.Variable]:
        """The weights of what makes p(x|z) of z, for objectives that bound them; none where a model does not say."""
        return []

    def generate(
        self,
        n: int | Tensor,
        y: Tensor | None = None,
        seed: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        given: dict[int, Tensor] | None = None,
    ) -> Tensor:
        """Decoder features of `n` draws from the prior.

        Args:
            n: how many, an integer or a scalar tensor.
            y: (n, ...) or None.
            seed: integer tensor, (2,), or (S, 2), one for each of S equal blocks of the draws.
            temperature: factor on the prior's standard deviation.
            given: {number of a group, from 0 at the top: z, (n, *D)} of groups that are not drawn.

        Returns:
            (n, *F).
        """
        if seed is None:
            seed = backend.noise_seed(self.test_seed_generator)
        draw = draws.FromPrior(1, n, seed)
        draw = draws.Holding(draw, given) if given else draw
        _, features = self.run(draw, y=y, temperature=temperature)
        return features[0]

    def call(self, x: Tensor, y: Tensor | None = None, training: bool = False) -> Tensor:
        """Reconstructions of `x` by way of the points that stand for it, as tensors."""
        x = ops.cast(x, "float32")
        return self._image(self.run(draws.AtMean(ops.shape(x)[0]), x, y)[1])

    def _image(self, features):
        return self.likelihood.image(self.likelihood.distribution(features))[0]

    def _encode(self, x, y=None):
        x = ops.cast(x, "float32")
        return joined(self.run(draws.AtMean(ops.shape(x)[0]), x, y)[0])[0]

    def _codes(self, seed, x, y=None):
        """A draw of q(z|x) and what `encode` returns, (B, 2, *latent_shape)."""
        x = ops.cast(x, "float32")
        drawn, _ = self.run(draws.FromPosterior(1, ops.shape(x)[0], seed), x, y)
        return ops.stack([joined(drawn)[0], self._encode(x, y)], axis=1)

    def _decode(self, z, y=None):
        return self._image(self.run(draws.Given(z), y=y)[1])
