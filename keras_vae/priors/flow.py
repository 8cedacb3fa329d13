"""Normalising flows as priors."""

from collections.abc import Callable
from typing import Any, Literal

from keras import ops

from keras_vae.backend import Tensor, tfb, tfd
from keras_vae.distributions import Autoregressive, Flow, MaskedNetwork
from keras_vae.distributions.autoregressive import hidden_widths
from keras_vae.names import check_whole, one_of, plain
from keras_vae.parts import register, soft_clip
from keras_vae.priors.base import Prior

# exp(3): a few steps reach any scale, and none overflows.
LOG_SCALE_BOUND = 3.0


@register("flow")
class FlowPrior(Prior):
    """A standard Normal sent through affine flows, each of them u = (z - shift) exp(-log_scale).

    Shift and log-scale of a unit are functions of other units: with "realnvp" of the other half, so that a density and
    a sample both take one pass; with "maf" of all units before it, so that a density takes one pass and a sample
    `size`. The order of the units turns round at each step. A temperature scales the Normal.

    Args:
        size: D, number of latent units; with "realnvp" 2 or more.
        kind: "realnvp" or "maf".
        steps: flows, one after the other.
        widths: of the hidden layers of each flow's network.

    Reference: Dinh et al. 2017 (arXiv 1605.08803), equations 7 and 8; Papamakarios et al. 2017 (arXiv 1705.07057),
        equations 3 and 4.
    """

    def __init__(
        self,
        size: int | tuple[int, ...],
        kind: Literal["realnvp", "maf"] = "realnvp",
        steps: int = 6,
        widths: tuple[int, ...] = (64, 64),
        **kwargs: Any,
    ):
        super().__init__(size, **kwargs)
        self.kind = one_of(kind, ("realnvp", "maf"), "kind of flow")
        self.check_vector(least=2 if kind == "realnvp" else 1)
        check_whole(steps=steps)
        self.steps, self.widths = plain(steps), hidden_widths(widths)

    def build(self, input_shape: tuple[int, ...]) -> None:
        turns = 2 if self.kind == "realnvp" else None
        self.networks = [
            MaskedNetwork(self.size, self.widths, turns=turns, reverse=index % 2 == 1, name=f"step_{index}")
            for index in range(self.steps)
        ]
        for network in self.networks:
            network.build((self.size,))

    def distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        loc = ops.zeros(self.event_shape, dtype="float32")
        base = tfd.Independent(tfd.Normal(loc, ops.ones_like(loc) * temperature), reinterpreted_batch_ndims=1)
        # From z to the Normal.
        maps = tfb.Chain([Autoregressive(network, _bounded) for network in self.networks])
        return Flow(base, tfb.Invert(maps))


def _bounded(shift, raw):
    return shift, soft_clip(raw, -LOG_SCALE_BOUND, LOG_SCALE_BOUND)
