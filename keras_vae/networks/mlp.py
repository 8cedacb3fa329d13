"""Dense networks."""

from collections.abc import Callable

import keras
from keras import layers

from keras_vae.names import known_as, plain
from keras_vae.networks.hourglass import as_tuple, check_sizes, check_tuples, dense_layers, encoder_inputs


@known_as("network", "mlp")
def mlp(
    image_shape: tuple[int, ...],
    latent_size: int,
    widths: int | tuple[int, ...] = (500,),
    activation: str | Callable = "relu",
    missing: bool = False,
) -> tuple[keras.Model, keras.Model]:
    """Build a dense encoder and the decoder that mirrors it.

    Args:
        image_shape: shape of one example, of any rank: `(28, 28, 1)`, `(784,)`.
        latent_size: length of z.
        widths: hidden widths of the encoder, the decoder having them in reverse; a number: of one layer.
        activation: anything that `keras.layers.Dense` takes.
        missing: whether the encoder takes [x, mask], the mask being 1 where an element of x is there, for models with
            `missing=True`.

    Returns:
        `(encoder, decoder)`, `image_shape -> (widths[-1],)` and `(latent_size,) -> (widths[0],)`. Posterior and
        likelihood add their own linear layers.

    Raises:
        ValueError: where a size is not a positive integer.

    Reference:
        Kingma and Welling, Auto-Encoding Variational Bayes (2014), appendix C.

    Example:
        >>> encoder, decoder = mlp((28, 28, 1), latent_size=20, widths=(500, 300))
        >>> decoder.output_shape
        (None, 500)
    """
    image_shape, latent_size, widths = plain(image_shape), plain(latent_size), as_tuple(widths)
    check_tuples(image_shape=image_shape, widths=widths)
    check_sizes(latent_size=latent_size)

    inputs, x = encoder_inputs(image_shape, missing)
    z = layers.Input((latent_size,), name="decoder_input")
    pixels = layers.Flatten(name="encoder_flatten")(x)
    encoder = keras.Model(inputs, dense_layers(pixels, widths, activation, "encoder"), name="encoder")
    decoder = keras.Model(z, dense_layers(z, widths[::-1], activation, "decoder"), name="decoder")
    return encoder, decoder
