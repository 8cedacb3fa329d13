"""What data may reach a step, checked before Keras starts."""

import types

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


def kind_of(x):
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


def check_values(x, likelihood):
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


def check_shape(shape, image_shape):
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


def check_array(x, image_shape, likelihood):
    """Refuses an array that is empty, of another shape, or of another kind of data."""
    check_shape(x.shape, image_shape)
    if len(x) == 0:
        raise ValueError(f"The data set is empty. Received: shape {x.shape}")
    check_values(x, likelihood)


def is_array(x):
    """Whether `x` is an array in memory (numpy, a backend's tensor, nested lists), not a stream of batches."""
    return isinstance(x, (np.ndarray, list)) or keras.ops.is_tensor(x) or hasattr(x, "__array__")


class FirstBatch:
    """Checks the first batch of a stream, which Keras would otherwise train on, or fail on late and obscurely.

    Args:
        image_shape: shape of one image.
        likelihood: has `data`, one of `KINDS`.
    """

    def __init__(self, image_shape, likelihood):
        self._image_shape, self._likelihood = image_shape, likelihood
        # A pipeline wraps what is raised inside it in an error of its own; `fit` raises this one instead.
        self.error = None

    def wrap(self, stream, labelled=False):
        """`stream`, checked now (PyDataset, generator) or as its first batch comes (tf.data); others unchanged.

        Args:
            stream: batches, in a form that Keras takes.
            labelled: whether they must have labels, too.

        Raises:
            ValueError: if the stream is empty, or its first batch not what the likelihood expects.
        """
        if isinstance(stream, keras.utils.PyDataset):
            if len(stream) == 0:
                raise ValueError(f"The data set is empty. Received: {type(stream).__name__} of length 0")
            self._check(_images(stream[0], labelled))
        elif isinstance(stream, types.GeneratorType):
            first = next(stream, None)
            if first is None:
                raise ValueError("The data set is empty. Received: a generator that yields nothing")
            self._check(_images(first, labelled))
            return (batch for batches in ((first,), stream) for batch in batches)
        elif hasattr(stream, "element_spec") and hasattr(stream, "enumerate"):
            return self._wrap_tf_data(stream, labelled)
        return stream

    def _check(self, images):
        try:
            check_array(np.asarray(images), self._image_shape, self._likelihood)
        except ValueError as error:
            self.error = error
            raise
        return np.int64(0)

    def _wrap_tf_data(self, dataset, labelled):
        # Whoever has a tf.data.Dataset has TensorFlow, also under JAX.
        import tensorflow as tf

        spec = _images(dataset.element_spec, labelled)
        if dataset.cardinality() == 0:
            raise ValueError("The data set is empty. Received: a tf.data.Dataset of cardinality 0")
        if spec.shape.rank is not None:
            check_shape(spec.shape, self._image_shape)

        # Peeking instead would start the pipeline and move on an order that reshuffles.
        def check_first(index, batch):
            checked = tf.cond(
                index == 0,
                lambda: tf.numpy_function(self._check, [_images(batch)], tf.int64),
                lambda: tf.zeros((), tf.int64),
            )
            with tf.control_dependencies([checked]):
                return tf.nest.map_structure(tf.identity, batch)

        return dataset.enumerate().map(check_first)


def _images(batch, labelled=False):
    """The images of a batch: x of x, (x,), (x, y) or (x, y, sample_weight)."""
    parts = batch if isinstance(batch, (tuple, list)) else (batch,)
    if labelled and len(parts) < 2:
        raise ValueError(
            f"`class_weight` needs labels: data that yields (x, y). Received: batches of {len(parts)} part, the images"
        )
    return parts[0]
