"""Flows: their log-determinants, inverses and order; densities of learned priors and flow posteriors."""

import keras
import numpy as np
import pytest
from keras import ops
from own_parts import conditional_mlp
from scipy import special, stats

import keras_vae as kv
from keras_vae import distributions
from keras_vae.backend import seed_pair

SIZE, FEATURES = 3, 4


def tensor(array):
    return ops.convert_to_tensor(np.asarray(array, dtype="float32"))


def shaken(part, scale=0.3):
    """`part` with weights off their start, of which some are zeros."""
    rng = np.random.default_rng(0)
    for variable in part.weights:
        variable.assign(scale * rng.normal(size=variable.shape))
    return part


def flow_posterior(spec, size=SIZE):
    part = kv.posteriors.get(spec, size)
    part.build((FEATURES,))
    features = np.random.default_rng(1).normal(size=(5, FEATURES))
    return shaken(part).distribution(tensor(features))


def flow_prior(spec, size=SIZE):
    part = kv.priors.get(spec, size)
    part.build((8, 8, 1))
    return shaken(part).distribution()


FLOWS = {
    "iaf": lambda size=SIZE: flow_posterior("iaf:widths=[16,16]", size),
    "planar": lambda size=SIZE: flow_posterior("planar:steps=3", size),
    "radial": lambda size=SIZE: flow_posterior("radial:steps=3", size),
    "realnvp": lambda size=SIZE: flow_prior("flow:steps=3,widths=[16]", size),
    "maf": lambda size=SIZE: flow_prior("flow:maf,steps=2,widths=[16,16]", size),
}


def jacobians(function, z):
    """d function / d z of each row, (N, D, D)."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(persistent=True) as tape:
            tape.watch(z)
            value = function(z)
        return np.array(tape.batch_jacobian(value, z, experimental_use_pfor=False), "float64")
    import jax

    whole = np.array(jax.jacrev(function)(z), "float64")
    return np.moveaxis(np.diagonal(whole, axis1=0, axis2=2), -1, 0)


@pytest.mark.long_on_jax
@pytest.mark.parametrize("name", FLOWS)
def test_log_determinants_are_those_of_the_jacobian_and_inverses_invert(name):
    flow = FLOWS[name]()
    base = tensor(np.random.default_rng(2).normal(size=(5, SIZE)))
    z = flow.bijector.forward(base)
    # Of another flow, since this one remembers what it made of `base`.
    forward = jacobians(lambda base: FLOWS[name]().bijector.forward(base), base)
    _, expected = np.linalg.slogdet(forward)
    assert np.abs(expected).min() > 1e-3
    found = np.array(flow.bijector.forward_log_det_jacobian(base, event_ndims=1))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    # A copy, which TFP does not remember.
    copy = tensor(np.array(z))
    np.testing.assert_allclose(np.array(flow.bijector.inverse(copy)), np.array(base), rtol=1e-3, atol=1e-4)
    of_samples, of_any = (np.array(flow.log_prob(value)) for value in (z, copy))
    np.testing.assert_allclose(of_samples, of_any, rtol=1e-4, atol=1e-3)
    # The inverse has the gradient that it must have, the inverse matrix.
    inverse = jacobians(lambda z: FLOWS[name]().bijector.inverse(z), copy)
    np.testing.assert_allclose(inverse @ forward, np.tile(np.eye(SIZE), (5, 1, 1)), atol=5e-3)


@pytest.mark.parametrize("name", ["iaf", "realnvp", "maf"])
def test_units_depend_on_those_of_earlier_turns_alone(name):
    for index, step in enumerate(FLOWS[name]().bijector.bijectors if name == "iaf" else steps_of(name)):
        base = tensor(np.random.default_rng(2).normal(size=(5, SIZE)))
        reverse = step._network.reverse
        of_outputs = jacobians(step.forward, base)
        turn = step._network.turn
        depends = np.abs(of_outputs).max(axis=0) > 0
        np.testing.assert_array_equal(depends, (turn[:, None] > turn[None]) | np.eye(SIZE, dtype=bool), str(index))
        assert list(turn) == sorted(turn, reverse=reverse)


def steps_of(name):
    return FLOWS[name]().bijector.bijector.bijectors


def test_the_context_reaches_every_unit():
    network = distributions.MaskedNetwork(SIZE, (8,), context=True)
    network.build((SIZE,))
    shaken(network)
    zeros = ops.zeros((1, SIZE))
    outputs = [np.stack(network(zeros, context=tensor([c]))) for c in (np.zeros(8), np.arange(8.0))]
    assert (np.abs(outputs[0] - outputs[1]) > 1e-3).all()


GRID = np.stack(np.meshgrid(*[np.linspace(-12, 12, 200)] * 2), axis=-1).reshape(-1, 1, 2)


@pytest.mark.long_on_jax
@pytest.mark.parametrize("name", [*FLOWS, "mixture"])
def test_densities_integrate_to_one(name):
    density = flow_prior("mixture:components=3", 2) if name == "mixture" else FLOWS[name](2)
    total = np.exp(special.logsumexp(np.array(density.log_prob(tensor(GRID)), "float64"), axis=0))
    # Riemann sums over squares of 0.12; tails beyond 12, and steep flows between two points, are left out.
    np.testing.assert_allclose(total * (24 / 199) ** 2, 1.0, atol=0.02)


def test_mixture_is_the_sum_of_its_normals():
    prior = kv.priors.get("mixture:components=3", (2, 1, 2))
    prior.build((8, 8, 1))
    shaken(prior)
    logits, loc, log_scale = (np.array(v, "float64") for v in (prior.logits, prior.loc, prior.log_scale))
    z = np.random.default_rng(3).normal(size=(6, 2, 1, 2))
    each = stats.norm.logpdf(z[:, None], loc, np.exp(log_scale)).sum(axis=(2, 3, 4))
    expected = special.logsumexp(each + special.log_softmax(logits), axis=1)
    np.testing.assert_allclose(np.array(prior.distribution().log_prob(tensor(z))), expected, rtol=1e-3)


@pytest.mark.parametrize("spec", ["mixture:components=3", "flow:steps=2", "flow:maf,steps=2"])
def test_temperature_draws_samples_together(spec):
    prior = kv.priors.get(spec, SIZE)
    prior.build((8, 8, 1))
    shaken(prior, 0.1)
    centres = np.array(prior.loc) if spec.startswith("mixture") else None
    spreads = []
    for temperature in (0.0, 0.5, 1.0):
        z = np.array(prior.distribution(temperature=temperature).sample(500, seed=seed_pair(0)))
        middle = z.mean(axis=0)[None] if centres is None else centres
        spreads.append(np.linalg.norm(z[:, None] - middle, axis=-1).min(axis=1).mean())
    assert spreads[0] < 1e-5
    assert 0.4 < spreads[1] / spreads[2] < 0.65


def test_vamp_is_made_of_posteriors_alone():
    images = kv.networks.mlp((8, 8, 1), SIZE, widths=(4,))
    with pytest.raises(ValueError, match=r"posterior with a density.*Received: prior='vamp:components=2'"):
        kv.VAE(*images, posterior="point", prior="vamp:components=2")
    with pytest.raises(ValueError, match=r"sees no labels.*Received"):
        kv.VAE(*conditional_mlp((8, 8, 1), SIZE), prior="vamp")
    vae = kv.VAE(*images, prior="vamp:components=2")
    with pytest.raises(ValueError, match=r"of shape \(2, 8, 8, 1\). Received: shape \(3, 8, 8, 1\)"):
        vae.prior.start_from(np.zeros((3, 8, 8, 1)))


def test_conditional_normal_is_linear_in_the_label():
    prior = kv.priors.get("conditional_normal:4", SIZE)
    prior.build((8, 8, 1))
    shaken(prior)
    kernel, bias = (np.array(v, "float64") for v in prior.head.dense.weights)
    y = np.eye(4)[[0, 3]]
    loc, log_scale = np.moveaxis(np.reshape(y @ kernel + bias, (2, SIZE, 2)), -1, 0)
    z = np.random.default_rng(0).normal(size=(5, 2, SIZE))
    found = prior.distribution(tensor(y)).log_prob(tensor(z))
    expected = stats.norm.logpdf(z, loc, np.exp(log_scale)).sum(axis=-1)
    # The bound on log-scales, which are small here, is soft.
    np.testing.assert_allclose(np.array(found), expected, rtol=5e-3)


def test_an_autoencoder_pays_for_its_codes_by_the_prior():
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), SIZE, widths=(4,)), posterior="point", seed=0)
    vae.compile()
    x = (np.random.default_rng(0).random((16, 8, 8, 1)) < 0.5).astype("float32")
    logs = vae.evaluate(x, verbose=0, return_dict=True)
    z = vae.encode(x).astype("float64")
    assert logs["kl"] == pytest.approx(-stats.norm.logpdf(z).sum(axis=1).mean(), rel=1e-4)
    (latent,) = vae.infer(tensor(x), samples=2, seed=seed_pair(0)).latents
    np.testing.assert_allclose(np.array(latent.z), np.stack([z, z]), rtol=1e-4, atol=1e-5)
