"""What an exported model can be asked for."""

from functools import partial

from keras_vae import backend


def needs_tensorflow(what, arguments):
    if backend.NAME != "tensorflow":
        raise RuntimeError(
            f"{what} can be written by TensorFlow alone: save the model here, model.save('model.keras'), and export it "
            "in a process with KERAS_BACKEND=tensorflow: "
            f"keras.saving.load_model('model.keras').export(path{arguments}), after `import keras_vae`. "
            f"Received: KERAS_BACKEND={backend.NAME}"
        )


def deterministic(model):
    """{endpoint: (function, what it takes, what it returns)} of those without noise."""
    import tensorflow as tf

    def spec(name, shape):
        return tf.TensorSpec((None, *shape), tf.float32, name=name)

    x, image, z = spec("x", model.image_shape), spec("image", model.image_shape), spec("z", model.posterior.event_shape)
    return {"serve": (model.call, x, image), "encode": (model._encode, x, z), "decode": (model._decode, z, image)}


def traced(function, signature):
    import tensorflow as tf

    # Wrapped, because a bound method of a tracked model would be traced as the model's own attribute.
    return tf.function(partial(function), input_signature=signature, autograph=False)
