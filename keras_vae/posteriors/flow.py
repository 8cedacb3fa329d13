"""Normalising flows: a diagonal Normal sent through maps that see the encoder's features."""

from typing import Any

from keras import ops

from keras_vae.backend import Tensor, tfb, tfd
from keras_vae.distributions import Autoregressive, Flow, MaskedNetwork, Planar, Radial
from keras_vae.distributions.autoregressive import hidden_widths
from keras_vae.names import check_whole, plain
from keras_vae.parts import Head, register, soft_clip
from keras_vae.posteriors.base import Posterior
from keras_vae.posteriors.normal import DiagonalNormal


class _FlowPosterior(Posterior):
    """A diagonal Normal sent through `steps` maps; a subclass makes them.

    Args:
        size: D, number of latent units.
        steps: maps, one after the other.
    """

    def __init__(self, size: int | tuple[int, ...], steps: int, **kwargs: Any):
        super().__init__(size, **kwargs)
        self.check_vector()
        check_whole(steps=steps)
        self.steps = plain(steps)

    def build(self, features_shape: tuple[int, ...]) -> None:
        self.base = DiagonalNormal(self.size, name="base")
        self.base.build(features_shape)

    def _maps(self, features):
        """The maps, in the order in which z goes through them."""
        raise NotImplementedError

    def distribution(
        self, features: Tensor, prior: tfd.Distribution | None = None, training: bool = False
    ) -> tfd.Distribution:
        return Flow(self.base.distribution(features), tfb.Chain(self._maps(features)[::-1]))

    def point(self, distribution: tfd.Distribution) -> Tensor:
        """Where the flow sends the mean of its Normal, (B, D)."""
        return distribution.bijector.forward(distribution.distribution.mean())


class _HeadFlow(_FlowPosterior):
    """A flow whose maps have all their parameters from one linear layer.

    Attributes:
        parameters: of a map, for each latent unit; and beside those.
    """

    parameters: tuple[int, int] = (0, 0)

    def build(self, features_shape: tuple[int, ...]) -> None:
        super().build(features_shape)
        each, beside = self.parameters
        self.head = Head((self.steps, each * self.size + beside), name="head")
        self.head.build(features_shape)

    def _maps(self, features):
        return [self._map(raw) for raw in ops.unstack(self.head(features)[..., 0], self.steps, axis=-2)]

    def _map(self, raw):
        raise NotImplementedError


@register("iaf")
class InverseAutoregressiveFlow(_FlowPosterior):
    """A Normal sent through inverse autoregressive flows.

    z becomes s z + (1 - s) m, where s = sigmoid(...) and m come from a masked network that sees, of z, the units
    before each one, and, in its first layer, a linear function of the features. The order of the units turns round at
    each step. The density costs nothing at the samples; anywhere else, as a component of a mixture, it takes `size`
    passes.

    Args:
        size: D, number of latent units.
        steps: flows, one after the other.
        widths: of the hidden layers of each flow's network.

    Reference: Kingma et al. 2016 (arXiv 1606.04934), algorithm 1.
    """

    def __init__(self, size: int | tuple[int, ...], steps: int = 2, widths: tuple[int, ...] = (64,), **kwargs: Any):
        super().__init__(size, steps, **kwargs)
        self.widths = hidden_widths(widths)

    def build(self, features_shape: tuple[int, ...]) -> None:
        super().build(features_shape)
        self.head = Head((self.steps, self.widths[0]), name="head")
        self.head.build(features_shape)
        self.networks = [
            MaskedNetwork(self.size, self.widths, context=True, reverse=index % 2 == 1, name=f"step_{index}")
            for index in range(self.steps)
        ]
        for network in self.networks:
            network.build((self.size,))

    def _maps(self, features):
        contexts = ops.unstack(self.head(features)[..., 0], self.steps, axis=-2)
        return [Autoregressive(n, _gated, context) for n, context in zip(self.networks, contexts, strict=True)]


def _gated(mean, raw):
    # Open at first: s = sigmoid(2). Bounded, since the inverse divides by s.
    raw = soft_clip(raw + 2.0, -7.0, 7.0)
    return ops.sigmoid(-raw) * mean, ops.log_sigmoid(raw)


@register("planar")
class PlanarFlow(_HeadFlow):
    """A Normal sent through planar flows, z + u tanh(w'z + b), with u, w and b from the features.

    Args:
        size: D, number of latent units.
        steps: flows, one after the other.

    Reference: Rezende and Mohamed 2015 (arXiv 1505.05770), equation 10; with parameters from the features as in van den
        Berg et al. 2018 (arXiv 1803.05649), section 3.
    """

    parameters = (2, 1)

    def __init__(self, size: int | tuple[int, ...], steps: int = 10, **kwargs: Any):
        super().__init__(size, steps, **kwargs)

    def _map(self, raw):
        return Planar(raw[..., : self.size], raw[..., self.size : -1], raw[..., -1])


@register("radial")
class RadialFlow(_HeadFlow):
    """A Normal sent through radial flows, z + beta (z - c) / (alpha + |z - c|), with c, alpha, beta from the features.

    Args:
        size: D, number of latent units.
        steps: flows, one after the other.

    Reference: Rezende and Mohamed 2015 (arXiv 1505.05770), equation 14.
    """

    parameters = (1, 2)

    def __init__(self, size: int | tuple[int, ...], steps: int = 10, **kwargs: Any):
        super().__init__(size, steps, **kwargs)

    def _map(self, raw):
        return Radial(raw[..., :-2], ops.softplus(raw[..., -2]), ops.softplus(raw[..., -1]))
