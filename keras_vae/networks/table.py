"""Networks of tables, whose columns are of several kinds."""

import dataclasses
import math
from typing import Any

import keras
from keras import layers, ops

from keras_vae.backend import Tensor
from keras_vae.columns import as_columns
from keras_vae.names import known_as, plain
from keras_vae.networks.hourglass import as_tuple, check_sizes, check_tuples, dense_layers


@keras.saving.register_keras_serializable("keras_vae")
class Expanded(keras.layers.Layer):
    """Rows as a network sees them: categories as one-hot vectors, counts by their logarithms, all else as it is.

    Args:
        columns: as `Columns` takes them.

    Shape: (B, C) -> (B, sum of the columns' widths).
    """

    def __init__(self, columns: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self._columns = as_columns(columns)

    def get_config(self) -> dict:
        return {**super().get_config(), "columns": [dataclasses.asdict(column) for column in self._columns]}

    def call(self, x: Tensor) -> Tensor:
        parts = []
        for number, column in enumerate(self._columns):
            value = x[:, number]
            if column.kind == "categorical":
                parts.append(ops.one_hot(ops.cast(value, "int32"), column.width, dtype=self.compute_dtype))
            elif column.kind == "counts":
                parts.append(ops.log1p(value)[:, None] - math.log1p(column.loc))
            else:
                parts.append(value[:, None])
        return ops.concatenate([ops.cast(part, self.compute_dtype) for part in parts], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], sum(column.width for column in self._columns))


@known_as("network", "table")
def table(
    columns: Any,
    latent_size: int,
    widths: int | tuple[int, ...] = (128, 128),
    activation: str = "swish",
    missing: bool = False,
) -> tuple[keras.Model, keras.Model]:
    """Build dense networks for rows of a table, which see categories as one-hot vectors and counts by logarithms.

    Args:
        columns: `kv.data.schema(frame)`, or the fields of its columns.
        latent_size: length of z.
        widths: hidden widths of the encoder, the decoder having them in reverse; a number: of one layer.
        activation: of the hidden layers.
        missing: whether the encoder takes [x, mask], for models with `missing=True`.

    Returns:
        `(encoder, decoder)`, `(number of columns,) -> (widths[-1],)` and `(latent_size,) -> (widths[0],)`.

    Raises:
        ValueError: where a size is not a positive integer.

    Example:
        schema = kv.data.schema(frame)
        vae = kv.VAE(*kv.networks.table(schema, 8), likelihood=kv.likelihoods.Columns(schema))
        vae.fit(schema.encode(frame))
    """
    columns, latent_size, widths = as_columns(columns), plain(latent_size), as_tuple(widths)
    check_tuples(widths=widths)
    check_sizes(latent_size=latent_size)

    row = layers.Input((len(columns),), name="encoder_input")
    z = layers.Input((latent_size,), name="decoder_input")
    inputs, seen = row, Expanded([dataclasses.asdict(column) for column in columns], name="encoder_expanded")(row)
    if missing:
        mask = layers.Input((len(columns),), name="encoder_mask")
        inputs, seen = [row, mask], layers.Concatenate(name="encoder_joined")([seen, mask])
    encoder = keras.Model(inputs, dense_layers(seen, widths, activation, "encoder"), name="encoder")
    decoder = keras.Model(z, dense_layers(z, widths[::-1], activation, "decoder"), name="decoder")
    return encoder, decoder
