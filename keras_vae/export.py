"""A model as a SavedModel with named endpoints, which serves where keras_vae is not installed."""

from functools import partial

import keras
from keras import ops

from keras_vae import backend

# Importance samples decoded at a time for each image.
CHUNK = 16


def saved_model(model, path):
    """Writes `model` to the directory `path`.

    Endpoints, of float32 images unless said, for any number N of them:
        serve(x): reconstructions, (N, *X); encode(x): posterior means, (N, D); decode(z): (N, *X);
        sample(n, seed): n images; log_prob(x, samples, seed): (N,) nats, by importance sampling; n, samples and seed
        are int32 scalars, and equal calls give equal numbers.

    Raises:
        RuntimeError: under JAX, whose models TensorFlow cannot export with batches of any size.
    """
    if backend.NAME != "tensorflow":
        raise RuntimeError(
            "A SavedModel is written by TensorFlow: save the model here, model.save('model.keras'), and export it in a "
            "process with KERAS_BACKEND=tensorflow: keras.saving.load_model('model.keras').export(path), after "
            f"`import keras_vae`. Received: KERAS_BACKEND={backend.NAME}"
        )
    import tensorflow as tf

    images = tf.TensorSpec((None, *model.image_shape), tf.float32, name="x")
    latents = tf.TensorSpec((None, *model.posterior.event_shape), tf.float32, name="z")
    n, samples, seed = (tf.TensorSpec((), tf.int32, name=name) for name in ("n", "samples", "seed"))

    def sample(n, seed):
        features = model.generate(n, seed=ops.stack([seed, 0]))
        return model.likelihood.image(model.likelihood.distribution(features))

    def log_prob(x, samples, seed):
        def add(index, total):
            valid = ops.minimum(samples - index * CHUNK, CHUNK)
            part = model._log_sum_weights(ops.stack([seed, index]), valid, x, samples=CHUNK)
            return index + 1, ops.logaddexp(total, part)

        start = (0, ops.full((ops.shape(x)[0],), -float("inf")))
        _, total = tf.while_loop(lambda index, _: index * CHUNK < samples, add, start)
        return total - ops.log(ops.cast(samples, "float32"))

    archive = keras.export.ExportArchive()
    archive.track(model)
    endpoints = (
        ("serve", model.call, [images]),
        ("encode", model._encode, [images]),
        ("decode", model._decode, [latents]),
        ("sample", sample, [n, seed]),
        ("log_prob", log_prob, [images, samples, seed]),
    )
    for name, function, signature in endpoints:
        # Wrapped, because a bound method of a tracked model would be traced as the model's own attribute.
        archive.add_endpoint(
            name, tf.autograph.experimental.do_not_convert(partial(function)), input_signature=signature
        )
    archive.write_out(path, verbose=False)
