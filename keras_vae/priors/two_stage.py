"""A second VAE, on the latents, as the prior."""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
from keras import layers, ops

from keras_vae.backend import Tensor, noise_seed, tfd
from keras_vae.distributions import Marginal
from keras_vae.distributions.autoregressive import hidden_widths
from keras_vae.names import check_whole, one_of, plain
from keras_vae.parts import register, soft_clip
from keras_vae.priors.base import Prior
from keras_vae.priors.normal import LOG_SCALE_BOUND


@register()
class TwoStage(Prior):
    """A second VAE whose data are the latents: u ~ N(0, I), p(z|u) = N(m(u), s^2), and q(u|z) a diagonal Normal.

    log p(z) is an estimate, log mean_s p(z|u_s) p(u_s) / q(u_s|z) over `samples` draws u_s ~ q(u|z): in expectation a
    lower bound. Its noise is the same at each call and for each z, so that equal z have equal densities. In training it
    is the evidence lower bound of one draw, with new noise at each step, which is the paper's loss. A temperature
    scales both standard deviations.

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent, whose units it takes as one vector.
        widths: of the hidden layers of encoder and decoder.
        latent_size: E, units of u; None: D.
        scale: s, "learned", one for all units, or "per_unit", one for each.
        samples: S, how many draws of u the density of one z takes, each a pass through the decoder.

    Reference: Dai and Wipf 2019 (arXiv 1903.05789); the networks, whose last layers see their inputs, too,
    are those of the authors' code.

    Example: `vae.fit_prior(images, "two_stage:widths=[256,256]", epochs=50)`.
    """

    def __init__(
        self,
        size: int | tuple[int, ...],
        widths: tuple[int, ...] = (1024, 1024, 1024),
        latent_size: int | None = None,
        scale: Literal["learned", "per_unit"] = "learned",
        samples: int = 64,
        **kwargs: Any,
    ):
        super().__init__(size, **kwargs)
        self.widths, self.latent_size = hidden_widths(widths), plain(latent_size)
        self.scale = one_of(scale, ("learned", "per_unit"), "scale")
        check_whole(samples=samples, latent_size=1 if latent_size is None else latent_size)
        self.samples = plain(samples)
        # Of training; 0 is that of the models' own noise often enough.
        self.seed_generator = keras.random.SeedGenerator(1903)

    def build(self, input_shape: tuple[int, ...]) -> None:
        units = math.prod(self.event_shape)
        self._make_networks(units)
        shape = () if self.scale == "learned" else (units,)
        self.log_scale = self.add_weight(name="log_scale", shape=shape, initializer="zeros")

    def _make_networks(self, units):
        self.encoder = network(units, self.widths, 2 * self.second_size, "encoder")
        self.decoder = network(self.second_size, self.widths, units, "decoder")

    @property
    def second_size(self) -> int:
        """E, units of u."""
        return math.prod(self.event_shape) if self.latent_size is None else self.latent_size

    def distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        return self._density(temperature, noise=_noise(self.samples, self.second_size))

    def training_distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        return self._density(temperature, seed=noise_seed(self.seed_generator))

    def _density(self, temperature, **noise):
        def q(z):
            loc, raw = ops.split(self.encoder(z), 2, axis=-1)
            return normal(loc, exp(raw))

        return Marginal(
            self._style(temperature), q, lambda u: self._of_second(u, temperature), self.event_shape, **noise
        )

    def _style(self, temperature):
        """p(u)."""
        loc = ops.zeros((self.second_size,), dtype="float32")
        return normal(loc, ops.ones_like(loc) * temperature)

    def _of_second(self, inputs, temperature):
        """p(z|u), of what the decoder takes, (..., its inputs)."""
        loc = ops.reshape(self.decoder(ops.reshape(inputs, (-1, inputs.shape[-1]))), (*ops.shape(inputs)[:-1], -1))
        return normal(loc, ops.ones_like(loc) * temperature * exp(self.log_scale.value))


def normal(loc: Tensor, scale: Tensor) -> tfd.Distribution:
    """Of independent units."""
    return tfd.Independent(tfd.Normal(loc, scale), reinterpreted_batch_ndims=1)


def exp(raw: Tensor) -> Tensor:
    """A scale, within softly bounded limits."""
    return ops.exp(soft_clip(raw, -LOG_SCALE_BOUND, LOG_SCALE_BOUND))


def network(inputs: int, widths: tuple[int, ...], outputs: int, name: str) -> keras.Model:
    """Dense layers, the last of which sees the inputs, too."""
    with keras.name_scope(name):
        given = hidden = keras.Input((inputs,))
        for index, width in enumerate(widths, start=1):
            hidden = layers.Dense(width, "relu", dtype="float32", name=f"hidden_{index}")(hidden)
        joined = layers.Concatenate(dtype="float32", name="joined")([given, hidden])
        return keras.Model(given, layers.Dense(outputs, dtype="float32", name="output")(joined), name=name)


@functools.cache
def _noise(samples, size):
    # numpy promises that the stream of RandomState never changes: what a file's densities are, they stay.
    return np.random.RandomState(0).standard_normal((samples, size)).astype("float32")
