"""Games with a discriminator: of latents (AAE), of images (VAE-GAN)."""

import math
from typing import Any, Literal

import keras
from keras import ops

from keras_vae.backend import Tensor, folded, tfp
from keras_vae.inference import Inference
from keras_vae.names import check_number, check_whole, checked_widths, one_of, plain
from keras_vae.objectives.base import Objective, flat, negative_elbo
from keras_vae.objectives.critics import critic, heads, judge
from keras_vae.parts import frozen, register

# As far as gradients may move a balanced weight.
_MOST = 1e4


@register("adversarial", "aae")
class Adversarial(Objective):
    """Reconstruction, and a game with a discriminator that tells z from draws of the prior (adversarial autoencoder).

    `beta * KL - E_q[log p(x|z)] - weight * E_q[log D(z)]`, and the discriminator's own cross-entropy,
    `-(E_p[log D(z)] + E_q[log(1 - D(z))]) / 2`, whose gradients reach nothing but the discriminator. One optimiser
    serves both; `keras.optimizers.MultiOptimizer` gives the paths "objective/discriminator/..." another.

    Args:
        samples: samples of z that the expectations are taken over.
        beta: weight of the KL; 0 is the paper's.
        weight: of the game, for the encoder.
        widths: hidden widths of the discriminator.
        discriminator: Keras model, (B, D) -> one logit (B, 1), in the place of the one of `widths`.

    Reference: Makhzani et al. 2016, "Adversarial autoencoders", section 2, appendix A.
    """

    names = ("adversary", "discriminator_loss")

    def __init__(
        self,
        samples: int = 1,
        beta: float = 0.0,
        weight: float = 1.0,
        widths: tuple[int, ...] = (1000, 1000),
        discriminator: keras.Model | None = None,
        **kwargs: Any,
    ):
        super().__init__(samples=samples, **kwargs)
        check_number(beta=beta, weight=weight)
        self.beta, self.weight, self.widths = float(beta), float(weight), checked_widths(widths)
        self.discriminator = discriminator

    def build(self, latent_shape: tuple[int, ...], image_shape: tuple[int, ...]) -> None:
        self.network = critic(self.discriminator, math.prod(latent_shape), self.widths, "discriminator")

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        latent = self.one_latent(inference)
        lead = ops.shape(latent.z)[:2]

        def logit(network, z):
            return ops.reshape(ops.cast(network(flat(z), training=inference.training), "float32"), lead)

        adversary = ops.softplus(-logit(frozen(self.network), latent.z))
        theirs, ours = map(ops.stop_gradient, (latent.drawn(folded(inference.seed, 1)), latent.z))
        own = 0.5 * (ops.softplus(-logit(self.network, theirs)) + ops.softplus(logit(self.network, ours)))
        loss = negative_elbo(inference, self.beta) + inference.mean(self.weight * adversary + own)
        return {"loss": loss, "adversary": adversary, "discriminator_loss": own}


@register("vae_gan")
class VAEGAN(Objective):
    """A VAE whose decoder plays a game with a discriminator of images, and whose errors may be in its features.

    `beta * KL + R + weight * G`, and the discriminator's own loss. R is the reconstruction: half the squared distance
    of x from its reconstruction in the features of the discriminator, or `-E_q[log p(x|z)]`. G is small where the
    discriminator takes reconstructions and samples for real; its gradients reach the decoder alone, those of the
    discriminator's loss itself alone. Images are those that networks see, of p(x|z) the mean.

    With `reconstruction="likelihood", game="hinge", spectral_norm=True, balanced=True` and the `features` of a trained
    network it is a projected GAN beside a likelihood. What the discriminator learns is saved with the model: training
    goes on with it, and a new one would have to learn first.

    Args:
        samples: samples of z that the expectations are taken over; the game sees the first.
        beta: weight of the KL.
        reconstruction: "features" or "likelihood".
        game: "logistic", cross-entropies; or "hinge".
        weight: of the game, for the decoder.
        balanced: whether the weight is multiplied by |dR| / |dG|, gradients by the decoder's features, so that 1 means
            as much of both.
        delay: updates of the model before the game counts for the decoder.
        from_prior: whether the game sees samples of the prior, too, beside reconstructions.
        widths: of the discriminator's layers, convolutions of stride 2 for images.
        spectral_norm: whether its kernels are divided by their largest singular values.
        discriminator: Keras model, images -> features, in the place of the one of `widths`; a linear layer makes the
            logit of them.
        features: Keras model, images -> features or a list of them, which is not trained: the discriminator then has a
            small head on each, and the features are theirs.

    Reference: Larsen et al. 2016, "Autoencoding beyond pixels", algorithm 1; Esser, Rombach and Ommer 2021, equation 7
    (balanced); Sauer et al. 2021, "Projected GANs" (features); Miyato et al. 2018 (spectral norm, hinge).
    """

    whole_images = True

    def __init__(
        self,
        samples: int = 1,
        beta: float = 1.0,
        reconstruction: Literal["features", "likelihood"] = "features",
        game: Literal["logistic", "hinge"] = "logistic",
        weight: float = 1.0,
        balanced: bool = False,
        delay: int = 0,
        from_prior: bool = True,
        widths: tuple[int, ...] = (32, 64, 128),
        spectral_norm: bool = False,
        discriminator: keras.Model | None = None,
        features: keras.Model | None = None,
        **kwargs: Any,
    ):
        super().__init__(samples=samples, **kwargs)
        check_number(beta=beta, weight=weight)
        check_whole(least=0, delay=delay)
        self.beta, self.weight, self.delay = float(beta), float(weight), int(delay)
        self.reconstruction = one_of(plain(reconstruction), ("features", "likelihood"), "reconstruction")
        self.game = one_of(plain(game), ("logistic", "hinge"), "game")
        self.balanced, self.from_prior, self.spectral_norm = bool(balanced), bool(from_prior), bool(spectral_norm)
        self.widths = checked_widths(widths)
        if discriminator is not None and features is not None:
            raise ValueError(
                "The discriminator is a network of your own, or heads on the features of one that is not trained: give "
                f"one of both. Received: discriminator={discriminator.name!r}, features={features.name!r}"
            )
        self.discriminator, self.features = discriminator, features
        if features is not None:
            features.trainable = False

    @property
    def names(self) -> tuple[str, ...]:
        weight = ("game_weight",) if self.balanced else ()
        return ("reconstruction_loss", "generator_loss", "discriminator_loss", *weight)

    def build(self, latent_shape: tuple[int, ...], image_shape: tuple[int, ...]) -> None:
        if self.features is None:
            self.network = judge(self.discriminator, image_shape, self.widths, self.spectral_norm)
        else:
            self.network = heads(self._maps(keras.KerasTensor((None, *image_shape))), self.spectral_norm)

    def _maps(self, images):
        maps = self.features(images, training=False)
        return [ops.cast(m, "float32") for m in (maps if isinstance(maps, (list, tuple)) else [maps])]

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        latent = self.one_latent(inference, codes=True)
        real = inference.picture(inference.x)
        reconstruction = self._reconstruction(inference, inference.likelihood, real)
        made = [latent.z[:1], latent.drawn(folded(inference.seed, 1))[:1]][: 1 + self.from_prior]
        made = inference.picture(inference.decode(ops.stop_gradient(ops.concatenate(made, axis=0))))
        generator = self._fooled(made, inference)
        own = self._lost(self._logits(real[None], inference), 1.0)
        own = own + self._lost(self._logits(ops.stop_gradient(made), inference), -1.0)
        weight = self.weight * (self._balance(inference, real) if self.balanced else 1.0)
        weight = ops.where(inference.step >= self.delay, weight, 0.0)
        loss = inference.mean(inference.penalty) + reconstruction + weight * generator + own
        if self.beta:
            loss = loss + self.beta * inference.mean(inference.kl)
        values = (reconstruction, generator, own, weight)[: len(self.names)]
        return {"loss": loss, **dict(zip(self.names, values, strict=True))}

    def _reconstruction(self, inference, likelihood, real):
        """R, (B,)."""
        if self.reconstruction == "likelihood":
            return -inference.mean(likelihood.log_prob(inference.x))
        both = inference.picture(likelihood), real[None]
        seen, wanted = (self._judged(images, inference, frozen)[0] for images in both)
        return inference.mean(0.5 * sum(_squares(a - b) for a, b in zip(seen, wanted, strict=True)))

    def _fooled(self, images, inference):
        """G, (B,), of images (n, B, *X)."""
        logits = self._judged(images, inference, frozen)[1]
        values = -logits if self.game == "hinge" else ops.softplus(-logits)
        return ops.sum(ops.mean(values, axis=-1), axis=0)

    def _logits(self, images, inference):
        return self._judged(images, inference, lambda network: network)[1]

    def _lost(self, logits, sign):
        """The discriminator's loss, (B,), where logits, (n, B, P), should have that sign."""
        values = ops.relu(1.0 - sign * logits) if self.game == "hinge" else ops.softplus(-sign * logits)
        return ops.sum(ops.mean(values, axis=-1), axis=0)

    def _judged(self, images, inference, access):
        """Features, a list of (n, B, ...), and logits, (n, B, P), of images (n, B, *X)."""
        lead, network = ops.shape(images)[:2], access(self.network)
        images = ops.reshape(images, (-1, *images.shape[2:]))
        if self.features is None:
            seen, logits = network(images, training=inference.training)
            maps = [seen]
        else:
            maps = self._maps(images)
            logits = network(maps, training=inference.training)
        *maps, logits = (ops.reshape(value, (*lead, *value.shape[1:])) for value in (*maps, logits))
        return maps, logits

    def _balance(self, inference, real):
        """|dR| / |dG| by the decoder's features, of the means over the batch."""

        def length(term):
            def mean(features):
                return inference.batch_mean(term(inference.observe(features)))

            slope = tfp.math.value_and_gradient(mean, ops.stop_gradient(inference.features))[1]
            return ops.sqrt(ops.sum(ops.square(ops.cast(slope, "float32"))))

        wanted = length(lambda likelihood: self._reconstruction(inference, likelihood, real))
        game = length(lambda likelihood: self._fooled(inference.picture(likelihood)[:1], inference))
        return ops.stop_gradient(ops.minimum(wanted / (game + 1e-8), _MOST))


def _squares(difference):
    """The sum of the squares of each example, (n, B)."""
    return ops.sum(ops.square(difference), axis=tuple(range(2, len(difference.shape))))
