import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_vae.metrics import bits_per_dim
from keras_vae.networks import conv, conv1d, ladder, mlp, resnet

LATENT_SIZE = 3
CASES = [
    pytest.param(mlp, (8, 6, 1), {"widths": [20, 10]}, id="mlp"),
    pytest.param(conv, (13, 6, 3), {"widths": (4, 6), "dense": None, "batch_norm": True}, id="conv"),
    pytest.param(conv1d, (37, 2), {"widths": (4, 6), "dense": 10}, id="conv1d"),
    pytest.param(resnet, (9, 14, 1), {"widths": (4, 6), "blocks": 1}, id="resnet"),
]
every_network = pytest.mark.parametrize(("builder", "shape", "kwargs"), CASES)


def build(builder, shape, kwargs, **more):
    """Build the two networks with trainable weights that are all random, also those that start at zero."""
    models = builder(shape, LATENT_SIZE, **kwargs, **more)
    rng = np.random.default_rng(0)
    for model in models:
        for variable in model.trainable_variables:
            variable.assign(rng.normal(scale=0.3, size=variable.shape))
    return models


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def output(model, x, training=False):
    return keras.ops.convert_to_numpy(model(x, training=training))


@pytest.mark.long_on_jax
@every_network
def test_features_have_the_promised_shape_and_do_not_depend_on_the_batch(builder, shape, kwargs):
    encoder, decoder = build(builder, shape, kwargs)
    spatial = () if builder is mlp else shape[:-1]
    for model, x in ((encoder, normal(3, *shape)), (decoder, normal(3, LATENT_SIZE))):
        features = output(model, x)
        assert features.shape == model.compute_output_shape(x.shape)
        # float32 sums in another order for another batch size.
        np.testing.assert_allclose(output(model, x[:1]), features[:1], rtol=1e-5, atol=1e-5)
    assert encoder.output_shape[1:] == (np.prod(encoder.output_shape[1:]),)
    assert decoder.output_shape == (None, *spatial, kwargs["widths"][0])


@every_network
def test_an_encoder_may_take_a_mask(builder, shape, kwargs):
    encoder, _ = build(builder, shape, kwargs, missing=True)
    x, mask = normal(3, *shape), np.ones((3, *shape), dtype="float32")
    features = output(encoder, [x, mask])
    assert features.shape == (3, *builder(shape, LATENT_SIZE, **kwargs)[0].output_shape[1:])
    assert (features != output(encoder, [x, 0 * mask])).any()


@every_network
def test_a_gradient_reaches_every_weight(builder, shape, kwargs):
    encoder, decoder = build(builder, shape, kwargs)
    model = keras.Sequential([encoder, keras.layers.Dense(LATENT_SIZE), decoder])
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    model.build((None, *shape))
    before = [keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
    model.train_on_batch(normal(3, *shape), normal(3, *decoder.output_shape[1:], seed=2))
    same = [
        variable.path
        for variable, old in zip(model.trainable_variables, before, strict=True)
        if np.array_equal(keras.ops.convert_to_numpy(variable), old)
    ]
    assert not same


@every_network
def test_the_activation_is_the_only_nonlinearity(builder, shape, kwargs):
    x, y = 10 * normal(2, 1, *shape)
    z, w = 10 * normal(2, 1, LATENT_SIZE)
    for activation, affine in (("linear", True), ("tanh", False)):
        encoder, decoder = build(builder, shape, kwargs, activation=activation)
        for model, a, b in ((encoder, x, y), (decoder, z, w)):
            mean_of_outputs = (output(model, a) + output(model, b)) / 2
            assert np.allclose(output(model, (a + b) / 2), mean_of_outputs, rtol=1e-3, atol=1e-3) == affine


@every_network
def test_weights_have_the_same_distinct_paths_in_every_build(builder, shape, kwargs):
    paths = [[v.path for model in build(builder, shape, kwargs) for v in model.weights] for _ in range(2)]
    assert paths[0] == paths[1]
    assert len(set(paths[0])) == len(paths[0])
    assert all(path.startswith(("encoder_", "decoder_")) for path in paths[0])


def test_the_decoder_takes_the_encoders_way_back():
    # The first list of widths that is reversed wrongly shows here: three different widths, two odd sizes.
    encoder, decoder = conv((27, 10, 3), LATENT_SIZE, widths=(4, 5, 6))

    def maps(model):
        layers = (layer for layer in model.layers if layer.name.endswith("_activation"))
        return [layer.output.shape[1:] for layer in layers]

    assert maps(encoder) == [(14, 5, 4), (7, 3, 5), (4, 2, 6)]
    assert decoder.get_layer("decoder_reshape").output.shape[1:] == (4, 2, 6)
    assert maps(decoder) == [(7, 3, 5), (14, 5, 4), (27, 10, 4)]

    dense = [layer.units for model in mlp((5,), 2, widths=(7, 8, 9)) for layer in model.layers if "dense" in layer.name]
    assert dense == [7, 8, 9, 9, 8, 7]


def test_parameter_counts_of_published_networks():
    # AEVB explained (2023): Conv(32)-Conv(64)-Dense(400) for 28x28; the decoder's first layers.
    encoder, decoder = conv((28, 28, 1), 2, widths=(32, 64), dense=400)
    assert encoder.count_params() == (9 * 32 + 32) + (9 * 32 * 64 + 64) + (7 * 7 * 64 * 400 + 400)
    assert decoder.count_params() == (2 + 1) * 7 * 7 * 64 + (9 * 64 * 32 + 32) + (9 * 32 * 32 + 32)

    # The face VAE of PyTorch-VAE: normalised convolutions without bias, no dense layer before the heads.
    widths = (32, 64, 128, 256, 512)
    encoder, decoder = conv((64, 64, 3), 128, widths=widths, dense=None, batch_norm=True)
    steps = list(zip((3, *widths), widths, strict=False))
    assert encoder.output_shape == (None, 2 * 2 * 512)
    assert encoder.count_params() == sum(9 * a * b + 4 * b for a, b in steps)
    back = [(512, 256), (256, 128), (128, 64), (64, 32), (32, 32)]
    assert decoder.count_params() == (128 + 1) * 2048 + sum(9 * a * b + 4 * b for a, b in back)

    # A review of VAEs (2022): 3,543,552 with the two heads and the output layer, which are not the networks'.
    encoder, decoder = mlp((32, 32, 3), 256, widths=(512,), activation="gelu")
    heads, last = 2 * (512 + 1) * 256, (512 + 1) * 3072
    assert encoder.count_params() + heads + decoder.count_params() + last == 3_543_552


def test_residual_blocks_start_as_the_identity():
    deep = resnet((9, 14, 1), LATENT_SIZE, widths=(4, 6), blocks=3)
    plain = conv((9, 14, 1), LATENT_SIZE, widths=(4, 6), kernel_size=4, dense=None, activation="swish")
    inputs = normal(2, 9, 14, 1), normal(2, LATENT_SIZE)
    for with_blocks, without, x in zip(deep, plain, inputs, strict=True):
        weights = {v.path: v for v in with_blocks.weights}
        for variable in without.weights:
            variable.assign(weights[variable.path])
        np.testing.assert_allclose(output(with_blocks, x), output(without, x), rtol=1e-5, atol=1e-6)


def test_batch_normalisation_is_only_where_it_was_asked_for():
    x = normal(4, 13, 6, 3)
    for kwargs, depends in (({"batch_norm": True}, True), ({}, False)):
        encoder, _ = build(conv, (13, 6, 3), {"widths": (4, 6), **kwargs})
        alone, together = output(encoder, x[:2], training=True), output(encoder, x, training=True)[:2]
        assert np.allclose(alone, together, rtol=1e-4, atol=1e-4) != depends


@pytest.mark.parametrize(
    ("builder", "shape", "kwargs", "message"),
    [
        (conv, (28, 28), {}, r"must be \(H, W, C\)"),
        (conv1d, (28, 28, 1), {}, r"must be \(length, channels\)"),
        (resnet, (28,), {}, r"must be \(H, W, C\) or \(length, channels\)"),
        (conv, (28, None, 1), {}, "image_shape"),
        (mlp, 784, {}, "image_shape"),
        (mlp, (8, 8, 1), {"latent_size": 0}, "latent_size"),
        (conv, (8, 8, 1), {"latent_size": 2.0}, "latent_size"),
        (mlp, (8, 8, 1), {"widths": ()}, "widths"),
        (conv, (8, 8, 1), {"widths": 32.0}, "widths"),
        (resnet, (8, 8, 1), {"widths": (8, -8)}, "widths"),
        (conv, (8, 8, 1), {"dense": 0}, "dense"),
        (conv, (8, 8, 1), {"kernel_size": 0}, "kernel_size"),
        (resnet, (8, 8, 1), {"blocks": 0}, "blocks"),
        (conv, (64, 4, 1), {"widths": (4, 4, 4)}, "fewer widths or larger images"),
    ],
)
def test_bad_arguments_are_refused(builder, shape, kwargs, message):
    with pytest.raises(ValueError, match=f"(?s){message}.*Received: "):
        builder(shape, **{"latent_size": 2, **kwargs})


@pytest.mark.parametrize(
    ("builder", "shape", "features", "maps"),
    [
        # Three halvings of 5 end at 1.
        (conv, (5, 8, 1), 1 * 1 * 4, (5, 8, 4)),
        (resnet, (11, 2), 2 * 4, (11, 4)),
        (mlp, (12,), 4, (4,)),
    ],
)
def test_other_shapes_that_a_builder_takes(builder, shape, features, maps):
    encoder, decoder = builder(shape, 2, widths=(4, 4, 4), **({"dense": None} if builder is conv else {}))
    assert encoder.output_shape == (None, features)
    assert decoder.output_shape == (None, *maps)


RELOAD = """
import sys, keras, numpy as np
with np.load(sys.argv[1] + "/arrays.npz") as arrays:
    for name in {key.split(".")[0] for key in arrays}:
        model = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras", safe_mode=True)
        x = [arrays[f"{name}.x{i}"] for i in range(len(model.inputs))]
        y = model(x if len(x) > 1 else x[0], training=False)
        for i, value in enumerate(y if isinstance(y, (list, tuple)) else [y]):
            # The same weights and operations; threads may add in another order.
            expected = arrays[f"{name}.y{i}"]
            np.testing.assert_allclose(np.array(value), expected, rtol=1e-5, atol=1e-5, err_msg=name)
        print(name)
assert not any(module.startswith("keras_vae") for module in sys.modules)
"""


@pytest.mark.long_on_jax
def test_networks_load_in_a_fresh_process_that_does_not_know_keras_vae(tmp_path):
    arrays, models = {}, []
    for case in CASES:
        models += build(*case.values)
    encoder, decoder, groups = ladder((9, 14, 1), (5, 7, 2), ((5, 2, 1),), widths=(4,))
    for number, model in enumerate([*models, encoder, decoder, *groups[0]]):
        name = f"{model.name}{number}"
        model.save(tmp_path / f"{name}.keras")
        x = [normal(2, *tensor.shape[1:], seed=i) for i, tensor in enumerate(model.inputs)]
        y = model(x if len(x) > 1 else x[0], training=False)
        y = y if isinstance(y, (list, tuple)) else [y]
        arrays |= {f"{name}.{key}{i}": np.array(v) for key, of in (("x", x), ("y", y)) for i, v in enumerate(of)}
    np.savez(tmp_path / "arrays.npz", **arrays)
    environment = os.environ | {"KERAS_BACKEND": keras.backend.backend()}
    command = [sys.executable, "-c", RELOAD, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == len(models) + 4


def test_bits_per_dim():
    # A uniform density over 256 levels costs 8 bits per dimension, whatever their number.
    log_prob = -np.array([3072, 6144]) * np.log(256)
    np.testing.assert_allclose(bits_per_dim(log_prob, dims=3072), [8, 16])
    assert bits_per_dim(np.log(2), dims=1) == pytest.approx(-1)
    with pytest.raises(ValueError, match="Received: dims=0"):
        bits_per_dim(log_prob, dims=0)


def test_a_latent_map_keeps_its_positions():
    encoder, decoder = resnet((16, 16, 1), (4, 4, 5), widths=(4, 8), blocks=(0, 1))
    assert encoder.output_shape == (None, 4, 4, 8)
    assert (decoder.input_shape, decoder.output_shape) == ((None, 4, 4, 5), (None, 16, 16, 4))
    names = {layer.name for layer in encoder.layers}
    assert "encoder_1_block_0_0_conv" in names and not any(name.startswith("encoder_0_block") for name in names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_size": (5, 4, 2)}, r"sides of the image after 2 halvings, \(4, 4\).*Received"),
        ({"latent_size": (4, 4, 0)}, "positive integers.*Received"),
        ({"latent_size": 3, "blocks": (1,)}, "one whole number for each width.*Received"),
        ({"latent_size": 3, "blocks": (1, -1)}, "one whole number for each width.*Received"),
    ],
)
def test_latent_maps_and_blocks_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        resnet((16, 16, 1), widths=(4, 8), **arguments)
