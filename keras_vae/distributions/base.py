"""What this package's own distributions have in common."""

from typing import Any

from keras import ops

from keras_vae.backend import tfd


class Distribution(tfd.Distribution):
    """A TFP distribution whose arguments are not checked and whose statistics may be NaN.

    Args:
        parameters: the arguments of the subclass's constructor, its `locals()` at the beginning.
        dtype: of values.
        reparameterized: whether gradients pass through samples.
    """

    def __init__(self, parameters: dict[str, Any], dtype: Any, reparameterized: bool = False):
        super().__init__(
            dtype=dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED if reparameterized else tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=parameters["name"],
        )


class Scalar(Distribution):
    """One of single numbers."""

    def _event_shape(self):
        return ()

    def _event_shape_tensor(self):
        return ops.zeros((0,), "int32")
