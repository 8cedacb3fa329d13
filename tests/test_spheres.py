"""Distributions on spheres: normalisers, divergences, samples and their gradients."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import integrate, special, stats

import keras_vae as kv
from keras_vae import distributions
from keras_vae.backend import seed_pair, tfd

KINDS = {"power_spherical": distributions.PowerSpherical, "von_mises_fisher": distributions.VonMisesFisher}
over_kinds = pytest.mark.parametrize("kind", KINDS)


def tensor(array):
    return ops.convert_to_tensor(np.asarray(array, dtype="float32"))


def direction(size, seed=0):
    mu = np.random.default_rng(seed).normal(size=size)
    return mu / np.linalg.norm(mu)


def log_area(size):
    """Of the unit sphere in `size` dimensions, by which a density of the angle becomes one of points."""
    return np.log(2) + 0.5 * size * np.log(np.pi) - special.gammaln(0.5 * size)


@over_kinds
@pytest.mark.parametrize("size", [2, 10])
def test_densities_integrate_to_one(kind, size):
    mu, concentration = direction(size), 3.0
    density = KINDS[kind](tensor(mu), tensor(concentration))
    aside = np.eye(size)[0] - mu[0] * mu
    aside /= np.linalg.norm(aside)
    angle = np.linspace(1e-6, np.pi - 1e-3, 2001)
    z = np.cos(angle)[:, None] * mu + np.sin(angle)[:, None] * aside
    by_angle = np.array(density.log_prob(tensor(z)), "float64") + (size - 2) * np.log(np.sin(angle))
    total = integrate.simpson(np.exp(by_angle + log_area(size - 1)), x=angle)
    np.testing.assert_allclose(total, 1.0, atol=1e-4)


@pytest.mark.parametrize("size", [2, 3, 64])
def test_von_mises_fisher_is_that_of_bessel_functions(size):
    mu, concentration = direction(size), np.array([0.01, 1.0, 30.0, 1000.0])
    density = distributions.VonMisesFisher(tensor(np.tile(mu, (4, 1))), tensor(concentration))
    order = size / 2 - 1
    log_bessel = np.log(special.ive(order, concentration)) + concentration
    log_normaliser = order * np.log(concentration) - size / 2 * np.log(2 * np.pi) - log_bessel
    z = stats.uniform_direction(size, seed=0).rvs(5) + mu
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    expected = log_normaliser + concentration * (z @ mu)[:, None]
    # float32: cosines times a thousand.
    np.testing.assert_allclose(np.array(density.log_prob(tensor(z[:, None]))), expected, rtol=1e-5, atol=1e-3)
    ratio = special.ive(order + 1, concentration) / special.ive(order, concentration)
    np.testing.assert_allclose(np.array(density.mean()), ratio[:, None] * mu, atol=1e-5)
    kl = np.array(tfd.kl_divergence(density, kv.priors.HypersphericalUniform(size).distribution()))
    np.testing.assert_allclose(kl, concentration * ratio + log_normaliser + log_area(size), rtol=1e-4, atol=1e-4)


@pytest.mark.long_on_jax
@over_kinds
def test_kl_is_the_mean_log_ratio_of_samples(kind):
    size = 4
    posterior = KINDS[kind](tensor(direction(size)[None]), tensor([5.0]))
    prior = kv.priors.HypersphericalUniform(size).distribution()
    latent = kv.inference.Latent(posterior.sample(10**6, seed=seed_pair(0)), posterior, prior)
    z = np.array(latent.z)[:, 0]
    np.testing.assert_allclose(np.linalg.norm(z[:1000], axis=-1), 1.0, atol=1e-5)
    assert latent.kl.shape == (1,)
    ratio = np.array(latent.log_ratio, "float64")[:, 0]
    assert abs(ratio.mean() - float(latent.kl[0])) < 5 * ratio.std() / 1e3
    mean, error = z.astype("float64").mean(axis=0), 5 * z.std(axis=0) / 1e3
    assert (np.abs(mean - np.array(posterior.mean())[0]) < error + 1e-6).all()


def slope(function, x):
    """d function / dx of a scalar tensor."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return np.array(tape.gradient(value, x), "float64")
    import jax

    return np.array(jax.grad(function)(x), "float64")


@pytest.mark.long_on_jax
@over_kinds
@pytest.mark.parametrize("size", [2, 5])
def test_samples_carry_the_gradient_of_their_mean(kind, size):
    mu, count = direction(size), 20_000

    def mean(concentration):
        density = KINDS[kind](tensor(mu), concentration)
        return ops.sum(tensor(mu) * density.mean())

    def estimate(concentration):
        z = KINDS[kind](tensor(mu), concentration).sample(count, seed=seed_pair(0))
        return ops.mean(ops.matmul(z, tensor(mu)[:, None]))

    for concentration in (1.5, 40.0):
        expected = slope(mean, tensor(concentration))
        found = slope(estimate, tensor(concentration))
        assert found == pytest.approx(expected, rel=0.05)


@pytest.mark.long_on_jax
@over_kinds
def test_samples_near_their_direction_have_finite_gradients(kind):
    # In two dimensions one sample in some hundred has a cosine of 1 in float32.
    def total(concentration):
        z = KINDS[kind](tensor([[1.0, 0.0]]), concentration[None]).sample(10_000, seed=seed_pair(1))
        return ops.sum(z)

    assert np.isfinite(slope(total, tensor(5000.0)))


@pytest.mark.long_on_jax
@over_kinds
def test_a_direction_turns_its_samples(kind):
    mu = np.concatenate([np.eye(3), -np.eye(3)])
    z = np.array(KINDS[kind](tensor(mu), tensor(np.full(6, 1e4))).sample(20, seed=seed_pair(0)))
    np.testing.assert_allclose(z, np.tile(mu, (20, 1, 1)), atol=0.08)


def test_spheres_go_with_spheres():
    networks = kv.networks.mlp((8, 8, 1), 3, widths=(4,))
    assert kv.VAE(*networks, posterior="power_spherical").prior.spec == "hyperspherical_uniform"
    for parts in (
        {"posterior": "power_spherical", "prior": "standard_normal"},
        {"posterior": "von_mises_fisher", "prior": "flow"},
        {"posterior": "iaf", "prior": "hyperspherical_uniform"},
    ):
        with pytest.raises(ValueError, match=r"z are .*sphere.*Received: posterior="):
            kv.VAE(*networks, **parts)
    assert kv.VAE(*networks, posterior="power_spherical", prior="vamp:components=2").prior.components == 2


@pytest.mark.parametrize(
    "spec", ["iaf", "planar", "radial", "power_spherical", "von_mises_fisher", "full_covariance_normal"]
)
def test_posteriors_of_vectors_refuse_maps(spec):
    with pytest.raises(ValueError, match=r"needs a latent vector.*Received: size=\(2, 2, 3\)"):
        kv.posteriors.get(spec, (2, 2, 3))


@pytest.mark.parametrize("spec", ["flow", "flow:maf", "hyperspherical_uniform"])
def test_priors_of_vectors_refuse_maps(spec):
    with pytest.raises(ValueError, match=r"needs a latent vector.*Received: size=\(2, 2, 3\)"):
        kv.priors.get(spec, (2, 2, 3))
    if spec != "flow:maf":
        with pytest.raises(ValueError, match=r"vector of 2 units or more.*Received: size=1"):
            kv.priors.get(spec, 1)
