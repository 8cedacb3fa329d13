"""Autoregressive maps and the masked networks in them."""

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae.backend import Tensor, repeated
from keras_vae.distributions.flow import _Map
from keras_vae.names import checked_widths, plain
from keras_vae.parts import Part


@keras.saving.register_keras_serializable("keras_vae")
class MaskedNetwork(Part):
    """MADE: two numbers for each unit of a vector, which depend on the units of earlier turns, and on a context.

    Its last layer begins at zero.

    Args:
        size: D, number of units.
        widths: of the hidden layers.
        context: whether there is a context that all outputs may depend on.
        turns: how many turns the units have, in equal blocks: D, each its own; or 2, halves that are coupled. None: D.
        reverse: whether the last unit has the first turn.

    Shape: (*lead, D), and a context (*lead, widths[0]), which is added in the first hidden layer -> two of (*lead, D).

    Reference: Germain et al. 2015 (arXiv 1502.03509), equations 12 and 13.
    """

    def __init__(
        self,
        size: int,
        widths: tuple[int, ...] = (64,),
        context: bool = False,
        turns: int | None = None,
        reverse: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.size, self.widths, self.context = plain(size), hidden_widths(widths), bool(context)
        self.turns, self.reverse = plain(turns), bool(reverse)

    @property
    def turn(self) -> np.ndarray:
        """The turn of each unit, (D,)."""
        turn = np.arange(self.size) * self.rounds // self.size
        return turn[::-1].copy() if self.reverse else turn

    @property
    def rounds(self) -> int:
        """Number of turns."""
        return self.turns or self.size

    def build(self, input_shape: tuple[int, ...] | None = None) -> None:
        # A hidden unit of turn t sees units of turns up to t, so one of turn -1 sees the context alone.
        first = -1 if self.context else 0
        hidden = [np.arange(width) % max(1, self.rounds - 1 - first) + first for width in self.widths]
        turns = [self.turn, *hidden]
        masks = [(a[:, None] <= b[None]).astype("float32") for a, b in itertools.pairwise(turns)]
        self._masks = [*masks, np.tile((turns[-1][:, None] < self.turn[None]).astype("float32"), (1, 2))]
        self._kernels, self._biases = [], []
        for index, mask in enumerate(self._masks):
            start = "zeros" if index == len(masks) else "he_normal"
            self._kernels.append(self.add_weight(name=f"kernel_{index}", shape=mask.shape, initializer=start))
            self._biases.append(self.add_weight(name=f"bias_{index}", shape=mask.shape[1:], initializer="zeros"))

    def call(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        for index, (kernel, bias, mask) in enumerate(zip(self._kernels, self._biases, self._masks, strict=True)):
            z = ops.matmul(ops.relu(z) if index else z, kernel * mask) + bias
            if index == 0 and context is not None:
                z = z + context
        return tuple(ops.split(z, 2, axis=-1))


def hidden_widths(widths: int | tuple[int, ...]) -> tuple[int, ...]:
    """Widths of hidden layers, of which there must be one at least; a number alone is that of one."""
    widths = checked_widths(widths if isinstance(widths, (list, tuple)) else (widths,))
    if not widths:
        raise ValueError(f"`widths` must name one hidden layer at least. Received: widths={widths!r}")
    return widths


class Autoregressive(_Map):
    """exp(log_scale) z + shift, both functions of the units of earlier turns; the inverse takes a pass for each turn.

    Args:
        network: a built `MaskedNetwork`.
        affine: (shift, log-scale) from the two outputs of the network.
        context: (*batch, widths[0]), or None where the network has none.

    Reference: Kingma et al. 2016 (arXiv 1606.04934), section 3; its inverse is the flow of Papamakarios et al. 2017
        (arXiv 1705.07057), and with two turns the affine coupling of Dinh et al. 2017 (arXiv 1605.08803).
    """

    _ranks = {"context": 1}

    def __init__(
        self,
        network: MaskedNetwork,
        affine: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        context: Tensor | None = None,
        name: str = "autoregressive",
    ):
        parameters = dict(locals())
        self._network, self._affine, self._context = network, affine, context
        super().__init__(parameters, name)

    def _shift_and_log_scale(self, z, context):
        return self._affine(*self._network(z, context=context))

    def _forward(self, z):
        shift, log_scale = self._shift_and_log_scale(z, self._context)
        return z * ops.exp(log_scale) + shift

    def _forward_log_det_jacobian(self, z):
        return ops.sum(self._shift_and_log_scale(z, self._context)[1], axis=-1)

    def _inverse(self, z):
        context = self._context
        if context is not None:
            z = z + ops.zeros_like(context[..., :1])
            width = context.shape[-1]
            context = ops.reshape(ops.broadcast_to(context, (*ops.shape(z)[:-1], width)), (-1, width))
        shape = ops.shape(z)
        # XLA has no gradients of products of more axes, of which some are not known, in a loop.
        z = ops.reshape(z, (-1, z.shape[-1]))
        turn = ops.convert_to_tensor(self._network.turn, dtype="int32")

        def solved(index, base):
            shift, log_scale = self._shift_and_log_scale(base, context)
            # Those before their turn stay 0: what they would be now means nothing, and may be huge.
            return ops.where(turn == index, (z - shift) * ops.exp(-log_scale), base)

        return ops.reshape(repeated(solved, ops.zeros_like(z), self._network.rounds), shape)
