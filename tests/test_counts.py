"""Likelihoods of counts against SciPy, and what data they take."""

import keras
import numpy as np
import pytest
from compositions import digits
from scipy import stats
from test_oracles import negative_binomial_logpmf, soft_clip, tensor

import keras_vae as kv
from keras_vae import distributions
from keras_vae.backend import seed_pair, single_precision, tfp

EVENT = (2, 3)
X = np.array([[[0, 3, 1], [12, 0, 5]], [[1, 0, 0], [0, 2, 0]]])


def built(likelihood):
    likelihood.build((4,), EVENT)
    rng = np.random.default_rng(0)
    likelihood.head.dense.kernel.assign(rng.normal(size=likelihood.head.dense.kernel.shape))
    features = rng.normal(size=(3, 2, 4)).astype("float32")
    raw = features.astype("float64") @ np.array(likelihood.head.dense.kernel)
    return tensor(features), raw.reshape(3, 2, *EVENT, likelihood.parameters)


def shares(raw):
    odds = np.exp(raw)
    return odds / odds.sum(axis=(-2, -1), keepdims=True)


@pytest.mark.parametrize("rate", [3e-7, 0.01, 1.0, 15.5, 300.0, 1e5, 3e6])
def test_a_poisson_of_any_size_is_scipys(rate):
    rng = np.random.default_rng(0)
    x = np.stack([np.full(64, 20), *(rng.poisson(rate * factor, size=64) for factor in (0.5, 0.85, 0.95, 1.0, 3.0))])
    log_rate = np.full(x.shape, np.log(rate), "float32")
    found = distributions.Poisson(log_rate=tensor(log_rate)).log_prob(tensor(x))
    expected = stats.poisson.logpmf(x, np.exp(log_rate.astype("float64")))
    np.testing.assert_allclose(np.array(found), expected, rtol=2e-5, atol=1e-3)
    # x - rate: from where its terms are large, too.
    _, slope = tfp.math.value_and_gradient(
        lambda v: distributions.Poisson(log_rate=v).log_prob(tensor(x)), tensor(log_rate)
    )
    np.testing.assert_allclose(np.array(slope), x - rate, rtol=1e-3, atol=1e-6 * rate + 1e-4)


def test_a_multinomial_of_many_is_scipys():
    logits = np.random.default_rng(0).normal(size=(5, 7)).astype("float32")
    p = np.exp(logits.astype("float64"))
    p /= p.sum(axis=1, keepdims=True)
    x = np.stack([np.random.default_rng(i).multinomial(n, p[i]) for i, n in enumerate((0, 3, 100, 10**6, 10**6))])
    found = np.array(distributions.Multinomial(tensor(logits), 1.0).log_prob(tensor(x)))
    expected = [stats.multinomial.logpmf(row, row.sum(), chances) for row, chances in zip(x, p, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=3e-3)


def test_the_multinomial_is_scipys():
    likelihood = kv.likelihoods.Multinomial()
    features, raw = built(likelihood)
    found = np.array(likelihood.distribution(features).log_prob(tensor(X)))
    p = shares(raw[..., 0]).reshape(3, 2, 6)
    expected = [[stats.multinomial.logpmf(X[b].ravel(), X[b].sum(), p[k, b]) for b in range(2)] for k in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    # The average total of training, 24 and 3 in one batch, is that of pictures.
    likelihood.distribution(features, x=tensor(X), training=True)
    after = likelihood.distribution(features)
    np.testing.assert_allclose(np.array(after.mean()).sum(axis=(-2, -1)), round((21 + 3) / 2), rtol=1e-5)
    drawn = np.array(after.sample(500, seed=seed_pair(0)))
    assert drawn.shape == (500, 3, 2, *EVENT) and np.all(drawn.sum(axis=(-2, -1)) == 12)
    np.testing.assert_allclose(drawn.mean(axis=0), np.array(after.mean()), atol=0.5)


@pytest.mark.parametrize("dispersion", ["learned", "per_pixel", 2.5])
def test_rates_are_shares_of_the_total(dispersion):
    likelihood = kv.likelihoods.ZeroInflatedNegativeBinomial(dispersion, offset=True)
    features, raw = built(likelihood)
    distribution = likelihood.distribution(features, x=tensor(X))
    rate = X.sum(axis=(1, 2))[:, None, None] * shares(raw[..., 0])
    log_r = {"learned": soft_clip(0.0, 7.0), "per_pixel": soft_clip(raw[..., 1], 7.0), 2.5: np.log(2.5)}
    r = np.exp(log_r[dispersion])
    zero = 1 / (1 + np.exp(-raw[..., -1]))
    pmf = (1 - zero) * np.exp(negative_binomial_logpmf(X, rate, r)) + zero * (X == 0)
    expected = np.log(pmf).sum(axis=(-2, -1))
    np.testing.assert_allclose(np.array(distribution.log_prob(tensor(X))), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.array(distribution.mean()), (1 - zero) * rate, rtol=1e-4)


@pytest.mark.long_on_jax
@pytest.mark.parametrize("name", ["poisson", "negative_binomial", "zero_inflated_negative_binomial"])
def test_draws_have_the_mean(name):
    likelihood = kv.likelihoods.get(name)
    features, _ = built(likelihood)
    distribution = likelihood.distribution(features)
    with single_precision():
        drawn = np.array(distribution.sample(4000, seed=seed_pair(0)))
    assert np.array_equal(drawn, np.round(drawn)) and drawn.min() >= 0
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    assert np.all(np.abs(drawn.mean(axis=0) - np.array(distribution.mean())) < 5 * error + 1e-3)


@pytest.mark.parametrize("sharpness", [3.0, 10.0])
def test_draws_of_log_cosh_have_its_quantiles(sharpness):
    distribution = kv.distributions.LogCosh(tensor(1.0), tensor(0.5), sharpness)
    drawn = np.array(distribution.sample(20_000, seed=seed_pair(0)), "float64")
    grid = np.linspace(-15, 17, 20_001)
    cumulative = np.cumsum(np.exp(np.array(distribution.log_prob(tensor(grid)), "float64"))) * (grid[1] - grid[0])
    assert cumulative[-1] == pytest.approx(1, abs=1e-3)
    shares = np.interp(np.quantile(drawn, (0.1, 0.5, 0.9)), grid, cumulative)
    # Of 20,000 draws a share is right to 0.004.
    np.testing.assert_allclose(shares, (0.1, 0.5, 0.9), atol=0.015)


REFUSED = {
    "fractions": (np.float32(X) + 0.5, r"expects counts: whole numbers.*Pass counts as they were counted"),
    "shares": (X / X.sum(axis=(1, 2), keepdims=True), r"not divided by their sum"),
    "below 0": (X - 1, r"whole numbers of at least 0.*smallest -1"),
    "too many": (X * 10**8, r"none above 16,777,216"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("likelihood", ["poisson", "multinomial"])
def test_what_is_no_count_is_refused(likelihood, name):
    x, message = REFUSED[name]
    vae = kv.VAE(*kv.networks.mlp(EVENT, 2, widths=(4,)), likelihood=likelihood, seed=0)
    with pytest.raises(ValueError, match=message):
        vae.encode(x)


def test_integers_are_counts():
    x = digits()[:64].astype("int64")
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 2, widths=(4,)), likelihood="negative_binomial:offset=true", seed=0)
    vae.compile(keras.optimizers.Adam(1e-2))
    losses = vae.fit(x, epochs=3, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    # Pictures have the average total of training; draws are counts.
    assert vae.sample(4, seed=0).sum(axis=(1, 2, 3)) == pytest.approx(x.sum(axis=(1, 2, 3)).mean(), rel=0.1)
    drawn = vae.sample(2, seed=0, mean=False)
    assert np.array_equal(drawn, np.round(drawn)) and drawn.shape == (2, 8, 8, 1)
    with pytest.raises(ValueError, match="'poisson', 'negative_binomial', 'multinomial'"):
        kv.VAE(*kv.networks.mlp((8, 8, 1), 2, widths=(4,)), likelihood="normal", seed=0).encode(x * 10)
