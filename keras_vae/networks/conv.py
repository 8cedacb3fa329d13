"""Convolutional networks for images and for signals."""

from collections.abc import Callable

import keras

from keras_vae.names import known_as
from keras_vae.networks.hourglass import check_axes, hourglass


@known_as("network", "conv")
def conv(
    image_shape: tuple[int, ...],
    latent_size: int | tuple[int, ...],
    widths: int | tuple[int, ...] = (32, 64),
    kernel_size: int = 3,
    dense: int | None = 256,
    activation: str | Callable = "relu",
    batch_norm: bool = False,
    missing: bool = False,
) -> tuple[keras.Model, keras.Model]:
    """Build a convolutional encoder and the decoder that mirrors it.

    Args:
        image_shape: `(H, W, C)`, of any height and width.
        latent_size: length of z.
        widths: channels of the encoder's convolutions, each of which halves the image (rounded up); a number: of one.
        kernel_size: of every convolution.
        dense: width of a last dense layer of the encoder; with None its features are the flattened maps.
        activation: anything that `keras.layers.Activation` takes.
        batch_norm: normalise before each activation.
        missing: whether the encoder takes [x, mask], the mask being 1 where an element of x is there, for models with
            `missing=True`.

    Returns:
        `(encoder, decoder)`, `image_shape -> (features,)` and `(latent_size,) -> (H, W, widths[0])`. Posterior and
        likelihood add their own linear layers.

    Raises:
        ValueError: where the shape is not that of an image, a size is not a positive integer, or a side of the
            image cannot be halved so often.

    Example:
        >>> encoder, decoder = conv((64, 64, 3), 128, widths=(32, 64, 128, 256, 512), dense=None, batch_norm=True)
        >>> encoder.output_shape, decoder.output_shape
        ((None, 2048), (None, 64, 64, 32))
    """
    check_axes(image_shape, "(H, W, C)")
    options = {"dense": dense, "batch_norm": batch_norm, "missing": missing}
    return hourglass(image_shape, latent_size, widths, kernel_size, activation, **options)


@known_as("network", "conv1d")
def conv1d(
    image_shape: tuple[int, ...],
    latent_size: int | tuple[int, ...],
    widths: int | tuple[int, ...] = (32, 64),
    kernel_size: int = 5,
    dense: int | None = 256,
    activation: str | Callable = "relu",
    batch_norm: bool = False,
    missing: bool = False,
) -> tuple[keras.Model, keras.Model]:
    """Build `conv` for signals of shape `(length, channels)`; arguments and errors are those of `conv`.

    Returns:
        `(encoder, decoder)`, `image_shape -> (features,)` and `(latent_size,) -> (length, widths[0])`.
    """
    check_axes(image_shape, "(length, channels)")
    options = {"dense": dense, "batch_norm": batch_norm, "missing": missing}
    return hourglass(image_shape, latent_size, widths, kernel_size, activation, **options)
