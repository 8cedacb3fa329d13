"""Linear VAEs against scikit-learn's probabilistic PCA."""

import json

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import keras_vae as kv
from keras_vae.models import linear
from keras_vae.parts import soft_clip, soft_clip_inverse
from keras_vae.runs import run as experiment
from keras_vae.runs.recipe import Recipe, UsageError

SIZE = 5


@pytest.fixture(scope="module")
def data():
    x = (load_digits().images / 16).astype("float32")[..., None]
    return x[:600], x[600:900]


@pytest.fixture(scope="module")
def fitted(data):
    return kv.probabilistic_pca(data[0], SIZE, seed=0), PCA(SIZE).fit(data[0].reshape(600, -1))


def test_log_prob_is_scikit_learns_whatever_is_sampled(data, fitted):
    vae, pca = fitted
    expected = pca.score_samples(data[1].reshape(300, -1))
    for seed in (0, 1):
        np.testing.assert_allclose(vae.log_prob(data[1], samples=1, seed=seed), expected, rtol=1e-4, atol=1e-3)
    evaluated = vae.evaluate(data[1], verbose=0, return_dict=True, batch_size=300)
    assert evaluated["elbo"] == pytest.approx(expected.mean(), abs=0.3)


def test_projections_are_scikit_learns(data, fitted):
    vae, pca = fitted
    flat = data[1].reshape(300, -1)
    expected = pca.inverse_transform(pca.transform(flat)).reshape(data[1].shape)
    np.testing.assert_allclose(linear.project(vae, data[1]), expected, atol=1e-4)


def test_samples_have_the_moments_of_the_data(data, fitted):
    vae, pca = fitted
    z = np.random.default_rng(0).standard_normal((20_000, SIZE)).astype("float32")
    means = vae.decode(z).reshape(20_000, -1)
    covariance = np.cov(means.T) + pca.noise_variance_ * np.eye(64)
    np.testing.assert_allclose(covariance, pca.get_covariance(), atol=5e-3)


@pytest.mark.long
def test_a_linear_vae_that_is_trained_reaches_it():
    """Lucas et al. 2019: the ELBO of a linear VAE has no maximum but that of the likelihood."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((512, 2)) @ rng.standard_normal((2, 6)) + 0.3 * rng.standard_normal((512, 6)) + 1
    x = x.astype("float32")
    keras.utils.set_random_seed(0)
    vae = kv.VAE(*kv.networks.linear((6,), 2), likelihood="normal", seed=0)
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-2, 400)))
    vae.fit(x, batch_size=128, epochs=100, verbose=0)
    best = PCA(2).fit(x).score(x)
    reached = vae.log_prob(x, samples=100, seed=0).mean()
    assert best - 0.03 < reached < best + 0.01


def test_more_units_than_axes_are_refused(data):
    for x, size in ((data[0], 64), (data[0][:5], 5)):
        with pytest.raises(ValueError, match="fewer latent units"):
            kv.probabilistic_pca(x, size)


def test_data_without_noise_has_the_least_scale():
    x = np.outer(np.linspace(-1, 1, 50), [1.0, 2.0, -1.0]).astype("float32")
    with pytest.warns(RuntimeWarning, match="noise of these data is less"):
        vae = kv.probabilistic_pca(x, 1, seed=0)
    np.testing.assert_allclose(vae.reconstruct(x), x, atol=1e-3)
    assert np.isfinite(vae.log_prob(x, samples=1)).all()


def test_inverse_of_the_soft_clip():
    y = np.linspace(-13.9, 13.9, 50)
    clipped = soft_clip(keras.ops.convert_to_tensor(soft_clip_inverse(y, -14, 14), "float32"), -14, 14)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(clipped), y, atol=1e-4)


def test_a_run_is_probabilistic_pca(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "_export", lambda *_: None)
    monkeypatch.setattr(experiment.pictures, "write", lambda *_: {})
    results = experiment.run("digits", tmp_path / "run", baseline="pca", latent_size=SIZE, verbose=False)
    metrics = results["metrics"]
    assert results["epochs"] == 1
    assert metrics["elbo"]["value"] == pytest.approx(metrics["log_prob"]["value"], abs=0.5)
    assert metrics["projected_squared_error"]["value"] < metrics["squared_error"]["value"]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["recipe"]["baseline"] == "pca" and config["recipe"]["network"] == "linear"
    assert experiment.run("digits", tmp_path / "run", resume=True, verbose=False) == results


def test_a_baseline_is_no_other_model():
    with pytest.raises(UsageError, match=r"closed form, with --network linear.*Received: --network conv"):
        Recipe("digits", baseline="pca")
