"""A transformer over the positions of a latent map, steered by time and label."""

import math

import keras
from keras import layers, ops

from keras_vae.backend import Tensor
from keras_vae.names import check_whole, plain
from keras_vae.networks.hourglass import check_tuples

# Sines of the time, and units that carry it.
_SINES, _CONDITION = 64, 256


@keras.saving.register_keras_serializable("keras_vae")
class Positions(layers.Layer):
    """Adds a learned vector to each position: (B, T, C) -> (B, T, C)."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.embedding = self.add_weight(
            name="embedding", shape=input_shape[1:], initializer=keras.initializers.RandomNormal(stddev=0.02)
        )

    def call(self, x: Tensor) -> Tensor:
        return x + self.embedding


def diffusion_transformer(
    shape: tuple[int, ...],
    width: int = 256,
    blocks: int = 6,
    heads: int = 4,
    label_shape: tuple[int, ...] | None = None,
) -> keras.Model:
    """Build a network that maps z, a time and a label to something of the shape of z.

    Each position of a map is a token; a vector is a single one, to which no others attend, so that the network is a
    residual one of dense layers. Blocks and the output begin as zero.

    Args:
        shape: (D,) or (h, w, c).
        width: units of a token.
        blocks: how many blocks of attention and dense layers.
        heads: of attention, a divisor of `width`.
        label_shape: shape of a label; None: there are none.

    Returns:
        `[z (B, *shape), t (B,)] -> (B, *shape)`; with labels `[z, t, y]`.

    Raises:
        ValueError: for sizes that are no positive integers.

    Reference:
        Peebles and Xie, Scalable Diffusion Models with Transformers (2023), arXiv:2212.09748, adaLN-Zero.
    """
    shape = plain(tuple(shape))
    check_tuples(shape=shape)
    check_whole(width=width, blocks=blocks, heads=heads)
    if width % heads:
        raise ValueError(f"`heads` must divide `width`. Received: width={width}, heads={heads}")
    count = math.prod(shape[:-1])
    z = layers.Input(shape, name="z")
    t = layers.Input((), name="t")
    inputs = [z, t]

    frequencies = ops.exp(ops.linspace(0.0, math.log(1000.0), _SINES // 2))
    angles = ops.expand_dims(t, -1) * frequencies
    steering = layers.Dense(_CONDITION, "swish", name="time_0")(ops.concatenate([ops.sin(angles), ops.cos(angles)], -1))
    steering = layers.Dense(_CONDITION, name="time_1")(steering)
    if label_shape is not None:
        y = layers.Input(tuple(label_shape), name="y")
        inputs.append(y)
        steering = steering + layers.Dense(_CONDITION, name="label")(layers.Flatten(name="label_flatten")(y))
    steering = layers.Activation("swish", name="steering")(steering)

    def steered(count, name):
        """`count` vectors for all tokens of an example, zero at first."""
        made = layers.Dense(count * width, kernel_initializer="zeros", name=name)(steering)
        return ops.split(ops.expand_dims(made, 1), count, axis=-1)

    def moved(x, shift, scale, name):
        return layers.LayerNormalization(center=False, scale=False, name=name)(x) * (1 + scale) + shift

    x = layers.Dense(width, name="tokens")(layers.Reshape((count, shape[-1]), name="reshape")(z))
    x = Positions(name="positions")(x)
    for i in range(blocks):
        shift, scale, gate, *attention = steered(6 if count > 1 else 3, f"block_{i}_steer")
        if attention:
            seen = moved(x, *attention[:2], f"block_{i}_attention_norm")
            attend = layers.MultiHeadAttention(heads, width // heads, name=f"block_{i}_attention")
            x = x + attention[2] * attend(seen, seen)
        h = layers.Dense(4 * width, "swish", name=f"block_{i}_dense_0")(moved(x, shift, scale, f"block_{i}_norm"))
        x = x + gate * layers.Dense(width, name=f"block_{i}_dense_1")(h)
    x = moved(x, *steered(2, "output_steer"), "output_norm")
    # In float32 under each policy.
    x = layers.Dense(shape[-1], kernel_initializer="zeros", dtype="float32", name="output")(x)
    made = layers.Reshape(shape, dtype="float32", name="output_reshape")(x)
    return keras.Model(inputs, made, name="diffusion_transformer")
