"""Users' own models and parts against independent sources: quadrature, closed forms, SciPy, finite differences."""

import dataclasses

import keras
import numpy as np
import pytest
from compositions import BY_NAME, LATENT
from keras import layers, ops
from own_parts import ShiftedNormal, TwoLevels, student_t
from scipy import special, stats

import keras_vae as kv
from keras_vae import backend
from keras_vae.backend import seed_pair
from keras_vae.parts import policy_scope

CLASSES = 3


def tensor(array):
    return ops.convert_to_tensor(np.asarray(array, dtype="float32"))


def assert_estimates(estimate, exact):
    """That the mean over ten seeds is within five standard errors, and what float32 leaves."""
    estimates = np.stack([estimate(seed) for seed in range(10)])
    error = 5 * estimates.std(axis=0, ddof=1) / np.sqrt(10) + 1e-3
    assert (np.abs(estimates.mean(axis=0) - exact) < error).all()
    assert error.max() < 0.3


def with_known_weights(model, heads, raw):
    """`model` with weights that matter, its posteriors wider than the exact ones: no importance weight is large.

    Args:
        model: the model.
        heads: linear layers that give pairs (loc, raw) for the posteriors.
        raw: their raw scale.
    """
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(0.5 * rng.normal(size=variable.shape))
    for head in heads:
        head.dense.kernel.assign(np.tile([0.1, 0.0], head.dense.kernel.shape[-1] // 2) * np.array(head.dense.kernel))
        head.dense.bias.assign(np.tile([0.0, raw], head.dense.bias.shape[0] // 2))
    return model


@pytest.mark.long_on_jax
def test_bounds_of_split_gradients_are_those_of_any_model():
    model = TwoLevels((6,), sizes=(2, 1), scale=1.0, seed=0)
    x, seed = tensor(np.random.default_rng(0).normal(size=(4, 6))), ops.convert_to_tensor(seed_pair(0))
    inference = model.infer(x, samples=3, seed=seed)
    for objective, expected in (
        (kv.objectives.StickingTheLanding(3), -ops.mean(inference.log_weight, axis=0)),
        (kv.objectives.DReG(3), -inference.log_mean_weight),
    ):
        loss = inference.mean(objective.terms(inference)["loss"])
        np.testing.assert_allclose(np.array(loss), np.array(expected), rtol=1e-4)


def test_log_prob_of_two_levels_agrees_with_quadrature():
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    model = TwoLevels((6,), sizes=(1, 1), scale=1.0, seed=0)
    # softplus(1.2) = 1.46
    with_known_weights(model, model.heads[:2], raw=1.2)
    model.heads[2].dense.kernel.assign([[1.2, 0.3]])
    model.heads[2].dense.bias.assign([0.3, -0.7])
    top = bottom = np.linspace(-9, 9, 1501)
    kernel, bias = (np.array(v, "float64") for v in model.heads[2].dense.weights)
    loc, raw = (top[:, None] * kernel + bias).T
    # (top, bottom)
    between = stats.norm.logpdf(bottom, loc[:, None], np.logaddexp(0, raw)[:, None] + 1e-3)
    kernel, bias, out_kernel, out_bias = (
        np.array(v, "float64") for layer in (model.hidden[1], model.likelihood.head.dense) for v in layer.weights
    )
    pixels = np.tanh(bottom[:, None] * kernel + bias) @ out_kernel + out_bias
    log_likelihood = stats.norm.logpdf(x[:, None].astype("float64"), pixels, 1.0).sum(axis=-1)
    step = np.log(top[1] - top[0])
    prior = special.logsumexp(stats.norm.logpdf(top)[:, None] + between, axis=0) + step
    exact = special.logsumexp(log_likelihood + prior, axis=1) + step
    assert_estimates(lambda seed: model.log_prob(x, samples=1000, seed=seed, chunk=256), exact)
    # Each level counts: with the lower one's prior in its middle it would be another number.
    alone = stats.norm.logpdf(bottom, loc.mean(), np.logaddexp(0, raw).mean() + 1e-3)
    assert np.abs(special.logsumexp(log_likelihood + alone, axis=1) + step - exact).max() > 0.1


@pytest.mark.parametrize("says", [True, False], ids=["dtype in its config", "none"])
def test_a_users_model_is_loaded_in_the_precision_that_it_was_saved_in_or_it_is_said(says, tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Silent(TwoLevels):
        def get_config(self):
            config = super().get_config()
            return config if says else {name: value for name, value in config.items() if name != "dtype"}

    with policy_scope("mixed_bfloat16"):
        model = Silent((6,), seed=0)
    if says:
        model.compile("sgd")
    else:
        with pytest.warns(UserWarning, match=r"Silent.get_config.*dtype.*mixed_bfloat16"):
            model.compile("sgd")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    same = "bfloat16" if says else "float32"
    assert [layer.compute_dtype for layer in loaded.hidden] == [same, same]
    assert loaded.in_float32().hidden[0].compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    x = np.random.default_rng(0).integers(2, size=(8, 6)).astype("float32")
    assert np.array_equal(loaded.log_prob(x, seed=0), model.log_prob(x, seed=0)) == says


def test_at_temperature_zero_every_level_is_at_its_mean():
    model = BY_NAME["two_levels"].model()
    _, features = model.run(kv.draws.Given(ops.zeros((1, 2))))
    expected = np.array(model.likelihood.distribution(features).mean())[0]
    np.testing.assert_allclose(model.sample(3, temperature=0.0), np.repeat(expected, 3, axis=0), rtol=1e-5, atol=1e-6)


def linear_model(where):
    """x = W z + V y + b + s e, or x = W z + b + s e with z = A y + e': and p(x|y) in closed form."""
    scale, size, dims = 0.5, 2, 6
    x, y, z = keras.Input((dims,)), keras.Input((CLASSES,)), keras.Input((size,))
    encoder, decoder = (keras.Model([v, y], layers.Concatenate()([v, y])) for v in (x, z))
    prior = None
    if where == "prior":
        decoder, prior = keras.Model(z, layers.Identity()(z)), ShiftedNormal(size, CLASSES)
    model = kv.VAE(encoder, decoder, None, prior, kv.likelihoods.Normal(scale), seed=1)
    # exp(0.5 / 2) = 1.28
    with_known_weights(model, [model.posterior.head], raw=0.5)

    def log_prob(x, y):
        kernel, bias = (np.array(v, "float64") for v in model.likelihood.head.dense.weights)
        if where == "prior":
            shift = y @ np.array(model.prior.dense.kernel, "float64") @ kernel
        else:
            kernel, labels = kernel[:size], kernel[size:]
            shift = y @ labels
        covariance = kernel.T @ kernel + scale**2 * np.eye(dims)
        return stats.multivariate_normal(np.zeros(dims), covariance).logpdf(x - bias - shift)

    return model, log_prob


@pytest.mark.parametrize("where", ["networks", "prior"])
def test_log_prob_given_labels_is_the_exact_one(where):
    model, log_prob = linear_model(where)
    rng = np.random.default_rng(2)
    y = np.eye(CLASSES, dtype="float32")[rng.integers(0, CLASSES, 8)]
    x = (0.5 * rng.normal(size=(8, 6))).astype("float32")
    assert_estimates(lambda seed: model.log_prob(x, samples=1000, y=y, seed=seed, chunk=256), log_prob(x, y))
    assert np.abs(log_prob(x, np.roll(y, 1, axis=1)) - log_prob(x, y)).min() > 0.1
    # The KL to a prior of the labels is TFP's closed form, which is this one.
    (latent,) = model.infer(tensor(x), tensor(y), seed=seed_pair(0)).latents
    shift = y @ np.array(model.prior.dense.kernel, "float64") if where == "prior" else 0.0
    kernel = np.array(model.posterior.head.dense.kernel, "float64")
    loc = np.concatenate([x, y], axis=-1) @ kernel[:, ::2]
    expected = 0.5 * (np.exp(0.5) + (loc - shift) ** 2 - 1 - 0.5).sum(axis=1)
    np.testing.assert_allclose(np.array(latent.kl), expected, rtol=1e-4)


def test_a_function_of_features_is_the_density_it_makes():
    rng = np.random.default_rng(0)
    likelihood = kv.likelihoods.FromFunction(student_t, channels=2)
    likelihood.build((5,), (4, 3, 2))
    features, x = rng.normal(size=(2, 3, 5)), rng.normal(size=(3, 4, 3, 2))
    kernel, bias = (np.array(v, "float64") for v in likelihood.head.dense.weights)
    loc = np.reshape(features @ kernel + bias, (2, 3, 4, 3, 2))
    expected = stats.t.logpdf(x, 5.0, loc, 0.3).sum(axis=(-3, -2, -1))
    result = likelihood.distribution(tensor(features)).log_prob(tensor(x))
    np.testing.assert_allclose(np.array(result), expected, rtol=1e-5, atol=1e-4)


def test_a_posterior_says_what_stands_for_x_what_is_decoded_and_what_it_costs():
    composition = BY_NAME["squares"]
    model, x = composition.model(), composition.images(16)
    means = np.array(model.posterior_of(x).mean())
    z = model.encode(x)
    assert z.shape == (16, LATENT)
    np.testing.assert_allclose(z, np.round(10 * means) / 10, atol=1e-6)
    seen = np.concatenate([z, z**2], axis=-1)
    expected = model.likelihood.distribution(model.decoder(tensor(seen))).mean()
    np.testing.assert_allclose(model.decode(z), np.array(expected), rtol=1e-5, atol=1e-6)
    logs = model.evaluate(x, verbose=0, return_dict=True)
    penalty = 0.1 * (means**2).sum(axis=-1).mean()
    assert penalty > 1e-3
    assert logs["loss"] + logs["elbo"] == pytest.approx(penalty, rel=1e-2, abs=1e-4)


def test_a_prior_made_of_the_encoder_is_the_mean_of_its_posteriors():
    composition = dataclasses.replace(BY_NAME["bernoulli"], prior=lambda: kv.priors.VampPrior(LATENT, components=4))
    model, x = composition.model(), composition.images(9)
    # Pseudo-inputs that begin at data.
    model.prior.start_from(model.likelihood.network_input(tensor(x[5:])))
    x = x[:5]
    (latent,), _ = model.run(kv.draws.FromPosterior(2, 5, seed_pair(0)), tensor(x))
    q = model.posterior.distribution(model.encoder(model.prior.inputs.value))
    loc, scale = (np.array(v, "float64") for v in (q.mean(), q.stddev()))
    z = np.array(latent.z, "float64")
    each = stats.norm.logpdf(z[:, :, None], loc, scale).sum(axis=-1)
    expected = special.logsumexp(each, axis=-1) - np.log(len(loc))
    np.testing.assert_allclose(np.array(latent.prior.log_prob(latent.z)), expected, rtol=1e-4)
    # TFP has no closed form, so the KL is by samples.
    assert latent.kl.shape == (2, 5) and latent.unit_kl is None
    ratio = stats.norm.logpdf(z, np.array(model.posterior_of(x).mean()), np.array(model.posterior_of(x).stddev()))
    np.testing.assert_allclose(np.array(latent.kl), ratio.sum(axis=-1) - expected, rtol=1e-3, atol=1e-4)


def gradient(function, variable):
    """Of a scalar function, which reads the variable."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = function()
        return np.array(tape.gradient(value, variable.value), "float64")
    import jax

    def stateless(value):
        with keras.StatelessScope(state_mapping=[(variable, value)]):
            return function()

    return np.array(jax.grad(stateless)(variable.value), "float64")


def slope(function, variable, direction, step=1e-2):
    """A central difference."""
    value, ends = np.array(variable), []
    for sign in (1, -1):
        variable.assign(value + sign * step * direction)
        ends.append(float(function()))
    variable.assign(value)
    return (ends[0] - ends[1]) / (2 * step)


def test_two_players_share_one_loss():
    # Without kinks, for the sake of the differences.
    smooth = dataclasses.replace(
        BY_NAME["adversarial"], network=lambda shape: kv.networks.mlp(shape, LATENT, widths=(16,), activation="tanh")
    )
    model, x = smooth.model(), tensor(smooth.images(16))

    def terms():
        terms = model.objective.terms(model.infer(x, seed=seed_pair(0), training=True))
        return ops.mean(terms["loss"]), ops.mean(terms["critic"])

    def both():
        return terms()[0]

    def of_the_critic():
        return terms()[1]

    def of_the_model():
        return both() - of_the_critic()

    rng = np.random.default_rng(0)
    (kernel,) = (v for v in model.objective.critic.trainable_variables if v.path.endswith("hidden/kernel"))
    for variable, own, other in (
        (kernel, of_the_critic, of_the_model),
        (model.posterior.head.dense.bias, of_the_model, of_the_critic),
    ):
        direction = rng.normal(size=variable.shape)
        found = np.sum(gradient(both, variable) * direction)
        # float32 losses of some forty nats, 0.02 apart.
        assert found == pytest.approx(slope(own, variable, direction), rel=0.02, abs=2e-3)
        # What each of them must not see is there.
        assert abs(slope(other, variable, direction)) > 0.02


@pytest.mark.parametrize(("name", "turns"), [("two_levels", 3), ("conditional", 6)])
def test_what_is_decoded_in_turns_has_the_same_scores(name, turns, monkeypatch):
    composition = BY_NAME[name]
    model, (x, *y) = composition.moved(), composition.data(4)
    expected = model.log_prob(x, 6, *y, seed=0)
    # Two samples of sixteen images (twelve fill up) of one number: a layer that was called on nothing symbolic.
    monkeypatch.setattr(backend, "FAST_BYTES", 2 * 16 * 4)
    found = []
    monkeypatch.setattr(ops, "map", lambda f, z, real=ops.map: found.append(z.shape) or real(f, z))
    again = composition.moved()
    np.testing.assert_allclose(again.log_prob(x, 6, *y, seed=0), expected, rtol=1e-5)
    assert [tuple(shape)[:3] for shape in found] == [(turns, 6 // turns, 16)]
