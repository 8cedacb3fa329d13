"""A SavedModel with named endpoints."""

from pathlib import Path

import keras
from keras import ops

from keras_vae.export.endpoints import deterministic, labels, needs_tensorflow, scored, spec, traced

# Importance samples decoded at a time for each image.
CHUNK = 16


def saved_model(model: keras.Model, path: str | Path) -> None:
    """Writes `model` to the directory `path` as a SavedModel.

    Endpoints, of float32 images unless said, for any number N of them:
        serve(x): reconstructions, (N, *X); encode(x): posterior means, (N, D), or codes, int32; decode(z): (N, *X);
        sample(n, seed): n images; log_prob(x, samples, seed): (N,) nats, by importance sampling; n, samples and seed
        are int32 scalars, and equal calls give equal numbers. Those of a conditional model take labels y, float32, too:
        serve(x, y), encode(x, y), decode(z, y), sample(n, seed, y), log_prob(x, y, samples, seed). One of few labels,
        which are -1 where they are not known, has classify(x), (N, classes), too. Where targets are scored, log_prob
        takes them as y, and images that come out are targets.

    Raises:
        RuntimeError: under JAX, whose models TensorFlow cannot export with batches of any size.
        OSError: if the directory cannot be written.
    """
    needs_tensorflow("A SavedModel", "")
    import tensorflow as tf

    n, samples, seed = (tf.TensorSpec((), tf.int32, name=name) for name in ("n", "samples", "seed"))

    def sample(n, seed, *y):
        features = model.generate(n, *y, seed=ops.stack([seed, 0]))
        return model.likelihood.image(model.likelihood.distribution(features))

    def log_prob(x, *rest):
        *y, samples, seed = rest
        # Of samples that are alike one is enough.
        chunk, samples = (1, ops.ones_like(samples)) if model.deterministic else (CHUNK, samples)

        def add(index, total):
            valid = ops.minimum(samples - index * chunk, chunk)
            part = model._log_sum_weights(ops.stack([seed, index]), valid, x, *y, samples=chunk)
            return index + 1, ops.logaddexp(total, part)

        start = (0, ops.full((ops.shape(x)[0],), -float("inf"), dtype="float32"))
        _, total = tf.while_loop(lambda index, _: index * chunk < samples, add, start)
        return total - ops.log(ops.cast(samples, "float32"))

    endpoints = {name: traced(function, given) for name, (function, given, _) in deterministic(model).items()}
    endpoints["sample"] = traced(sample, [n, seed, *labels(model)])
    endpoints["log_prob"] = traced(log_prob, [spec("x", model.image_shape), *scored(model), samples, seed])
    # Not Keras' ExportArchive, which writes each weight twice.
    served = tf.Module()
    variables = [v for function in endpoints.values() for v in function.get_concrete_function().variables]
    served.weights = list({id(v): v for v in variables}.values())
    for name, function in endpoints.items():
        setattr(served, name, function)
    try:
        tf.saved_model.save(served, str(path), signatures={"serving_default": endpoints["serve"], **endpoints})
    except tf.errors.OpError as error:
        raise OSError(f"The SavedModel cannot be written ({error.message}). Received: {path}") from error
