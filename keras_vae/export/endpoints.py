"""What an exported model can be asked for."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from keras_vae import backend


def needs_tensorflow(what: str, arguments: str) -> None:
    """Refuses to export under JAX.

    Raises:
        RuntimeError: saying how TensorFlow does it.
    """
    if backend.NAME != "tensorflow":
        raise RuntimeError(
            f"{what} can be written by TensorFlow alone: save the model here, model.save('model.keras'), and export it "
            "in a process with KERAS_BACKEND=tensorflow: "
            f"keras.saving.load_model('model.keras').export(path{arguments}), after `import keras_vae`. "
            f"Received: KERAS_BACKEND={backend.NAME}"
        )


# Names of those without noise, of any model.
ENDPOINTS = frozenset({"serve", "encode", "decode", "classify"})


def deterministic(model: keras.Model) -> dict[str, tuple[Callable, list, Any]]:
    """{endpoint: (function, what it takes, what it returns)} of those without noise."""
    x, image = spec("x", model.image_shape), spec("image", model.target_shape)
    z, y = spec("z", model.latent_shape, model.latent_dtype), labels(model)
    endpoints = {
        "serve": (model.call, [x, *y], image),
        "encode": (model._encode, [x, *y], z),
        "decode": (model._decode, [z, *y], image),
    }
    if model.classes is not None:
        endpoints["classify"] = (model._classify, [x], spec("probabilities", (model.classes,)))
    return endpoints


def labels(model: keras.Model) -> list:
    """What an endpoint takes for labels: one argument, or none where the model is not conditional."""
    return [] if model.label_shape is None else [spec("y", model.label_shape)]


def scored(model: keras.Model) -> list:
    """What the endpoint log_prob takes beside x: labels, or the targets of a model that scores them."""
    return labels(model) if model.target is None else [spec("y", model.target_shape)]


def spec(name: str, shape: tuple[int, ...], dtype: str = "float32") -> Any:
    """A named argument of any number of examples."""
    import tensorflow as tf

    return tf.TensorSpec((None, *shape), dtype, name=name)


def traced(function: Callable, signature: list) -> Callable:
    """`function` as a graph of that signature."""
    import tensorflow as tf

    # Wrapped, because a bound method of a tracked model would be traced as the model's own attribute.
    return tf.function(partial(function), input_signature=signature, autograph=False)
