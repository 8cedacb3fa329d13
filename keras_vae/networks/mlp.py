"""Dense networks."""

import keras
from keras import layers

from keras_vae.networks.hourglass import check_sizes, check_tuples


def mlp(image_shape, latent_size, widths=(500,), activation="relu"):
    """Build a dense encoder and the decoder that mirrors it.

    Args:
        image_shape: shape of one example, of any rank: `(28, 28, 1)`, `(784,)`.
        latent_size: length of z.
        widths: hidden widths of the encoder; the decoder has them in reverse.
        activation: anything that `keras.layers.Dense` takes.

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
    check_tuples(image_shape=image_shape, widths=widths)
    check_sizes(latent_size=latent_size)

    def stack(x, widths, name):
        for i, width in enumerate(widths):
            x = layers.Dense(width, activation=activation, name=f"{name}_dense_{i}")(x)
        return x

    image = layers.Input(image_shape, name="encoder_input")
    z = layers.Input((latent_size,), name="decoder_input")
    pixels = layers.Flatten(name="encoder_flatten")(image)
    encoder = keras.Model(image, stack(pixels, widths, "encoder"), name="encoder")
    decoder = keras.Model(z, stack(z, widths[::-1], "decoder"), name="decoder")
    return encoder, decoder
