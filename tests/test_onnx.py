"""ONNX files: what onnxruntime makes of them is what Keras computes."""

import sys

import keras
import numpy as np
import pytest
from compositions import COMPOSITIONS, WRITTEN, over

import keras_vae as kv
from keras_vae.export import onnx
from keras_vae.parts import policy_scope

pytestmark = pytest.mark.skipif(kv.backend.NAME != "tensorflow", reason="ONNX files are written by TensorFlow")


def session(proto_or_path):
    """A function of named arrays that onnxruntime computes, and its inputs and outputs."""
    import onnxruntime

    opened = onnxruntime.InferenceSession(proto_or_path, providers=["CPUExecutionProvider"])
    values = [(v.name, v.shape) for v in (*opened.get_inputs(), *opened.get_outputs())]
    return lambda **arrays: opened.run(None, arrays)[0], values


@pytest.mark.parametrize("composition", over((c for c in COMPOSITIONS if c.served), WRITTEN))
def test_computes_what_keras_does(composition, tmp_path):
    vae, (x, *labels) = composition.moved(), composition.data(7)
    vae.export(tmp_path, format="onnx")
    x = x.astype("float32")
    # Of a conditional model, an input and an argument more.
    y = {"y": labels[0].astype("float32")} if labels else {}
    label = [("y", ["N", *vae.label_shape])] if labels else []
    # From the middle of the prior to far outside.
    prior = np.random.default_rng(0).normal(size=(7, *vae.latent_shape)).astype("float32")
    scales = np.array([0.01, 0.1, 0.5, 1, 2, 5, 20], "float32")
    z = prior * scales.reshape(-1, *[1] * (prior.ndim - 1))
    if vae.codes:
        z = np.random.default_rng(0).integers(0, vae.codes, z.shape, dtype="int32")
    elif vae.has_codes:
        # Beside numbers, codes that there are.
        z = vae.encode(x)
    image, latent = ["N", *vae.image_shape], ["N", *vae.latent_shape]
    for name, signature, given, expected in (
        ("encode", [("x", image), *label, ("z", latent)], {"x": x, **y}, vae.encode(x, **y)),
        ("decode", [("z", latent), *label, ("image", image)], {"z": z, **y}, vae.decode(z, **y)),
        ("serve", [("x", image), *label, ("image", image)], {"x": x, **y}, vae.reconstruct(x, **y)),
    ):
        run, found = session(tmp_path / f"{name}.onnx")
        assert found == signature
        # Float32 sums in another order; levels reach 255.
        atol = 1e-5 * max(1.0, np.abs(expected).max())
        for count in (1, 7):
            first = {key: value[:count] for key, value in given.items()}
            np.testing.assert_allclose(run(**first), expected[:count], rtol=1e-5, atol=atol, err_msg=name)


SIZES = np.geomspace(1e-12, 80, 50, dtype="float32")


@pytest.mark.parametrize(
    ("name", "x"),
    [("expm1", np.concatenate([-SIZES, [0.0], SIZES])), ("log1p", np.concatenate([-SIZES[:40], [0.0], SIZES**8]))],
)
def test_a_function_is_exact_near_zero_and_far_from_it(name, x):
    import tensorflow as tf
    import tf2onnx

    x = x[x > -1 if name == "log1p" else slice(None)].astype("float32")
    spec = [tf.TensorSpec((None,), tf.float32, name="x")]
    proto, _ = tf2onnx.convert.from_function(
        tf.function(getattr(tf.math, name), input_signature=spec), spec, custom_op_handlers=onnx._handlers()
    )
    run, _ = session(proto.SerializeToString())
    # Float32 has 24 bits, and exp loses a few of them where it is large.
    np.testing.assert_allclose(run(x=x), getattr(np, name)(x.astype("float64")), rtol=2e-6)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (4, 2), (5, 2), (3, 1)])
def test_transposed_convolutions_of_a_map_are_not_shifted(kernel, stride, tmp_path):
    keras.utils.set_random_seed(0)
    z = keras.Input((4, 4, 2))
    # Beyond dense layers over maps tf2onnx knows no sizes.
    maps = keras.layers.Conv2DTranspose(3, kernel, strides=stride, padding="same")(keras.layers.Dense(5)(z))
    shape = (4 * stride, 4 * stride, 1)
    x = keras.Input(shape)
    encoder = keras.Model(x, keras.layers.Conv2D(4, 3, strides=stride, padding="same")(x))
    vae = kv.VAE(encoder, keras.Model(z, maps), posterior=kv.posteriors.DiagonalNormal((4, 4, 2)), likelihood="normal")
    vae.export(tmp_path, format="onnx")
    given = np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype("float32")
    np.testing.assert_allclose(session(tmp_path / "decode.onnx")[0](z=given), vae.decode(given), atol=1e-6)


def test_files_of_another_model_do_not_stay(tmp_path):
    (tmp_path / "classify.onnx").write_bytes(b"of an M2")
    (tmp_path / "own.onnx").write_bytes(b"of somebody's")
    COMPOSITIONS[0].model().export(tmp_path, format="onnx")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"encode.onnx", "decode.onnx", "serve.onnx", "own.onnx"}


def test_a_hierarchy_in_half_precision_is_written_in_float32(tmp_path):
    networks = ((8, 8, 1), 3)
    with policy_scope("mixed_bfloat16"):
        half = kv.HierarchicalVAE(*kv.networks.ladder(*networks, groups=((2, 2),), widths=(8, 8)), seed=0)
    assert {layer.compute_dtype for layer in half.in_float32()._flatten_layers()} == {"float32"}
    half.export(tmp_path, format="onnx")
    x = COMPOSITIONS[0].images(4).astype("float32")
    function, _ = session(tmp_path / "encode.onnx")
    np.testing.assert_allclose(function(x=x), half.in_float32().encode(x), atol=1e-5)


def test_what_is_not_chosen_leaves_no_trace():
    import tensorflow as tf
    import tf2onnx

    spec = [tf.TensorSpec((None,), tf.float32, name="x")]
    chosen = tf.function(lambda x: tf.where(tf.math.is_nan(x), 0.5, x), input_signature=spec)
    proto, _ = tf2onnx.convert.from_function(chosen, spec, custom_op_handlers=onnx._handlers())
    run, _ = session(proto.SerializeToString())
    np.testing.assert_array_equal(run(x=np.array([1.0, np.nan, np.inf], "float32")), [1, 0.5, np.inf])


@keras.saving.register_keras_serializable("tests")
def weibull(features):
    return kv.backend.tfd.Independent(kv.backend.tfd.Weibull(1.0 + keras.ops.exp(features), 1.0), 3)


def test_what_onnx_lacks_is_named_and_nothing_is_written(tmp_path):
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 3), likelihood=kv.likelihoods.FromFunction(weibull, channels=1))
    with pytest.raises(ValueError, match=r"tf_saved_model.*Received: .*Lgamma"):
        vae.export(tmp_path / "m", format="onnx")
    assert not (tmp_path / "m").exists()


def test_networks_in_half_precision_are_written_in_float32(tmp_path):
    with policy_scope("mixed_bfloat16"):
        half = COMPOSITIONS[0].model()
    single = COMPOSITIONS[0].model()
    single.set_weights(half.get_weights())
    half.export(tmp_path / "m", format="onnx")
    x = COMPOSITIONS[0].images(4).astype("float32")
    function, _ = session(tmp_path / "m" / "encode.onnx")
    np.testing.assert_allclose(function(x=x), single.encode(x), atol=1e-5)
    assert half.encoder.layers[-1].compute_dtype == "bfloat16"


def test_without_tf2onnx_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r'pip install "keras_vae\[onnx\]".*Received'):
        COMPOSITIONS[0].model().export(tmp_path / "m", format="onnx")
