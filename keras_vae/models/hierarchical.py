"""The hierarchical variational autoencoder: groups of latents, each given those above it."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_vae import likelihoods, names, objectives, parts, posteriors
from keras_vae.backend import Tensor
from keras_vae.corruptions import Corruption
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
    those for several groups: ELBO and the importance-weighted bounds. The KL of each group is logged, `kl_0` the top's.

    Each network may take labels y as one more, last input; so may the prior of the top group, p(z_1|y).

    Args:
        encoder: Keras model, images (B, *X) -> features of each group, from the top; no output layers.
        decoder: Keras model, [h, z] of the last group -> features; z alone where there is one group only.
        groups: for each group below the top, two Keras models, (down, inference): [h, z] of the group above (z alone
            where that is the top) -> [h, features]; and [h, e] -> features.
        posterior: that of the top group, a posterior or a spec, as of a `VAE`; those below it are `ResidualNormal`. Or
            a sequence of them, one for each group.
        prior: that of the top group, a prior or a spec, as of a `VAE`; those below it are `ConditionalNormal`, of their
            features. Or a sequence.
        likelihood, objective, seed, image_shape, label_shape, name, missing, corruption, target, target_shape: as in
            `VAE`.

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
        self._given_label_shape = label_shape
        self._take_data(missing, corruption, target, target_shape)
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
        self._takes_mask = self.missing and shapes.takes_mask(encoder, self.image_shape)
        taken = [self.image_shape] * (1 + self._takes_mask)
        seen_by_encoder = shapes.label_shape(encoder, self._given_label_shape, len(taken))
        labels = {seen_by_encoder, *(_labels(network, 1 + bool(index)) for index, network in enumerate(below))}
        labels = {*labels, *(_labels(inference, 2) for _, inference in groups)} - {None}
        shapes.check_mask(encoder, self._takes_mask, labels)
        label_shape = next(iter(labels), None)
        given = [*taken, *([] if seen_by_encoder is None else [seen_by_encoder])]
        seen = shapes.output_shapes(encoder, *given, what="encoder", inputs="images", count=len(sizes))
        above, made, fitted = [], None, []
        for index, (size, features, (q, p)) in enumerate(zip(sizes, seen, specs, strict=True)):
            if index:
                down, inference = groups[index - 1]
                where = f"network of group {index}"
                h, made = _outputs(down, *above, what=f"down {where}", inputs="[h, z]", count=2)
                (features,) = _outputs(inference, h, features, what=f"inference {where}", inputs="[h, e]", count=1)
                above = [h]
            suiting = made if index else label_shape
            q, p = _part("posterior", index, q, size), _part("prior", index, p, size, label_shape=suiting)
            shapes.check_latents(q, p)
            _check_group(index, q, p, size, made)
            shapes.build(q, features)
            shapes.build(p, self.image_shape if made is None else made)
            shapes.check_relative(q, p)
            above.append(size)
            fitted.append((q, p))
        (features,) = _outputs(decoder, *above, what="decoder", inputs="[h, z]", count=1)
        labels |= {fitted[0][1].label_shape} - {None}
        if len(labels) > 1:
            raise ValueError(
                f"The networks and the prior of the top must take labels of one shape. Received: {sorted(labels)}"
            )
        if fitted[0][1].uses_encoder and seen_by_encoder is not None:
            raise ValueError(
                "A prior made of q(z|u) of inputs u that it learns needs an encoder that sees no labels. "
                f"Received: prior={fitted[0][1].spec!r}, labels of the encoder {seen_by_encoder}"
            )
        self._encoder_labels, self.label_shape = seen_by_encoder, next(iter(labels), None)
        shapes.build_likelihood(likelihood, decoder, features, self.target_shape)
        self._group_shapes = tuple(sizes)
        shapes.build(objective, self.latent_shape, self.target_shape)
        self._check_data(self.corruption, likelihood, objective, features)
        return encoder, decoder, groups, *zip(*fitted, strict=True), likelihood, objective

    def get_config(self) -> dict:
        return super().get_config() | {"label_shape": self.label_shape}

    @property
    def kl_names(self) -> tuple[str, ...]:
        """Names by which the KL of each group is logged, from the top; none of a single one."""
        count = len(self.prior)
        return tuple(f"kl_{index}" for index in range(count)) if count > 1 else ()

    @property
    def deterministic(self) -> bool:
        """Whether q(z|x) has all mass on one z."""
        return all(posterior.deterministic for posterior in self.posterior)

    def __repr__(self):
        lines = [f"{role}: {getattr(self, role).spec}" for role in ("likelihood", "objective")]
        groups = zip(self.group_shapes, self.posterior, self.prior, strict=True)
        lines += [f"group {i}: z {shape}, {q.spec}, {p.spec}" for i, (shape, q, p) in enumerate(groups)]
        labels = "" if self.label_shape is None else f", labels {self.label_shape}"
        head = f"<HierarchicalVAE {self.name!r}: images {self.image_shape}, {self.count_params():,} parameters{labels}"
        return "\n  ".join([head, *lines]) + ">"

    def run(
        self,
        draw: Draw,
        x: Tensor | None = None,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        training: bool = False,
    ) -> tuple[tuple[Latent, ...], Tensor]:
        seen = [None] * len(self.prior) if x is None else self._seen(self.network_inputs(x), y, training)
        # What the prior of a group is of: labels, and further down features.
        latents, above, made = [], [], y
        for index, (p, q, features) in enumerate(zip(self.prior, self.posterior, seen, strict=True)):
            if index:
                down, inference = self.groups[index - 1]
                h, made = _applied(down, *above, y=y, training=training)
                features = None if x is None else _applied(inference, h, features, y=y, training=training)
                above = [h]
            distribution = p.training_distribution if training else p.distribution
            prior = distribution(made, temperature, self._encode_pseudo_inputs)
            posterior = None if x is None else q.distribution(features, prior, training)
            z = draw(posterior, prior, q.point)
            latents.append(Latent(z, posterior, prior, 0.0 if x is None else q.penalty(posterior)))
            above.append(q.embed(z, posterior))
        return tuple(latents), _applied(self.decoder, *above, y=y, training=training)

    def _seen(self, inputs, y=None, training=False):
        """The encoder's features of each group, (B, *F)."""
        label = [] if self._encoder_labels is None else [(y, self._encoder_labels)]
        features = shapes.applied(self.encoder, *inputs, *label, training=training)
        return features if isinstance(features, (list, tuple)) else [features]

    def _encode_pseudo_inputs(self, inputs):
        return self.posterior[0].distribution(self._seen(self._pseudo_inputs(inputs))[0])

    def _top(self):
        return self.posterior[0], self.prior[0]

    def _set_top(self, prior):
        # The user's way, by which all priors would go with the networks, is closed.
        super(Composed, self).__setattr__("prior", self._taken("prior", (prior, *self.prior[1:])))

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
    if len(inputs) not in (count, count + 1):
        expected = "z of the top group alone" if count == 1 else "[h, z] of the group above it"
        name = getattr(network, "name", network)
        raise ValueError(
            f"This network takes {expected}, and at most labels beside it, by keras.Input. "
            f"Received: {name!r} of {len(inputs)} inputs"
        )
    return [tuple(tensor.shape[1:]) for tensor in inputs[:count]]


def _labels(network, count):
    """The shape of one label, where a network takes one beside its `count` inputs; otherwise None."""
    return tuple(network.inputs[count].shape[1:]) if len(network.inputs) > count else None


def _outputs(network, *given, what, inputs, count):
    """The shapes of what a network makes of inputs of these shapes, and of labels if it takes them."""
    label = _labels(network, len(given))
    given = given if label is None else (*given, label)
    return shapes.output_shapes(network, *given, what=what, inputs=inputs, count=count)


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
    if posterior.discrete or posterior.has_codes or posterior.embedding_shape != size:
        raise ValueError(
            f"Groups of a hierarchy have z of real numbers, which networks see as they are. Received: {posterior!r}"
        )
    if index and prior.label_shape not in (None, made):
        raise ValueError(
            "A group below the top has a prior of the features above it, labels among them if need be. "
            f"Received: {prior!r} in group {index}"
        )
    if prior.uses_encoder and index:
        raise ValueError(f"A prior made of q(z|u) is for the top group. Received: {prior!r} in group {index}")


def _applied(network, *inputs, y=None, training=False):
    given = list(zip(inputs, _inputs(network, len(inputs)), strict=True))
    label = _labels(network, len(inputs))
    return shapes.applied(network, *given, *([] if label is None else [(y, label)]), training=training)


def of_networks(
    posterior: Posterior | str | names.Spec, latent_size: int | tuple[int, ...]
) -> tuple[int | tuple[int, ...], Posterior | str | names.Spec]:
    """The latent size of the networks of a posterior, and the posterior, which is made where it is one of codes."""
    if isinstance(posterior, (str, names.Spec)):
        spec = names.Spec.parse(posterior) if isinstance(posterior, str) else posterior
        if names.find("posterior", spec.name).has_codes:
            posterior = posteriors.get(spec, latent_size)
    coded = isinstance(posterior, Posterior) and posterior.has_codes
    return posterior.network_size if coded else latent_size, posterior


def composed_of(networks: Sequence, **given: Any) -> Composed:
    """The model of what a builder of networks returns: a `VAE` of two, a `HierarchicalVAE` of three.

    Args:
        networks: (encoder, decoder), or (encoder, decoder, groups).
        **given: arguments of both classes.
    """
    return (VAE if len(networks) == 2 else HierarchicalVAE)(*networks, **given)
