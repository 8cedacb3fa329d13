"""Networks that see labels, made of networks that do not."""

import math

import keras
from keras import layers

from keras_vae.names import plain
from keras_vae.networks.hourglass import as_tuple, check_tuples


def labelled(
    encoder: keras.Model, decoder: keras.Model, label_shape: int | tuple[int, ...]
) -> tuple[keras.Model, keras.Model]:
    """Make an encoder and a decoder that see labels: the same layers, on images or latents joined with a label.

    A label joins the last axis: it follows the units of a vector, and at each position of a map the channels. A label
    that is a map of as many positions, such as a mask, joins position by position. A network that begins by flattening
    gets the label once, behind the pixels.

    Args:
        encoder: Keras model of images, or of `[x, mask]` for what may be missing; its layers are made anew, with
            weights of their own.
        decoder: Keras model of latents, likewise.
        label_shape: shape of one label; a number: that of one-hot labels of so many classes.

    Returns:
        `(encoder, decoder)`, Keras models of `[x, y]`, or `[x, mask, y]`, and `[z, y]`, which make a `VAE` conditional.

    Raises:
        ValueError: for a network of other inputs, or whose layers cannot take a wider input; for a shape
            that is none.

    Reference:
        Sohn, Lee and Yan, Learning Structured Output Representation using Deep Conditional Generative Models (2015);
        Kingma et al., Semi-supervised Learning with Deep Generative Models (2014), section 2.

    Example:
        >>> encoder, decoder = labelled(*mlp((28, 28, 1), latent_size=20), label_shape=10)
        >>> encoder.input_shape
        [(None, 28, 28, 1), (None, 10)]
    """
    label_shape = as_tuple(plain(label_shape))
    check_tuples(label_shape=label_shape)
    return _labelled(encoder, label_shape, "encoder"), _labelled(decoder, label_shape, "decoder")


def _labelled(network, label_shape, what):
    inputs = getattr(network, "inputs", None) or ()
    masked = what == "encoder" and len(inputs) == 2 and inputs[0].shape == inputs[1].shape
    if len(inputs) != 1 and not masked:
        raise ValueError(
            f"Labels join the one input of a Keras model, which it has by `keras.Input`. Received: {what}={network!r} "
            f"of {len(inputs)} inputs"
        )
    name = network.name
    x = seen = layers.Input(tuple(inputs[0].shape[1:]), name=f"{name}_input")
    masks = [layers.Input(tuple(mask.shape[1:]), name=f"{name}_mask") for mask in inputs[1:]]
    y = layers.Input(label_shape, name=f"{name}_labels")
    if isinstance(_first(network), layers.Flatten):
        seen = layers.Flatten(name=f"{name}_flat")(x)
    label = _spread(y, tuple(seen.shape[1:-1]), name)
    joined = layers.Concatenate(name=f"{name}_joined")([seen, label])
    wider = layers.Input(tuple(joined.shape[1:]), name=f"{name}_wider_input")
    # A list of one, say, where it is one.
    tensors = iter([wider, *masks])
    one = isinstance(network, keras.Sequential)
    given = wider if one else keras.tree.map_structure(lambda _: next(tensors), network.input)
    try:
        inner = keras.models.clone_model(network, input_tensors=given, clone_function=_renamed)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"The layers of this {what} cannot take inputs of shape {tuple(wider.shape[1:])}, labels joined: give it a "
            f"second input yourself. Received: {str(error).strip().splitlines()[0]}"
        ) from error
    return keras.Model([x, *masks, y], inner([joined, *masks] if masks else joined), name=name)


def _renamed(layer):
    """A layer of the same kind with other paths of weights, since a model may have both, as `SemiSupervisedVAE` has."""
    return type(layer).from_config(layer.get_config() | {"name": f"labelled_{layer.name}"})


def _first(network):
    """The first layer of a network behind its input."""
    return next((layer for layer in network.layers if not isinstance(layer, layers.InputLayer)), None)


def _spread(y, positions, name):
    """A label as it joins a vector, or each of the positions of a map."""
    if positions and y.shape[1:-1] == positions:
        return y
    if len(y.shape) > 2:
        y = layers.Flatten(name=f"{name}_labels_flat")(y)
    if not positions:
        return y
    y = layers.RepeatVector(math.prod(positions), name=f"{name}_labels_repeated")(y)
    return layers.Reshape((*positions, y.shape[-1]), name=f"{name}_labels_spread")(y)
