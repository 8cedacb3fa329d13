"""Likelihoods that are distances: structural similarity, and the features of a network."""

import json

import keras
import numpy as np
import pytest
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
    with pytest.raises(ValueError, match=r"`features` must be a Keras model"):
        kv.likelihoods.Perceptual("vgg")


def test_numbers_that_compare_with_nothing_say_so():
    result = {"value": 1.0, "unit": "nats", "split": "test", "images": 2, "samples": 1}
    result["protocol"] = f"importance sampling; 8-bit levels / 255, not dequantised{evaluation._NO_DENSITY}"
    config = {"about": {"name": "x"}, "data": {}, "recipe": {}, "model": {"registered_name": "", "config": {}}}
    weights = {"file": "", "sha256": "", "parameters": 1}
    said = cards.text(config, {"metrics": {"elbo": result}, "weights": weights})
    assert "1 ‡" in said and "‡ The likelihood is a distance" in said and "†" not in said
    assert "no density: comparable with nothing" in json.dumps(cards.metadata(config, {"metrics": {"elbo": result}}))
