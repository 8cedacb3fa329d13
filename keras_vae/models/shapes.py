"""What shapes go into and come out of a user's network."""

import keras


def input_shape(network, given, what, example):
    shape = given
    if shape is None:
        try:
            shape = network.input_shape[1:]
        except (AttributeError, ValueError, TypeError):
            raise ValueError(
                f"This {what} has no input shape of its own (no `keras.Input`): say it, {example}. "
                f"Received: {what}={network!r}"
            ) from None
    shape = tuple(shape)
    if not shape or None in shape:
        raise ValueError(f"The shape of one example must be fixed. Received: {shape} from the {what}")
    return shape


def latent_size(decoder):
    try:
        shape = input_shape(decoder, None, "decoder", "posterior=DiagonalNormal(16)")
    except ValueError as error:
        raise ValueError(
            "The latent size is not known: give a posterior, e.g. posterior=keras_vae.posteriors.DiagonalNormal(16), "
            f"or a decoder with a `keras.Input`. Received: {error}"
        ) from None
    return shape[0] if len(shape) == 1 else shape


def output_shape(network, shape, what, inputs):
    """The shape of `network`'s output for one example of `shape`; the call builds it."""
    try:
        output = network(keras.KerasTensor((None, *shape)))
    except Exception as error:
        raise ValueError(
            f"The {what} cannot take {inputs}, of shape {tuple(shape)}. "
            f"Received: {type(error).__name__}: {str(error).strip().splitlines()[0]}"
        ) from error
    if not hasattr(output, "shape"):
        raise ValueError(f"The {what} must return one tensor of features. Received: {output!r}")
    return tuple(output.shape[1:])
