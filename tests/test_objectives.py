"""Objectives against closed forms, on passes made by hand: linear maps, Normals of which everything is known."""

import dataclasses

import keras
import numpy as np
import pytest
from compositions import BY_NAME
from keras import ops
from scipy import special, stats

import keras_vae as kv
from keras_vae.backend import seed_pair, tfd, tfp
from keras_vae.inference import Inference, Latent


def tensor(array):
    return ops.convert_to_tensor(np.asarray(array, dtype="float32"))


SEED = seed_pair(0)


def normal(loc, scale, rank=1):
    return tfd.Independent(tfd.Normal(loc, scale), reinterpreted_batch_ndims=rank)


def passed(loc, scale, prior=None, samples=1, seed=SEED, **rest):
    """A pass in which q(z|x) is Normal, and x is three zeros that z says nothing of."""
    loc = ops.convert_to_tensor(loc, dtype="float32")
    batch, size = loc.shape
    q = normal(loc, tensor(scale) * ops.ones_like(loc))
    prior = normal(ops.zeros(size), ops.ones(size)) if prior is None else prior
    p = normal(ops.zeros((samples, batch, 3)), 1.0)
    latent = Latent(q.sample(samples, seed=seed), q, prior, held=lambda: q)
    rest = {name: tensor(value) if name == "sample_weight" else value for name, value in rest.items()}
    return Inference(ops.zeros((batch, 3)), None, p, (latent,), ops.zeros(()), seed=seed + 1, **rest)


def compiled(function):
    """On JAX, since operations take longer to compile one by one."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


def terms(objective, inference):
    """{name: mean over the batch} of an objective, in float64."""
    if not objective.built:
        objective.build(inference.latents[0].z.shape[2:], inference.x.shape[1:])
        objective.built = True

    def means():
        # Copies, which keep nothing of what they compute here.
        fresh = dataclasses.replace(inference, latents=tuple(map(dataclasses.replace, inference.latents)))
        found = {name: inference.mean(value) for name, value in objective.terms(fresh).items()}
        return {name: inference.batch_mean(ops.convert_to_tensor(value)) for name, value in found.items()}

    return {name: float(value) for name, value in compiled(means)().items()}


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
    share = np.exp(np.array(kv.objectives.TotalCorrelation(data_size=8)._log_share(passed(points[:4], 0.8))))
    np.testing.assert_allclose(share.sum(axis=1), 1.0, rtol=1e-5)
    for _ in range(1000):
        chosen = rng.permutation(8)[:4]
        density = stats.norm(points[chosen][None], 0.8).pdf(points[chosen][:, None]).prod(axis=-1)
        sums[chosen] += (share * density).sum(axis=1)
        counts[chosen] += 1
    np.testing.assert_allclose(sums / counts, exact, rtol=0.05)


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
    for samples, kernel in ((1, "imq"), (2, "rbf")):
        objective = kv.objectives.MMD(kernel=kernel)

        def value(points, seed, samples=samples, objective=objective):
            return objective.terms(passed(points, 1e-3, seed=seed, samples=samples))["mmd"]

        value_of = compiled(value)
        seeds = [(tensor(spread(0.0, 12, 2, n)), ops.convert_to_tensor(seed_pair(n))) for n in range(40)]
        values = np.array([float(value_of(*one)) for one in seeds])
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


# A model of one unit: p(z) = N(0, 1), p(x|z) = N(weight z, 1), q(z|x) = N(loc x, exp(log_scale)), at three x.
POINTS = np.array([[0.5], [-1.0], [2.0]])
PARAMETERS = {"loc": 0.2, "log_scale": -0.3, "weight": 1.5}
EXACT = {"loc": 1.5 / 3.25, "log_scale": -0.5 * np.log(3.25), "weight": 1.5}


def solvable(loc, log_scale, weight, samples, seed, repeated=1):
    x = tensor(np.repeat(POINTS, repeated, axis=0))

    def posterior(constant=lambda value: value):
        loc_of, scale = constant(loc) * x, ops.exp(constant(log_scale))
        return normal(loc_of, scale * ops.ones_like(x))

    def decode(z):
        return normal(weight * z, 1.0)

    q = posterior()
    latent = Latent(
        q.sample(samples, seed=seed),
        q,
        normal(ops.zeros(1), ops.ones(1)),
        held=lambda: posterior(ops.stop_gradient),
    )
    return Inference(x, None, decode(latent.z), (latent,), ops.zeros(()), decode=decode, seed=seed)


def gradients(objective, parameters=PARAMETERS, seeds=1, repeated=1):
    """(seeds, 3) gradients of the loss in the three parameters; its value at the last seed."""

    def slopes_of(seed, *values):
        def loss(*values):
            inference = solvable(*values, samples=objective.samples, seed=seed, repeated=repeated)
            return ops.mean(inference.mean(objective.terms(inference)["loss"]))

        return tfp.math.value_and_gradient(loss, *values)

    slopes_of = compiled(slopes_of)
    values = [tensor(value) for value in parameters.values()]
    found = [slopes_of(ops.convert_to_tensor(seed_pair(seed)), *values) for seed in range(seeds)]
    return np.array([[float(slope) for slope in slopes] for _, slopes in found]), float(found[-1][0])


@pytest.mark.parametrize(
    ("objective", "plain"),
    [
        (kv.objectives.StickingTheLanding(samples=2), kv.objectives.ELBO(samples=2)),
        (kv.objectives.DReG(samples=8), kv.objectives.IWAE(samples=8)),
    ],
    ids=["sticking_the_landing", "dreg"],
)
def test_gradients_have_the_expectation_of_the_plain_bound_and_less_noise(objective, plain):
    found, expected = (gradients(one, seeds=15, repeated=60)[0] for one in (objective, plain))
    error = np.sqrt((found.var(axis=0) + expected.var(axis=0)) / 15)
    assert (np.abs(found.mean(axis=0) - expected.mean(axis=0)) < 4.5 * error + 1e-5).all()
    if isinstance(objective, kv.objectives.DReG):
        # Near the posterior, where the plain one's noise stays.
        near = {**EXACT, "loc": EXACT["loc"] + 0.02}
        found, expected = (gradients(one, near, seeds=15)[0] for one in (objective, plain))
        assert (found.std(axis=0) < 0.5 * expected.std(axis=0))[:2].all()


def test_sticking_the_landing_has_no_noise_at_the_posterior():
    for objective in (kv.objectives.StickingTheLanding(samples=1), kv.objectives.DReG(samples=3)):
        found = gradients(objective, EXACT, seeds=3)[0]
        np.testing.assert_allclose(found[:, :2], 0.0, atol=1e-5)
    assert np.abs(gradients(kv.objectives.IWAE(samples=3), EXACT)[0][:, :2]).max() > 1e-2


def test_values_are_those_of_the_plain_bound():
    for objective, plain in (
        (kv.objectives.DReG(samples=6), kv.objectives.IWAE(samples=6)),
        (kv.objectives.PIWAE(samples=6, bounds=3), kv.objectives.IWAE(samples=6)),
        (kv.objectives.MIWAE(samples=6, bounds=1), kv.objectives.IWAE(samples=6)),
        (kv.objectives.MIWAE(samples=6, bounds=6), kv.objectives.StickingTheLanding(samples=6)),
        (kv.objectives.CIWAE(samples=6, beta=0.0), kv.objectives.IWAE(samples=6)),
        (kv.objectives.CIWAE(samples=6, beta=1.0), kv.objectives.ELBO(samples=6)),
    ):
        assert gradients(objective)[1] == pytest.approx(gradients(plain)[1], rel=1e-5), objective


def test_miwae_is_the_mean_of_the_bounds_of_its_parts():
    inference = solvable(*map(tensor, PARAMETERS.values()), samples=6, seed=seed_pair(0))
    log_weight = np.array(inference.log_weight, "float64")
    parts = np.log(np.exp(log_weight).reshape(3, 2, 3).mean(axis=1))
    found = kv.objectives.MIWAE(samples=6, bounds=3).terms(inference)["miwae"]
    np.testing.assert_allclose(np.array(found), parts.mean(axis=0), rtol=1e-4, atol=1e-5)
    half = kv.objectives.CIWAE(samples=6, beta=0.25).terms(inference)["ciwae"]
    expected = 0.25 * np.array(inference.elbo) + 0.75 * np.array(inference.log_mean_weight)
    np.testing.assert_allclose(np.array(half), expected, rtol=1e-5)


@pytest.mark.parametrize("bounds", [1, 3, 6])
def test_piwae_has_the_gradients_of_two_bounds(bounds):
    found, miwae, iwae = (
        gradients(one)[0][0]
        for one in (
            kv.objectives.PIWAE(samples=6, bounds=bounds),
            kv.objectives.MIWAE(samples=6, bounds=bounds),
            kv.objectives.IWAE(samples=6),
        )
    )
    np.testing.assert_allclose(found[:2], miwae[:2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[2], iwae[2], rtol=1e-4)


def hamiltonian_weights(objective, parameters, repeated):
    """log w - log p(x) of the bound's draws, (repeated, 3), in the model of one unit."""
    if not objective.built:
        objective.build((1,), (1,))

    def bound(seed, *values):
        return objective.terms(solvable(*values, samples=1, seed=seed, repeated=repeated))["hvae"]

    values = [tensor(value) for value in parameters.values()]
    found = np.array(compiled(bound)(ops.convert_to_tensor(SEED), *values), "float64")
    evidence = stats.norm(0, np.sqrt(1 + parameters["weight"] ** 2)).logpdf(np.repeat(POINTS[:, 0], repeated))
    return (found[0] - evidence).reshape(3, repeated)


@pytest.mark.parametrize("tempering", [0.3, 1.0])
def test_the_hamiltonian_bound_is_an_estimate_of_the_evidence(tempering):
    objective = kv.objectives.Hamiltonian(steps=4, step_size=0.2, tempering=tempering)
    weights = np.exp(hamiltonian_weights(objective, PARAMETERS, repeated=40_000))
    error = weights.std(axis=1) / np.sqrt(weights.shape[1])
    assert (np.abs(weights.mean(axis=1) - 1) < 4.5 * error).all() and error.max() < 0.05
    # At the posterior nothing moves the bound but the error of the steps, which falls with the square of their size.
    if tempering == 1:
        for size in (0.1, 0.01):
            exact = hamiltonian_weights(kv.objectives.Hamiltonian(4, step_size=size, tempering=1), EXACT, 100)
            assert np.abs(exact).max() < 30 * size**2


def test_the_steps_tighten_the_bound_and_their_sizes_are_learned():
    far = {**PARAMETERS, "loc": 0.0, "log_scale": 0.0}
    few, many = (
        hamiltonian_weights(kv.objectives.Hamiltonian(steps=steps, step_size=0.1, tempering=1), far, 4000).mean()
        for steps in (1, 8)
    )
    assert few < many < 0
    objective = kv.objectives.Hamiltonian(steps=2)
    before = hamiltonian_weights(objective, far, 1)
    objective.log_step.assign([1.0])
    assert np.abs(hamiltonian_weights(objective, far, 1) - before).max() > 1e-3


@pytest.mark.parametrize("kind", ["i", "ii"])
def test_dip_is_the_distance_of_a_covariance_from_the_identity(kind):
    rng = np.random.default_rng(0)
    means, scale = rng.normal(size=(9, 3)), rng.uniform(0.2, 1.0, size=(9, 3))
    covariance = np.cov(means.T, bias=True) + (kind == "ii") * np.diag((scale**2).mean(axis=0))
    expected = 2 * (covariance[~np.eye(3, dtype=bool)] ** 2).sum() + 5 * ((np.diag(covariance) - 1) ** 2).sum()
    found = terms(kv.objectives.DIP(kind=kind, off_diagonal=2, diagonal=5), passed(means, scale))
    assert found["dip"] == pytest.approx(expected, rel=1e-4)


def test_dip_of_a_full_covariance_counts_its_correlations():
    rng = np.random.default_rng(0)
    means, factor = rng.normal(size=(9, 2)), np.array([[0.5, 0.0], [0.6, 0.3]])
    q = tfd.MultivariateNormalTriL(tensor(means), tensor(np.tile(factor, (9, 1, 1))))
    inference = passed(means, 1.0)
    inference = dataclasses.replace(inference, latents=(dataclasses.replace(inference.latents[0], posterior=q),))
    covariance = np.cov(means.T, bias=True) + factor @ factor.T
    expected = 10 * 2 * covariance[0, 1] ** 2 + 10 * ((np.diag(covariance) - 1) ** 2).sum()
    assert terms(kv.objectives.DIP(), inference)["dip"] == pytest.approx(expected, rel=1e-4)


KERNEL = np.random.default_rng(3).normal(size=(2, 3))


def linear(count=5, samples=1, encoder=None):
    """A pass whose decoder is z KERNEL, and whose encoder is x `encoder`."""
    variable = keras.Variable(KERNEL, dtype="float32", name="kernel")
    inference = passed(np.random.default_rng(0).normal(size=(count, 2)), 0.1, samples=samples)
    return dataclasses.replace(
        inference,
        decode=lambda z: normal(ops.matmul(z, ops.convert_to_tensor(variable)), 1.0),
        encode=None if encoder is None else lambda x: ops.matmul(x, tensor(encoder)),
        picture=lambda shown: shown.mean(),
        decoder_weights=(variable,),
    )


def test_gradient_penalty_is_the_squared_jacobian_of_the_decoder():
    found = terms(kv.objectives.RAE(samples=400), linear(samples=400))
    assert found["regularizer_loss"] == pytest.approx((KERNEL**2).sum(), rel=0.1)


def test_decoders_weights_are_bounded_in_two_norms():
    inference, z = linear(), None
    code = terms(kv.objectives.RAE(regularizer="none", beta=2.0), inference)
    z = np.array(inference.latents[0].z)
    assert code["code"] == pytest.approx(0.5 * (z**2).sum(axis=2).mean(), rel=1e-5)
    plain = -float(ops.mean(inference.log_likelihood))
    assert code["loss"] == pytest.approx(plain + 2 * code["code"], rel=1e-5)
    squares, singular = (KERNEL**2).sum(), np.linalg.svd(KERNEL)[1][0]
    for regularizer, expected in (("l2", 0.5 * squares), ("spectral_norm", 0.5 * singular**2)):
        found = terms(kv.objectives.RAE(regularizer=regularizer, beta=0.0, weight=3.0), inference)
        assert found["regularizer_loss"] == pytest.approx(expected, rel=1e-4)
        assert found["loss"] == pytest.approx(plain + 3 * expected, rel=1e-4)
    with pytest.raises(ValueError, match=r"decoder_weights.*Received"):
        kv.objectives.RAE(regularizer="l2").terms(dataclasses.replace(inference, decoder_weights=()))


def test_contraction_is_the_squared_jacobian_of_the_encoder():
    encoder = np.random.default_rng(4).normal(size=(3, 2))
    exact = terms(kv.objectives.Contractive(projections=None), linear(encoder=encoder))
    assert exact["contraction"] == pytest.approx((encoder**2).sum(), rel=1e-5)
    for projections in (1, 3):
        found = terms(kv.objectives.Contractive(projections=projections), linear(600, encoder=encoder))
        assert found["contraction"] == pytest.approx((encoder**2).sum(), rel=0.1)


def test_spectral_norm_divides_by_the_largest_singular_value():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4))
    expected = kernel / np.linalg.svd(kernel.reshape(-1, 4))[1][0]
    found = kv.constraints.SpectralNorm()(tensor(kernel))
    np.testing.assert_allclose(np.array(found), expected, rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("on", ["reconstruction", "kl"])
def test_the_multiplier_grows_while_the_constraint_is_not_met(on):
    inference = passed(spread(0.0, 8), 0.5, sample_weight=[1, 0, 2, 0, 1, 1, 1, 1])
    weight = np.array([1, 0, 2, 0, 1, 1, 1, 1]) / 7
    values = {"reconstruction": -np.array(inference.log_likelihood)[0] @ weight, "kl": np.array(inference.kl) @ weight}
    (other,) = values.keys() - {on}
    for limit, excess in ((values[on] - 0.3, 0.3), (values[on] + 0.3, -0.3)):
        objective = kv.objectives.Constrained(limit=float(limit), on=on)
        objective.build((1,), (3,))
        objective.built = True
        objective.log_multiplier.assign(np.log(2.0))
        found = terms(objective, inference)
        assert found["constraint"] == pytest.approx(excess, rel=1e-3)
        assert found["loss"] == pytest.approx(values[other] + 2.0 * excess, rel=1e-3)
        assert found["multiplier"] == pytest.approx(2.0)

        def loss(value, objective=objective):
            with keras.StatelessScope(state_mapping=[(objective.log_multiplier, value)]):
                return inference.batch_mean(objective.terms(inference)["loss"])

        _, slope = tfp.math.value_and_gradient(loss, tensor(np.log(2.0)))
        assert float(slope) == pytest.approx(-excess, rel=1e-3)


def with_values(variables, values, function):
    """`function()` while variables have other values."""
    with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
        return function()


def single(*units, size=1, name=None):
    """Dense layers without biases, made as if trained."""
    layers = [keras.layers.Dense(n, use_bias=False) for n in units]
    network = keras.Sequential([keras.Input((size,)), *layers], name=name)
    network.set_weights([np.random.default_rng(5).normal(size=v.shape) for v in network.weights])
    return network


def test_a_discriminator_of_latents_and_the_encoder_have_a_game():
    objective = kv.objectives.Adversarial(weight=3.0, discriminator=single(1))
    objective.build((1,), (3,))
    means, slope = spread(1.0, 5), 0.7

    def loss(loc, kernel):
        inference = passed(loc, 0.3)
        values = with_values(objective.network.weights, [kernel], lambda: objective.terms(inference))
        return inference.batch_mean(values["loss"] + ops.mean(inference.log_likelihood, axis=0))

    _, (by_loc, by_kernel) = tfp.math.value_and_gradient(loss, tensor(means), tensor([[slope]]))
    inference = passed(means, 0.3)
    z = np.array(inference.latents[0].z)[0]
    drawn = np.array(inference.latents[0].drawn(kv.backend.folded(inference.seed, 1)))[0]
    # By z, -3 log D(z) alone; by the slope of the logit, the cross-entropy alone.
    np.testing.assert_allclose(np.array(by_loc), -3 * special.expit(-slope * z) * slope / 5, rtol=1e-4)
    expected = 0.5 * np.mean(special.expit(slope * z) * z - special.expit(-slope * drawn) * drawn)
    assert float(by_kernel[0, 0]) == pytest.approx(expected, rel=1e-4)


def of_images(loc, decoder):
    """A pass whose decoder is z `decoder`, and whose images are its means."""
    inference = passed(loc, 0.3)

    def decode(z):
        return normal(ops.matmul(z, decoder), 1.0)

    features = ops.matmul(inference.latents[0].z, decoder)
    x = tensor(np.random.default_rng(7).normal(size=inference.x.shape))
    return dataclasses.replace(
        inference,
        x=x,
        likelihood=normal(features, 1.0),
        decode=decode,
        features=features,
        observe=lambda features: normal(features, 1.0),
        picture=lambda shown, unit=False: shown if ops.is_tensor(shown) else shown.mean(),
    )


MEANS, DECODER = np.random.default_rng(6).normal(size=(4, 2)), np.random.default_rng(8).normal(size=(2, 3))


@pytest.mark.long_on_jax
def test_a_discriminator_of_images_and_the_decoder_have_a_game():
    gradients = {}
    for weight in (0.0, 2.0):
        objective = kv.objectives.VAEGAN(weight=weight, beta=0.0, discriminator=single(2, size=3))
        objective.build((2,), (3,))
        given = single(2, size=3).get_weights()[0], np.array([[0.5], [-1.5]])
        # The bias of the logit, which the discriminator's own layer has, stays at 0.
        kernels = [v for v in objective.network.weights if len(v.shape) == 2]

        def parts(loc, decoder, *kernels_now, objective=objective, kernels=kernels):
            inference = of_images(loc, decoder)
            return with_values(kernels, kernels_now, lambda: objective.terms(inference))

        arguments = [tensor(a) for a in (MEANS, DECODER, *given)]
        gradients[weight] = tfp.math.value_and_gradient(
            lambda *a, parts=parts: ops.mean(parts(*a)["loss"]), *arguments
        )[1]
        found = parts(*arguments)
    encoder, decoder, *discriminator = ([np.array(g[i]) for g in gradients.values()] for i in range(4))
    # The encoder has no part in the game, the discriminator none in the decoder's side of it.
    np.testing.assert_allclose(*encoder, rtol=1e-4, atol=1e-6)
    for kernel in discriminator:
        np.testing.assert_allclose(*kernel, rtol=1e-4, atol=1e-6)
    assert np.abs(decoder[1] - decoder[0]).max() > 0.1 and np.abs(encoder).max() > 0.1
    inference = of_images(*arguments[:2])
    z = np.array(inference.latents[0].z)[0]
    drawn = np.array(inference.latents[0].drawn(kv.backend.folded(inference.seed, 1)))[0]
    x, kernel, logit = np.array(inference.x), *given
    np.testing.assert_allclose(
        np.array(found["reconstruction_loss"]), 0.5 * (((z @ DECODER - x) @ kernel) ** 2).sum(axis=1), rtol=1e-4
    )
    real, *fake = ((image @ kernel @ logit)[:, 0] for image in (x, z @ DECODER, drawn @ DECODER))
    np.testing.assert_allclose(np.array(found["generator_loss"]), sum(np.logaddexp(0, -v) for v in fake), rtol=1e-4)
    own = np.logaddexp(0, -real) + sum(np.logaddexp(0, v) for v in fake)
    np.testing.assert_allclose(np.array(found["discriminator_loss"]), own, rtol=1e-4)


def test_a_game_is_balanced_by_gradients_and_may_begin_later():
    features = single(2, size=3)
    objective = kv.objectives.VAEGAN(
        features=features,
        reconstruction="likelihood",
        game="hinge",
        weight=0.5,
        balanced=True,
        delay=3,
        from_prior=False,
    )
    objective.build((2,), (3,))
    assert features.trainable_variables == [] and objective.trainable_variables
    inference = of_images(tensor(MEANS), tensor(DECODER))
    assert float(objective.terms(inference)["game_weight"]) == 0.0
    weight = float(objective.terms(dataclasses.replace(inference, step=ops.ones(()) * 3))["game_weight"])
    images, x = (np.array(v, "float64") for v in (inference.likelihood.mean()[0], inference.x))
    hidden, bias, logit, _ = (np.array(v, "float64") for v in objective.network.weights)
    chain = features.get_weights()[0] @ hidden
    slopes = np.where(images @ chain + bias > 0, 1.0, 0.2)
    game = -((slopes * logit[:, 0]) @ chain.T)
    # The means of 4 examples on both sides.
    assert weight == pytest.approx(0.5 * np.linalg.norm(images - x) / np.linalg.norm(game), rel=1e-3)
    with pytest.raises(ValueError, match=r"one of both.*Received"):
        kv.objectives.VAEGAN(features=features, discriminator=features)


def test_a_distance_in_features_joins_the_likelihood():
    features = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
    options = {"features": features, "reconstruction": "likelihood", "game": "hinge", "from_prior": False}
    found, gradients = [], []
    for teaches in (False, True):
        objective = kv.objectives.VAEGAN(perceptual=7.0, weight=2.0, teaches_encoder=teaches, **options)
        objective.build((2,), (3,))
        logits = [v for v in objective.network.weights if len(v.shape) == 2]
        given = [tensor(np.linspace(-1, 1, np.prod(v.shape)).reshape(v.shape)) for v in logits]

        def parts(loc, objective=objective, logits=logits, given=given):
            inference = of_images(loc, tensor(DECODER))
            return with_values(logits, given, lambda: objective.terms(inference))

        found.append({name: np.array(value) for name, value in parts(tensor(MEANS)).items()})
        slope = tfp.math.value_and_gradient(lambda loc, parts=parts: ops.mean(parts(loc)["loss"]), tensor(MEANS))[1]
        gradients.append(np.array(slope))
    inference = of_images(tensor(MEANS), tensor(DECODER))
    images, x = np.array(inference.likelihood.mean()[0]), np.array(inference.x)
    kernel = features.get_weights()[0]
    expected = -np.array(inference.likelihood.log_prob(inference.x))[0]
    expected = expected + 7.0 * ((images @ kernel - x @ kernel) ** 2).mean(axis=1)
    np.testing.assert_allclose(found[0]["reconstruction_loss"], expected, rtol=1e-4)
    # What is seen is the same; who learns of it is not.
    for name, value in found[0].items():
        np.testing.assert_allclose(value, found[1][name], rtol=1e-4, err_msg=name)
    assert np.abs(gradients[0] - gradients[1]).max() > 0.01
    with pytest.raises(ValueError, match=r"`perceptual` weighs a distance in `features`"):
        kv.objectives.VAEGAN(perceptual=1.0)


def test_features_see_levels_between_0_and_1():
    image = keras.Input((4, 4, 3))
    objective = kv.objectives.VAEGAN(
        features=keras.Model(image, keras.layers.Identity()(image)),
        reconstruction="likelihood",
        perceptual=1000.0,
        from_prior=False,
        widths=(4,),
    )
    networks = kv.networks.mlp((4, 4, 3), 2, widths=(8,))
    vae = kv.VAE(*networks, likelihood="discretized_logistic", objective=objective, seed=0)
    x = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype="uint8")
    inference = vae.infer(x, training=False)
    made = np.array(vae.likelihood.image(inference.likelihood))[0]
    expected = 1000 * (((made - x) / 255) ** 2).mean(axis=(1, 2, 3))
    found = np.array(objective.terms(inference)["reconstruction_loss"]) + np.array(inference.log_likelihood)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="minutes of compilation; reloading is checked of all")
def test_the_discriminator_goes_on_where_it_was(tmp_path):
    model = BY_NAME["vae_gan"].model(run_eagerly=True)
    x = BY_NAME["vae_gan"].images(16)
    model.train_on_batch(x)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    for one in (model, loaded):
        one.train_on_batch(x)
    names = [v.path for v in model.objective.weights]
    assert any(name.startswith("objective/discriminator/") for name in names)
    for a, b in zip(model.variables, loaded.variables, strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), rtol=1e-6, err_msg=a.path)
    kernel = next(v for v in model.objective.weights if v.path.endswith("hidden_1/kernel"))
    assert np.linalg.svd(np.reshape(kernel, (-1, kernel.shape[-1])))[1][0] == pytest.approx(1.0, abs=0.05)


@pytest.mark.long_on_jax
@pytest.mark.parametrize(
    "objective",
    [
        kv.objectives.TotalCorrelation(),
        kv.objectives.TotalCorrelation(data_size=50),
        kv.objectives.DIP(kind="i"),
        kv.objectives.DIP(kind="ii"),
        kv.objectives.MMD(weight=1.0),
        kv.objectives.SWAE(projections=4),
        kv.objectives.Constrained(limit=2.0),
    ],
    ids=lambda objective: objective.spec,
)
def test_weights_count_examples_in_statistics_of_the_batch(objective):
    rng, weights = np.random.default_rng(0), np.array([1, 0, 2, 0, 3, 1])
    means, scale, z = rng.normal(size=(6, 2)), rng.uniform(0.3, 1.0, size=(6, 2)), rng.normal(size=(6, 2))
    # One draw from the prior is like another here, so that their number makes no difference.
    at_zero = isinstance(objective, (kv.objectives.MMD, kv.objectives.SWAE))
    prior = normal(ops.zeros(2), ops.ones(2) * (1e-4 if at_zero else 1.0))

    def found(index, **weight):
        inference = passed(means[index], scale[index], prior, **weight)
        latent = dataclasses.replace(inference.latents[0], z=tensor(z[index][None]))
        return terms(objective, dataclasses.replace(inference, latents=(latent,)))

    weighted = found(np.arange(6), sample_weight=weights)
    assert weighted == pytest.approx(found(np.repeat(np.arange(6), weights)), rel=1e-3, abs=1e-4)
    # Weights that are no whole numbers, and hardly any at all, are no special case.
    assert np.isfinite(list(found(np.arange(6), sample_weight=weights * 0.01).values())).all()
    assert np.isfinite(list(found(np.arange(6), sample_weight=np.eye(6)[2]).values())).all()


def test_several_groups_are_refused_where_they_mean_nothing():
    inference = passed(spread(0.0, 4), 0.5)
    several = dataclasses.replace(inference, latents=inference.latents * 2)
    names = ("total_correlation", "mmd", "swae", "factor", "dip", "rae", "aae", "vae_gan", "hamiltonian")
    for name in names:
        objective = kv.objectives.get(name)
        with pytest.raises(ValueError, match=r"one group of latents.*Received.*2 groups"):
            objective.terms(several)
    miwae = kv.objectives.MIWAE(samples=1, bounds=1).terms(several)
    np.testing.assert_allclose(np.array(miwae["miwae"]), np.array(several.log_weight)[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"posterior": "wrapped_normal", "objective": "hamiltonian"}, "moves z along straight lines"),
        ({"posterior": "power_spherical", "objective": "hamiltonian"}, "moves z along straight lines"),
        ({"posterior": "residual_normal", "prior": "mixture:components=2"}, "relative to a prior"),
        ({"posterior": "residual_normal", "prior": "vamp:components=2"}, "relative to a prior"),
    ],
)
def test_parts_that_do_not_go_together_are_refused_when_a_model_is_made(given, said):
    with pytest.raises(ValueError, match=rf"{said}.*Received"):
        kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(4,)), **given)


@pytest.mark.parametrize("kind", ["i", "ii"])
def test_a_covariance_that_is_not_known_is_said(kind):
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(4,)), posterior="iaf:widths=[4]", objective=f"dip:kind={kind}")
    vae.compile("adam")
    with pytest.raises(ValueError, match="mean and covariance are known"):
        vae.fit(kv.data.convert(np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)), "binary"), verbose=0)


def test_the_whole_jacobian_is_contracted_in_a_compiled_step():
    vae = kv.VAE(*kv.networks.mlp((4,), 2, widths=(3,)), likelihood="normal", objective="contractive:projections=none")
    vae.compile(keras.optimizers.SGD(0.0))
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    found = vae.fit(x, batch_size=6, verbose=0).history["contraction"][0]
    assert found > 0 and found == pytest.approx(vae.evaluate(x, verbose=0, return_dict=True)["contraction"], rel=1e-5)


def test_what_they_need_is_said():
    inference = passed(spread(0.0, 4), 0.5, samples=2)
    no_constant = dataclasses.replace(inference.latents[0], held=None)
    for objective in (kv.objectives.DReG(2), kv.objectives.StickingTheLanding(2), kv.objectives.PIWAE(2, 1)):
        with pytest.raises(ValueError, match=r"gives them as a constant.*Received"):
            objective.terms(dataclasses.replace(inference, latents=(no_constant,)))
    point = tfd.Independent(tfd.Deterministic(tensor(spread(0.0, 4))), 1)
    point = dataclasses.replace(inference, latents=(dataclasses.replace(inference.latents[0], posterior=point),))
    for objective in (kv.objectives.TotalCorrelation(2), kv.objectives.DReG(2), kv.objectives.Hamiltonian(2)):
        with pytest.raises(ValueError, match=r"density.*Received"):
            objective.terms(point)
    enumerated = dataclasses.replace(inference, weights=ops.ones((2, 4)) / 2)
    for objective in (kv.objectives.DReG(2), kv.objectives.MIWAE(2, 1), kv.objectives.PIWAE(2, 1)):
        with pytest.raises(ValueError, match=r"enumerated.*Received"):
            objective.terms(enumerated)
    for spec in (
        "miwae:samples=5,bounds=2",
        "ciwae:beta=1.5",
        "hamiltonian:steps=0",
        "elbo:free_bits=-1",
        "hamiltonian:tempering=1.5",
        "total_correlation:beta=-1",
        "total_correlation:data_size=1",
        "mmd:kernel=rbg",
        "mmd:bandwidth=0",
        "swae:projections=0",
        "factor:widths=[0]",
        "dip:kind=iii",
        "rae:regularizer=l3",
        "contractive:projections=0",
        "constrained",
        "constrained:limit=-1,on=kl",
        "vae_gan:game=wasserstein",
        "vae_gan:delay=-1",
    ):
        with pytest.raises(ValueError, match="Received"):
            kv.objectives.get(spec)
    with pytest.raises(ValueError, match=r"one logit.*Received"):
        kv.objectives.Factor(critic=single(2, size=3)).build((3,), (4,))


def test_specs_are_read_back():
    written = [c.objective() for c in BY_NAME.values() if c.objective().__class__.__module__.startswith("keras_vae")]
    for objective in [*written, *map(kv.objectives.get, ("total_correlation:beta=3", "mmd", "iwae:50", "miwae:8,2"))]:
        config = objective.get_config()
        assert type(objective).from_config(config).get_config() == config
        assert kv.objectives.get(objective.spec).get_config() == config
