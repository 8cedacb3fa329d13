"""Objectives against closed forms, on passes made by hand: linear maps, Normals of which everything is known."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

import keras_vae as kv
from keras_vae.backend import seed_pair, tfd
from keras_vae.inference import Inference, Latent


def tensor(array):
    return ops.convert_to_tensor(np.asarray(array, dtype="float32"))


def normal(loc, scale, rank=1):
    return tfd.Independent(tfd.Normal(loc, scale), reinterpreted_batch_ndims=rank)


def passed(loc, scale, prior=None, samples=1, seed=0, **rest):
    """A pass in which q(z|x) is Normal, and x is three zeros that z says nothing of."""
    loc = tensor(loc)
    batch, size = loc.shape
    q = normal(loc, tensor(scale) * ops.ones_like(loc))
    prior = normal(ops.zeros(size), ops.ones(size)) if prior is None else prior
    p = normal(ops.zeros((samples, batch, 3)), 1.0)
    latent = Latent(q.sample(samples, seed=seed_pair(seed)), q, prior, held=lambda: q)
    rest = {name: tensor(value) if name == "sample_weight" else value for name, value in rest.items()}
    return Inference(ops.zeros((batch, 3)), None, p, (latent,), ops.zeros(()), seed=seed_pair(seed, 1), **rest)


def terms(objective, inference):
    """{name: mean over the batch} of an objective, in float64."""
    if not objective.built:
        objective.build(inference.latents[0].z.shape[2:], inference.x.shape[1:])
        objective.built = True
    found = {name: inference.mean(value) for name, value in objective.terms(inference).items()}
    return {name: float(inference.batch_mean(ops.convert_to_tensor(value))) for name, value in found.items()}


def correlated(correlation, count, size=2, seed=0):
    """Points of a Normal whose units have variance 1 and one correlation, and its covariance."""
    covariance = correlation + (1 - correlation) * np.eye(size)
    points = stats.multivariate_normal(np.zeros(size), covariance).rvs(count, random_state=seed)
    return points, covariance


def total_correlation_of(covariance):
    return 0.5 * (np.log(np.diag(covariance)).sum() - np.linalg.slogdet(covariance)[1])


def test_the_three_terms_sum_to_the_kl():
    inference = passed(np.random.default_rng(0).normal(size=(6, 3)), 0.5, samples=2)
    for data_size in (None, 100):
        objective = kv.objectives.TotalCorrelation(samples=2, data_size=data_size)
        kl = sum(np.array(objective.terms(inference)[name]) for name in objective.names)
        np.testing.assert_allclose(kl, np.array(inference.latents[0].log_ratio), rtol=1e-4, atol=1e-4)
    equal = kv.objectives.TotalCorrelation(samples=2, alpha=1, beta=1, gamma=1)
    plain = np.mean(np.array(inference.latents[0].log_ratio - inference.log_likelihood))
    assert terms(equal, inference)["loss"] == pytest.approx(plain, rel=1e-5)


def test_total_correlation_is_that_of_a_correlated_normal():
    # q(z|x) of a third of the spread: their mean over x has the covariance of the points, and 1/9 on its diagonal.
    points, covariance = correlated(0.9, 800)
    found = terms(kv.objectives.TotalCorrelation(), passed(points, 1 / 3))
    expected = total_correlation_of(covariance + np.eye(2) / 9)
    # The information is that of a Normal channel.
    information = 0.5 * np.linalg.slogdet(covariance * 9 + np.eye(2))[1]
    assert found["total_correlation"] == pytest.approx(expected, abs=0.06)
    assert found["mutual_information"] == pytest.approx(information, abs=0.1)
    # Of a batch of the whole set, the whole set.
    whole = terms(kv.objectives.TotalCorrelation(data_size=800), passed(points, 1 / 3))
    assert whole["total_correlation"] == pytest.approx(found["total_correlation"], abs=1e-4)


def test_a_batch_estimates_the_density_of_the_whole_set():
    # Of eight points, batches of four: the mean of the estimates of q(z) is q(z), here at the points themselves.
    rng = np.random.default_rng(0)
    points = rng.normal(size=(8, 2))
    exact = stats.norm(points[:, None], 0.8).pdf(points[None]).prod(axis=-1).mean(axis=0)
    sums, counts = np.zeros(8), np.zeros(8)
    q = kv.objectives.TotalCorrelation(data_size=8)
    for _ in range(300):
        chosen = rng.permutation(8)[:4]
        inference = passed(points[chosen], 0.8)
        share = np.exp(np.array(q._log_share(inference)))
        np.testing.assert_allclose(share.sum(axis=1), 1.0, rtol=1e-5)
        density = stats.norm(points[chosen][None], 0.8).pdf(points[chosen][:, None]).prod(axis=-1)
        sums[chosen] += (share * density).sum(axis=1)
        counts[chosen] += 1
    np.testing.assert_allclose(sums / counts, exact, rtol=0.1)


def test_full_covariance_has_marginals_of_its_own():
    factor = tensor([[[1.0, 0.0], [0.6, 0.8]]])
    full = tfd.MultivariateNormalTriL(tensor([[0.5, -1.0]]), factor)
    unit = kv.inference.marginals(full)
    np.testing.assert_allclose(np.array(unit.mean()), [[0.5, -1.0]])
    np.testing.assert_allclose(np.array(unit.stddev()), [[1.0, 1.0]], rtol=1e-6)


def log_ratio_of(covariance):
    """The best critic of a Normal: log q(z) - sum_d log q(z_d)."""
    precision = np.linalg.inv(covariance)

    class Ratio(keras.layers.Layer):
        def call(self, z):
            quadratic = ops.sum(ops.matmul(z, tensor(precision)) * z - z**2 / tensor(np.diag(covariance)), axis=1)
            return (total_correlation_of(covariance) - 0.5 * quadratic)[:, None]

    return keras.Sequential([keras.Input((len(covariance),)), Ratio()])


def test_the_best_critic_gives_the_total_correlation():
    points, covariance = correlated(0.9, 4000)
    objective = kv.objectives.Factor(critic=log_ratio_of(covariance))
    found = terms(objective, passed(points, 1e-3))
    assert found["total_correlation"] == pytest.approx(total_correlation_of(covariance), abs=0.03)
    # What the best critic cannot tell: log 2 less the Jensen-Shannon divergence of both densities.
    z, mixed = points, np.random.default_rng(1).permuted(points, axis=0)
    precision, constant = np.linalg.inv(covariance), total_correlation_of(covariance)
    logits = [constant - 0.5 * np.sum(v @ precision * v - v**2, axis=1) for v in (z, mixed)]
    expected = 0.5 * (np.logaddexp(0, -logits[0]).mean() + np.logaddexp(0, logits[1]).mean())
    assert found["critic_loss"] == pytest.approx(expected, abs=0.03)


def test_units_are_mixed_by_the_weights_of_the_examples():
    z = np.stack([np.arange(5.0), 10 + np.arange(5.0)], axis=1)
    inference = passed(z, 1e-6, samples=200, sample_weight=[1, 0, 2, 0, 1])
    rows = tensor(np.reshape(np.array(inference.latents[0].z), (-1, 2)))
    mixed = np.round(np.array(kv.objectives.Factor()._mixed(rows, inference)))
    for unit in range(2):
        values, counts = np.unique(mixed[:, unit] - 10 * unit, return_counts=True)
        assert values.tolist() == [0, 2, 4]
        np.testing.assert_allclose(counts / 1000, [0.25, 0.5, 0.25], atol=0.06)
    assert abs(np.corrcoef(mixed.T)[0, 1]) < 0.15


def spread(mean, count, size=1, seed=1):
    """Means of posteriors so narrow that z has the distribution of the points, N(mean, 1)."""
    return mean + np.random.default_rng(seed).normal(size=(count, size))


def rbf_discrepancy(mean, bandwidth, size):
    """MMD^2 of N(mean, I) and N(0, I): the squared distance of two draws is that of N(mean, 2I)."""
    same = (1 + 4 / bandwidth) ** (-size / 2)
    return 2 * same * (1 - np.exp(-size * mean**2 / (bandwidth + 4)))


def test_mmd_is_its_closed_form():
    for mean, bandwidth in ((0.0, 2.0), (1.0, 2.0), (2.0, 5.0)):
        objective = kv.objectives.MMD(kernel="rbf", bandwidth=bandwidth)
        found = terms(objective, passed(spread(mean, 1500), 1e-3))
        assert found["mmd"] == pytest.approx(rbf_discrepancy(mean, bandwidth, 1), abs=0.02)


def test_mmd_of_equal_distributions_is_zero_in_expectation():
    for kernel in ("imq", "rbf"):
        objective = kv.objectives.MMD(kernel=kernel)
        passes = (passed(spread(0.0, 12, 2, seed), 1e-3, seed=seed, samples=1 + seed % 2) for seed in range(40))
        values = np.array([terms(objective, one)["mmd"] for one in passes])
        assert (values < 0).any()
        # Four standard errors.
        assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))


def test_mmd_weighs_the_kl():
    inference = passed(spread(0.0, 6), 0.5)
    plain, weighed = (kv.objectives.MMD(beta=beta).terms(inference)["loss"] for beta in (0.0, 0.3))
    np.testing.assert_allclose(np.array(weighed - plain), 0.3 * np.array(inference.kl), rtol=1e-3, atol=1e-4)


def test_sliced_wasserstein_is_its_closed_form():
    # Along a direction both are Normal: W2^2 is (theta . mean)^2 + (difference of the scales)^2.
    for mean, scale, error in (([0.0, 0.0, 0.0], 0.5, 0.03), ([1.0, 0.0, -2.0], 1.0, 0.3)):
        points = mean + scale * np.random.default_rng(0).normal(size=(1000, 3))
        found = terms(kv.objectives.SWAE(projections=200), passed(points, 1e-3))
        assert found["sliced_wasserstein"] == pytest.approx(np.dot(mean, mean) / 3 + (scale - 1) ** 2, abs=error)


def test_transport_of_weighted_points_is_that_of_repeated_ones():
    from keras_vae.objectives.divergence import _transport

    rng = np.random.default_rng(0)
    a, b, weights = rng.normal(size=(7, 3)), rng.normal(size=(7, 3)), np.array([1, 0, 2, 3, 0, 1, 1])
    found = np.array(_transport(tensor(a), tensor(b), tensor(weights / weights.sum())))
    ordered = [np.sort(np.repeat(values, weights, axis=0), axis=0) for values in (a, b)]
    np.testing.assert_allclose(found, ((ordered[0] - ordered[1]) ** 2).mean(axis=0), rtol=1e-4)
