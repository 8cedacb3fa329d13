"""What is done to arrays, done to streams of batches."""

import functools
import inspect
from collections.abc import Callable

import keras
import numpy as np

from keras_vae import backend
from keras_vae.training import values


def over_streams(method: Callable, targets: bool = False) -> Callable:
    """Has a method of arrays, (x, y=None, ...), take a stream, too: then it yields what it returns for each batch.

    Batches are x, (x, y) or (x, y, sample_weight), as `fit` takes them; y is used where the model takes labels, and
    where the method takes `targets`, of a model that has some. Where the method has a `seed`, the noise of an example
    is that which it has in one array of all, whatever the batches are.
    """
    signature = inspect.signature(method)
    first = list(signature.parameters)[1]

    @functools.wraps(method)
    def taken(self, *arguments, **options):
        given = dict(signature.bind(self, *arguments, **options).arguments)
        stream = given.pop(first)
        if not values.is_stream(stream):
            return method(self, *arguments, **options)
        del given["self"]
        beside = [name for name in ("y", "keys") if given.get(name) is not None]
        if beside:
            raise ValueError(
                "A stream yields labels itself, in batches (x, y), and the keys of its examples are 0, 1, ... "
                f"Received: {', '.join(beside)}, beside x of type {type(stream).__name__}"
            )
        if "seed" in signature.parameters:
            # One for all batches.
            given["seed"] = int(backend.seed_pair(given.get("seed"))[0])
        takes_y = self.takes_y if targets else self.label_shape is not None
        return _batches(self, method, stream, given, takes_y)

    return taken


def _batches(model, method, stream, given, takes_y):
    start = 0
    for batch in values.batches(stream):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        y = {"y": y} if takes_y and y is not None else {}
        keys = {"keys": np.arange(start, start + len(x))} if "seed" in given else {}
        yield method(model, x, **given | y | keys)
        start += len(x)
