"""Networks that objectives have of their own: they tell one kind of sample from another."""

import keras
from keras import layers

from keras_vae.names import check_whole, plain

# Of the negative half of a leaky ReLU; Kim and Mnih 2018, and what GANs have.
SLOPE = 0.2


def checked_widths(widths: tuple[int, ...]) -> tuple[int, ...]:
    """`widths` as a tuple of positive whole numbers.

    Raises:
        ValueError: for anything else.
    """
    widths = plain(widths)
    if not isinstance(widths, tuple):
        raise ValueError(f"`widths` must be a list of whole numbers, one for each layer. Received: widths={widths!r}")
    for width in widths:
        check_whole(widths=width)
    return widths


def critic(given: keras.Model | None, size: int, widths: tuple[int, ...], name: str = "critic") -> keras.Model:
    """A network of one logit, (B, D) -> (B, 1), built.

    Args:
        given: a network; None: one of dense layers, in float32.
        size: D.
        widths: of their hidden layers.
        name: of the network, in the paths of its weights.

    Raises:
        ValueError: if the network that is given is none of one logit.
    """
    if given is None:
        return keras.Sequential([keras.Input((size,)), *_hidden(widths), _logit()], name=name)
    shape = given(keras.KerasTensor((None, size))).shape
    if tuple(shape) != (None, 1):
        raise ValueError(f"A {name} gives one logit for each z, (B, 1). Received: output of shape {tuple(shape)}")
    return given


def _hidden(widths):
    for index, width in enumerate(widths, start=1):
        yield layers.Dense(width, dtype="float32", name=f"hidden_{index}")
        yield layers.LeakyReLU(SLOPE, dtype="float32", name=f"activation_{index}")


def _logit():
    return layers.Dense(1, dtype="float32", name="logit")
