"""What shapes go into and come out of a user's network, and networks over any leading axes."""

import math
import warnings

import keras
from keras import layers, ops

from keras_vae.backend import Tensor, tfd
from keras_vae.distributions import is_product
from keras_vae.likelihoods import Likelihood
from keras_vae.names import plain
from keras_vae.objectives import Objective
from keras_vae.parts import Part
from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior


def input_shape(network: keras.layers.Layer, given: tuple[int, ...] | None, what: str, example: str) -> tuple[int, ...]:
    """The shape of one example of the network's first input, or `given`.

    Raises:
        ValueError: if neither is known, or one axis has no fixed size.
    """
    shape = given
    if shape is None:
        try:
            shape = network.input_shape
            shape = (shape[0] if isinstance(shape, list) else shape)[1:]
        except (AttributeError, ValueError, TypeError):
            raise ValueError(
                f"This {what} has no input shape of its own (no `keras.Input`): say it, {example}. "
                f"Received: {what}={network!r}"
            ) from None
    shape = plain(tuple(shape))
    if not shape or None in shape:
        raise ValueError(f"The shape of one example must be fixed. Received: {shape} from the {what}")
    return shape


def check_order(encoder: keras.layers.Layer, decoder: keras.layers.Layer, image_shape: tuple[int, ...]) -> None:
    """Refuses a decoder in the place of the encoder.

    Raises:
        ValueError: for networks that say by their names or by the shapes of their inputs that they are swapped.
    """
    names = getattr(encoder, "name", None), getattr(decoder, "name", None)
    inputs = getattr(decoder, "inputs", None)
    # Images of a vector each, and latents of three axes.
    shapes = len(image_shape) == 1 and bool(inputs) and len(inputs[0].shape) > 3
    if names == ("decoder", "encoder") or shapes:
        raise ValueError(
            "The encoder comes first, VAE(encoder, decoder): these look swapped. "
            f"Received: encoder={names[0]!r} of inputs {image_shape}, decoder={names[1]!r}"
        )


# Activations whose values are no numbers that a linear layer would be given: those of an output layer.
_OF_OUTPUTS = ("sigmoid", "hard_sigmoid", "softmax", "tanh")


def warn_of_output_layer(decoder: keras.layers.Layer, features: tuple[int, ...], image_shape: tuple[int, ...]) -> None:
    """Warns of a decoder that ends in an output layer for images, in front of the likelihood's own.

    Args:
        decoder: Keras model or layer.
        features: shape of its output for one example.
        image_shape: *X.
    """
    ends = [decoder]
    while ends and getattr(ends[-1], "layers", None):
        ends = [layer for layer in ends[-1].layers if not isinstance(layer, (layers.Reshape, layers.Flatten))]
    last = ends[-1] if ends else decoder
    name = getattr(getattr(last, "activation", last), "__name__", type(last).__name__).lower()
    if name in _OF_OUTPUTS and math.prod(features) == math.prod(image_shape):
        warnings.warn(
            f"The decoder ends in a {name} of the images' size, which looks like an output layer; the likelihood has "
            "its own, a linear one, and takes it for hidden features: end the decoder with its last hidden layer. "
            f"Received: layer {last.name!r}",
            stacklevel=6,
        )


def latent_size(decoder: keras.layers.Layer) -> int | tuple[int, ...]:
    """The size of a latent that the decoder's input tells.

    Raises:
        ValueError: if it does not.
    """
    try:
        shape = input_shape(decoder, None, "decoder", "posterior=DiagonalNormal(16)")
    except ValueError as error:
        raise ValueError(
            "The latent size is not known: give a posterior, e.g. posterior=keras_vae.posteriors.DiagonalNormal(16), "
            f"or a decoder with a `keras.Input`. Received: {error}"
        ) from None
    return shape[0] if len(shape) == 1 else shape


def as_taken(network: keras.layers.Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which `network` takes what has `shape`: flat, where its input is a vector of as many numbers."""
    inputs = getattr(network, "inputs", None)
    flat = (math.prod(shape),)
    return flat if inputs and tuple(inputs[0].shape[1:]) == flat else shape


def takes_mask(encoder: keras.layers.Layer, image_shape: tuple[int, ...]) -> bool:
    """Whether an encoder takes [x, mask]: its second input has the shape of the first."""
    inputs = getattr(encoder, "inputs", None) or ()
    return len(inputs) > 1 and tuple(inputs[1].shape[1:]) == tuple(image_shape)


def check_mask(encoder: keras.layers.Layer, takes_mask: bool, labels: set) -> None:
    """Refuses an encoder of two inputs of which nobody knows whether the second is a mask or labels as large as x."""
    if takes_mask and len(encoder.inputs) == 2 and tuple(encoder.inputs[1].shape[1:]) in labels:
        raise ValueError(
            "With missing=True, a second input as large as x is the mask, and the labels of this model are as large: "
            "give the encoder both, [x, mask, y]. Received: an encoder of two inputs"
        )


def label_shape(network: keras.layers.Layer, given: tuple[int, ...] | None, others: int = 1) -> tuple[int, ...] | None:
    """The shape of one example's label, where `network` takes one beside its other inputs; otherwise None.

    Args:
        network: of [x, y] or [z, y], or of one input.
        given: the shape for networks whose inputs are not known before they are called.
        others: how many inputs come before it.

    Raises:
        ValueError: for a network of more inputs than these.
    """
    inputs = getattr(network, "inputs", None)
    if not inputs:
        return plain(given)
    if len(inputs) > others + 1:
        raise ValueError(
            "A network takes images or latents, and beside them at most one input, the labels. "
            f"Received: {network.name} with {len(inputs)} inputs"
        )
    return tuple(inputs[others].shape[1:]) if len(inputs) == others + 1 else None


def applied(
    network: keras.layers.Layer, *inputs: tuple[Tensor, tuple[int, ...]], training: bool = False
) -> Tensor | list[Tensor]:
    """`network` over any leading axes of its inputs.

    Args:
        network: Keras model or layer.
        *inputs: (value, shape of one example) of each input; one with fewer leading axes than another is repeated.
        training: whether layers such as dropout are in training mode.

    Returns:
        What the network returns, with the leading axes of the input that has most.
    """
    leads = [ops.shape(value)[: len(value.shape) - len(shape)] for value, shape in inputs]
    lead = max(leads, key=len)

    def flat(value, shape):
        if len(value.shape) < len(lead) + len(shape):
            value = ops.broadcast_to(value, (*lead, *shape))
        return value if len(lead) == 1 else ops.reshape(value, (-1, *shape))

    given = [flat(*pair) for pair in inputs]
    output = network(given if len(given) > 1 else given[0], training=training)
    if len(lead) == 1:
        return output
    return keras.tree.map_structure(lambda value: ops.reshape(value, (*lead, *value.shape[1:])), output)


def output_shapes(
    network: keras.layers.Layer, *shapes: tuple[int, ...], what: str, inputs: str, count: int
) -> list[tuple[int, ...]]:
    """The shape of each of `network`'s `count` outputs for one example of inputs of `shapes`; the call builds it.

    Raises:
        ValueError: if the network cannot take that, or returns another number of tensors.
    """
    output = _called(network, shapes, what, inputs)
    outputs = output if isinstance(output, (list, tuple)) else [output]
    if len(outputs) != count or not all(hasattr(value, "shape") for value in outputs):
        raise ValueError(f"The {what} must return {count} tensors of features. Received: {output!r}")
    return [tuple(value.shape[1:]) for value in outputs]


def _called(network, shapes, what, inputs):
    layers = network._flatten_layers() if isinstance(network, keras.layers.Layer) else ()
    if any(getattr(layer, "data_format", None) == "channels_first" for layer in layers):
        raise ValueError(
            "Images have their channels on the last axis: make networks by keras.config.set_image_data_format("
            f"'channels_last'). Received: the {what} with data_format='channels_first'"
        )
    given = [keras.KerasTensor((None, *s)) for s in shapes]
    try:
        return network(given if len(given) > 1 else given[0])
    except Exception as error:  # A user's network may raise anything.
        raise ValueError(
            f"The {what} cannot take {inputs}, of shape {' and '.join(str(tuple(s)) for s in shapes)}. "
            f"Received: {type(error).__name__}: {str(error).strip().splitlines()[0]}"
        ) from error


def check_latents(posterior: Posterior, prior: Prior) -> None:
    """Refuses a posterior and a prior over latents of other sizes, or that lie elsewhere, or lack a density it needs.

    Raises:
        ValueError: saying which prior would do.
    """
    if prior.event_shape != posterior.event_shape:
        raise ValueError(
            "Posterior and prior must be over latents of the same size. "
            f"Received: posterior of size {posterior.latent_size}, prior of size {prior.size}"
        )
    if None not in (posterior.support, prior.support) and posterior.support != prior.support:
        raise ValueError(
            f"The posterior's z are {posterior.support} and the prior's {prior.support}: choose two that agree, "
            f"prior={posterior.default_prior!r} with this posterior. "
            f"Received: posterior={posterior.spec!r}, prior={prior.spec!r}"
        )
    if prior.uses_encoder and not posterior.has_density:
        raise ValueError(
            "This prior is made of q(z|u) of inputs u that it learns: it needs a posterior with a density, and these "
            f"latents have no density. Received: prior={prior.spec!r}, posterior={posterior.spec!r}"
        )


def check_relative(posterior: Posterior, prior: Prior) -> None:
    """Refuses a posterior relative to a prior that it cannot be relative to; both are built.

    Raises:
        ValueError: naming both.
    """
    if not posterior.relative:
        return
    given = None
    if not prior.uses_encoder:
        y = None if prior.label_shape is None else ops.zeros((1, *prior.label_shape), dtype="float32")
        given = prior.distribution(y)
    if not isinstance(getattr(given, "distribution", None), tfd.Normal):
        raise ValueError(
            "This posterior is relative to a prior that is a diagonal Normal, such as standard_normal: take "
            f"posterior='diagonal_normal' with others. Received: posterior={posterior.spec!r}, prior={prior.spec!r}"
        )


def build(part: Part, *shapes: tuple[int, ...]) -> None:
    """Builds a part; one that has weights already, those of a file or another model, must have been built alike.

    Raises:
        ValueError: for a part that was built for other shapes.
    """
    new = not part.built
    if new:
        part.build(*shapes)
    if not part.trainable:
        # Where it was made of a config it is older than its weights, which do not know; Keras tells them what is new.
        part.trainable = True
        part.trainable = False
    if new:
        return
    config = part.get_build_config() or {}
    before = config.get("shapes_dict", config)
    if part.weights and [tuple(shape) for shape in before.values()] != [tuple(shape) for shape in shapes]:
        raise ValueError(
            f"This {part.role} has weights already, for networks of other shapes: make a new one. "
            f"Received: {part!r}, built for {before}, expected {shapes}"
        )


def build_likelihood(
    likelihood: Likelihood, decoder: keras.layers.Layer, features: tuple[int, ...], image_shape: tuple[int, ...]
) -> None:
    """Builds a likelihood on the decoder's features; warns of a decoder that has an output layer of its own.

    Raises:
        ValueError: if the two do not fit the images.
    """
    try:
        build(likelihood, features, image_shape)
    except ValueError as error:
        raise ValueError(f"The decoder does not fit the images. {error}") from error
    if getattr(likelihood, "head", None) is not None:
        warn_of_output_layer(decoder, features, image_shape)


def check_missing(likelihood: Likelihood, objective: Objective, features: tuple[int, ...]) -> None:
    """Refuses parts that need all elements of x.

    Args:
        likelihood: built.
        objective: the objective.
        features: shape of the decoder's output for one example.

    Raises:
        ValueError: for a likelihood that is no product over the elements, or is fitted to batches; for an objective
            that looks at images.
    """
    if likelihood.adapts or not is_product(likelihood.distribution(ops.zeros((1, 1, *features)))):
        raise ValueError(
            "Elements may be missing where p(x|z) is a product over them, and nothing is fitted to whole batches: take "
            "'bernoulli', 'normal', 'student_t' or 'laplace' (with a learned scale), 'discretized_logistic' or "
            f"'categorical', or make the model without `missing`. Received: likelihood={likelihood.spec!r}"
        )
    if objective.whole_images:
        raise ValueError(
            "This objective looks at whole images, of which nothing may be missing: take 'elbo' or 'iwae'. "
            f"Received: objective={objective.spec!r}"
        )


def output_shape(
    network: keras.layers.Layer,
    shape: tuple[int, ...],
    what: str,
    inputs: str,
    *beside: tuple[int, ...] | None,
) -> tuple[int, ...]:
    """The shape of `network`'s output for one example of `shape`, and of further inputs; the call builds it.

    Raises:
        ValueError: if the network cannot take that, or returns no tensor.
    """
    given = [s for s in (shape, *beside) if s is not None]
    output = _called(network, given, what, inputs)
    if not hasattr(output, "shape"):
        raise ValueError(f"The {what} must return one tensor of features. Received: {output!r}")
    return tuple(output.shape[1:])


def largest(model: keras.Model) -> int:
    """Numbers for one example in the largest output of a layer, as far as layers know their outputs; otherwise 1."""
    outputs = keras.tree.flatten([getattr(layer, "output", None) for layer in model._flatten_layers()])
    shapes = (output.shape[1:] for output in outputs if output is not None)
    return max((math.prod(shape) for shape in shapes if None not in shape), default=1)
