"""Numbers against independent sources: closed forms, SciPy in float64, quadrature, an exactly solvable model."""

import dataclasses
from functools import cache

import keras
import numpy as np
import pytest
from compositions import COMPOSITIONS
from scipy import integrate, special, stats

import keras_vae as kv
from keras_vae.backend import seed_pair, tfd

RNG = np.random.default_rng(0)
FEATURES, EVENT = 5, (4, 3, 2)


@pytest.fixture(autouse=True)
def same_numbers_in_any_order():
    global RNG
    RNG = np.random.default_rng(1)


def tensor(array):
    return keras.ops.convert_to_tensor(np.asarray(array, dtype="float32"))


def with_head(part, *shapes):
    """`part`, built with random weights, and the function that its linear layer is, in float64."""
    part.build(*shapes)
    dense = part.head.dense
    for variable in dense.weights:
        variable.assign(RNG.normal(size=variable.shape))
    kernel, bias = (np.array(v, dtype="float64") for v in dense.weights)
    return part, lambda features: np.asarray(features, dtype="float64") @ kernel + bias


def continuous_bernoulli_logpdf(x, logits):
    # log C(p) = log(2 artanh(1 - 2p) / (1 - 2p)), equation 6 of the paper; artanh(1 - 2p) = -logits / 2.
    p = special.expit(logits)
    normaliser = np.log(-logits / (1 - 2 * p))
    return x * np.log(p) + (1 - x) * np.log1p(-p) + normaliser


def discretized_logistic_logpmf(x, loc, log_scale):
    upper, lower = ((x / 127.5 - 1 + side / 255 - loc) / np.exp(log_scale) for side in (1, -1))
    upper, lower = np.where(x == 255, np.inf, upper), np.where(x == 0, -np.inf, lower)
    # In the upper tail both sigmoids are 1 to all digits: there the difference of their complements is taken.
    upper, lower = np.where(lower > 0, -lower, upper), np.where(lower > 0, -upper, lower)
    return np.log(special.expit(upper) - special.expit(lower))


def soft_clip(x, bound):
    return bound - np.logaddexp(0, bound - (-bound + np.logaddexp(0, x + bound)))


def negative_binomial_logpmf(x, mean, r):
    return stats.nbinom.logpmf(x, r, r / (r + mean))


@cache
def log_cosh_normaliser(sharpness):
    """By quadrature; the tails are exponentials."""
    return integrate.quad(lambda t: np.cosh(sharpness * t) ** (-1 / sharpness), -60, 60, limit=500, points=[0])[0]


def log_cosh_logpdf(x, loc, scale, sharpness):
    t = (x - loc) / scale
    return -np.log(np.cosh(sharpness * t)) / sharpness - np.log(log_cosh_normaliser(sharpness) * scale)


BINARY = RNG.integers(0, 2, EVENT).astype("float32")
UNIT = RNG.uniform(0.01, 0.99, EVENT).astype("float32")
LEVELS = np.where(RNG.random(EVENT) < 0.2, RNG.choice([0, 255], EVENT), RNG.integers(0, 256, EVENT)).astype("uint8")
REAL = RNG.normal(size=EVENT).astype("float32")
COUNTS = RNG.negative_binomial(1, 0.2, size=EVENT)

# Likelihood, data, and log p of each element from the raw output of the linear layer, (*event, parameters).
LIKELIHOODS = {
    "bernoulli": (
        kv.likelihoods.Bernoulli(),
        BINARY,
        lambda x, raw: stats.bernoulli.logpmf(x, special.expit(raw[..., 0])),
    ),
    "continuous_bernoulli": (
        kv.likelihoods.ContinuousBernoulli(),
        UNIT,
        lambda x, raw: continuous_bernoulli_logpdf(x, raw[..., 0]),
    ),
    "normal": (kv.likelihoods.Normal(0.3), REAL, lambda x, raw: stats.norm.logpdf(x, raw[..., 0], 0.3)),
    "normal_learned": (
        kv.likelihoods.Normal("learned"),
        REAL,
        lambda x, raw: stats.norm.logpdf(x, raw[..., 0], np.exp(soft_clip(0.0, 7.0))),
    ),
    "normal_per_pixel": (
        kv.likelihoods.Normal("per_pixel"),
        REAL,
        lambda x, raw: stats.norm.logpdf(x, raw[..., 0], np.exp(soft_clip(raw[..., 1], 7.0))),
    ),
    "laplace": (kv.likelihoods.Laplace(0.7), REAL, lambda x, raw: stats.laplace.logpdf(x, raw[..., 0], 0.7)),
    "student_t": (
        kv.likelihoods.StudentT(3.0, scale=0.7),
        REAL,
        lambda x, raw: stats.t.logpdf(x, 3.0, raw[..., 0], 0.7),
    ),
    "log_cosh": (
        kv.likelihoods.LogCosh(2.0, scale=0.7),
        REAL,
        lambda x, raw: log_cosh_logpdf(x, raw[..., 0], 0.7, 2.0),
    ),
    "poisson": (kv.likelihoods.Poisson(), COUNTS, lambda x, raw: stats.poisson.logpmf(x, np.exp(raw[..., 0]))),
    "negative_binomial": (
        kv.likelihoods.NegativeBinomial("per_pixel"),
        COUNTS,
        lambda x, raw: negative_binomial_logpmf(x, np.exp(raw[..., 0]), np.exp(soft_clip(raw[..., 1], 7.0))),
    ),
    "discretized_logistic": (
        kv.likelihoods.DiscretizedLogistic(),
        LEVELS,
        # Rows of a pixel: weight, locations, scales; read below in that order.
        lambda x, raw: discretized_logistic_logpmf(x, raw[..., 1:3], soft_clip(raw[..., 3:5], 7.0)),
    ),
    "categorical": (
        kv.likelihoods.Categorical(),
        LEVELS,
        lambda x, raw: np.sum(special.log_softmax(raw, axis=-1) * (x[..., None] == np.arange(256)), axis=-1),
    ),
    "beta": (
        kv.likelihoods.Beta(),
        UNIT,
        lambda x, raw: stats.beta.logpdf(x, *np.moveaxis(np.logaddexp(0, raw) + 1e-3, -1, 0)),
    ),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("mapped", [False, True], ids=["vector", "map"])
def test_likelihoods_are_log_densities(name, mapped):
    template, x, log_p = LIKELIHOODS[name]
    likelihood = type(template).from_config(template.get_config())
    shape = (*EVENT[:-1], FEATURES) if mapped else (FEATURES,)
    likelihood, linear = with_head(likelihood, shape, EVENT)
    features = RNG.normal(size=(2, 3, *shape)).astype("float32") * 0.3
    xs = np.stack([x, np.roll(x, 1, axis=0), np.flip(x)])
    result = likelihood.distribution(tensor(features)).log_prob(tensor(xs))
    per_pixel = name == "discretized_logistic"
    rows = (*EVENT[:-1], -1) if per_pixel else (*EVENT, likelihood.parameters)
    raw = np.reshape(linear(features), (2, 3, *rows))
    expected = np.sum(log_p(xs.astype("float64"), raw), axis=(-3, -2, -1))
    assert result.shape == (2, 3)
    # float32 sums of 24 terms.
    np.testing.assert_allclose(np.array(result), expected, rtol=2e-5, atol=1e-4)


def test_mixture_of_one_component_is_the_discretised_logistic():
    one, _ = with_head(kv.likelihoods.DiscretizedLogisticMixture(components=1), (FEATURES,), EVENT)
    other = kv.likelihoods.DiscretizedLogistic()
    other.build((FEATURES,), EVENT)
    other.set_weights(one.get_weights())
    features = tensor(RNG.normal(size=(2, 1, FEATURES)))
    a, b = (np.array(p.distribution(features).log_prob(tensor(LEVELS[None]))) for p in (one, other))
    np.testing.assert_array_equal(a, b)


def test_optimal_scale_is_the_root_mean_squared_error():
    likelihood, linear = with_head(kv.likelihoods.Normal("optimal"), (FEATURES,), EVENT)
    features = RNG.normal(size=(1, 3, FEATURES)).astype("float32")
    x = RNG.normal(size=(3, *EVENT)).astype("float32")
    rmse = np.sqrt(np.mean((np.reshape(linear(features), x.shape) - x) ** 2))
    training = likelihood.distribution(tensor(features), x=tensor(x), training=True)
    np.testing.assert_allclose(np.array(training.distribution.scale), rmse, rtol=1e-4)
    # Afterwards it is the average of what training saw, whatever is scored.
    for count in (1, 3):
        scored = likelihood.distribution(tensor(features[:, :count]), x=tensor(x[:count] * 9))
        np.testing.assert_allclose(np.array(scored.distribution.scale), rmse, rtol=1e-4)
    # No other scale gives this batch a higher likelihood.
    best = stats.norm.logpdf(x, np.reshape(linear(features), x.shape), rmse).sum()
    np.testing.assert_allclose(np.array(training.log_prob(tensor(x))).sum(), best, rtol=1e-4)


def test_diagonal_kl_is_the_closed_form():
    posterior, linear = with_head(kv.posteriors.DiagonalNormal(4), (FEATURES,))
    prior = kv.priors.StandardNormal(4)
    features = RNG.normal(size=(3, FEATURES)).astype("float32")
    q = posterior.distribution(tensor(features))
    latent = kv.inference.Latent(q.sample(1, seed=seed_pair(0)), q, prior.distribution())
    loc, raw = np.moveaxis(np.reshape(linear(features), (3, 4, 2)), -1, 0)
    log_variance = soft_clip(raw, 14.0)
    unit = 0.5 * (np.exp(log_variance) + loc**2 - 1 - log_variance)
    np.testing.assert_allclose(np.array(latent.unit_kl), unit, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.array(latent.kl), unit.sum(axis=1), rtol=1e-4)


def test_softplus_parameterises_the_variance():
    posterior, linear = with_head(kv.posteriors.DiagonalNormal(4, "softplus", floor=0.01), (FEATURES,))
    features = RNG.normal(size=(3, FEATURES)).astype("float32") * 3
    raw = np.reshape(linear(features), (3, 4, 2))[..., 1]
    variance = np.array(posterior.distribution(tensor(features)).variance())
    np.testing.assert_allclose(variance, np.logaddexp(0, raw) + 0.01, rtol=1e-4)


def test_full_covariance_kl_is_the_closed_form():
    posterior, _ = with_head(kv.posteriors.FullCovarianceNormal(4), (FEATURES,))
    features = RNG.normal(size=(3, FEATURES)).astype("float32")
    q = posterior.distribution(tensor(features))
    latent = kv.inference.Latent(q.sample(4000, seed=seed_pair(0)), q, kv.priors.StandardNormal(4).distribution())
    # By the factor, since the determinant of a covariance in float32 may have few digits.
    loc, factor = np.array(q.mean(), "float64"), np.array(q.scale.to_dense(), "float64")
    diagonal = np.diagonal(factor, axis1=1, axis2=2)
    expected = 0.5 * ((factor**2).sum(axis=(1, 2)) + (loc**2).sum(axis=1) - 4) - np.log(diagonal).sum(axis=1)
    np.testing.assert_allclose(np.array(latent.kl), expected, rtol=1e-4)
    assert np.abs(factor[:, 1, 0]).min() > 1e-3
    # The same by samples: 4,000 of them, five standard errors.
    ratio = np.array(latent.log_ratio)
    assert (np.abs(ratio.mean(axis=0) - expected) < 5 * ratio.std(axis=0) / np.sqrt(4000)).all()


def test_a_full_covariance_begins_as_a_diagonal_one():
    posterior = kv.posteriors.FullCovarianceNormal(4)
    posterior.build((FEATURES,))
    q = posterior.distribution(tensor(RNG.normal(size=(3, FEATURES))))
    factor = np.array(q.scale.to_dense())
    np.testing.assert_array_equal(factor * (1 - np.eye(4)), np.zeros((3, 4, 4)))
    # Each unit has a scale of its own, that of the features.
    assert len(np.unique(factor)) == 13 and len(np.unique(np.array(q.mean()))) == 12


def test_kl_to_a_point_mass_is_not_taken_from_tfp():
    # TFP registers one, and it is -log p: no KL, and blind to q's own density.
    q = tfd.Independent(tfd.Deterministic(tensor([[1.0, 2.0]])), 1)
    latent = kv.inference.Latent(q.sample(2, seed=seed_pair(0)), q, kv.priors.StandardNormal(2).distribution())
    assert latent.kl.shape == (2, 1)


class TestLinearGaussian:
    """x = W z + b + s e, whose log p(x) is known: a Normal with covariance W W' + s^2 I."""

    scale, size, dims = 0.4, 2, 6

    def make(self, posterior, epochs=0):
        def identity(size):
            return keras.Sequential([keras.Input((size,)), keras.layers.Identity()])

        keras.utils.set_random_seed(1)
        vae = kv.VAE(
            identity(self.dims), identity(self.size), posterior, likelihood=kv.likelihoods.Normal(self.scale), seed=1
        )
        vae.compile(keras.optimizers.Adam(0.02))
        rng = np.random.default_rng(2)
        x = rng.normal(size=(64, self.size)) @ rng.normal(size=(self.size, self.dims))
        x = (x + self.scale * rng.normal(size=x.shape)).astype("float32")
        if epochs:
            # In one epoch of Keras', which cost more than their steps.
            vae.fit(np.tile(x, (epochs, 1)), verbose=0)
        kernel, bias = (np.array(v, "float64") for v in vae.likelihood.head.dense.weights)
        covariance = kernel.T @ kernel + self.scale**2 * np.eye(self.dims)
        return vae, x, stats.multivariate_normal(bias, covariance).logpdf(x), kernel, bias

    def test_bounds_close_on_the_exact_value(self):
        vae, x, exact, *_ = self.make(kv.posteriors.DiagonalNormal(self.size), epochs=150)
        elbo = vae.evaluate(np.repeat(x, 50, axis=0), batch_size=640, verbose=0, return_dict=True)["elbo"]
        single, few, many = (vae.log_prob(np.repeat(x, 20, axis=0), samples=k, seed=k) for k in (1, 5, 50))
        best = vae.log_prob(x, samples=5_000, seed=0)
        ordered = [elbo, few.mean(), many.mean(), best.mean()]
        assert ordered == sorted(ordered)
        # One sample is the ELBO with its KL by samples: five standard errors.
        assert single.mean() == pytest.approx(elbo, abs=5 * single.std() / np.sqrt(single.size))
        assert best.mean() <= exact.mean() + 0.02
        np.testing.assert_allclose(best, exact, atol=0.15)
        assert exact.mean() - best.mean() < 0.1 * (exact.mean() - elbo)

    def test_the_elbo_is_below_iwae_which_tightens_with_its_samples(self):
        vae, x, exact, *_ = self.make(kv.posteriors.DiagonalNormal(self.size), epochs=20)
        # Each image forty times: the noise of these means is far below the gaps.
        x, exact = np.repeat(x, 40, axis=0), exact.mean()
        five, fifty = (vae.infer(tensor(x), samples=k, seed=seed_pair(k)) for k in (5, 50))
        bounds = [five.elbo, *(kv.objectives.IWAE().terms(inference)["iwae"] for inference in (five, fifty))]
        elbo, iwae_5, iwae_50 = (float(np.mean(bound)) for bound in bounds)
        assert elbo + 0.01 < iwae_5 and iwae_5 + 0.01 < iwae_50 <= exact + 0.02

    def test_the_exact_posterior_makes_every_bound_tight(self):
        vae, x, exact, kernel, bias = self.make(kv.posteriors.FullCovarianceNormal(self.size, floor=1e-6))
        precision = np.eye(self.size) + kernel @ kernel.T / self.scale**2
        covariance = np.linalg.inv(precision)
        gain = kernel.T @ covariance / self.scale**2  # (dims, size): loc = (x - b) gain
        factor = np.linalg.cholesky(covariance)
        tril = np.zeros((3,))
        # fill_triangular of three numbers a, b, c is [[c, 0], [b, a]].
        inverse_softplus = np.log(np.expm1(np.diag(factor) - 1e-6))
        tril[:] = inverse_softplus[1], factor[1, 0], inverse_softplus[0]
        dense = vae.posterior.head.dense
        dense.kernel.assign(np.concatenate([gain, np.zeros((self.dims, 3))], axis=1))
        dense.bias.assign(np.concatenate([-bias @ gain, tril]))
        np.testing.assert_allclose(vae.log_prob(x, samples=1, seed=0), exact, atol=1e-3)
        assert vae.evaluate(x, verbose=0, return_dict=True)["elbo"] == pytest.approx(exact.mean(), abs=0.3)


def test_log_prob_agrees_with_quadrature():
    keras.utils.set_random_seed(0)
    x = COMPOSITIONS[0].images(6)
    vae = kv.VAE(*kv.networks.mlp(x.shape[1:], 1, widths=(16,)), likelihood="bernoulli", seed=0)
    vae.compile(keras.optimizers.Adam(1e-2))
    vae.fit(COMPOSITIONS[0].images(), epochs=5, verbose=0)
    grid = np.linspace(-8, 8, 4001)
    features = vae.decoder(tensor(grid[:, None]))
    log_likelihood = np.array(vae.likelihood.distribution(features[:, None]).log_prob(tensor(x)), "float64")
    exact = special.logsumexp(log_likelihood + stats.norm.logpdf(grid)[:, None], axis=0) + np.log(grid[1] - grid[0])
    estimates = np.stack([vae.log_prob(x, samples=2000, seed=seed) for seed in range(10)])
    # Five standard errors of ten estimates, and what float32 leaves of forty nats.
    error = 5 * estimates.std(axis=0, ddof=1) / np.sqrt(10) + 1e-4
    assert (np.abs(estimates.mean(axis=0) - exact) < error).all()
    assert error.max() < 0.2


def terms_of(objective, step=0, x=None):
    """An objective's terms and the pass they are of, with equal noise for equal arguments."""
    keras.utils.set_random_seed(0)
    x = COMPOSITIONS[0].images(16)
    vae = kv.VAE(*kv.networks.mlp(x.shape[1:], 3, widths=(16,)), objective=objective, seed=0)
    vae.step.assign(step)
    inference = vae.infer(tensor(x), samples=objective.samples, seed=seed_pair(0))
    return {k: np.array(v, "float64") for k, v in objective.terms(inference).items()}, inference


def test_elbo_is_its_two_terms():
    terms, inference = terms_of(kv.objectives.ELBO(samples=4))
    log_likelihood, kl = np.array(inference.log_likelihood), np.array(inference.kl)
    assert log_likelihood.shape == (4, 16) and kl.shape == (16,)
    np.testing.assert_allclose(terms["loss"], kl - log_likelihood.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(np.array(inference.elbo), -terms["loss"], rtol=1e-5)


def test_iwae_is_the_log_mean_weight():
    terms, inference = terms_of(kv.objectives.IWAE(samples=4))
    log_weight = np.array(inference.log_weight, "float64")
    assert log_weight.shape == (4, 16)
    expected = special.logsumexp(log_weight, axis=0) - np.log(4)
    np.testing.assert_allclose(terms["iwae"], expected, rtol=1e-6)
    np.testing.assert_allclose(terms["loss"], -expected, rtol=1e-6)
    assert kv.objectives.get("iwae").samples == 50


def test_iwae_heeds_the_weights_of_the_samples():
    _, inference = terms_of(kv.objectives.IWAE(samples=4))
    weights = RNG.dirichlet(np.ones(4), size=16).T
    weighted = dataclasses.replace(inference, weights=tensor(weights))
    expected = special.logsumexp(np.array(inference.log_weight, "float64"), axis=0, b=weights)
    np.testing.assert_allclose(np.array(kv.objectives.IWAE().terms(weighted)["iwae"]), expected, rtol=1e-5)


def test_beta_weighs_the_kl_at_the_step():
    plain, inference = terms_of(kv.objectives.ELBO())
    kl = np.array(inference.kl)
    warm, _ = terms_of(kv.objectives.ELBO(beta=kv.schedules.LinearWarmup(100, end=4.0)), step=25)
    assert warm["beta"] == 1.0
    np.testing.assert_allclose(warm["loss"], plain["loss"], rtol=1e-6)
    late, _ = terms_of(kv.objectives.ELBO(beta=kv.schedules.LinearWarmup(100, end=4.0)), step=1000)
    np.testing.assert_allclose(late["loss"] - plain["loss"], 3 * kl, rtol=1e-3)


def test_free_bits_floor_each_unit():
    _, inference = terms_of(kv.objectives.ELBO())
    (latent,) = inference.latents
    unit = np.array(latent.unit_kl).mean(axis=0)
    floor = float(np.median(unit))
    terms, inference = terms_of(kv.objectives.ELBO(free_bits=floor))
    expected = np.maximum(unit, floor).sum() - np.array(inference.log_likelihood)[0]
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-5)


def test_capacity_penalises_the_distance():
    schedule = kv.schedules.Capacity(epsilon=10.0, steps=100, gamma=7.0)
    terms, inference = terms_of(kv.objectives.ELBO(beta=schedule), step=50)
    assert terms["capacity"] == 5.0
    penalty = 7.0 * abs(np.array(inference.kl).mean() - 5.0)
    np.testing.assert_allclose(terms["loss"], penalty - np.array(inference.log_likelihood)[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (kv.schedules.Constant(0.3), {0: 0.3, 10**6: 0.3}),
        (kv.schedules.LinearWarmup(10, start=0.2, end=1.2, delay=5), {0: 0.2, 5: 0.2, 10: 0.7, 15: 1.2, 99: 1.2}),
        (kv.schedules.Cyclical(10, ratio=0.5), {0: 0.0, 1: 0.2, 5: 1.0, 9: 1.0, 10: 0.0, 12: 0.4, 100_000_001: 0.2}),
        (kv.schedules.Cyclical(10, cycles=2), {11: 0.2, 19: 1.0, 20: 1.0, 21: 1.0}),
        (kv.schedules.Sigmoid(100, width=10.0, end=2.0), {100: 1.0, 110: 2 / (1 + np.exp(-1)), 10**5: 2.0}),
        (kv.schedules.Capacity(epsilon=8.0, steps=4, start=2.0), {0: 2.0, 2: 5.0, 4: 8.0, 9: 8.0}),
        (kv.schedules.Capacity(epsilon=8.0), {0: 8.0}),
    ],
    ids=str,
)
def test_schedules(schedule, values):
    for step, value in values.items():
        assert float(schedule(keras.ops.convert_to_tensor(step, "int32"))) == pytest.approx(value, rel=1e-6)
    assert type(schedule).from_config(schedule.get_config()) == schedule


@pytest.mark.parametrize(
    "make",
    [
        lambda: kv.schedules.LinearWarmup(0),
        lambda: kv.schedules.Cyclical(10, ratio=1.5),
        lambda: kv.schedules.Constant(-1.0),
        lambda: kv.schedules.Sigmoid(10, width=0.0),
        lambda: kv.schedules.Capacity(-1.0),
        lambda: kv.objectives.ELBO(beta="high"),
        lambda: kv.objectives.ELBO(free_bits=-1.0),
        lambda: kv.objectives.ELBO(samples=0),
    ],
)
def test_schedules_refuse_what_means_nothing(make):
    with pytest.raises(ValueError, match="Received"):
        make()
