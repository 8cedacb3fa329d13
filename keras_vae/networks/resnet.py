"""Residual networks."""

from collections.abc import Callable

import keras

from keras_vae.names import known_as, plain
from keras_vae.networks.hourglass import as_tuple, check_axes, check_sizes, check_tuples, hourglass, residual


@known_as("network", "resnet")
def resnet(
    image_shape: tuple[int, ...],
    latent_size: int | tuple[int, ...],
    widths: int | tuple[int, ...] = (64, 128),
    blocks: int | tuple[int, ...] = 2,
    activation: str | Callable = "swish",
    missing: bool = False,
) -> tuple[keras.Model, keras.Model]:
    """Build a residual encoder and the decoder that mirrors it.

    Pre-activation blocks stand between the halvings and doublings of a convolutional network. They start as the
    identity, which makes normalisation unnecessary: outputs do not depend on the rest of the batch. Each width halves
    the image before its blocks, so that none of them works at full size, where most of the time would go.

    Args:
        image_shape: `(H, W, C)` or `(length, channels)`, of any size.
        latent_size: length of z; or, for a latent map, `(h, w, c)`, of the sides that the image has after all halvings.
        widths: channels after each halving (rounded up) of the encoder; a number: of one halving.
        blocks: residual blocks per width: a number, or one for each width.
        activation: anything that `keras.layers.Activation` takes.
        missing: whether the encoder takes [x, mask], the mask being 1 where an element of x is there, for models with
            `missing=True`.

    Returns:
        `(encoder, decoder)`, `image_shape -> (features,)` and `(latent_size,) -> (H, W, widths[0])`; with a latent map
        `image_shape -> (h, w, widths[-1])` and `(h, w, c) -> (H, W, widths[0])`. Posterior and likelihood add their own
        linear layers.

    Raises:
        ValueError: where the shape is not that of an image or signal, a size is not a positive integer, a side of the
            image cannot be halved so often, or there are not as many `blocks` as `widths`.

    Reference:
        He et al., Identity Mappings in Deep Residual Networks (2016), figure 4e; Zhang et al., Fixup Initialization
        (2019), for the last convolution of a block starting at zero.

    Example:
        >>> encoder, decoder = resnet((32, 32, 3), latent_size=64)
        >>> encoder.output_shape, decoder.output_shape
        ((None, 8192), (None, 32, 32, 64))
    """
    check_axes(image_shape, "(H, W, C)", "(length, channels)")
    widths, blocks = as_tuple(widths), plain(blocks)
    check_tuples(widths=widths)
    if isinstance(blocks, tuple):
        if len(blocks) != len(widths) or not all(type(n) is int and n >= 0 for n in blocks):
            raise ValueError(
                f"`blocks` must be a positive integer, or one whole number for each width. Received: blocks={blocks!r}"
            )
    else:
        check_sizes(blocks=blocks)
        blocks = [blocks] * len(widths)

    def refine(x, level, name):
        for i in range(blocks[level]):
            x = residual(x, activation, f"{name}_block_{i}")
        return x

    # A kernel that the stride divides covers every pixel equally often: no checkerboard.
    return hourglass(image_shape, latent_size, widths, 4, activation, refine=refine, missing=missing)
