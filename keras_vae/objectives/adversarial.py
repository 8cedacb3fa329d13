"""Games with a discriminator: of latents (AAE), of images (VAE-GAN)."""

import math
from typing import Any, Literal

import keras
from keras import ops

from keras_vae import features as feature_networks
from keras_vae.backend import Tensor, folded, tfp
from keras_vae.inference import Inference
from keras_vae.names import check_number, check_whole, checked_widths, one_of, plain
from keras_vae.objectives.base import Objective, flat, negative_elbo
from keras_vae.objectives.critics import critic, heads, judge
from keras_vae.parts import frozen, register

# As far as gradients may move a balanced weight.
_MOST = 1e8


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
    discriminator takes reconstructions and samples for real; its gradients reach the decoder, those of the
    discriminator's loss nothing else. Images are those that networks see, of p(x|z) the mean; `features` see
    8-bit levels between 0 and 1.

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
        teaches_encoder: whether gradients of G by reconstructions reach the encoder, too; what costs most, the decoder,
            then runs once a step, or twice with samples.
        widths: of the discriminator's layers, convolutions of stride 2 for images.
        spectral_norm: whether its kernels are divided by their largest singular values.
        discriminator: Keras model, images -> features, in the place of the one of `widths`; a linear layer makes the
            logit of them.
        features: Keras model, images -> features or a list of them, which is not trained, or one that is known by a
            spec, "efficientnet_lite0": the discriminator then has a small head on each, and the features are theirs.
        perceptual: weight, nats, of the squared distance of x from its reconstruction in `features`, the mean over
            each of them, which is added to R.

    Reference: Larsen et al. 2016, "Autoencoding beyond pixels", algorithm 1; Esser, Rombach and Ommer 2021, equation 7
    (`balanced`, `teaches_encoder`); Sauer et al. 2021, "Projected GANs" (`features`); Miyato et al. 2018 (spectral
    norm, hinge).
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
        teaches_encoder: bool = False,
        widths: tuple[int, ...] = (32, 64, 128),
        spectral_norm: bool = False,
        discriminator: keras.Model | None = None,
        features: keras.Model | str | None = None,
        perceptual: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(samples=samples, **kwargs)
        check_number(beta=beta, weight=weight)
        check_whole(least=0, delay=delay)
        self.beta, self.weight, self.delay = float(beta), float(weight), int(delay)
        self.reconstruction = one_of(plain(reconstruction), ("features", "likelihood"), "reconstruction")
        self.game = one_of(plain(game), ("logistic", "hinge"), "game")
        self.balanced, self.from_prior, self.spectral_norm = bool(balanced), bool(from_prior), bool(spectral_norm)
        self.widths, self.teaches_encoder = checked_widths(widths), bool(teaches_encoder)
        if discriminator is not None and features is not None:
            raise ValueError(
                "The discriminator is a network of your own, or heads on the features of one that is not trained: give "
                f"one of both. Received: discriminator={discriminator.name!r}, features={features!r}"
            )
        check_number(perceptual=perceptual)
        if perceptual and features is None:
            raise ValueError(f"`perceptual` weighs a distance in `features`. Received: perceptual={perceptual!r}")
        self.discriminator, self.perceptual = discriminator, float(perceptual)
        self.features = None if features is None else feature_networks.checked(features)

    @property
    def names(self) -> tuple[str, ...]:
        weight = ("game_weight",) if self.balanced else ()
        return ("reconstruction_loss", "generator_loss", "discriminator_loss", *weight)

    def build(self, latent_shape: tuple[int, ...], image_shape: tuple[int, ...]) -> None:
        if self.features is None:
            self.network = judge(self.discriminator, image_shape, self.widths, self.spectral_norm)
        else:
            self._seen = feature_networks.get(self.features, image_shape)
            self.network = heads(self._maps(keras.KerasTensor((None, *image_shape))), self.spectral_norm)

    def _maps(self, images):
        maps = self._seen(images, training=False)
        return [ops.cast(m, "float32") for m in (maps if isinstance(maps, (list, tuple)) else [maps])]

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        latent = self.one_latent(inference, codes=True)
        real, rebuilt = (
            self._shown(self._picture(inference, inference.x)[None]),
            self._rebuilt(inference.likelihood, inference),
        )
        made = self._made(latent, rebuilt, inference)
        reconstruction = self._reconstruction(inference, inference.likelihood, rebuilt, real)
        generator = self._fooled(made, inference)
        own = self._lost(real, 1.0, inference) + self._lost(_each(ops.stop_gradient, made), -1.0, inference)
        weight = self.weight * (self._balance(inference, real) if self.balanced else 1.0)
        weight = ops.where(inference.step >= self.delay, weight, 0.0)
        loss = inference.mean(inference.penalty) + reconstruction + weight * generator + own
        if self.beta:
            loss = loss + self.beta * inference.mean(inference.kl)
        values = (reconstruction, generator, own, weight)[: len(self.names)]
        return {"loss": loss, **dict(zip(self.names, values, strict=True))}

    def _picture(self, inference, shown):
        """Images of x or p(x|z); networks of features know them between 0 and 1."""
        return inference.picture(shown, unit=self.features is not None)

    def _shown(self, images):
        """What is judged, a list of (n, B, ...): images (n, B, *X), or their features."""
        if self.features is None:
            return [images]
        lead = ops.shape(images)[:2]
        maps = self._maps(ops.reshape(images, (-1, *images.shape[2:])))
        return [ops.reshape(m, (*lead, *m.shape[1:])) for m in maps]

    def _rebuilt(self, likelihood, inference):
        """The reconstructions, as they are judged; None where nothing asks for them."""
        asked = self.reconstruction == "features" or self.perceptual or self.teaches_encoder
        return self._shown(self._picture(inference, likelihood)) if asked else None

    def _made(self, latent, rebuilt, inference):
        """What the game sees: a reconstruction, and an image of the prior."""
        z = [] if self.teaches_encoder else [latent.z[:1]]
        z += [latent.drawn(folded(inference.seed, 1))[:1]] if self.from_prior else []
        made = [_each(lambda value: value[:1], rebuilt)] if self.teaches_encoder else []
        if z:
            decoded = inference.decode(ops.stop_gradient(ops.concatenate(z, axis=0)))
            made.append(self._shown(self._picture(inference, decoded)))
        return [ops.concatenate(values, axis=0) for values in zip(*made, strict=True)] if len(made) > 1 else made[0]

    def _reconstruction(self, inference, likelihood, rebuilt, real):
        """R, (B,)."""
        total = -likelihood.log_prob(inference.x) if self.reconstruction == "likelihood" else 0.0
        if self.reconstruction == "features" or self.perceptual:
            seen, wanted = (self._judged(shown, inference, frozen)[0] for shown in (rebuilt, real))
            for a, b in zip(seen, wanted, strict=True):
                weight = 0.5 * (self.reconstruction == "features") + self.perceptual / math.prod(b.shape[2:])
                total = total + weight * _squares(a - b)
        return inference.mean(total)

    def _fooled(self, shown, inference):
        """G, (B,), of what is judged."""
        logits = self._judged(shown, inference, frozen)[1]
        values = -logits if self.game == "hinge" else ops.softplus(-logits)
        return ops.sum(ops.mean(values, axis=-1), axis=0)

    def _lost(self, shown, sign, inference):
        """The discriminator's loss, (B,), where the logits, (n, B, P), should have that sign."""
        logits = self._judged(shown, inference, lambda network: network)[1]
        values = ops.relu(1.0 - sign * logits) if self.game == "hinge" else ops.softplus(-sign * logits)
        return ops.sum(ops.mean(values, axis=-1), axis=0)

    def _judged(self, shown, inference, access):
        """Features, a list of (n, B, ...), and logits, (n, B, P)."""
        lead, network = ops.shape(shown[0])[:2], access(self.network)
        flattened = [ops.reshape(value, (-1, *value.shape[2:])) for value in shown]
        if self.features is None:
            seen, logits = network(flattened[0], training=inference.training)
            return [ops.reshape(seen, (*lead, *seen.shape[1:]))], ops.reshape(logits, (*lead, *logits.shape[1:]))
        logits = network(flattened, training=inference.training)
        return shown, ops.reshape(logits, (*lead, *logits.shape[1:]))

    def _balance(self, inference, real):
        """|dR| / |dG| by the decoder's features, of the means over the batch."""

        def length(term):
            def mean(features):
                likelihood = inference.observe(features)
                return inference.batch_mean(term(likelihood, self._shown(self._picture(inference, likelihood))))

            slope = tfp.math.value_and_gradient(mean, ops.stop_gradient(inference.features))[1]
            return ops.sqrt(ops.sum(ops.square(ops.cast(slope, "float32"))))

        wanted = length(lambda likelihood, shown: self._reconstruction(inference, likelihood, shown, real))
        game = length(lambda _, shown: self._fooled(_each(lambda value: value[:1], shown), inference))
        return ops.stop_gradient(ops.minimum(wanted / (game + 1e-8), _MOST))


def _each(function, values):
    return [function(value) for value in values]


def _squares(difference):
    """The sum of the squares of each example, (n, B)."""
    return ops.sum(ops.square(difference), axis=tuple(range(2, len(difference.shape))))
