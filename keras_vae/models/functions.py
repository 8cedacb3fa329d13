"""Compiled functions of a model over arrays of any length, in chunks of few different sizes."""

from functools import partial

import numpy as np
from keras import ops

from keras_vae import backend


class Functions:
    """The compiled functions of a model, one for each function, sizes given as keywords, and shapes of arrays."""

    def __init__(self, model):
        self._model = model
        self._compiled = {}

    def __call__(self, function, *arrays, **sizes):
        """`function(*arrays, **sizes)`."""
        key = (function.__name__, len(arrays), *sorted(sizes.items()))
        if key not in self._compiled:
            # Not a lambda: TensorFlow would take all of them for one function, and warn that it is traced so often.
            self._compiled[key] = backend.compiled(self._model, partial(function, **sizes))
        return self._compiled[key](*arrays)

    def map(self, function, x, batch_size):
        """`function` of each chunk of `x`, put together again as a numpy array."""
        size = min(batch_size, 1 << (len(x) - 1).bit_length())
        chunks = [self(function, padded(x[start : start + size], size)) for start in range(0, len(x), size)]
        return np.concatenate([ops.convert_to_numpy(c) for c in chunks])[: len(x)]


def padded(x, size):
    """`x` made `size` long by repeating its last entry, so that one compiled function serves the last chunk, too."""
    missing = size - len(x)
    return np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing else x
