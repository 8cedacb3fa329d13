"""Streams of dictionaries, as many loaders yield them, as streams of the arrays that models take."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from keras_vae.data.dataset import DataError
from keras_vae.names import one_of


def from_dicts(stream: Any, x: str, y: str | None = None, sample_weight: str | None = None) -> Any:
    """A stream of dictionaries as one of x, (x, y) or (x, y, sample_weight), for all methods that take streams.

    Args:
        stream: a tf.data.Dataset, a PyDataset, a loader of another library, or a generator, of dictionaries of batches.
        x: the key of what is modelled, "image".
        y: that of labels, or of targets.
        sample_weight: that of the weights of the examples.

    Returns:
        A stream of the same kind.

    Raises:
        DataError: for a key that the batches do not have, naming the nearest; of a tf.data.Dataset at once, of others
            when a batch comes.

    Example:
        >>> batches = from_dicts(iter([{"image": 0, "label": 1}]), "image", y="label")
        >>> next(batches)
        (0, 1)
    """
    keys = [x, y, sample_weight]
    while keys[-1] is None:
        del keys[-1]

    def chosen(batch):
        parts = tuple(None if key is None else batch[key] for key in keys)
        return parts[0] if len(parts) == 1 else parts

    def picked(batch):
        if not hasattr(batch, "keys"):
            raise DataError(f"The stream yields no dictionaries. Received: batches of type {type(batch).__name__}")
        try:
            for key in filter(None, keys):
                one_of(key, tuple(batch.keys()), "key of a batch")
        except ValueError as error:
            raise DataError(str(error)) from None
        return chosen(batch)

    if hasattr(stream, "element_spec"):
        picked(stream.element_spec)
        return stream.map(chosen)
    if hasattr(stream, "num_batches"):
        # It takes Keras, which whoever has a PyDataset has imported.
        from keras_vae.training.pipelines import Mapped

        return Mapped(stream, picked)
    return _Loader(stream, picked) if hasattr(stream, "__len__") else (picked(batch) for batch in stream)


class _Loader:
    """A loader's batches, each by way of a function."""

    def __init__(self, loader: Iterable, function: Callable):
        self._loader, self._function = loader, function

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator:
        return map(self._function, self._loader)
