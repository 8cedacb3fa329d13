"""What a user gives `fit` and `evaluate`, checked, split, wrapped and put in order, once."""

import functools
import types
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_vae.training import averages, checks, processes, values
from keras_vae.training.pipelines import Batches, Distinct, in_pipeline
from keras_vae.training.stream import ArrayFeed, StepOrder


class Given(NamedTuple):
    """Data as Keras' methods take it: arrays, or a stream in the place of `x`."""

    x: Any
    y: Any = None
    sample_weight: Any = None

    @property
    def arrays(self) -> bool:
        """Whether it is in memory."""
        return values.is_array(self.x)


def for_fit(
    model: keras.Model,
    batches: Batches,
    given: Given,
    *,
    batch_size: int | None,
    shuffle: bool,
    class_weight: dict[int, float] | None,
    steps_per_epoch: int | None,
    validation_split: float,
    validation_data: Any,
    validation_batch_size: int | None,
) -> tuple[dict, dict, list[keras.callbacks.Callback], Callable[[], Iterable[tuple]] | None]:
    """Keras' arguments for training and validation, the callbacks that keep the data's order, and a function that makes
    batches of the training data again, or None.

    Args:
        model: a `LatentVariableModel`.
        batches: what checks the batches of streams.
        given: x, y and sample_weight.
        (others): as of `fit`.

    Raises:
        ValueError: for data that the model cannot see.
    """
    if class_weight is not None and model.target:
        raise ValueError(
            "`class_weight` needs labels, and the y of this model are targets: give `sample_weight`. "
            f"Received: class_weight={class_weight}"
        )
    given = given._replace(x=checks.in_order(model, given.x, training=True))
    # As in Keras, `validation_data` goes first.
    if validation_split and validation_data is None:
        if not given.arrays:
            raise ValueError(
                "`validation_split` takes the last share of arrays; split a stream yourself and give "
                f"`validation_data`. Received: x of type {type(given.x).__name__}"
            )
        given, validation_data = _split(model, given, validation_split)
        if class_weight is not None and model.label_shape is None:
            # There they weigh nothing, as in Keras.
            validation_data = validation_data._replace(y=None)
    validation = {}
    if validation_data is not None:
        x, y, weights = keras.utils.unpack_x_y_sample_weight(
            tuple(validation_data) if isinstance(validation_data, list) else validation_data
        )
        size = batch_size if validation_batch_size is None else validation_batch_size
        validation["validation_data"] = for_evaluation(model, batches, Given(x, y, weights), size)["x"]
    if given.arrays:
        feed = _feed(
            model, given, batch_size, class_weight, whole=True, shuffle=bool(shuffle), steps_per_epoch=steps_per_epoch
        )
        check_shares(model, feed)
    elif isinstance(given.x, ArrayFeed):
        feed = given.x
        feed.check(model)
        check_shares(model, feed)
        if not feed.binarize:
            _see(model, feed.x, feed.y)
    else:
        _check_stream(given)
        model.likelihood.check_stream()
        stream = batches.wrap(processes.dealt_out(given.x), classes=class_weight is not None)
        if class_weight is not None and isinstance(stream, types.GeneratorType):
            # Keras has no class weights for generators.
            weighted = functools.partial(_weighted, class_weight=class_weight)
            stream, class_weight = (weighted(batch) for batch in stream), None
        elif class_weight is not None and hasattr(stream, "element_spec"):
            # Keras' own look at no class without a weight, nor at labels that are not known.
            stream, class_weight = _weighted_pipeline(stream, class_weight), None
        train = {"x": batches.lend(stream), "steps_per_epoch": steps_per_epoch, "class_weight": class_weight}
        # Keras shuffles the batches of a PyDataset unless told not to, and warns where it cannot.
        train["shuffle"] = isinstance(stream, keras.utils.PyDataset) and shuffle
        order = [Distinct(batches)] if processes.come_dealt_out() else []
        return train, validation, order, _again(model, stream, class_weight)
    stream = feed.stream(processes.shards(model))
    return {"x": stream, "shuffle": False}, validation, [StepOrder(feed, model)], feed.again


def for_evaluation(model: keras.Model, batches: Batches, given: Given, batch_size: int | None) -> dict:
    """Keras' arguments for a test: {"x": a stream}, in the order of the data.

    Args:
        model: a `LatentVariableModel`.
        batches: what checks the batches of streams.
        given: x, y and sample_weight.
        batch_size: of arrays; None: 32.

    Raises:
        ValueError: for data that the model cannot see.
    """
    if given.arrays:
        feed = _feed(model, given, batch_size, None, whole=False, shuffle=False)
        return {"x": feed.stream(processes.shards(model))}
    if isinstance(given.x, ArrayFeed):
        given.x.check(model)
        return {"x": given.x.stream(processes.shards(model))}
    _check_stream(given)
    return {"x": batches.lend(batches.wrap(processes.dealt_out(given.x)))}


def batches_of(model: keras.Model, batches: Batches, given: Given, batch_size: int) -> Iterable[tuple]:
    """Batches of training data, arrays or a stream, tuples of numpy arrays."""
    if given.arrays:
        return _feed(model, given, batch_size, None, whole=False, shuffle=True).again()
    _check_stream(given)
    stream = batches.wrap(given.x)
    return (_again(model, stream) or (lambda: stream))()


def _weighted(batch, class_weight):
    """(x, y, sample_weight) of a batch, whose weights may be those of classes."""
    x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
    return x, y, weights if class_weight is None else class_weights(y, weights, class_weight)


def _weighted_pipeline(dataset, class_weight):
    """A tf.data.Dataset of (x, y) as one of (x, y, sample_weight)."""

    def weights_of(y):
        return class_weights(y, None, class_weight)

    def weighted(x, y, weights=None):
        if weights is not None:
            class_weights(None, weights, class_weight)
        found = in_pipeline(weights_of, [y], "float32")
        found.set_shape((None,))
        return x, y, found

    return dataset.map(weighted)


def _again(model, stream, class_weight=None):
    """A function that makes a stream's batches of full size, or None for those that come once."""

    def equal(batches):
        size = None
        for batch in batches:
            x, y, weights = _weighted(batch, class_weight)
            size = size or len(x)
            if len(x) == size:
                yield x, y if model.takes_y else None, weights

    if isinstance(stream, keras.utils.PyDataset):
        return lambda: equal(stream[index] for index in range(stream.num_batches or averages.BATCHES))
    if hasattr(stream, "as_numpy_iterator"):
        return lambda: equal(stream.as_numpy_iterator())
    return None


def _feed(model, given, batch_size, class_weight, whole, **order):
    x = checks.checked_x(model, given.x, whole)
    y, weights = given.y, checks.checked_weights(given.sample_weight, len(x))
    if class_weight is not None:
        weights = class_weights(y, weights, class_weight)
        y = None if model.label_shape is None else y
    y = checks.checked_y(model, y, len(x), whole)
    if whole:
        _see(model, x, y)
    feed = ArrayFeed(x, y, weights, 32 if batch_size is None else batch_size, model.seed, **order)
    processes.Processes(model).check_same(x, y, weights, seed=feed.seed, batch_size=feed.batch_size)
    return feed


def _see(model, x, y):
    """Shows the likelihood what it scores, and what it is given beside."""
    model.likelihood.see(y if model.target else x)
    if model.target:
        model.likelihood.see_given(x)


def _check_stream(given):
    if given.x is None:
        raise ValueError("Give the images: fit(x). Received: x=None")
    if isinstance(given.x, dict):
        values.as_array(given.x)
    for name in ("y", "sample_weight"):
        if getattr(given, name) is not None:
            raise ValueError(
                f"A stream yields `{name}` itself, in batches (x, y) or (x, y, sample_weight), y being None where the "
                f"model takes no labels. Received: {name}, beside x of type {type(given.x).__name__}"
            )


def _split(model, given, fraction):
    """Keras' `validation_split`: the last share of the arrays, before they are shuffled."""
    if not 0 < fraction < 1:
        raise ValueError(f"`validation_split` must be between 0 and 1. Received: validation_split={fraction!r}")
    x, y, weights = given
    # Targets are data; what is masked in labels and weights is seen to later.
    y = values.as_array(y, model.missing) if model.target and y is not None else y
    arrays = [values.as_array(x, model.missing), *(None if a is None else np.asanyarray(a) for a in (y, weights))]
    cut = int(len(arrays[0]) * (1 - fraction))
    if cut in (0, len(arrays[0])):
        raise ValueError(f"Too few images to split. Received: {len(arrays[0])} images, validation_split={fraction!r}")
    head, tail = ([None if a is None else a[part] for a in arrays] for part in (slice(cut), slice(cut, None)))
    return Given(*head), Given(*tail)


def class_weights(y: Any, sample_weight: Any, class_weight: dict[int, float]) -> np.ndarray:
    """Keras' `class_weight` as weights of the examples, (N,).

    Raises:
        ValueError: without labels, and with weights beside.
    """
    if sample_weight is not None:
        raise ValueError("Give `class_weight` or `sample_weight`, not both. Received: both")
    labels = np.asarray(y)
    if y is not None and labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)
    if y is None or labels.size != len(labels):
        raise ValueError(
            "`class_weight` needs labels, one integer or one-hot row for each example: fit(x, y, class_weight=...). "
            f"Received: y of shape {None if y is None else labels.shape}"
        )
    return np.array([class_weight.get(int(label), 1.0) for label in labels.reshape(-1)], dtype="float32")


def check_shares(model: keras.Model, feed: ArrayFeed) -> None:
    """Refuses batches that cannot be shared out evenly, where layers take the moments of what they are given.

    Raises:
        ValueError: for a model with batch normalisation.
    """
    shards = processes.shards(model)
    normalised = any(isinstance(layer, keras.layers.BatchNormalization) for layer in model._flatten_layers())
    if normalised and any(size % shards for size in feed.sizes):
        raise ValueError(
            f"Over {shards} devices every batch of a model with batch normalisation must be a multiple of {shards}, "
            f"the last one of an epoch too. Received: {len(feed.x)} images, batch_size={feed.batch_size}"
        )
