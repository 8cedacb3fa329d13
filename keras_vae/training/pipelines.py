"""Streams of batches, checked as they come, and lent to Keras for a while."""

import inspect
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from keras_vae.training import processes
from keras_vae.training.checks import check_label_shape, checked_weights, checked_x, checked_y
from keras_vae.training.values import as_array, check_shape


def in_pipeline(function: Callable, inputs: Iterable = (), dtype: Any = "int64") -> Any:
    """`tf.numpy_function` in a tf.data pipeline, of a function that lives as long as the pipeline.

    TensorFlow itself never lets go of a function, nor so of the arrays and the model that it refers to. The functions
    that the pipeline maps must refer to this one.
    """
    import tensorflow as tf

    held = (weakref.WeakMethod if inspect.ismethod(function) else weakref.ref)(function)
    return tf.numpy_function(lambda *given: held()(*given), inputs, dtype)


class Batches:
    """Checks each batch of a stream, which Keras would otherwise train on, or fail on late and obscurely.

    Args:
        model: a `LatentVariableModel`.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        # A pipeline wraps what is raised inside it in an error of its own; `fit` raises this one instead.
        self.error = None
        # Batches that passed, and what tells the first of them apart.
        self.passed, self.first = 0, 0
        self._lent = []

    def wrap(self, stream: Any, classes: bool = False) -> Any:
        """`stream`, its batches checked as they come; the first one at once, but for tf.data; others unchanged.

        Args:
            stream: batches, in a form that Keras takes.
            classes: whether they must have labels that weigh the examples, also where the model takes none.

        Raises:
            ValueError: if the stream is empty, or its first batch not what the model expects.
        """
        if isinstance(stream, keras.utils.PyDataset):
            if stream.num_batches == 0:
                raise ValueError(f"The data set is empty. Received: {type(stream).__name__} of length 0")
            checked = Mapped(stream, lambda batch: self._checked(batch, classes))
            # The first one now, before Keras starts.
            checked[0]
            return checked
        if isinstance(stream, types.GeneratorType):
            first = next(stream, None)
            if first is None:
                raise ValueError("The data set is empty. Received: a generator that yields nothing")
            first = self._checked(first, classes)
            # Keras takes generators, and no other iterators.
            return (batch for batches in ((first,), (self._checked(b, classes) for b in stream)) for batch in batches)
        if hasattr(stream, "element_spec") and hasattr(stream, "enumerate"):
            return self._wrap_tf_data(stream, classes)
        if hasattr(stream, "__iter__") and hasattr(stream, "__len__"):
            # Loaders of torch, grain and others.
            return self.wrap(_Loaded(stream), classes)
        return stream

    def lend(self, stream: Any) -> Any:
        """A stream as Keras gets it, until `close`: TensorFlow never lets go of what Keras makes its batches with."""
        if isinstance(stream, keras.utils.PyDataset):
            stream = Mapped(stream, lambda batch: batch)
        if isinstance(stream, (Mapped, types.GeneratorType)):
            self._lent.append(stream)
        return stream

    def close(self) -> None:
        """Takes back all that was lent, when Keras is done."""
        for stream in self._lent:
            stream.close()

    def _parts(self, batch, classes):
        """(x, y, sample_weight) of a batch, y None where it only weighs the examples."""
        if isinstance(batch, dict):
            as_array(batch)
        x, y, weights = keras.utils.unpack_x_y_sample_weight(tuple(batch) if isinstance(batch, list) else batch)
        if isinstance(x, dict):
            as_array(x)
        if classes and y is None:
            raise ValueError("`class_weight` needs labels: data that yields (x, y). Received: batches of images alone")
        return x, None if classes and self._model.label_shape is None else y, weights

    def _checked(self, batch, classes):
        """`batch` as Keras takes it, a tuple of arrays."""
        x, y, weights = self._as_seen(*self._parts(batch, classes))
        batch = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
        # As the checks see it: what is masked is missing, sparse rows are whole. Labels that only weigh stay.
        batch = (x, batch[1] if y is None and len(batch) > 1 else y, weights)[: len(batch)]
        if len(batch) == 3 and batch[1] is None and self._model.label_shape is None:
            # Keras hands no None on to TensorFlow; the model takes no labels.
            batch = (batch[0], batch[2], batch[2])
        return batch

    def _as_seen(self, x, y=None, weights=None):
        """A batch as the model sees it, in numpy; refuses one that it does not expect."""
        model = self._model
        try:
            x = checked_x(model, x)
            y = checked_y(model, y, len(x))
            weights = checked_weights(weights, len(x))
        except ValueError as error:
            self.error = error
            raise
        if not self.passed:
            self.first = processes.fingerprint(x)
        self.passed += 1
        return x, y, weights

    def check(self, x: Any, y: Any = None, weights: Any = None) -> np.int64:
        """Refuses a batch that the model does not expect.

        Raises:
            ValueError: saying what was found, and what to do.
        """
        self._as_seen(x, y, weights)
        return np.int64(0)

    def _wrap_tf_data(self, dataset, classes):
        # Whoever has a tf.data.Dataset has TensorFlow, also under JAX.
        import tensorflow as tf

        model = self._model
        specs = self._parts(dataset.element_spec, classes)
        x, y, weights = specs = [None if isinstance(spec, tf.NoneTensorSpec) else spec for spec in specs]
        if dataset.cardinality() == 0:
            raise ValueError("The data set is empty. Received: a tf.data.Dataset of cardinality 0")
        if x.shape.rank is not None:
            if x.shape.as_list() == list(model.image_shape):
                raise ValueError(
                    "The data set yields single images: batch it, dataset.batch(128). "
                    f"Received: elements of shape {tuple(x.shape)}"
                )
            check_shape(x.shape, model.image_shape)
        if y is None or not model.takes_y:
            checked_y(model, y, None)
        elif y.shape.rank is not None and model.target:
            check_shape(y.shape, model.target_shape)
        elif y.shape.rank is not None:
            check_label_shape(y.shape, None, model.label_shape)
        if weights is not None and weights.shape.rank not in (None, 1) and weights.shape[1:] != (1,):
            raise ValueError(
                f"`sample_weight` must be one number for each example. Received: batches of shape {weights.shape}"
            )

        def check(*parts):
            parts = iter(parts)
            return self.check(*(None if spec is None else next(parts) for spec in specs))

        # Peeking instead would start the pipeline and move on an order that reshuffles.
        def checked(*batch):
            batch = batch[0] if len(batch) == 1 else batch
            parts = [part for spec, part in zip(specs, self._parts(batch, classes), strict=True) if spec is not None]
            done = in_pipeline(check, parts)
            with tf.control_dependencies([done]):
                batch = tf.nest.map_structure(lambda part: None if part is None else tf.identity(part), batch)
            first, *rest = tf.nest.flatten(batch)
            first.set_shape((None, *model.image_shape))
            if model.target:
                rest[0].set_shape((None, *model.target_shape))
            return batch

        return dataset.map(checked)


class _Loaded(keras.utils.PyDataset):
    """The batches of a loader, which come in their order alone."""

    def __init__(self, loader):
        super().__init__()
        self._loader, self._batches, self._next = loader, iter(()), None

    @property
    def num_batches(self):
        return len(self._loader)

    def __getitem__(self, index):
        if index != self._next:
            self._batches = iter(self._loader)
        self._next = index + 1
        batch = next(self._batches)
        return tuple(map(np.asarray, batch)) if isinstance(batch, (list, tuple)) else np.asarray(batch)


class Distinct(keras.callbacks.Callback):
    """Refuses streams that yield the same in processes which should each have their own part of the data.

    Args:
        batches: what checks the stream of this process.
    """

    def __init__(self, batches: Batches):
        super().__init__()
        self._batches, self._asked = batches, False

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self._asked:
            return
        self._asked = True
        group = processes.Processes()
        found = len(set(group.gathered(self._batches.first)))
        if found < min(group.count, processes.shards()):
            # As if the first batch had been refused, before its step.
            self._batches.passed = 0
            self._batches.error = ValueError(
                "Each process must have its own part of the data, and several yield the same: give arrays or a "
                "tf.data.Dataset with DataParallel(), which deals them out, or have the stream of each process yield "
                f"its part alone. Received: {found} different first batches in {group.count} processes"
            )
            raise self._batches.error


class Mapped(keras.utils.PyDataset):
    """Another PyDataset's batches, each by way of a function."""

    def __init__(self, batches: keras.utils.PyDataset, function: Callable):
        super().__init__(batches.workers, batches.use_multiprocessing, batches.max_queue_size)
        self._batches, self._function = batches, function

    @property
    def num_batches(self) -> int | None:
        return self._batches.num_batches

    def __getitem__(self, index: int) -> Any:
        return self._function(self._batches[index])

    def on_epoch_begin(self) -> None:
        self._batches.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._batches.on_epoch_end()

    def close(self) -> None:
        self._batches = self._function = None
