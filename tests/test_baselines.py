"""What a run of one's own data is measured against: densities of the same split, against scipy and scikit-learn."""

import numpy as np
import pytest
from compositions import digits
from scipy import stats
from sklearn.decomposition import PCA

import keras_vae as kv
from keras_vae.data import DataSet, Split
from keras_vae.runs import baselines

RNG = np.random.default_rng(0)


def data_set(train, test, **kind):
    return DataSet("own", False, Split(train), Split(test), Split(test), **kind)


def test_counts_have_the_moments_of_training():
    train, test = stats.nbinom.rvs(3, 0.2, size=(5000, 2), random_state=1), np.array([[4, 0], [20, 7]])
    train[:, 1] = stats.poisson.rvs(2.0, size=5000, random_state=2)
    found = baselines.of_counts(train, test)
    expected = stats.nbinom.logpmf(test[:, 0], 3, 0.2) + stats.poisson.logpmf(test[:, 1], 2.0)
    np.testing.assert_allclose(found, expected, atol=0.1)
    holed = test.astype("float32")
    holed[0, 0] = np.nan
    assert baselines.of_counts(train, holed)[0] == pytest.approx(stats.poisson.logpmf(0, 2.0), abs=0.05)
    # What training has not seen is unlikely, not impossible.
    assert np.isfinite(baselines.of_counts(np.zeros((10, 2)), test)).all()


def test_numbers_are_a_gaussian():
    covariance = np.array([[4.0, 1.5], [1.5, 1.0]])
    train = RNG.multivariate_normal([100, 3], covariance, size=20_000)
    expected = stats.multivariate_normal([100, 3], covariance).logpdf(train[:20])
    np.testing.assert_allclose(baselines.of_numbers(train, train[:20]), expected, atol=0.1)


@pytest.mark.parametrize("channels", [1, 3])
def test_levels_are_those_of_probabilistic_pca(channels, monkeypatch):
    levels = np.repeat(digits() * 15, channels, axis=-1)
    train, validation, test = levels[:900], levels[900:1100], levels[1100:]
    monkeypatch.setattr(baselines, "_COMPONENTS", (4, 16))
    found = baselines.of_levels(train, validation, test)
    assert "of 16 components, the best of 4, 16 on validation images, fitted to 900" in found.protocol
    flat = (levels.reshape(len(levels), -1) + RNG.random((len(levels), levels[0].size))) / 256
    reference = PCA(16).fit(flat[:900])
    expected = reference.score_samples(flat[1100:]) - flat.shape[1] * np.log(256)
    assert found.log_prob.shape == (len(test),)
    # Other noise; 64 or 192 numbers each.
    assert found.log_prob.mean() == pytest.approx(expected.mean(), rel=0.01)


def test_what_compares_with_nothing_has_none():
    counts = RNG.poisson(3.0, size=(20, 4))
    of_counts = data_set(counts, counts, numbers="counts")
    for spec, there in (("poisson", True), ("poisson:offset=true", False), ("multinomial", False)):
        assert (baselines.simplest(of_counts, kv.likelihoods.get(spec), counts) is not None) == there
    wide = RNG.normal(size=(5, 3000))
    assert baselines.simplest(data_set(wide, wide, numbers="numbers"), kv.likelihoods.get("normal"), wide) is None
    pictures = data_set(digits()[:50], digits()[:9])
    assert baselines.simplest(pictures, kv.likelihoods.get("bernoulli"), digits()[:9] > 100) is None
    assert baselines.simplest(pictures, kv.likelihoods.get("discretized_logistic"), digits()[:9]) is not None
