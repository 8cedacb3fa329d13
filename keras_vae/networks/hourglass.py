"""What the builders share: their checks, and the way from an image down to features and back up to its exact size."""

import math
from collections.abc import Callable
from numbers import Integral
from typing import Any

import keras
from keras import layers

from keras_vae.names import plain


def check_sizes(**sizes: Any) -> None:
    """Raise unless every argument is a positive integer.

    Raises:
        ValueError: at the first argument that is not.
    """
    for name, value in sizes.items():
        if not _is_size(plain(value)):
            raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")


def check_tuples(**tuples: Any) -> None:
    """Raise unless every argument is a non-empty tuple or list of positive integers.

    Raises:
        ValueError: at the first argument that is not.
    """
    for name, value in tuples.items():
        sizes = plain(value)
        if not isinstance(sizes, tuple) or not sizes or not all(map(_is_size, sizes)):
            raise ValueError(f"`{name}` must be a non-empty tuple of positive integers. Received: {name}={value!r}")


def as_tuple(value: Any) -> Any:
    """`value`, a number as a tuple of one, numpy's numbers and arrays as Python's."""
    value = plain(value)
    return (value,) if isinstance(value, Integral) else value


def check_axes(image_shape: tuple[int, ...], *expected: str) -> None:
    """Raise unless a shape has as many axes as one of the expected, such as `"(H, W, C)"`.

    Raises:
        ValueError: where it has not.
    """
    check_tuples(image_shape=image_shape)
    if len(image_shape) not in [axes.count(",") + 1 for axes in expected]:
        raise ValueError(f"`image_shape` must be {' or '.join(expected)}. Received: image_shape={image_shape!r}")


def encoder_inputs(image_shape: tuple[int, ...], missing: bool) -> tuple[Any, keras.KerasTensor]:
    """The inputs of an encoder, and what its first layer sees.

    Args:
        image_shape: `*X`.
        missing: whether there is a second input, a mask, which is joined to the images on their last axis.
    """
    image = layers.Input(image_shape, name="encoder_input")
    if not missing:
        return image, image
    mask = layers.Input(image_shape, name="encoder_mask")
    return [image, mask], layers.Concatenate(name="encoder_joined")([image, mask])


def dense_layers(
    x: keras.KerasTensor, widths: tuple[int, ...], activation: str | Callable, name: str
) -> keras.KerasTensor:
    """`x` behind dense layers of these widths, which are called `NAME_dense_0` and so on."""
    for i, width in enumerate(widths):
        x = layers.Dense(width, activation=activation, name=f"{name}_dense_{i}")(x)
    return x


def hourglass(
    image_shape: tuple[int, ...],
    latent_size: int | tuple[int, ...],
    widths: tuple[int, ...],
    kernel_size: int,
    activation: str,
    *,
    dense: int | None = None,
    batch_norm: bool = False,
    refine: Callable | None = None,
    missing: bool = False,
) -> tuple[keras.Model, keras.Model]:
    """Build an encoder that halves the image once per width, and the decoder that mirrors it.

    Args:
        image_shape: `(H, W, C)` or `(length, channels)`. Halves of odd sizes are rounded up on the way down, and their
            doubles cropped on the way up.
        latent_size: length of z; or, for a latent map, `(h, w, c)`, of the sides that the image has after all halvings.
        widths: channels after each halving; a number: of one halving.
        kernel_size: of the convolutions that halve or double.
        activation: anything that `keras.layers.Activation` takes.
        dense: width of a last dense layer of the encoder; with None its features are the flattened maps.
        batch_norm: normalise before each activation.
        refine: `(maps, level, name) -> maps` of the same shape, applied after each halving and before each doubling;
            None: nothing.
        missing: whether the encoder takes a mask, too.

    Returns:
        `(encoder, decoder)`, `image_shape -> (features,)` and `(latent_size,) -> (*sizes, widths[0])`; with a latent
        map, `image_shape -> (h, w, widths[-1])` and `(h, w, c) -> (*sizes, widths[0])`.

    Raises:
        ValueError: where a size is not a positive integer, a side of the image cannot be halved so often, or a latent
            map has other sides than the image then has.
    """
    image_shape, kernel_size, dense = plain((image_shape, kernel_size, dense))
    widths, latent_shape = as_tuple(widths), as_tuple(latent_size)
    check_tuples(widths=widths)
    check_tuples(latent_size=latent_shape)
    check_sizes(kernel_size=kernel_size)
    if dense is not None:
        check_sizes(dense=dense)
    rank = len(image_shape) - 1
    sizes = halvings(image_shape, len(widths))
    is_map = len(latent_shape) > 1
    if is_map and (tuple(latent_shape[:-1]) != sizes[-1] or dense is not None):
        raise ValueError(
            f"A latent map has the sides of the image after {len(widths)} halvings, {sizes[-1]}, and no dense layer "
            f"before it. Received: latent_size={tuple(latent_shape)}, dense={dense}"
        )
    convolution = getattr(layers, f"Conv{rank}D")
    transposed = getattr(layers, f"Conv{rank}DTranspose")
    # A bias before a normalisation would be subtracted again.
    options = {"strides": 2, "padding": "same", "use_bias": not batch_norm}

    def activate(x, name):
        if batch_norm:
            # Keras' default momentum, 0.99, needs several hundred steps before validation means anything.
            x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
        return layers.Activation(activation, name=f"{name}_activation")(x)

    def refined(x, level, name):
        return x if refine is None else refine(x, level, name)

    inputs, x = encoder_inputs(image_shape, missing)
    for i, width in enumerate(widths):
        name = f"encoder_{i}"
        x = convolution(width, kernel_size, name=f"{name}_conv", **options)(x)
        x = activate(refined(x, i, name), name)
    if not is_map:
        x = layers.Flatten(name="encoder_flatten")(x)
    if dense is not None:
        x = layers.Dense(dense, activation=activation, name="encoder_dense")(x)
    encoder = keras.Model(inputs, x, name="encoder")

    coarsest = (*sizes[-1], widths[-1])
    x = z = layers.Input(latent_shape, name="decoder_input")
    # On a map, position by position.
    x = layers.Dense(widths[-1] if is_map else math.prod(coarsest), activation=activation, name="decoder_dense")(x)
    x = x if is_map else layers.Reshape(coarsest, name="decoder_reshape")(x)
    # Level i goes from widths[i] to the channels of the level above it; above the first there is only the likelihood.
    for i in reversed(range(len(widths))):
        name = f"decoder_{i}"
        x = transposed(widths[max(i - 1, 0)], kernel_size, name=f"{name}_conv", **options)(refined(x, i, name))
        x = activate(crop(x, sizes[i], f"{name}_crop"), name)
    return encoder, keras.Model(z, x, name="decoder")


def residual(
    x: keras.KerasTensor, activation: str | Callable, name: str, normalized: bool = False
) -> keras.KerasTensor:
    """A pre-activation residual block of two convolutions, which starts as the identity.

    Args:
        x: maps, (B, H, W, C) or (B, length, C).
        activation: anything that `keras.layers.Activation` takes.
        name: begins the names of the layers.
        normalized: whether the channels of each position have a root mean square of 1 before the block.

    Reference: as of `resnet`.
    """
    convolution, skip = getattr(layers, f"Conv{len(x.shape) - 2}D"), x
    if normalized:
        x = layers.RMSNormalization(name=f"{name}_normalization")(x)
    for j, start in enumerate(("glorot_uniform", "zeros")):
        x = layers.Activation(activation, name=f"{name}_{j}_activation")(x)
        x = convolution(skip.shape[-1], 3, padding="same", kernel_initializer=start, name=f"{name}_{j}_conv")(x)
    return layers.Add(name=f"{name}_add")([skip, x])


def _is_size(value):
    return isinstance(value, Integral) and not isinstance(value, bool) and value > 0


def halvings(image_shape: tuple[int, ...], levels: int) -> list[tuple[int, ...]]:
    """The spatial sizes of an image at each level, from its own to the coarsest.

    Raises:
        ValueError: where a side cannot be halved so often.
    """
    sizes = [tuple(image_shape[:-1])]
    for _ in range(levels):
        if min(sizes[-1]) < 2:
            raise ValueError(
                "Each of `widths` halves the image, which a side of 1 cannot be: use fewer widths or larger images. "
                f"Received: image_shape={tuple(image_shape)}, {levels} widths"
            )
        sizes.append(tuple((n + 1) // 2 for n in sizes[-1]))
    return sizes


def crop(x: keras.KerasTensor, size: tuple[int, ...], name: str) -> keras.KerasTensor:
    """Cut maps that were doubled from a rounded-up half back to `size`."""
    surplus = [(0, have - want) for have, want in zip(x.shape[1:-1], size, strict=True)]
    if not any(end for _, end in surplus):
        return x
    cropping = getattr(layers, f"Cropping{len(size)}D")
    return cropping(surplus if len(size) > 1 else surplus[0], name=name)(x)
