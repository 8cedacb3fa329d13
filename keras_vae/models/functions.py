"""Compiled functions of a model over arrays of any length, in chunks of few different sizes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae import backend
from keras_vae.backend import padded, power_of_two


class Functions:
    """The compiled functions of a model, one for each function, sizes given as keywords, and shapes of arrays."""

    def __init__(self, model: keras.Model):
        self._model = model
        self._compiled = {}

    def __call__(self, function: Callable, **sizes: Any) -> Callable:
        """`function(*arrays, **sizes)` compiled, for many calls: what is set is looked at now, once for all."""
        self._model.renew()

        def call(*arrays):
            key = (function.__name__, *(np.shape(a) for a in arrays), *sorted(sizes.items()))
            if key in self._compiled:
                return self._compiled[key](*arrays)
            # Not a lambda: TensorFlow would take all of them for one function, and warn that it is traced so often.
            self._compiled[key] = backend.compiled(self._model, partial(function, **sizes))
            result = self._compiled[key](*arrays)
            # Tracing may set attributes, too.
            self._model.settings.note()
            return result

        return call

    def clear(self) -> None:
        """Forgets what was compiled."""
        self._compiled.clear()

    def map(self, function: Callable, batch_size: int, *arrays: np.ndarray | None, **sizes: Any) -> np.ndarray:
        """`function` of each chunk of the arrays (None is left out), put together again as a numpy array."""
        arrays = [a for a in arrays if a is not None]
        count = len(arrays[0])
        size = min(batch_size, power_of_two(count))
        starts = range(0, count, size)
        compiled = self(function, **sizes)
        chunks = [compiled(*(padded(a[start : start + size], size) for a in arrays)) for start in starts]
        return np.concatenate([ops.convert_to_numpy(c) for c in chunks])[:count]
