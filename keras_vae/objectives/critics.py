"""Networks that objectives have of their own: they tell one kind of sample from another."""

import keras
from keras import layers

from keras_vae.constraints import SpectralNorm

# Of the negative half of a leaky ReLU; Kim and Mnih 2018, and what GANs have.
SLOPE = 0.2


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


def judge(
    given: keras.Model | None, image_shape: tuple[int, ...], widths: tuple[int, ...], spectral_norm: bool
) -> keras.Model:
    """A network of images that returns features, (B, F), and their logit, (B, 1).

    Args:
        given: a network of images that returns features; None: one of convolutions of stride 2, or of dense layers for
            what are no images, in float32.
        image_shape: *X.
        widths: of those layers.
        spectral_norm: whether the kernels of layers made here are divided by their largest singular values.
    """
    with keras.name_scope("discriminator"):
        kept = {"kernel_constraint": SpectralNorm()} if spectral_norm else {}
        image = keras.Input(image_shape)
        if given is not None:
            features = given(image)
        elif len(image_shape) == 3:
            features = image
            for index, width in enumerate(widths, start=1):
                convolution = layers.Conv2D(width, 4, 2, "same", dtype="float32", name=f"hidden_{index}", **kept)
                features = _rectified(convolution(features), index)
        else:
            features = layers.Flatten(dtype="float32")(image)
            for layer in _hidden(widths, **kept):
                features = layer(features)
        features = layers.Flatten(dtype="float32", name="features")(features)
        return keras.Model(image, [features, _logit(**kept)(features)], name="discriminator")


def heads(maps: list[keras.KerasTensor], spectral_norm: bool, width: int = 64) -> keras.Model:
    """A network of features, a list of maps or vectors, that returns logits, (B, P): one for each position of each.

    Args:
        maps: of what shapes they are.
        spectral_norm: whether kernels are divided by their largest singular values.
        width: of the hidden layers.
    """
    with keras.name_scope("discriminator"):
        kept = {"kernel_constraint": SpectralNorm()} if spectral_norm else {}
        inputs, logits = [keras.Input(m.shape[1:]) for m in maps], []
        for index, seen in enumerate(inputs, start=1):
            if len(seen.shape) == 4:
                for size in (1, 3):
                    name = f"hidden_{index}_{size}"
                    convolution = layers.Conv2D(width, size, padding="same", dtype="float32", name=name, **kept)
                    seen = _rectified(convolution(seen), f"{index}_{size}")
            else:
                seen = layers.Dense(width, dtype="float32", name=f"hidden_{index}", **kept)(seen)
                seen = _rectified(seen, index)
            logits.append(layers.Flatten(dtype="float32")(_logit(f"logit_{index}", **kept)(seen)))
        joined = layers.Concatenate(dtype="float32")(logits) if len(logits) > 1 else logits[0]
        return keras.Model(inputs, joined, name="discriminator")


def _hidden(widths, **kept):
    for index, width in enumerate(widths, start=1):
        yield layers.Dense(width, dtype="float32", name=f"hidden_{index}", **kept)
        yield layers.LeakyReLU(SLOPE, dtype="float32", name=f"activation_{index}")


def _rectified(value, name):
    return layers.LeakyReLU(SLOPE, dtype="float32", name=f"activation_{name}")(value)


def _logit(name="logit", **kept):
    return layers.Dense(1, dtype="float32", name=name, **kept)
