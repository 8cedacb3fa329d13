"""Priors fitted after training: densities against scikit-learn and quadrature, and what a model gains by them."""

import dataclasses

import keras
import numpy as np
import pytest
from compositions import digits, labels
from own_parts import ShiftedNormal, conditional_mlp
from scipy import special, stats
from sklearn.mixture import GaussianMixture

import keras_vae as kv
from keras_vae.backend import seed_pair, tfd
from keras_vae.models.scale import LatentScale
from keras_vae.parts import policy_scope
from keras_vae.priors import fitting

X = kv.data.convert(digits(), "binary")
TRAIN, TEST = X[:1000], X[1000:1200]


def tensor(array):
    return keras.ops.convert_to_tensor(np.asarray(array, dtype="float32"))


def codes(z, points=None, **rest):
    z = z.astype("float32")
    return fitting.Codes(z, z if points is None else points, (8, 8, 1), **rest)


def clusters(rng, count, size):
    """Draws of two correlated clusters."""
    z = rng.normal(size=(count, size)) @ np.tril(rng.normal(size=(size, size)) + np.eye(size))
    return z + np.where(rng.random(count) < 0.3, 3.0, -1.0)[:, None]


def test_the_density_integrates_to_one():
    prior = fitting.fit("mixture:components=3", codes(clusters(np.random.default_rng(0), 500, 2)))
    grid = np.linspace(-14, 14, 401)
    z = np.stack(np.meshgrid(grid, grid), axis=-1)
    density = np.exp(np.array(prior.distribution().log_prob(tensor(z)), "float64"))
    assert np.trapezoid(np.trapezoid(density, grid), grid) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("centre", [0.0, 100.0])
def test_the_density_is_scikit_learns(centre):
    rng = np.random.default_rng(0)
    # Of a map, whose third and sixth unit are not active.
    z = clusters(rng, 2000, 8).reshape(-1, 2, 2, 2) + centre
    z.reshape(-1, 8)[:, [2, 5]] = rng.normal(size=(2000, 2))
    points = z.copy()
    points.reshape(-1, 8)[:, [2, 5]] = 0
    prior = fitting.fit("mixture:components=4,iterations=5,floor=0.001", codes(z, points, seed=3))
    assert prior.components == 4 and prior.active == 6 and prior.distribution().event_shape == (2, 2, 2)
    flat = np.delete(z.astype("float32").astype("float64").reshape(-1, 8), [2, 5], axis=1)
    oracle = GaussianMixture(4, reg_covar=0.001, max_iter=5, init_params="k-means++", random_state=3)
    with pytest.warns(match="did not converge"):
        oracle.fit(flat)
    expected = oracle.score_samples(flat[:20]) + stats.norm.logpdf(z.reshape(-1, 8)[:20, [2, 5]]).sum(axis=1)
    found = prior.distribution().log_prob(tensor(z[:20].reshape(4, 5, 2, 2, 2)))
    np.testing.assert_allclose(np.array(found).ravel(), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("spec", ["normal", "mixture:components=5"])
def test_samples_have_the_moments_of_the_codes(spec):
    z = clusters(np.random.default_rng(0), 5000, 3)
    prior = fitting.fit(spec, codes(z))
    drawn = np.array(prior.distribution().sample(20_000, seed=seed_pair(0)))
    # The mean of 20,000 draws of a standard deviation of up to 4 is right to 0.03, variances to a hundredth.
    np.testing.assert_allclose(drawn.mean(axis=0), z.mean(axis=0), atol=0.12)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(z.T), rtol=0.05, atol=0.2)
    np.testing.assert_allclose(np.array(prior.distribution().mean()), z.mean(axis=0), atol=1e-3)
    cold = np.array(prior.distribution(temperature=0.0).sample(100, seed=seed_pair(0)))
    assert len(np.unique(cold.round(4), axis=0)) <= prior.components


@pytest.fixture(scope="module")
def trained():
    """A model whose posteriors are far from the prior, since the KL costs little."""
    keras.utils.set_random_seed(0)
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 4, widths=(32,)), objective="elbo:beta=0.02", seed=0)
    vae.compile(keras.optimizers.Adam(1e-2))
    vae.fit(TRAIN, epochs=4, verbose=0)
    return vae


def bounds(vae):
    """ELBO and importance-weighted bound, nats."""
    inference = vae.infer(tensor(TEST), samples=64, seed=seed_pair(0))
    return [float(keras.ops.mean(bound)) for bound in (inference.elbo, inference.log_mean_weight)]


@pytest.mark.long_on_jax
def test_latents_next_to_a_point_are_fitted_in_their_units():
    z = np.random.default_rng(0).normal(size=(400, 2)) * [1e-3, 2.0] + [5e-3, 0.0]
    prior = fitting.fit("normal", fitting.Codes(z, z, (8, 8, 1)))
    drawn = np.array(prior.distribution().sample(20_000, seed=seed_pair(0)))
    np.testing.assert_allclose(drawn.std(axis=0), z.std(axis=0), rtol=0.03)
    np.testing.assert_allclose(drawn.mean(axis=0), z.mean(axis=0), atol=4 * z.std(axis=0).max() / 100)


@pytest.mark.parametrize(
    ("posterior", "prior", "said"),
    [
        ("residual_normal", "mixture:components=2", "relative to its prior"),
        ("residual_normal", "flow", "relative to its prior"),
        ("point", "vamp:components=3", "no density"),
    ],
)
def test_priors_that_a_posterior_cannot_have_are_refused_before_anything_changes(posterior, prior, said):
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(8,)), posterior=posterior, seed=0)
    before = vae.prior
    with pytest.raises(ValueError, match=said):
        vae.fit_prior(X[:120], prior, seed=0)
    assert vae.prior is before and np.isfinite(vae.reconstruct(X[:4])).all()


def test_a_fit_that_diverges_leaves_the_prior_and_one_that_ruins_it_is_said():
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(8,)), seed=0)
    before = vae.prior
    with pytest.raises(ValueError, match=r"diverged.*learning_rate"):
        vae.fit_prior(X[:200], "flow:steps=1,widths=[4]", seed=0, epochs=2, batch_size=32, learning_rate=1e30)
    assert vae.prior is before and np.isfinite(vae.log_prob(X[:4], samples=2, seed=0)).all()
    vae.fit_prior(X[:200], "flow:steps=1,widths=[4]", seed=0, epochs=2, batch_size=32)
    kept = vae.prior.get_weights()
    # It goes on with the prior that it has, and is judged by what that was.
    with pytest.warns(RuntimeWarning, match="lower density"):
        vae.fit_prior(X[:200], vae.prior, seed=0, epochs=3, batch_size=32, learning_rate=3.0)
    vae.prior.set_weights(kept)
    with pytest.raises(ValueError, match="diverged"):
        vae.fit_prior(X[:200], vae.prior, seed=0, epochs=2, batch_size=32, learning_rate=1e30)
    for value, expected in zip(vae.prior.get_weights(), kept, strict=True):
        np.testing.assert_array_equal(value, expected)
    for prior in (kv.priors.FlowPrior(5, steps=1, widths=(4,)), kv.priors.NormalMixture(1, components=2)):
        with pytest.raises(ValueError, match="latents of the same size"):
            vae.fit_prior(X[:200], prior)
    with pytest.raises(ValueError, match=r"argument of a fit.*Received: 'epoch'"):
        vae.fit_prior(X[:200], "flow:steps=1,widths=[4]", epoch=3)


def test_outliers_do_not_hide_that_a_prior_is_worse():
    z = np.random.default_rng(0).normal(size=(200, 2)).astype("float32")
    held = fitting.Codes(z, z, (8, 8, 1))
    prior = kv.priors.get("standard_normal", 2)
    gain = np.where(np.arange(200) == 7, 1e5, 0.0)
    with pytest.warns(RuntimeWarning, match="-500.00 nats"):
        fitting.check_fit(prior, prior, fitting.log_probs(prior, held) + gain, held)


def test_a_fitted_prior_is_the_models(trained, tmp_path):
    before, samples = bounds(trained), trained.sample(16, seed=0)
    gained = []
    for spec in ("normal", "mixture:components=5"):
        prior = trained.fit_prior(TRAIN, spec, seed=0)
        assert trained.prior is prior
        gained.append(np.subtract(bounds(trained), before))
    # Nats of images that it was not fitted to; in each case far above the noise of a draw for each image.
    assert np.all(np.array(gained) > 1), gained
    assert np.abs(trained.sample(16, seed=0) - samples).max() > 0.1
    again = trained.fit_prior(TRAIN, "mixture:components=5", seed=0)
    for a, b in zip(prior.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    # It has no weights that are trained, so that training goes on.
    trained.fit(TRAIN[:64], epochs=1, verbose=0)
    trained.save(tmp_path / "vae.keras")
    trained.save_to_preset(tmp_path / "preset")
    expected = trained.log_prob(TEST[:4], samples=4, seed=0)
    for loaded in (keras.saving.load_model(tmp_path / "vae.keras"), kv.VAE.from_preset(tmp_path / "preset")):
        np.testing.assert_array_equal(loaded.log_prob(TEST[:4], samples=4, seed=0), expected)


def test_latents_are_standardised_by_their_scale(trained, tmp_path):
    vae = trained.bare()
    vae.latent_scale = None
    for use in (vae.encode, vae.decode):
        with pytest.raises(ValueError, match=r"vae.fit_latent_scale\(x\)"):
            use(TRAIN[:2] if use == vae.encode else np.zeros((2, 4)), standardized=True)
    scale = vae.fit_latent_scale(TRAIN, seed=0)
    assert scale is vae.latent_scale and scale.mean.shape == scale.std.shape == (4,)
    q = vae.posterior_of(TRAIN)
    loc, spread = np.array(q.mean()), np.array(q.stddev())
    # By the law of total variance; of 1,000 draws the moments are right to some hundredths.
    np.testing.assert_allclose(scale.std, np.sqrt(loc.var(axis=0) + (spread**2).mean(axis=0)), rtol=0.1)
    np.testing.assert_allclose(scale.mean, loc.mean(axis=0), atol=0.15 * scale.std.max())
    z = vae.encode(TEST, standardized=True)
    np.testing.assert_allclose(z * scale.std + scale.mean, vae.encode(TEST), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(vae.decode(z, standardized=True), vae.reconstruct(TEST), rtol=1e-3, atol=1e-4)
    vae.save(tmp_path / "vae.keras")
    vae.save_to_preset(tmp_path / "preset")
    for loaded in (keras.saving.load_model(tmp_path / "vae.keras"), kv.VAE.from_preset(tmp_path / "preset")):
        np.testing.assert_array_equal(loaded.encode(TEST, standardized=True), z)


def test_a_map_has_a_scale_of_each_channel():
    z = np.random.default_rng(0).normal(loc=(1, 2, 3), scale=(1, 2, 0), size=(500, 2, 2, 3)).astype("float32")
    # The parts are of any size, and far from 0.
    scale = LatentScale.of([z[:7], z[7:300], z[300:]])
    np.testing.assert_allclose(scale.mean, z.mean(axis=(0, 1, 2), dtype="float64"), rtol=1e-6)
    np.testing.assert_allclose(scale.std[:2], z.std(axis=(0, 1, 2), dtype="float64")[:2], rtol=1e-6)
    far = LatentScale.of([1e4 + z[:7], 1e4 + z[7:]])
    np.testing.assert_allclose(far.std[:2], scale.std[:2], rtol=1e-3)
    assert scale.std.shape == (3,) and scale.std[2] == 1
    np.testing.assert_allclose(scale.standardized(z).std(axis=(0, 1, 2)), (1, 1, 0), atol=1e-3)
    np.testing.assert_allclose(scale.restored(scale.standardized(z)), z, atol=1e-5)


def test_a_neighbourhood_is_around_real_images(trained):
    vae = trained
    same = vae.sample(12, sampler=kv.samplers.Neighbourhood(TRAIN[:3], scale=0.0), seed=0)
    ends = vae.reconstruct(TRAIN[:3])
    nearest = np.abs(same[:, None] - ends).max(axis=(2, 3, 4))
    np.testing.assert_allclose(nearest.min(axis=1), 0, atol=1e-5)
    assert set(nearest.argmin(axis=1)) == {0, 1, 2}
    near = kv.samplers.Neighbourhood(TRAIN[:1], scale=0.2)
    z, _ = near.draw(vae, 4000, seed=1)
    np.testing.assert_allclose(z.mean(axis=0), vae.encode(TRAIN[:1])[0], atol=0.02)
    np.testing.assert_allclose(z.std(axis=0), 0.2, rtol=0.05)
    np.testing.assert_array_equal(vae.sample(5, sampler=near, seed=3)[:2], vae.sample(2, sampler=near, seed=3))
    assert not np.array_equal(vae.sample(2, sampler=near), vae.sample(2, sampler=near))
    with pytest.raises(ValueError, match=r"no temperature.*Received: temperature=0.5"):
        vae.sample(2, sampler=near, temperature=0.5)
    with pytest.raises(ValueError, match=r"`scale` must be a finite number"):
        kv.samplers.Neighbourhood(TRAIN, scale=-1)


def test_a_prior_that_fits_only_what_it_has_seen_is_warned_of():
    given, held = codes(np.random.default_rng(0).normal(size=(300, 4))).split()
    assert len(given.z) == 270 and len(held.z) == 30 and len(np.unique([*given.z[:, 0], *held.z[:, 0]])) == 300
    former = kv.priors.StandardNormal(4)
    before = fitting.log_probs(former, held)
    fitting.check_fit(former, former, before, held)
    with pytest.warns(RuntimeWarning, match=r"take fewer components.*components=50.*in the place of <StandardNormal"):
        fitting.check_fit(fitting.fit("mixture:components=50", given), former, before, held)


@kv.register("offset_normal", package="tests")
class OffsetNormal(kv.priors.Prior):
    """N(offset, 1), the offset trained."""

    def build(self, input_shape):
        self.offset = self.add_weight(name="offset", shape=self.event_shape, initializer="zeros")

    def distribution(self, y=None, temperature=1.0, encode=None):
        loc = keras.ops.convert_to_tensor(self.offset)
        return tfd.Independent(tfd.Normal(loc, temperature * keras.ops.ones_like(loc)), 1)


def test_a_prior_with_weights_is_trained():
    z = np.random.default_rng(0).normal(loc=(1, -2), size=(600, 2))
    prior = fitting.fit("offset_normal", codes(z), epochs=30, batch_size=100, learning_rate=0.1)
    np.testing.assert_allclose(np.array(prior.offset), z.mean(axis=0), atol=0.05)


@pytest.mark.long_on_jax
@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        ("two_stage:widths=[4]", "mixed_float16"),
        pytest.param("autoregressive_codes:width=8", "mixed_bfloat16", marks=pytest.mark.long),
        pytest.param("flow:steps=1,widths=[4]", "mixed_float16", marks=pytest.mark.long),
        pytest.param("m2:classes=3,widths=[4]", "mixed_bfloat16", marks=pytest.mark.long),
    ],
)
def test_priors_train_in_float32_under_each_policy(spec, policy):
    rng = np.random.default_rng(0)
    given = codes(rng.normal(size=(200, 3)))
    if spec.startswith("autoregressive_codes"):
        whole = rng.integers(0, 5, (200, 3))
        given = fitting.Codes(whole, whole, (8, 8, 1), support="whole numbers below 5", different=5)

    def weights_under(policy):
        with policy_scope(policy):
            keras.utils.set_random_seed(0)
            return fitting.fit(spec, given, epochs=1, batch_size=50, learning_rate=0.01).get_weights()

    for found, wanted in zip(weights_under(policy), weights_under("float32"), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.long_on_jax
def test_a_file_has_no_optimizer_of_other_weights(tmp_path):
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 2, widths=(4,)), seed=0)
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit_prior(TRAIN[:300], "flow:steps=1,widths=[4]", seed=0, epochs=1)
    vae.save(tmp_path / "vae.keras")
    again = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(again.sample(2, seed=0), vae.sample(2, seed=0))
    assert not again.compiled
    for model in (vae, again):
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(TRAIN[:32], verbose=0)
    vae.save(tmp_path / "vae.keras")
    assert keras.saving.load_model(tmp_path / "vae.keras").optimizer.iterations == 1


def linear_two_stage(samples, shift=0.0, stretch=1.0):
    """z = W u + 0.5 noise, with q(u|z) exact but for `shift` and `stretch`; and p(z) in closed form."""
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    prior = kv.priors.TwoStage((1, 1, 2), widths=(4,), samples=samples)
    prior.build((8, 8, 1))
    # Columns at right angles, so that the exact posterior has independent units.
    w, offset = turn * (1.5, 0.5), np.array([1.0, -2.0])
    variance = 1 / (1 + (w**2).sum(axis=0) / 0.25)
    gain = w / 0.25 * variance
    zeros = np.zeros((4, 2))
    prior.decoder.layers[-1].set_weights([np.vstack([w.T, zeros]), offset])
    raw = (
        np.hstack([gain, np.zeros((2, 2))]),
        np.concatenate([shift - offset @ gain, 0.5 * np.log(variance * stretch**2)]),
    )
    prior.encoder.layers[-1].set_weights([np.vstack([raw[0], np.zeros((4, 4))]), raw[1]])
    prior.log_scale.assign(np.log(0.5))
    return prior, stats.multivariate_normal(offset, w @ w.T + 0.25 * np.eye(2))


@pytest.mark.long_on_jax
def test_a_second_stage_that_is_linear_is_a_normal():
    prior, exact = linear_two_stage(samples=3)
    z = exact.rvs(50, random_state=0)
    given, expected = tensor(z[:, None, None]), exact.logpdf(z)
    # The weights of all samples are p(z) where q(u|z) is exact, whatever the noise; the soft bounds of scales move them
    # by 0.2%.
    np.testing.assert_allclose(np.array(prior.distribution().log_prob(given)), expected, atol=0.01)
    cold = stats.multivariate_normal(exact.mean, 0.81 * exact.cov)
    prior.samples = 300
    np.testing.assert_allclose(np.array(prior.distribution(temperature=0.9).log_prob(given)), cold.logpdf(z), atol=0.1)
    off, _ = linear_two_stage(samples=300, shift=0.1, stretch=1.3)
    estimate = np.array(off.distribution().log_prob(given))
    # Weights of a standard deviation of half their mean, of 300 samples: three times 0.03.
    np.testing.assert_allclose(estimate, expected, atol=0.1)
    np.testing.assert_array_equal(off.distribution().log_prob(given), estimate)
    off.samples = 2
    assert np.array(off.distribution().log_prob(given)).mean() < estimate.mean() - 0.02


def test_a_second_stage_trains_with_new_noise():
    prior, exact = linear_two_stage(samples=3)
    z = tensor(np.tile(exact.mean, (20_000, 1))[:, None, None])
    bounds = [np.array(prior.training_distribution().log_prob(z), "float64") for _ in range(2)]
    assert (bounds[0] != bounds[1]).mean() > 0.99
    # Of the exact posterior the evidence lower bound is log p(z).
    for bound in bounds:
        assert abs(bound.mean() - exact.logpdf(exact.mean)) < 5 * bound.std() / len(bound) ** 0.5


def test_samples_of_a_second_stage_have_its_moments():
    prior, exact = linear_two_stage(samples=3)
    for temperature in (1.0, 0.5):
        z = np.array(prior.distribution(temperature=temperature).sample(50_000, seed=seed_pair(0)))[:, 0, 0]
        np.testing.assert_allclose(z.mean(axis=0), exact.mean, atol=0.03)
        np.testing.assert_allclose(np.cov(z.T), temperature**2 * exact.cov, rtol=0.03, atol=0.03)


@pytest.mark.long_on_jax
def test_a_second_stage_finds_a_ring():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    angle = rng.integers(0, 8, 3000) * np.pi / 4
    z = 3 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.3 * rng.normal(size=(3000, 2))
    given, held = codes(z[:2000]), tensor(z[2000:])
    ring = fitting.fit("two_stage:widths=[64,64]", given, epochs=20, batch_size=100, learning_rate=0.005)
    found, normal = (
        np.array(prior.distribution().log_prob(held)).mean() for prior in (ring, fitting.fit("normal", given))
    )
    # The ring's own density is 1.85 nats above that of one Normal.
    assert found > normal + 0.2


def linear_m2(samples):
    """z = W u + a mean of its class + 0.5 noise, with q(u|z, c) exact; and p(z|c) of three classes in closed form."""
    prior = kv.priors.M2((1, 1, 2), classes=3, widths=(4,), scale="learned", samples=samples)
    prior.build((8, 8, 1))
    w, means = np.array([[0.9, -0.4], [1.2, 0.3]]), np.array([[1.0, -2.0], [0.0, 1.0], [3.0, 0.5]])
    variance = 1 / (1 + (w**2).sum(axis=0) / 0.25)
    gain = w / 0.25 * variance
    zeros = np.zeros((4, 2))
    prior.decoder.layers[-1].set_weights([np.vstack([w.T, means, zeros]), np.zeros(2)])
    kernel = np.hstack([np.vstack([gain, -means @ gain]), np.zeros((5, 2))])
    bias = np.concatenate([np.zeros(2), 0.5 * np.log(variance)])
    prior.encoder.layers[-1].set_weights([np.vstack([kernel, np.zeros((4, 4))]), bias])
    prior.log_scale.assign(np.log(0.5))
    return prior, [stats.multivariate_normal(mean, w @ w.T + 0.25 * np.eye(2)) for mean in means]


@pytest.mark.long_on_jax
def test_a_second_stage_of_classes_is_a_mixture_of_them():
    prior, exact = linear_m2(samples=3)
    z = np.random.default_rng(0).normal(size=(5, 7, 2)) * 2
    expected = special.logsumexp([normal.logpdf(z) for normal in exact], axis=0) - np.log(3)
    np.testing.assert_allclose(
        np.array(prior.distribution().log_prob(tensor(z[..., None, None, :]))), expected, atol=0.02
    )
    drawn = np.array(prior.distribution().sample(50_000, seed=seed_pair(0)))[:, 0, 0]
    means = np.stack([normal.mean for normal in exact])
    np.testing.assert_allclose(drawn.mean(axis=0), means.mean(axis=0), atol=0.04)
    np.testing.assert_allclose(np.cov(drawn.T), exact[0].cov + np.cov(means.T, bias=True), atol=0.06)


@pytest.mark.long_on_jax
def test_a_second_stage_of_classes_trains_on_labels_and_without():
    prior, exact = linear_m2(samples=3)
    point = np.array([0.5, -0.5])
    z = tensor(np.tile(point, (30_000, 1))[:, None, None])
    log_q = np.array(keras.ops.log_softmax(prior.classifier(z[:1, 0, 0])), "float64")[0]
    joint = np.array([normal.logpdf(point) for normal in exact]) - np.log(3)
    np.testing.assert_allclose(
        np.array(prior.distribution().posterior_marginal(z[:2]).probs_parameter())[1], np.exp(log_q), rtol=1e-5
    )
    labels = np.repeat([-1, 0, 2], 10_000)
    known = keras.ops.convert_to_tensor(labels, "int32")
    bounds = np.array(prior.training_distribution().labelled_log_prob(z, known, 0.0), "float64").reshape(3, -1)
    for bound, expected in zip(bounds, [np.sum(np.exp(log_q) * (joint - log_q)), joint[0], joint[2]], strict=True):
        assert abs(bound.mean() - expected) < 5 * bound.std() / 100
    unlabelled = np.array(prior.training_distribution().log_prob(z), "float64")
    assert abs(unlabelled.mean() - bounds[0].mean()) < 5 * unlabelled.std() / 100
    classified = np.array(prior.training_distribution().labelled_log_prob(z, known, 7.0), "float64").reshape(3, -1)
    for bound, without, gain in zip(classified, bounds, (0, 7 * log_q[0], 7 * log_q[2]), strict=True):
        assert abs(bound.mean() - without.mean() - gain) < 5 * (bound.std() + without.std()) / 100


def test_classes_of_latents_are_not_the_labels_of_a_conditional_model():
    x, y = TRAIN[:20], keras.utils.to_categorical(labels()[:20], 10)
    vae = kv.VAE(*conditional_mlp((8, 8, 1), 3), posterior="diagonal_normal", prior="m2:widths=[8],samples=2", seed=0)
    vae.compile(keras.optimizers.Adam(1e-3))
    for batch_size in (5, 10):
        history = vae.fit(x, y, batch_size=batch_size, verbose=0).history
        assert np.isfinite(history["loss"]).all()
    assert vae.classify(x[:2], y[:2]).shape == (2, 10)


def test_few_labels_name_the_classes_of_latents():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 3000)
    angle = truth * 2 * np.pi / 3
    z = 3 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.7 * rng.normal(size=(3000, 2))
    few = np.full(2000, -1)
    few[:2000:200] = truth[:2000:200]
    assert set(few) == {-1, 0, 1, 2}
    given = dataclasses.replace(codes(z[:2000]), labels=few)
    prior = fitting.fit("m2:classes=3,widths=[32],alpha=5", given, epochs=15, batch_size=100, learning_rate=0.005)
    held = tensor(z[2000:])
    guess = np.array(prior.distribution().posterior_marginal(held).probs_parameter()).argmax(axis=1)
    assert np.mean(guess == truth[2000:]) > 0.97
    found, normal = (np.array(p.distribution().log_prob(held)).mean() for p in (prior, fitting.fit("normal", given)))
    assert found > normal + 0.2


# Of so few images.
@pytest.mark.filterwarnings("ignore:At latents that it was not fitted to")
def test_few_labels_are_given_to_a_prior_of_classes_alone():
    x, y = TRAIN[:100], np.full(100, -1)
    y[:20] = labels()[:20]
    keras.utils.set_random_seed(0)
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(4,)), seed=0)
    with pytest.raises(ValueError, match=r"not conditional.*leave out y"):
        vae.fit_prior(x, "normal", y=y)
    with pytest.raises(ValueError, match=r"whole numbers from 0 to 2.*from -1 to 9"):
        vae.fit_prior(x, "m2:classes=3", y=y)
    with pytest.raises(ValueError, match=r"Expected labels of shape"):
        vae.fit_prior(x, "m2", y=y[:50])
    prior = vae.fit_prior(x, "m2:widths=[8],samples=2", y=y, seed=0, epochs=1)
    assert vae.prior is prior and vae.label_shape is None
    probabilities = vae.classify(x[:4])
    assert probabilities.shape == (4, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_labels_are_those_of_the_encoder():
    y = keras.utils.to_categorical(labels()[:300], 10)
    vae = kv.VAE(*conditional_mlp((8, 8, 1), 3), posterior="diagonal_normal", seed=0)
    vae.fit_prior(TRAIN[:300], "normal", y=y, seed=0)
    assert vae.sample(2, y=y[:2]).shape == (2, 8, 8, 1)
    near = kv.samplers.Neighbourhood(TRAIN[:300], scale=0.0, y=y)
    z, own = near.draw(vae, 3, seed=0)
    np.testing.assert_array_equal(vae.sample(3, sampler=near, seed=0), vae.decode(z, own))
    np.testing.assert_array_equal(vae.sample(3, y[:3], sampler=near, seed=0), vae.decode(z, y[:3]))
    with pytest.raises(ValueError, match=r"This model is conditional: give y"):
        vae.fit_prior(TRAIN[:300], "normal")
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(4,)), prior=ShiftedNormal(3), seed=0)
    with pytest.raises(ValueError, match=r"takes no labels.*Received: <ShiftedNormal"):
        vae.fit_prior(TRAIN[:300], "normal", y=y)


NORMAL = stats.zscore(np.random.default_rng(0).normal(size=(400, 3)))
REFUSED = {
    "a slip": ("mixtur", codes(NORMAL + 1), {}, r"Unknown fitted prior. Did you mean 'mixture'"),
    "an argument": ("mixture:parts=3", codes(NORMAL + 1), {}, r"mixture has no argument 'parts'.*components"),
    "no component": ("mixture:components=0", codes(NORMAL + 1), {}, r"`components` must be a whole number"),
    "training": ("normal", codes(NORMAL + 1), {"epochs": 3}, r"normal is fitted without training"),
    "nothing to train": ("standard_normal", codes(NORMAL + 1), {}, r"weights to train.*StandardNormal"),
    "few examples": ("mixture:components=200", codes(NORMAL + 1), {}, r"fewer components.*400 examples"),
    "no active unit": ("normal", codes(NORMAL, np.zeros((400, 3))), {}, r"No latent unit is active"),
    "a sphere": ("normal", codes(NORMAL / np.linalg.norm(NORMAL, axis=1, keepdims=True)), {}, r"lie on a sphere"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_fitted_is_refused(name):
    spec, given, training, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        fitting.fit(spec, given, **training)


def test_pseudo_inputs_change_no_statistics_of_the_encoder():
    networks = kv.networks.conv((8, 8, 1), 3, widths=(4,), dense=None, batch_norm=True)
    vae = kv.VAE(*networks, seed=0)
    before = [np.array(v) for v in vae.encoder.non_trainable_variables]
    vae.fit_prior(TRAIN[:64], "vamp:components=3", seed=0, epochs=1)
    assert before
    for was, now in zip(before, vae.encoder.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(was, np.array(now))
