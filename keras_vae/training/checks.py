"""What may reach a step, checked before it does: labels, weights of examples, batches of streams."""

import inspect
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from keras_vae.training import processes
from keras_vae.training.values import as_array, check_array, check_shape


def checked_x(model: keras.Model, x: Any, whole: bool = False) -> np.ndarray:
    """`x` as `model` takes it.

    Args:
        model: a `LatentVariableModel`; its likelihood says which values it may see, unless it scores targets.
        x: what a user calls an array.
        whole: whether it is a whole data set.

    Raises:
        ValueError: for data that the model cannot see.
    """
    x = in_order(model, x)
    x = check_array(x, model.image_shape, None if model.target else model.likelihood, whole, model.missing)
    if model.target and model.likelihood.data == "counts" and np.fmin.reduce(x, axis=None) < 0:
        raise ValueError(
            f"Encoders see log(1 + x) where counts are scored: x must be at least 0. Received: smallest {x.min()}"
        )
    return x


def in_order(model: keras.Model, x: Any, training: bool = False) -> Any:
    """A DataFrame with its columns in the order of those that `model` was trained on; what is none stays as it is.

    Raises:
        ValueError: for columns that are missing, or have other names.
    """
    if not hasattr(x, "columns"):
        return x
    names, known = tuple(map(str, x.columns)), model.likelihood.seen_columns
    if known is None and training:
        model.likelihood.seen_columns = names
    if known in (None, names):
        return x
    absent = [name for name in known if names.count(name) != 1]
    if absent:
        raise ValueError(
            f"The model was trained on other columns: there must be {', '.join(map(repr, absent))}, each once. (Arrays "
            f"have no names: x.to_numpy().) Received: columns {', '.join(map(repr, names))}"
        )
    return np.asarray(x)[:, [names.index(name) for name in known]]


def checked_y(model: keras.Model, y: Any, count: int | None, whole: bool = False) -> np.ndarray | None:
    """What `model` is given beside x, as it takes it: targets, labels, or None.

    Args:
        model: a `LatentVariableModel`.
        y: targets or labels; or None.
        count: how many there must be; None: any number.
        whole: whether it is a whole data set.

    Raises:
        ValueError: for what is missing, not wanted, or of another number, shape or type.
    """
    if not model.target:
        return checked_labels(y, count, model.label_shape, model.labels_optional, model.classes)
    if y is None:
        raise ValueError(
            f"This model scores targets, not x: give y, a target of shape {model.target_shape} for each x. "
            "Received: y=None"
        )
    y = check_array(y, model.target_shape, model.likelihood, whole, model.missing)
    if count not in (None, len(y)):
        raise ValueError(f"Expected a target for each of {count} x. Received: y of shape {y.shape}")
    return y


def checked_labels(
    y: Any,
    count: int | None,
    label_shape: tuple[int, ...] | None,
    optional: bool = False,
    classes: int | None = None,
) -> np.ndarray | None:
    """`y` as a model takes it, float32, or None.

    Args:
        y: labels or None.
        count: how many there must be; None: any number.
        label_shape: shape of one label, None for a model that is not conditional.
        optional: whether a conditional model does without, too.
        classes: how many there are of labels that are whole numbers, -1 being one that is not known.

    Raises:
        ValueError: for labels that are missing, not wanted, or of another number, shape or type.
    """
    if label_shape is None:
        if y is not None:
            raise ValueError(
                "This model is not conditional, it takes images alone: leave out y. (A VAE's target is x itself; give "
                "the networks a second input to condition on labels.) "
                f"Received: y of shape {tuple(np.shape(y))}"
            )
        return None
    if y is None:
        if optional:
            return None
        raise ValueError(
            f"This model is conditional: give y, a label of shape {label_shape} for each image. Received: y=None"
        )
    if np.ma.is_masked(y):
        if classes is None:
            raise ValueError(
                "Labels are known of all examples: replace what is masked, or leave those examples out. "
                f"Received: {int(np.ma.count_masked(y))} masked labels"
            )
        y = y.filled(-1)
    y = np.asarray(y)
    check_label_shape(y.shape, count, label_shape)
    if not (np.issubdtype(y.dtype, np.number) or y.dtype == bool):
        raise ValueError(f"Labels must be numbers. Received: y with dtype={y.dtype}")
    if np.issubdtype(y.dtype, np.inexact) and not np.isfinite(y).all():
        raise ValueError("The labels contain NaN or infinite values. Received: y with values that are not finite")
    if classes is not None and y.size and not (y.min() >= -1 and y.max() < classes and np.array_equal(y, np.rint(y))):
        raise ValueError(
            f"Labels are whole numbers from 0 to {classes - 1}, and -1 where they are not known. "
            f"Received: y with values from {y.min()} to {y.max()}"
        )
    return y.astype("float32")


def check_label_shape(shape: tuple[int | None, ...], count: int | None, label_shape: tuple[int, ...]) -> None:
    """Refuses labels of another number or shape.

    Args:
        shape: of y, None where unknown.
        count: how many there must be; None: any number.
        label_shape: shape of one label.
    """
    shape = tuple(shape)
    fits = len(shape) == 1 + len(label_shape) and all(
        a is None or a == b for a, b in zip(shape[1:], label_shape, strict=True)
    )
    if fits and (count is None or shape[0] in (None, count)):
        return
    hint = ""
    if len(shape) == 1 and len(label_shape) == 1:
        hint = f"Classes are one-hot: keras.utils.to_categorical(y, {label_shape[0]}). "
    wanted = ", ".join(map(str, ("N" if count is None else count, *label_shape)))
    raise ValueError(f"Expected labels of shape ({wanted}), one for each image. {hint}Received: y of shape {shape}")


def checked_weights(weights: Any, count: int) -> np.ndarray | None:
    """Weights of examples as (N,), float32, or None.

    Raises:
        ValueError: unless there is one for each example, finite and not negative.
    """
    if weights is None:
        return None
    if np.ma.is_masked(weights):
        raise ValueError(
            "`sample_weight` has masked values: 0 leaves an example out, sample_weight.filled(0). "
            f"Received: {int(np.ma.count_masked(weights))} masked weights"
        )
    weights = np.asarray(weights, dtype="float32")
    if weights.shape not in ((count,), (count, 1)):
        raise ValueError(
            f"`sample_weight` must be one number for each of {count} examples. Received: shape {weights.shape}"
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(
            "`sample_weight` must be finite and not negative. "
            f"Received: smallest {weights.min()}, largest {weights.max()}"
        )
    return weights.reshape(-1)


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
            checked = _Mapped(stream, lambda batch: self._checked(batch, classes))
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
            stream = _Mapped(stream, lambda batch: batch)
        if isinstance(stream, (_Mapped, types.GeneratorType)):
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


class _Mapped(keras.utils.PyDataset):
    """Another PyDataset's batches, each by way of a function."""

    def __init__(self, batches, function):
        super().__init__(batches.workers, batches.use_multiprocessing, batches.max_queue_size)
        self._batches, self._function = batches, function

    @property
    def num_batches(self):
        return self._batches.num_batches

    def __getitem__(self, index):
        return self._function(self._batches[index])

    def on_epoch_begin(self):
        self._batches.on_epoch_begin()

    def on_epoch_end(self):
        self._batches.on_epoch_end()

    def close(self):
        self._batches = self._function = None
