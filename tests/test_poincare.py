"""Normals wrapped around the Poincaré ball: maps, densities and samples against quadrature and float64."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import integrate

import keras_vae as kv
from keras_vae.backend import seed_pair
from keras_vae.distributions import wrapped_normal
from keras_vae.distributions.poincare import ExponentialMap, inside


def tensor(array):
    return ops.convert_to_tensor(np.asarray(array, dtype="float32"))


def added(x, y, c):
    """Möbius' addition, in float64."""
    inner = (x * y).sum(-1, keepdims=True)
    a, b = (x * x).sum(-1, keepdims=True), (y * y).sum(-1, keepdims=True)
    return ((1 + 2 * c * inner + c * b) * x + (1 - c * a) * y) / (1 + 2 * c * inner + c * c * a * b)


def distances(x, y, c):
    return 2 / np.sqrt(c) * np.arctanh(np.sqrt(c) * np.linalg.norm(added(-x, y, c), axis=-1))


def centres(c, size=3):
    """At the distances 0, 1 and 7 of the ball's centre."""
    away = np.random.default_rng(0).normal(size=(3, size))
    away /= np.linalg.norm(away, axis=-1, keepdims=True) * np.sqrt(c)
    return away * np.tanh(np.array([0, 1, 7]) / 2)[:, None]


@pytest.mark.parametrize("curvature", [0.5, 1.0, 2.0])
def test_maps_are_inverses_and_keep_distances(curvature):
    m = centres(curvature)
    v = np.random.default_rng(1).normal(size=(50, 3, 3)) / np.sqrt(curvature)
    v[0] = 0
    there = ExponentialMap(tensor(m), curvature)
    z = np.array(there.forward(tensor(v)))
    length = np.sqrt(curvature) * np.linalg.norm(v, axis=-1, keepdims=True)
    step = np.tanh(length / 2) * v / np.maximum(length, 1e-12)
    np.testing.assert_allclose(z, added(m, step, curvature), atol=1e-5)
    # Near the edge, at a distance of 7, the last digit of z is a thousandth of a step.
    np.testing.assert_allclose(np.array(there.inverse(tensor(z))), v, atol=0.01)
    apart = distances(m, z.astype("float64"), curvature)[:, :2]
    np.testing.assert_allclose(apart, length[:, :2, 0] / curvature**0.5, atol=1e-3)


def test_points_beyond_the_ball_are_put_at_its_edge():
    z = np.array(inside(tensor([[3.0, 4.0], [0.1, 0.2]]), 4.0))
    np.testing.assert_allclose(z, [[0.3, 0.4], [0.1, 0.2]], atol=1e-4)
    far = wrapped_normal(tensor([[0.0, 0.0]]), tensor([[100.0, 100.0]])).sample(1000, seed=seed_pair(0))
    log_prob = wrapped_normal(tensor([0.9, 0.0]), tensor([1.0, 1.0])).log_prob(ops.stop_gradient(far))
    assert (np.linalg.norm(np.array(far), axis=-1) < 1).all() and np.isfinite(np.array(log_prob)).all()


@pytest.mark.parametrize("curvature", [1.0, 2.5])
def test_the_density_integrates_to_one(curvature):
    loc, scale = np.array([0.3, -0.2]), np.array([0.8, 0.4])
    density = wrapped_normal(tensor(loc), tensor(scale), curvature)
    radius = np.tanh(np.linspace(1e-3, 7, 801) / 2)
    angle = np.linspace(0, 2 * np.pi, 257)
    z = radius[:, None, None] / curvature**0.5 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    log_prob = np.array(density.log_prob(tensor(z)), "float64")
    total = integrate.simpson(integrate.trapezoid(np.exp(log_prob), angle) * radius / curvature, x=radius)
    assert total == pytest.approx(1, abs=2e-3)
    # Mathieu et al. 2019, in float64: per volume, of the logarithm map in a frame of unit vectors.
    away = added(-loc, z, curvature)
    length = np.sqrt(curvature) * np.linalg.norm(away, axis=-1, keepdims=True)
    v = 2 * np.arctanh(length) / length * away
    d = np.sqrt(curvature) * distances(loc, z, curvature)
    per_volume = (-0.5 * (v / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi))).sum(axis=-1) - np.log(np.sinh(d) / d)
    expected = per_volume + 2 * np.log(2 / (1 - curvature * (z * z).sum(axis=-1)))
    # Within a distance of 5: further out z have too few digits.
    near = radius < np.tanh(2.5)
    np.testing.assert_allclose(log_prob[near], expected[near], rtol=5e-3, atol=5e-3)


def test_samples_have_the_radial_moments_of_quadrature():
    size, scale, curvature = 3, 0.7, 1.5
    prior = kv.priors.WrappedNormalPrior(size, curvature, scale)
    z = np.array(prior.distribution().sample(50_000, seed=seed_pair(0)))
    # The distance from the centre has the density of a Maxwell variable.
    r = np.linspace(0, 8, 4001)
    density = r**2 * np.exp(-0.5 * (r / scale) ** 2)
    for power in (1, 2):
        radius = (np.tanh(np.sqrt(curvature) * r / 2) / np.sqrt(curvature)) ** power
        expected = integrate.simpson(radius * density, x=r) / integrate.simpson(density, x=r)
        drawn = np.linalg.norm(z, axis=-1).astype("float64") ** power
        assert abs(drawn.mean() - expected) < 5 * drawn.std() / len(drawn) ** 0.5
    cold = np.array(prior.distribution(temperature=0.5).sample(50_000, seed=seed_pair(0)))
    near, far = (distances(np.zeros(size), drawn.astype("float64"), curvature) for drawn in (cold, z))
    np.testing.assert_allclose(near, 0.5 * far, rtol=1e-3)


@pytest.mark.long_on_jax
def test_the_point_is_the_location_and_densities_are_those_of_maps_and_inverses():
    posterior = kv.posteriors.WrappedNormal(2, curvature=2.0)
    keras.utils.set_random_seed(0)
    posterior.build((4,))
    q = posterior.distribution(tensor(np.random.default_rng(0).normal(size=(5, 4))))
    loc = np.array(posterior.point(q), "float64")
    np.testing.assert_allclose(loc, np.array(q.bijector._centre), atol=1e-6)
    p = kv.priors.WrappedNormalPrior(2, curvature=2.0).distribution()
    z = q.sample(5000, seed=seed_pair(0))
    # Of samples the density is known without the inverse; it is the same with it.
    np.testing.assert_allclose(np.array(q.log_prob(z)), np.array(q.log_prob(ops.copy(z))), rtol=1e-3, atol=0.02)
    assert (np.array(kv.inference.Latent(z, q, p).kl).mean(axis=0) > 0).all()
    # An importance weight has the mean 1.
    wide = wrapped_normal(tensor(np.zeros(2)), tensor([1.5, 1.5]), 2.0)
    drawn = wide.sample(50_000, seed=seed_pair(1))
    weight = np.exp(np.array(p.log_prob(drawn) - wide.log_prob(drawn), "float64"))
    assert abs(weight.mean() - 1) < 5 * weight.std() / 50_000**0.5


def test_balls_go_with_balls_of_their_curvature():
    networks = kv.networks.mlp((8, 8, 1), 3, widths=(4,))
    vae = kv.VAE(*networks, posterior="wrapped_normal:curvature=0.5")
    assert vae.prior.spec == "wrapped_normal:curvature=0.5"
    for parts in ({"prior": "standard_normal"}, {"prior": "wrapped_normal:curvature=2"}):
        with pytest.raises(ValueError, match=r"z are .*ball of curvature -1.*Received: posterior="):
            kv.VAE(*networks, posterior="wrapped_normal", **parts)
    with pytest.raises(ValueError, match=r"z lie elsewhere.*Received: curvature=2"):
        vae.posterior.curvature = 2
    with pytest.raises(ValueError, match=r"ball of curvature -0.5.*keep the prior"):
        vae.fit_prior(np.zeros((20, 8, 8, 1)), "normal")
    with pytest.raises(ValueError, match=r"float32 cannot tell.*Received: size=100"):
        kv.priors.get("wrapped_normal", 100)
    with pytest.raises(ValueError, match=r"needs a latent vector.*Received: size=\(2, 2, 3\)"):
        kv.posteriors.get("wrapped_normal", (2, 2, 3))
    keras.utils.set_random_seed(0)
    assert kv.VAE(*networks, posterior="wrapped_normal", prior="vamp:components=2").sample(2, seed=0).shape[0] == 2
