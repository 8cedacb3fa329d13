"""The hierarchical variational autoencoder: groups of latents, each given those above it."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_vae import likelihoods, names, objectives, parts, posteriors
from keras_vae.backend import Tensor
from keras_vae.draws import Draw
from keras_vae.inference import Latent
from keras_vae.likelihoods import Likelihood
from keras_vae.models import shapes
from keras_vae.models.composed import Composed
from keras_vae.models.vae import VAE
from keras_vae.objectives import Objective
from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior

_BASES = {"posterior": Posterior, "prior": Prior}
# Specs of the groups below the top.
_BELOW = {"posterior": "residual_normal", "prior": "conditional_normal"}


@keras.saving.register_keras_serializable("keras_vae")
class HierarchicalVAE(Composed):
    """A VAE with several groups of latents, inferred and generated from the top down.

    The encoder sees x once and gives features e_l for each group l. The top group is that of a `VAE`: q(z_1|x) of e_1,
    and p(z_1). What lies above a group below it, h_l, is made of z_1, and further down of h_{l-1} and z_{l-1}:

        h_l, f_l = down_l(h_{l-1}, z_{l-1})     p(z_l | z_<l) of f_l
        g_l = inference_l(h_l, e_l)             q(z_l | z_<l, x) of g_l, relative to p(z_l | z_<l)
        features = decoder(h_L, z_L)            p(x | z) of the features

    With one group it is a `VAE`. In `encode` and `decode` latents are flat, all groups one after the other from the
    top; `split` takes them apart, and `sample(n, given={0: z})` holds some groups and draws the others. Objectives are
    those for several groups: ELBO, IWAE, MIWAE and CIWAE.

    Args:
        encoder: Keras model, images (B, *X) -> features of each group, from the top; no output layers.
        decoder: Keras model, [h, z] of the last group -> features; z alone where there is one group only.
        groups: for each group below the top, two Keras models, (down, inference): [h, z] of the group above (z alone
            where that is the top) -> [h, features]; and [h, e] -> features.
        posterior: that of the top group, a posterior or a spec, as of a `VAE`; those below it are `ResidualNormal`. Or
            a sequence of them, one for each group.
        prior: that of the top group, a prior or a spec, as of a `VAE`; those below it are `ConditionalNormal`, of their
            features. Or a sequence.
        likelihood, objective, seed, image_shape, name: as in `VAE`.

    Shape: latents (K, B, *D) of each group, D being what the network that takes z says, a vector or a map.

    Raises:
        ValueError: if the networks and parts do not fit each other.

    Reference: Sønderby et al. 2016, arXiv:1602.02282 (top-down inference); Vahdat and Kautz 2020, arXiv:2007.03898
    (residual posteriors); Child 2021, arXiv:2011.10650.

    Example:
        vae = kv.HierarchicalVAE(*kv.networks.ladder((28, 28, 1)), objective="elbo:free_bits=3,free_bits_per=group")
    """

    fixed = ("encoder", "decoder", "groups", "posterior", "prior")
    pieces = (*fixed, "likelihood", "objective")

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        groups: Sequence[Sequence[keras.Model]] = (),
        posterior: Posterior | str | Sequence[Posterior | str] = "diagonal_normal",
        prior: Prior | str | Sequence[Prior | str] = "standard_normal",
        likelihood: Likelihood | str = "bernoulli",
        objective: Objective | str = "elbo",
        seed: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, autocast=False, **kwargs)
        self.image_shape = shapes.input_shape(encoder, image_shape, "encoder", "image_shape=(28, 28, 1)")
        networks = {"encoder": encoder, "decoder": decoder, "groups": groups}
        others = {"posterior": posterior, "prior": prior, "likelihood": likelihood, "objective": objective}
        self._put_together(seed, **networks, **others)

    def _fitted(self, encoder, decoder, groups, posterior, prior, likelihood, objective):
        groups = _pairs(groups)
        # What takes the z of each group.
        below = [*(down for down, _ in groups), decoder]
        sizes = [_inputs(network, 1 + bool(index))[-1] for index, network in enumerate(below)]
        specs = zip(_each("posterior", posterior, sizes), _each("prior", prior, sizes), strict=True)
        likelihood, objective = likelihoods.get(likelihood), objectives.get(objective)
        seen = shapes.output_shapes(encoder, self.image_shape, what="encoder", inputs="images", count=len(sizes))
        above, made, fitted = [], None, []
        for index, (size, features, (q, p)) in enumerate(zip(sizes, seen, specs, strict=True)):
            if index:
                down, inference = groups[index - 1]
                where = f"network of group {index}"
                h, made = shapes.output_shapes(down, *above, what=f"down {where}", inputs="[h, z]", count=2)
                (features,) = shapes.output_shapes(
                    inference, h, features, what=f"inference {where}", inputs="[h, e]", count=1
                )
                above = [h]
            q, p = _part("posterior", index, q, size), _part("prior", index, p, size, label_shape=made)
            shapes.check_latents(q, p)
            _check_group(index, q, p, size, made)
            shapes.build(q, features)
            shapes.build(p, self.image_shape if made is None else made)
            above.append(size)
            fitted.append((q, p))
        (features,) = shapes.output_shapes(decoder, *above, what="decoder", inputs="[h, z]", count=1)
        shapes.build_likelihood(likelihood, decoder, features, self.image_shape)
        self._group_shapes = tuple(sizes)
        shapes.build(objective, self.latent_shape, self.image_shape)
        return encoder, decoder, groups, *zip(*fitted, strict=True), likelihood, objective

    def __repr__(self):
        lines = [f"{role}: {getattr(self, role).spec}" for role in ("likelihood", "objective")]
        groups = zip(self.group_shapes, self.posterior, self.prior, strict=True)
        lines += [f"group {i}: z {shape}, {q.spec}, {p.spec}" for i, (shape, q, p) in enumerate(groups)]
        head = f"<HierarchicalVAE {self.name!r}: images {self.image_shape}, {self.count_params():,} parameters"
        return "\n  ".join([head, *lines]) + ">"

    def run(
        self,
        draw: Draw,
        x: Tensor | None = None,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        training: bool = False,
    ) -> tuple[tuple[Latent, ...], Tensor]:
        seen = [None] * len(self.prior) if x is None else self._seen(self.likelihood.network_input(x), training)
        latents, above, made = [], [], None
        for index, (p, q, features) in enumerate(zip(self.prior, self.posterior, seen, strict=True)):
            if index:
                down, inference = self.groups[index - 1]
                h, made = _applied(down, *above, training=training)
                features = None if x is None else _applied(inference, h, features, training=training)
                above = [h]
            distribution = p.training_distribution if training else p.distribution
            prior = distribution(made, temperature, self._encode_pseudo_inputs)
            posterior = None if x is None else q.distribution(features, prior, training)
            z = draw(posterior, prior, q.point)
            latents.append(Latent(z, posterior, prior, 0.0 if x is None else q.penalty(posterior)))
            above.append(q.embed(z, posterior))
        return tuple(latents), _applied(self.decoder, *above, training=training)

    def _seen(self, x, training=False):
        """The encoder's features of each group, (B, *F)."""
        features = self.encoder(x, training=training)
        return features if isinstance(features, (list, tuple)) else [features]

    def _encode_pseudo_inputs(self, inputs):
        return self.posterior[0].distribution(self._seen(inputs)[0])

    @property
    def decoder_weights(self) -> list[keras.Variable]:
        """Those of the networks on the way down and of the likelihood's output layer."""
        networks = (*(down for down, _ in self.groups), self.decoder, self.likelihood)
        return [variable for network in networks for variable in network.trainable_variables]


def _pairs(groups):
    groups = tuple(map(tuple, groups))
    if any(len(group) != 2 for group in groups):
        raise ValueError(
            "Each group below the top has two networks, (down, inference). "
            f"Received: groups of {[len(group) for group in groups]} networks"
        )
    return groups


def _inputs(network, count):
    """The shapes of what a network takes for one example, `count` of them."""
    inputs = getattr(network, "inputs", None) or ()
    if len(inputs) != count:
        expected = "z of the top group alone" if count == 1 else "[h, z] of the group above it"
        name = getattr(network, "name", network)
        raise ValueError(f"This network takes {expected}, by keras.Input. Received: {name!r} of {len(inputs)} inputs")
    return [tuple(tensor.shape[1:]) for tensor in inputs]


def _each(role, given, sizes):
    """A part or spec for each group."""
    if not isinstance(given, (tuple, list)):
        return [given, *[_BELOW[role]] * (len(sizes) - 1)]
    if len(given) != len(sizes):
        raise ValueError(f"There is one {role} for each of {len(sizes)} groups. Received: {len(given)}")
    return given


def _part(role, index, given, size, **suiting):
    """A part of a group, `suiting` being for those that take it."""
    # Each under a name of its own, by which optimizers may tell its weights.
    suiting["name"] = f"{role}_{index}" if index else role
    return parts.get(_BASES[role], given, size[0] if len(size) == 1 else size, **suiting)


def _check_group(index, posterior, prior, size, made):
    if prior.event_shape != size:
        raise ValueError(
            f"Posterior and prior of group {index} must have z of the shape that the network below takes, {size}. "
            f"Received: {prior.event_shape}"
        )
    if posterior.discrete or posterior.embedding_shape != size:
        raise ValueError(
            f"Groups of a hierarchy have z of real numbers, which networks see as they are. Received: {posterior!r}"
        )
    if prior.label_shape not in (None, made):
        raise ValueError(
            "The top group has a prior without labels, and one further down a prior of the features above it. "
            f"Received: {prior!r} in group {index}"
        )
    if prior.uses_encoder and (index or not posterior.has_density):
        raise ValueError(
            "A prior made of q(z|u) is for the top group, and needs a posterior with a density. "
            f"Received: {prior!r} in group {index}"
        )


def _applied(network, *inputs, training=False):
    return shapes.applied(network, *zip(inputs, _inputs(network, len(inputs)), strict=True), training=training)


def of_networks(
    posterior: Posterior | str | names.Spec, latent_size: int | tuple[int, ...]
) -> tuple[int | tuple[int, ...], Posterior | str | names.Spec]:
    """The latent size of the networks of a posterior, and the posterior, which is made where it is one of codes."""
    if isinstance(posterior, (str, names.Spec)):
        spec = names.Spec.parse(posterior) if isinstance(posterior, str) else posterior
        if names.find("posterior", spec.name).discrete:
            posterior = posteriors.get(spec, latent_size)
    discrete = isinstance(posterior, Posterior) and posterior.discrete
    return posterior.network_size if discrete else latent_size, posterior


def composed_of(networks: Sequence, **given: Any) -> Composed:
    """The model of what a builder of networks returns: a `VAE` of two, a `HierarchicalVAE` of three.

    Args:
        networks: (encoder, decoder), or (encoder, decoder, groups).
        **given: arguments of both classes.
    """
    return (VAE if len(networks) == 2 else HierarchicalVAE)(*networks, **given)
