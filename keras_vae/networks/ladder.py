"""Networks of a hierarchical VAE: a way up that keeps its maps, and a way down in groups of latents."""

import itertools
import math
from collections.abc import Callable

import keras
from keras import layers

from keras_vae.names import known_as, plain
from keras_vae.networks.hourglass import (
    as_tuple,
    check_axes,
    check_sizes,
    check_tuples,
    crop,
    encoder_inputs,
    halvings,
    residual,
)

Groups = tuple[tuple[keras.Model, keras.Model], ...]


@known_as("network", "ladder")
def ladder(
    image_shape: tuple[int, ...],
    latent_size: int | tuple[int, ...] = 32,
    groups: tuple[tuple[int, ...], ...] | None = None,
    widths: int | tuple[int, ...] = (32, 64),
    blocks: int = 1,
    activation: str | Callable = "swish",
    normalized: bool = False,
    missing: bool = False,
) -> tuple[keras.Model, keras.Model, Groups]:
    """Build the networks of a `HierarchicalVAE`: a residual way up, and a way down whose groups have maps of any size.

    Each width halves the image on the way up, as in `resnet`. A group of latents sees, on the way down, what all groups
    above it have made, and, where there is an image, its maps of the same size. The way down begins at a learned map,
    to which the top group adds.

    Args:
        image_shape: `(H, W, C)` or `(length, channels)`, of any size.
        latent_size: of the top group: length of its z; or, for a latent map, `(h, w, c)`.
        groups: those below it, from the top, `(height, channels, count)` each: `count` groups (1 if it is left out) of
            latent maps of that height, which must be one of those that the image has after each of `widths`; it may
            only grow. None: two groups of the smallest maps and one of each larger size, of 8 channels.
        widths: channels of the features after each halving; a number: of one halving.
        blocks: residual blocks of each size on the way up, and below each group on the way down.
        activation: anything that `keras.layers.Activation` takes.
        normalized: whether the channels of each position are scaled to a root mean square of 1 wherever the maps are
            read. What one group makes too large then does not grow from group to group; without it, deep hierarchies
            become infinite at high learning rates.
        missing: whether the encoder takes [x, mask], the mask being 1 where an element of x is there, for models with
            `missing=True`.

    Returns:
        `(encoder, decoder, groups)`, as `HierarchicalVAE` takes them: ordinary Keras models of Keras' own layers.

    Raises:
        ValueError: where the shape is not that of an image or signal, a size is not a positive integer, a side of the
            image cannot be halved so often, or a latent map has a size that the image never has.

    Reference:
        Sønderby et al., Ladder Variational Autoencoders (2016), figure 1; Kingma et al. (2016), section 4; Child, Very
        Deep VAEs (2021), section 3.

    Example:
        >>> encoder, decoder, groups = ladder((28, 28, 1), 32, groups=((7, 8, 2), (14, 4, 1)))
        >>> encoder.output_shape
        [(None, 3136), (None, 7, 7, 64), (None, 7, 7, 64), (None, 14, 14, 32)]
    """
    check_axes(image_shape, "(H, W, C)", "(length, channels)")
    image_shape, top, widths, blocks = plain(tuple(image_shape)), as_tuple(latent_size), as_tuple(widths), plain(blocks)
    check_tuples(widths=widths, latent_size=top)
    check_sizes(blocks=blocks)
    sizes = halvings(image_shape, len(widths))[1:]
    if groups is None:
        heights = [size[0] for size in reversed(sizes)]
        groups = [(height, 8, 2 if height == heights[0] else 1) for height in heights]
    # Of each group, its level and the shape of its z.
    rungs = [(len(sizes) - 1, top) if len(top) == 1 else (_level(top[0], sizes, top), top)]
    if len(top) > 1 and top[:-1] != sizes[rungs[0][0]]:
        raise ValueError(f"A latent map has a size of the image's maps, {sizes}. Received: latent_size={top}")
    for height, channels, count in map(_group, plain(tuple(groups))):
        level = _level(height, sizes, groups)
        rungs += [(level, (*sizes[level], channels))] * count
    if any(below > above for (above, _), (below, _) in itertools.pairwise(rungs)):
        raise ValueError(f"From the top group down, latent maps may only grow. Received: {latent_size=}, {groups=}")

    rank = len(image_shape) - 1
    convolution, transposed = (getattr(layers, f"Conv{rank}D{kind}") for kind in ("", "Transpose"))

    def scaled(x, name):
        return layers.RMSNormalization(name=f"{name}_normalization")(x) if normalized else x

    def active(x, name):
        return layers.Activation(activation, name=f"{name}_activation")(scaled(x, name))

    def refined(x, name):
        for i in range(blocks):
            x = residual(x, activation, f"{name}_block_{i}", normalized)
        return x

    def mixed(x, width, name):
        """Features of each position and its neighbours."""
        x = convolution(width, 3, padding="same", name=f"{name}_conv")(active(x, f"{name}_in"))
        return active(x, f"{name}_out")

    def below(index, name):
        """The inputs of what is below a group, [h, z] (z below the top), and what becomes of them there."""
        level, shape = rungs[index]
        z, maps = layers.Input(shape, name=f"{name}_z"), (*sizes[level], widths[level])
        if index:
            h = layers.Input(maps, name=f"{name}_h")
            x = layers.Add(name=f"{name}_add")([h, layers.Dense(maps[-1], name=f"{name}_dense")(z)])
            return [h, z], refined(x, name)
        # The biases, one for each position, are the learned map at which the way down begins.
        if len(shape) == 1:
            x = layers.Reshape(maps, name=f"{name}_reshape")(layers.Dense(math.prod(maps), name=f"{name}_dense")(z))
        else:
            axes = "hw"[:rank]
            equation = f"b{axes}c,cd->b{axes}d"
            x = layers.EinsumDense(equation, maps, bias_axes=f"{axes}d", name=f"{name}_dense")(z)
        return z, refined(x, name)

    def enlarged(x, level, to, name):
        """Maps of a level brought to the size of a finer one, -1 being the image's."""
        for i in range(level - 1, to - 1, -1):
            x = active(x, f"{name}_{i + 1}")
            # A kernel that the stride divides covers every position equally often.
            x = transposed(widths[max(i, 0)], 4, strides=2, padding="same", name=f"{name}_{i + 1}_conv")(x)
            x = crop(x, image_shape[:-1] if i < 0 else sizes[i], f"{name}_{i + 1}_crop")
        return x

    inputs, x = encoder_inputs(image_shape, missing)
    seen = []
    for i, width in enumerate(widths):
        x = active(x, f"encoder_{i}") if i else x
        x = refined(convolution(width, 4, strides=2, padding="same", name=f"encoder_{i}_conv")(x), f"encoder_{i}")
        seen.append(x)
    of_top = layers.Flatten(name="encoder_flatten")(active(x, "encoder")) if len(top) == 1 else scaled(x, "encoder")
    seen = [of_top, *(seen[level] for level, _ in rungs[1:])]
    encoder = keras.Model(inputs, seen, name="encoder")

    made = []
    for index in range(1, len(rungs)):
        name, (above, _), (level, _) = f"group_{index}", rungs[index - 1], rungs[index]
        inputs, x = below(index - 1, f"{name}_down")
        x = enlarged(x, above, level, f"{name}_up")
        down = keras.Model(inputs, [x, mixed(x, widths[level], f"{name}_prior")], name=f"{name}_down")
        h, e = (layers.Input((*sizes[level], widths[level]), name=f"{name}_inference_{which}") for which in "he")
        both = layers.Concatenate(name=f"{name}_inference_both")([h, e])
        features = mixed(both, widths[level], f"{name}_inference")
        made.append((down, keras.Model([h, e], features, name=f"{name}_inference")))
    inputs, x = below(len(rungs) - 1, "decoder")
    x = active(enlarged(x, rungs[-1][0], -1, "decoder_up"), "decoder")
    return encoder, keras.Model(inputs, x, name="decoder"), tuple(made)


def _group(group):
    """(height, channels, count)."""
    check_tuples(groups=group)
    if len(group) not in (2, 3):
        raise ValueError(f"`groups` are (height, channels) or (height, channels, count) each. Received: {group!r}")
    return (*group, 1)[:3]


def _level(height, sizes, given):
    """The number of halvings after which maps have this height, less one."""
    heights = [size[0] for size in sizes]
    if height not in heights:
        raise ValueError(
            f"After its halvings, one for each of `widths`, the image has a height of {heights}, and latent maps have "
            f"one of these. Received: {height} in {given}"
        )
    return heights.index(height)
