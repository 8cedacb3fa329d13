"""What data may reach a step, checked before Keras starts."""

import types
from typing import Any

import keras
import numpy as np

KINDS = {
    "binary": "binary images: 0 or 1",
    "unit interval": "values in [0, 1]",
    "open unit interval": "values strictly between 0 and 1",
    "8-bit levels": "8-bit levels: whole numbers from 0 to 255",
    "real": "real numbers of moderate size, such as pixels in [0, 1]",
}

# What to do with data of one kind, found where a likelihood expects another.
_ADVICE = {
    "binary": "Use likelihood='bernoulli' for binary images.",
    "unit interval": (
        "Use likelihood='continuous_bernoulli', 'normal' or 'laplace' for values in [0, 1]; or binarise them for "
        "'bernoulli', or pass the 8-bit levels themselves (uint8) for 'discretized_logistic_mixture'."
    ),
    "8-bit levels": (
        "Use likelihood='discretized_logistic_mixture', 'discretized_logistic' or 'categorical' for 8-bit levels; or "
        "divide them by 255 for 'continuous_bernoulli' or 'normal' ((x + 0.5) / 256 for 'beta'), or binarise them for "
        "'bernoulli' (keras_vae.data.convert does each)."
    ),
    "real": "Use likelihood='normal' or 'laplace' for real numbers, or scale them to [0, 1].",
}


def kind_of(x: np.ndarray) -> str:
    """The narrowest kind of data that a finite array looks like: binary, unit interval, 8-bit levels or real."""
    if x.dtype == bool:
        return "binary"
    low, high = x.min(), x.max()
    whole = np.issubdtype(x.dtype, np.integer) or bool(np.all(x == np.round(x)))
    if low < 0 or high > 255:
        return "real"
    if whole and high <= 1:
        return "binary"
    if whole:
        return "8-bit levels"
    return "unit interval" if high <= 1 else "real"


def check_values(x: np.ndarray, likelihood: Any) -> None:
    """Refuses an array that `likelihood` cannot see.

    Args:
        x: numpy array of images, not empty.
        likelihood: has `data`, one of `KINDS`.

    Raises:
        ValueError: for NaN, infinities, or another kind of data; it names the likelihood for what was found.
    """
    name, wanted = type(likelihood).__name__, likelihood.data
    if not (np.issubdtype(x.dtype, np.number) or x.dtype == bool) or np.iscomplexobj(x):
        raise ValueError(f"Images must be arrays of numbers. Received: dtype={x.dtype}")
    if np.issubdtype(x.dtype, np.inexact) and not np.isfinite(x).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise ValueError(
            f"The images contain NaN or infinite values; remove or replace them. Received: {x[where]} at index {where}"
        )
    # A dark image in bytes still is one of 8-bit levels, and bytes are never meant as real numbers.
    if x.dtype == np.uint8 and (wanted == "8-bit levels" or (wanted == "real" and x.max() <= 1)):
        return
    found = kind_of(x)
    fits = {
        "binary": found == "binary",
        "unit interval": found in ("binary", "unit interval"),
        "open unit interval": found == "unit interval" and x.min() > 0 and x.max() < 1,
        "8-bit levels": found == "8-bit levels",
        "real": x.dtype != np.uint8,
    }[wanted]
    if fits:
        return
    advice = _ADVICE[found]
    if wanted == "open unit interval" and found in ("binary", "unit interval"):
        advice = (
            "A density on the open interval is zero or infinite at 0 and 1: pass (levels + 0.5) / 256 instead of "
            "levels / 255 (keras_vae.data.convert does it), or use likelihood='continuous_bernoulli'."
        )
    raise ValueError(
        f"{name} expects {KINDS[wanted]}; the data looks like {KINDS[found]}. {advice} "
        f"Received: dtype={x.dtype}, smallest {x.min()}, largest {x.max()}"
    )


def check_shape(shape: tuple[int | None, ...], image_shape: tuple[int, ...]) -> None:
    """Refuses images of another shape.

    Args:
        shape: (N, ...), None where unknown.
        image_shape: shape of one image.

    Raises:
        ValueError: saying how to mend what is easily mended.
    """
    shape, image_shape = tuple(shape), tuple(image_shape)
    given = shape[1:]
    if len(given) == len(image_shape) and all(a is None or a == b for a, b in zip(given, image_shape, strict=True)):
        return
    hint = ""
    if given == image_shape[:-1] and image_shape[-1] == 1:
        hint = "Add the channel axis: x[..., None]. "
    elif shape == image_shape:
        hint = "Add the batch axis: x[None]. "
    raise ValueError(f"Expected images of shape (N, {', '.join(map(str, image_shape))}). {hint}Received: shape {shape}")


def check_array(x: np.ndarray, image_shape: tuple[int, ...], likelihood: Any) -> None:
    """Refuses an array that is empty, of another shape, or of another kind of data."""
    check_shape(x.shape, image_shape)
    if len(x) == 0:
        raise ValueError(f"The data set is empty. Received: shape {x.shape}")
    check_values(x, likelihood)


def is_array(x: Any) -> bool:
    """Whether `x` is an array in memory (numpy, a backend's tensor, nested lists), not a stream of batches."""
    return isinstance(x, (np.ndarray, list)) or keras.ops.is_tensor(x) or hasattr(x, "__array__")


def checked_labels(
    y: Any, count: int | None, label_shape: tuple[int, ...] | None, optional: bool = False
) -> np.ndarray | None:
    """`y` as a model takes it, float32, or None.

    Args:
        y: labels or None.
        count: how many there must be; None: any number.
        label_shape: shape of one label, None for a model that is not conditional.
        optional: whether a conditional model does without, too.

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
    y = np.asarray(y)
    check_label_shape(y.shape, count, label_shape)
    if not (np.issubdtype(y.dtype, np.number) or y.dtype == bool):
        raise ValueError(f"Labels must be numbers. Received: y with dtype={y.dtype}")
    if np.issubdtype(y.dtype, np.inexact) and not np.isfinite(y).all():
        raise ValueError("The labels contain NaN or infinite values. Received: y with values that are not finite")
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


class FirstBatch:
    """Checks the first batch of a stream, which Keras would otherwise train on, or fail on late and obscurely.

    Args:
        model: has image_shape, likelihood (with `data`, one of `KINDS`), label_shape and labels_optional.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        # A pipeline wraps what is raised inside it in an error of its own; `fit` raises this one instead.
        self.error = None

    def wrap(self, stream: Any, classes: bool = False) -> Any:
        """`stream`, checked now (PyDataset, generator) or as its first batch comes (tf.data); others unchanged.

        Args:
            stream: batches, in a form that Keras takes.
            classes: whether they must have labels that weigh the examples, also where the model takes none.

        Raises:
            ValueError: if the stream is empty, or its first batch not what the model expects.
        """
        if isinstance(stream, keras.utils.PyDataset):
            if stream.num_batches == 0:
                raise ValueError(f"The data set is empty. Received: {type(stream).__name__} of length 0")
            first = stream[0]
            self._check(*self._parts(first, classes))
            _, y, weights = keras.utils.unpack_x_y_sample_weight(first)
            if y is None and weights is not None and self._model.label_shape is None:
                return _WithoutNone(stream)
        elif isinstance(stream, types.GeneratorType):
            first = next(stream, None)
            if first is None:
                raise ValueError("The data set is empty. Received: a generator that yields nothing")
            self._check(*self._parts(first, classes))
            # Keras takes tuples alone.
            batches = (batch for batches in ((first,), stream) for batch in batches)
            return (batch if isinstance(batch, tuple) else (batch,) for batch in batches)
        elif hasattr(stream, "element_spec") and hasattr(stream, "enumerate"):
            return self._wrap_tf_data(stream, classes)
        return stream

    def _parts(self, batch, classes):
        """(x, y, sample_weight) of a batch, y None where it only weighs the examples."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(tuple(batch) if isinstance(batch, list) else batch)
        if classes and y is None:
            raise ValueError("`class_weight` needs labels: data that yields (x, y). Received: batches of images alone")
        return x, None if classes and self._model.label_shape is None else y, weights

    def _check(self, x, y=None, weights=None):
        model = self._model
        try:
            x = np.asarray(x)
            check_array(x, model.image_shape, model.likelihood)
            checked_labels(y, len(x), model.label_shape, model.labels_optional)
            checked_weights(weights, len(x))
        except ValueError as error:
            self.error = error
            raise
        return np.int64(0)

    def _wrap_tf_data(self, dataset, classes):
        # Whoever has a tf.data.Dataset has TensorFlow, also under JAX.
        import tensorflow as tf

        specs = self._parts(dataset.element_spec, classes)
        x, y, weights = specs = [None if isinstance(spec, tf.NoneTensorSpec) else spec for spec in specs]
        if dataset.cardinality() == 0:
            raise ValueError("The data set is empty. Received: a tf.data.Dataset of cardinality 0")
        if x.shape.rank is not None:
            check_shape(x.shape, self._model.image_shape)
        if y is None or self._model.label_shape is None:
            checked_labels(y, None, self._model.label_shape, self._model.labels_optional)
        elif y.shape.rank is not None:
            check_label_shape(y.shape, None, self._model.label_shape)

        if weights is not None and weights.shape.rank not in (None, 1) and weights.shape[1:] != (1,):
            raise ValueError(
                f"`sample_weight` must be one number for each example. Received: batches of shape {weights.shape}"
            )

        # Peeking instead would start the pipeline and move on an order that reshuffles.
        def check_first(index, batch):
            parts = [part for spec, part in zip(specs, self._parts(batch, classes), strict=True) if spec is not None]

            def check(*parts):
                parts = iter(parts)
                return self._check(*(None if spec is None else next(parts) for spec in specs))

            checked = tf.cond(
                index == 0, lambda: tf.numpy_function(check, parts, tf.int64), lambda: tf.zeros((), tf.int64)
            )
            with tf.control_dependencies([checked]):
                return tf.nest.map_structure(lambda part: None if part is None else tf.identity(part), batch)

        return dataset.enumerate().map(check_first)


class _WithoutNone(keras.utils.PyDataset):
    """Batches (x, None, weights) as (x, weights, weights): Keras hands no None on to TensorFlow.

    A model that takes no labels does not look at them.
    """

    def __init__(self, batches):
        super().__init__(batches.workers, batches.use_multiprocessing, batches.max_queue_size)
        self._batches = batches

    @property
    def num_batches(self):
        return self._batches.num_batches

    def __getitem__(self, index):
        x, _, weights = self._batches[index]
        return x, weights, weights

    def on_epoch_begin(self):
        self._batches.on_epoch_begin()

    def on_epoch_end(self):
        self._batches.on_epoch_end()
