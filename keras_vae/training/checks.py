"""What may reach a step, checked before it does: arrays, labels, weights of examples."""

from typing import Any

import keras
import numpy as np

from keras_vae.training.values import check_array


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
