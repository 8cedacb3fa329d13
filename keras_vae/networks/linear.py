"""Networks without layers of their own."""

import keras
from keras import layers

from keras_vae.names import known_as, plain
from keras_vae.networks.hourglass import check_sizes, check_tuples


@known_as("network", "linear")
def linear(image_shape: tuple[int, ...], latent_size: int) -> tuple[keras.Model, keras.Model]:
    """Build an encoder and a decoder that only flatten: posterior and likelihood add their own linear layers.

    With a Normal likelihood of one scale, such a VAE is probabilistic PCA: `kv.probabilistic_pca` has its optimum in
    closed form.

    Args:
        image_shape: shape of one example, of any rank.
        latent_size: length of z.

    Returns:
        `(encoder, decoder)`, `image_shape -> (size,)` and `(latent_size,) -> (latent_size,)`.

    Raises:
        ValueError: where a size is not a positive integer.

    Reference:
        Lucas, Tucker, Grosse and Norouzi 2019, "Don't blame the ELBO! A linear VAE perspective on posterior collapse",
        arXiv:1911.02469.
    """
    image_shape, latent_size = plain(image_shape), plain(latent_size)
    check_tuples(image_shape=image_shape)
    check_sizes(latent_size=latent_size)
    image = layers.Input(image_shape, name="encoder_input")
    z = layers.Input((latent_size,), name="decoder_input")
    encoder = keras.Model(image, layers.Flatten(name="encoder_flatten")(image), name="encoder")
    decoder = keras.Model(z, layers.Flatten(name="decoder_flatten")(z), name="decoder")
    return encoder, decoder
