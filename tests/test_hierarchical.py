"""Hierarchies against independent sources: a linear-Gaussian one in closed form, a VAE, numpy, TFP in float64."""

import dataclasses

import keras
import numpy as np
import pytest
from compositions import digits
from keras import layers, ops
from scipy import stats
from tensorflow_probability.substrates import numpy as np_tfp

import keras_vae as kv
from keras_vae import plotting
from keras_vae.backend import seed_pair
from keras_vae.models.hierarchical import composed_of
from keras_vae.networks import ladder
from keras_vae.runs import model as runs_model
from keras_vae.runs import pictures
from keras_vae.runs.recipe import Recipe, UsageError

SHAPE = (8, 8, 1)
GROUPS = ((2, 2), (4, 3))


def tensor(array):
    return ops.convert_to_tensor(np.asarray(array, dtype="float32"))


def binary(count=32):
    return (digits()[:count] > 127).astype("float32")


def identity(x):
    return layers.Activation("linear")(x)


@pytest.fixture(scope="module")
def model():
    """Three groups, with weights that matter."""
    keras.utils.set_random_seed(0)
    vae = kv.HierarchicalVAE(*ladder(SHAPE, 3, GROUPS, widths=(4, 6)), seed=0)
    rng = np.random.default_rng(0)
    for variable in vae.trainable_variables:
        variable.assign_add(0.1 * rng.normal(size=variable.shape))
    return vae


@pytest.fixture(scope="module")
def inference(model):
    return model.infer(tensor(binary(6)), samples=2, seed=tensor_seed(3))


def tensor_seed(seed):
    return ops.convert_to_tensor(seed_pair(seed))


def linear(scale, dims=6, sizes=(1, 1), labels=0, **given):
    """z1 ~ N(0, I), z2 = A z1 + a + s e, x = W z2 + V z1 + b + scale e', by networks that hand on what they see.

    With labels each network sees them, too, behind the rest.
    """
    x, z1, z2 = keras.Input((dims,)), keras.Input((sizes[0],)), keras.Input((sizes[1],))
    y = [keras.Input((labels,))] if labels else []
    h, e = keras.Input((sizes[0] + labels,)), keras.Input((dims + labels,))

    def network(inputs, outputs=1):
        both = [*inputs, *y]
        seen = layers.Concatenate()(both) if len(both) > 1 else identity(both[0])
        return keras.Model(both if len(both) > 1 else both[0], [seen, identity(seen)] if outputs > 1 else seen)

    encoder, down, inference, decoder = network([x], 2), network([z1], 2), network([h, e]), network([z2, h])
    # [h, z], though the likelihood's weights are those of z before those of h.
    decoder = keras.Model([h, z2, *y], decoder([z2, h, *y]))
    likelihood = kv.likelihoods.Normal(scale)
    model = kv.HierarchicalVAE(encoder, decoder, [(down, inference)], likelihood=likelihood, seed=0, **given)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(0.5 * rng.normal(size=variable.shape))
    # Of pairs (mean, raw scale), the scales of the prior below the top do not depend on what is above.
    kernel, bias = (np.array(v, "float64") for v in model.prior[1].head.dense.weights)
    kernel[:, 1::2] = 0.0
    model.prior[1].head.dense.kernel.assign(kernel)
    # Bounded softly, by a thousandth here.
    raw = bias[1::2]
    raw = 7 - np.logaddexp(0, 7 - (np.logaddexp(0, raw + 7) - 7))
    return model, kernel[:, ::2], bias[::2], np.exp(raw)


def weights_of(head):
    return (np.array(v, "float64") for v in head.dense.weights)


def test_log_prob_of_a_linear_hierarchy_is_the_exact_one():
    noise, dims = 0.7, 6
    model, exact = solved(noise, dims)
    x = exact.rvs(5, random_state=0).astype("float32")
    inference = model.infer(tensor(x), samples=4, seed=tensor_seed(0))
    # With these posteriors, each importance weight is p(x), and so is the ELBO of one sample in expectation.
    expected = np.broadcast_to(exact.logpdf(x), (4, 5))
    np.testing.assert_allclose(np.array(inference.log_weight), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.log_prob(x, samples=3, seed=0), expected[0], rtol=1e-4, atol=1e-4)


def solved(noise, dims):
    """A linear hierarchy with its exact posteriors; its exact density."""
    model, to_z2, shift, scale = linear(noise, dims)
    kernel, bias = weights_of(model.likelihood.head)
    w, v = kernel[:1], kernel[1:]
    # x = b + a W + z1 (V + A W) + s e W + noise e'.
    top, mean = v + to_z2 @ w, bias + shift @ w
    rest = scale**2 * w.T @ w + noise**2 * np.eye(dims)
    exact = stats.multivariate_normal(mean, rest + top.T @ top)
    # The exact posteriors, which are linear: of z1 given x, and of z2 given z1 and x.
    gain = np.linalg.solve(rest + top.T @ top, top.T)
    variance = 1 - (top @ gain).item()
    inner = np.linalg.solve(rest, scale**2 * w.T)
    inner_variance = scale**2 * (1 - (w @ inner).item())
    model.posterior[0].head.dense.kernel.assign(np.concatenate([gain, np.zeros_like(gain)], axis=1))
    model.posterior[0].head.dense.bias.assign([-(mean @ gain).item(), np.log(variance)])
    # Relative to the prior, in its units.
    of_both = np.concatenate([-(top @ inner), inner]) / scale
    model.posterior[1].head.dense.kernel.assign(np.concatenate([of_both, np.zeros_like(of_both)], axis=1))
    model.posterior[1].head.dense.bias.assign(
        [-(mean @ inner / scale).item(), np.log((inner_variance / scale**2).item())]
    )
    return model, exact


def test_a_deep_hierarchy_is_of_moderate_size_at_first():
    # With scales that differ from 1 at first, eleven groups began at -94 million nats, and were soon not finite.
    *networks, groups = kv.networks.ladder((16, 16, 3), (2, 2, 4), ((4, 4, 4), (8, 4, 6)), widths=(16, 16, 16))
    vae = kv.HierarchicalVAE(*networks, groups, likelihood="discretized_logistic_mixture:3", seed=0)
    x = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype("uint8")
    inference = vae.infer(tensor(x), training=True)
    for latent in inference.latents[1:]:
        np.testing.assert_allclose(np.array(latent.prior.stddev()), 1, rtol=1e-3)
        np.testing.assert_allclose(np.array(latent.kl), 0, atol=1e-4)
    # A uniform distribution of 256 levels has -log 256 an element.
    assert -3 * np.log(256) < np.mean(np.array(inference.elbo)) / x[0].size < -np.log(256)


@pytest.mark.parametrize("labels", [0, 2])
def test_a_pass_is_the_densities_that_it_says(labels):
    # Posteriors that are far from exact, groups of several units, and labels that every network sees.
    model, to_z2, shift, scale = linear(0.7, sizes=(2, 3), labels=labels)
    rng = np.random.default_rng(1)
    # Small, for log-variances far from where they are bounded.
    x, y = (0.5 * rng.normal(size=(4, count)).astype("float32") for count in (6, labels))
    given = {"y": tensor(y)} if labels else {}
    inference = model.infer(tensor(x), samples=3, seed=tensor_seed(0), **given)
    z1, z2 = (np.array(latent.z, "float64") for latent in inference.latents)
    every = np.broadcast_to(y, (3, 4, labels))
    seen, h = np.concatenate([x, y], axis=-1), np.concatenate([z1, every], axis=-1)
    kernel, bias = weights_of(model.posterior[0].head)
    first = np.reshape(seen @ kernel + bias, (4, 2, 2))
    kernel, bias = weights_of(model.posterior[1].head)
    both = np.concatenate([h, np.broadcast_to(seen, (3, *seen.shape)), every], axis=-1)
    second = np.reshape(both @ kernel + bias, (3, 4, 3, 2))
    above = h @ to_z2 + shift
    q = stats.norm.logpdf(z1, first[..., 0], np.exp(0.5 * first[..., 1])).sum(axis=-1)
    q += stats.norm.logpdf(z2, above + scale * second[..., 0], scale * np.exp(0.5 * second[..., 1])).sum(axis=-1)
    kernel, bias = weights_of(model.likelihood.head)
    p = stats.norm.logpdf(z1).sum(axis=-1) + stats.norm.logpdf(z2, above, scale).sum(axis=-1)
    p += stats.norm.logpdf(x, np.concatenate([z2, h, every], axis=-1) @ kernel + bias, 0.7).sum(axis=-1)
    np.testing.assert_allclose(np.array(inference.log_weight), p - q, rtol=1e-4, atol=1e-3)
    # The same densities where z is given.
    z = kv.inference.joined(inference.latents)
    log_q, log_p = np.array(inference.log_posterior(z)), np.array(inference.log_joint(z))
    np.testing.assert_allclose(log_q, q, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(log_p, p, rtol=1e-4, atol=1e-3)


def test_densities_at_given_latents_are_of_what_the_encoder_saw():
    model = linear(0.7, sizes=(2, 2), corruption="gaussian:scale=1.0")[0]
    x = tensor(np.random.default_rng(0).normal(size=(3, 6)))
    inference = model.infer(x, samples=2, training=True, seed=tensor_seed(0))
    expected = sum(np.array(latent.posterior.log_prob(latent.z)) for latent in inference.latents)
    for constant in (False, True):
        found, _ = inference.densities(kv.inference.joined(inference.latents), constant)
        np.testing.assert_allclose(np.array(found), expected, rtol=1e-4, atol=1e-4)


def slopes(model, objective, x, seeds=1):
    """(seeds, N) gradients of the loss in the weights of the model, those of the posteriors first, and how many."""
    variables = [v for part in (*model.posterior, model.prior[1], model.likelihood) for v in part.trainable_variables]
    count = sum(int(np.prod(v.shape)) for part in model.posterior for v in part.trainable_variables)
    return slopes_in(variables, model, objective, seeds, tensor(x)), count


def slopes_in(variables, model, objective, seeds, *data):
    """(seeds, N) gradients of the loss."""

    def of_seed(seed, *values):
        def loss(*values):
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                inference = model.infer(*data, samples=objective.samples, seed=seed)
                return ops.mean(inference.mean(objective.terms(inference)["loss"]))

        return kv.backend.tfp.math.value_and_gradient(loss, *values)[1]

    if keras.backend.backend() == "jax":
        import jax

        of_seed = jax.jit(of_seed)
    values = [tensor(v) for v in variables]
    found = [of_seed(tensor_seed(seed), *values) for seed in range(seeds)]
    return np.array([np.concatenate([np.ravel(slope) for slope in one]) for one in found])


def test_gradients_of_several_groups_have_no_noise_at_the_posterior():
    model, exact = solved(0.7, 6)
    x = exact.rvs(5, random_state=0)
    for objective in (kv.objectives.StickingTheLanding(samples=1), kv.objectives.DReG(samples=3)):
        found, count = slopes(model, objective, x, seeds=2)
        np.testing.assert_allclose(found[:, :count], 0.0, atol=2e-3)
        assert np.abs(found[:, count:]).max() > 0.1
    found, count = slopes(model, kv.objectives.IWAE(samples=3), x)
    assert np.abs(found[:, :count]).max() > 0.05


def test_gradients_of_a_posterior_relative_to_a_learned_prior_have_the_expectation_of_the_plain_bound():
    rng = np.random.default_rng(0)
    prior = kv.priors.ConditionalNormal(2, label_shape=(3,))
    vae = kv.VAE(*kv.networks.mlp((6,), 2, widths=(4,)), "residual_normal", prior, kv.likelihoods.Normal(0.7), seed=0)
    for variable in vae.trainable_variables:
        variable.assign_add(0.3 * rng.normal(size=variable.shape))
    x, y = np.tile(rng.normal(size=(3, 6)), (100, 1)), np.tile(np.eye(3), (100, 1))
    for objective, plain in (
        (kv.objectives.DReG(samples=4), kv.objectives.IWAE(samples=4)),
        (kv.objectives.StickingTheLanding(samples=2), kv.objectives.ELBO(samples=2)),
    ):
        given = [*vae.prior.trainable_variables, *vae.posterior.trainable_variables], vae
        one, other = (slopes_in(*given, o, 10, tensor(x), tensor(y)) for o in (objective, plain))
        error = np.sqrt((one.var(axis=0) + other.var(axis=0)) / 9)
        apart = np.abs(one.mean(axis=0) - other.mean(axis=0))
        assert (apart < 4.5 * error + 1e-4).all() and np.median(error) < 0.1 * np.abs(other.mean(axis=0)).max()


@pytest.mark.parametrize(
    ("objective", "plain"),
    [
        (kv.objectives.StickingTheLanding(samples=2), kv.objectives.ELBO(samples=2)),
        (kv.objectives.DReG(samples=4), kv.objectives.IWAE(samples=4)),
    ],
)
def test_gradients_of_several_groups_have_the_expectation_of_the_plain_bound(objective, plain):
    model, _, _, _ = linear(0.7)
    x = np.repeat(np.random.default_rng(2).normal(size=(2, 6)), 150, axis=0)
    (found, _), (expected, _) = (slopes(model, one, x, seeds=10) for one in (objective, plain))
    error = np.sqrt((found.var(axis=0, ddof=1) + expected.var(axis=0, ddof=1)) / 10)
    assert (np.abs(found.mean(axis=0) - expected.mean(axis=0)) < 5 * error + 1e-3).all()


def test_one_bound_for_encoder_and_decoder_has_the_gradient_of_that():
    model, _, _, _ = linear(0.7, sizes=(2, 2))
    x = np.random.default_rng(2).normal(size=(3, 6))
    found, expected = (slopes(model, one, x)[0] for one in (kv.objectives.PIWAE(4, bounds=1), kv.objectives.IWAE(4)))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_one_group_is_a_vae_to_the_last_bit():
    found = []
    for kind in (kv.VAE, kv.HierarchicalVAE):
        keras.utils.set_random_seed(0)
        vae = kind(*kv.networks.mlp(SHAPE, 3, widths=(8,)), objective="elbo:free_bits=0.1", seed=1)
        vae.compile(keras.optimizers.Adam(1e-2))
        history = vae.fit(binary(), batch_size=16, epochs=2, validation_data=binary(8), verbose=0).history
        used = [vae.encode(binary(4)), vae.sample(3, seed=0), vae.log_prob(binary(4), samples=3, seed=0)]
        assert vae.latent_shape == (3,)
        found.append([*(history[name] for name in sorted(history)), *used, *vae.get_weights()])
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_array_equal(theirs, ours)


@pytest.mark.long_on_jax
def test_the_kl_of_a_residual_posterior_is_tfps(inference):
    tfd = np_tfp.distributions
    for latent in inference.latents:
        q, p = (
            tfd.Independent(
                tfd.Normal(*(np.array(getattr(d.distribution, name), "float64") for name in ("loc", "scale"))),
                reinterpreted_batch_ndims=len(d.event_shape),
            )
            for d in (latent.posterior, latent.prior)
        )
        np.testing.assert_allclose(np.array(latent.kl), tfd.kl_divergence(q, p), rtol=1e-4)


def test_a_residual_posterior_is_relative_to_its_prior():
    posterior = kv.posteriors.ResidualNormal(3)
    posterior.build((5,))
    features = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    kernel, bias = weights_of(posterior.head)
    a, raw = np.moveaxis(np.reshape(features @ kernel + bias, (4, 3, 2)), -1, 0)
    m, s = np.array([0.5, -1.0, 3.0]), np.array([0.1, 1.0, 4.0])
    prior = kv.backend.tfd.Independent(kv.backend.tfd.Normal(tensor(m), tensor(s)), 1)
    q = posterior.distribution(features, prior)
    np.testing.assert_allclose(np.array(q.mean()), m + s * a, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.array(q.stddev()), s * np.exp(0.5 * raw), rtol=1e-5)
    kl = 0.5 * (a**2 + np.exp(raw) - raw - 1).sum(axis=-1)
    np.testing.assert_allclose(np.array(kv.backend.tfd.kl_divergence(q, prior)), kl, rtol=1e-4)
    # Relative to N(0, I) it is the one that is not.
    plain = kv.posteriors.DiagonalNormal(3)
    plain.build((5,))
    plain.head.set_weights(posterior.head.get_weights())
    standard = kv.priors.StandardNormal(3).distribution()
    theirs, ours = plain.distribution(features), posterior.distribution(features, standard)
    for name in ("loc", "scale"):
        np.testing.assert_array_equal(*(np.array(getattr(d.distribution, name)) for d in (theirs, ours)))
    mixture = kv.priors.NormalMixture(3, components=2)
    mixture.build(SHAPE)
    for other in (None, mixture.distribution()):
        with pytest.raises(ValueError, match=r"relative to a prior that is a diagonal Normal.*Received"):
            posterior.distribution(features, other)


@pytest.mark.parametrize("per", ["group", "unit"])
def test_free_bits_are_a_floor_of_each_group_or_unit(inference, per):
    plain = kv.objectives.ELBO().terms(inference)["loss"]
    rows = []
    for latent in inference.latents:
        kl = np.array(latent.unit_kl)
        # Over samples, where the group has any, and the batch.
        rows.append(np.ravel(kl.mean(axis=tuple(range(kl.ndim - len(latent.prior.event_shape))))))
    rows = [np.array([r.sum()]) for r in rows] if per == "group" else rows
    floor = float(np.median(np.concatenate(rows)))
    terms = kv.objectives.ELBO(free_bits=floor, free_bits_per=per).terms(inference)
    raised = sum(np.maximum(r, floor).sum() - r.sum() for r in rows)
    assert raised > 0.01
    difference = np.array(terms["loss"]).mean() - np.array(plain).mean()
    np.testing.assert_allclose(difference, raised, rtol=1e-3, atol=1e-4)


def test_given_groups_are_held_and_the_others_drawn(model):
    x = binary(4)
    assert [group.shape for group in model.split(model.encode(x)[:0])] == [(0, *shape) for shape in model.group_shapes]
    z = model.split(model.encode(x))
    assert [group.shape for group in z] == [(4, 3), (4, 2, 2, 2), (4, 4, 4, 3)]
    held = model.sample(4, given=dict(enumerate(z)), seed=0)
    np.testing.assert_allclose(held, model.reconstruct(x), rtol=1e-4, atol=1e-5)
    # One z for all: what is drawn below it differs.
    of_one = model.sample(40, given={0: z[0][0], 1: z[1][0]}, seed=0)
    assert np.ptp(of_one, axis=0).max() > 1e-3
    fewer = model.sample(4, given={1: z[1][0], 0: z[0][0]}, seed=0)
    np.testing.assert_allclose(of_one[:4], fewer, rtol=1e-5, atol=1e-6)
    for given, message in (({3: z[0]}, "are 0 to 2"), ({1: z[0]}, "group 1"), ({0: np.nan * z[0]}, "finite")):
        with pytest.raises(ValueError, match=f"{message}.*Received"):
            model.sample(4, given=given)
    sampler = kv.samplers.Neighbourhood(x)
    with pytest.raises(ValueError, match=r"A sampler draws all groups.*Received"):
        model.sample(4, given={0: z[0]}, sampler=sampler)


def test_what_is_drawn_beside_a_held_group_has_the_noise_that_it_has_without(model):
    def drawn(held):
        draw = kv.draws.FromPrior(1, 4, tensor_seed(5))
        latents, _ = model.run(kv.draws.Holding(draw, held))
        return [latent.z for latent in latents], [latent.prior for latent in latents]

    free, _ = drawn({})
    same, _ = drawn({0: free[0][0], 2: free[2][0]})
    for a, b in zip(free, same, strict=True):
        np.testing.assert_array_equal(np.array(a), np.array(b))
    other, priors = drawn({1: free[1][0] + 1})
    np.testing.assert_array_equal(np.array(other[0]), np.array(free[0]))
    np.testing.assert_array_equal(np.array(other[1]), np.array(free[1]) + 1)
    # Further down the noise is the same, in other units.
    noise = (np.array(other[2]) - np.array(priors[2].mean())) / np.array(priors[2].stddev())
    _, priors = drawn({})
    expected = (np.array(free[2]) - np.array(priors[2].mean())) / np.array(priors[2].stddev())
    np.testing.assert_allclose(noise, expected, rtol=1e-3, atol=1e-4)
    assert np.abs(np.array(other[2]) - np.array(free[2])).max() > 1e-3


def test_a_model_of_one_group_holds_it():
    vae = kv.VAE(*kv.networks.mlp(SHAPE, 3, widths=(8,)), seed=0)
    z = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    np.testing.assert_allclose(vae.sample(5, given={0: z}), vae.decode(z), rtol=1e-5, atol=1e-6)
    assert vae.group_shapes == ((3,),) and len(vae.split(z)) == 1


@pytest.mark.long_on_jax
def test_a_pass_goes_from_the_top_down(model, inference):
    # What lies below a group does not matter to it, what lies above does.
    x = tensor(binary(6))
    means, _ = model.run(kv.draws.AtMean(6), x)
    flat = np.concatenate([np.reshape(np.array(latent.z[0]), (6, -1)) for latent in means], axis=1)
    np.testing.assert_allclose(model.encode(binary(6)), flat, rtol=1e-4, atol=1e-5)
    drawn = inference.latents
    assert [len(latent.posterior.batch_shape) for latent in drawn] == [1, 2, 2]
    np.testing.assert_allclose(np.array(means[0].posterior.mean()), np.array(drawn[0].posterior.mean()), rtol=1e-5)
    assert np.abs(np.array(means[1].prior.mean()) - np.array(drawn[1].prior.mean())).max() > 1e-3
    # Zero temperature is the means of the priors, as latents are that are not given.
    _, features = model.run(kv.draws.Given(ops.zeros((1, 3))))
    expected = np.array(model.likelihood.distribution(features).mean())[0]
    np.testing.assert_allclose(model.sample(2, temperature=0.0), np.repeat(expected, 2, axis=0), rtol=1e-4, atol=1e-5)


def test_a_prior_of_the_encoders_posteriors_is_that_of_the_top():
    vae = kv.HierarchicalVAE(*ladder(SHAPE, 3, ((4, 2),), widths=(4,)), prior="vamp:components=4", seed=0)
    x = tensor(binary(2))
    top, below = vae.infer(x, seed=tensor_seed(0)).latents
    q = vae.posterior[0].distribution(vae.encoder(vae.prior[0].inputs.value)[0])
    each = stats.norm.logpdf(np.array(top.z)[:, :, None], np.array(q.mean()), np.array(q.stddev())).sum(axis=-1)
    expected = np.logaddexp.reduce(each, axis=-1) - np.log(4)
    np.testing.assert_allclose(np.array(top.prior.log_prob(top.z)), expected, rtol=1e-4)
    assert below.prior.batch_shape == (1, 2)


@pytest.mark.long_on_jax
def test_a_hierarchy_takes_labels(tmp_path):
    # Those of the networks are the top prior's, too.
    vae = linear(0.7, labels=3, prior="conditional_normal")[0]
    assert vae.label_shape == vae.prior[0].label_shape == (3,) and "labels (3,)" in repr(vae)
    vae.compile(keras.optimizers.Adam(1e-2))
    x, y = np.random.default_rng(0).normal(size=(16, 6)), np.eye(3)[np.arange(16) % 3]
    history = vae.fit(x, y, batch_size=16, epochs=1, validation_data=(x, y), verbose=0).history
    groups = [history[f"val_{name}"][0] for name in vae.kl_names]
    assert len(groups) == 2 and sum(groups) == pytest.approx(history["val_kl"][0], rel=1e-5) and min(groups) > 0
    np.testing.assert_allclose(vae.decode(vae.encode(x, y), y), vae.reconstruct(x, y), rtol=1e-4, atol=1e-5)
    assert (vae.sample(4, y=y[:4], seed=0) != vae.sample(4, y=np.roll(y[:4], 1, axis=1), seed=0)).any()
    scores = vae.log_prob(x, y=y, samples=3, seed=0)
    swapped = vae.log_prob(x[::-1], y=y[::-1], samples=3, seed=0, keys=np.arange(16)[::-1])
    np.testing.assert_allclose(swapped, scores[::-1], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"conditional: give y.*Received"):
        vae.encode(x)
    with pytest.raises(ValueError, match=r"takes no labels.*Received"):
        vae.fit_prior(x, y=y)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert loaded.label_shape == (3,)
    np.testing.assert_array_equal(loaded.sample(3, y=y[:3], seed=0), vae.sample(3, y=y[:3], seed=0))
    for prior, message in (("conditional_normal:4", "labels of one shape"), ("vamp", "encoder that sees no labels")):
        with pytest.raises(ValueError, match=f"{message}.*Received"):
            kv.HierarchicalVAE(vae.encoder, vae.decoder, vae.groups, prior=prior)


@pytest.mark.long_on_jax
def test_a_prior_of_the_top_is_fitted(tmp_path):
    vae = linear(0.7, sizes=(3, 2))[0]
    # Posteriors that are off the prior, whatever x is.
    kernel, _ = vae.posterior[0].head.dense.get_weights()
    vae.posterior[0].head.dense.set_weights([0.1 * kernel, np.array([1.0, -3.0, 0.0, -3.0, -2.0, -3.0])])
    vae.compile()
    x, below = np.random.default_rng(0).normal(size=(200, 6)).astype("float32"), vae.prior[1]
    before, count = vae.evaluate(x, verbose=0, return_dict=True), len(vae.weights)
    fitted = vae.fit_prior(x, "normal", seed=0)
    assert vae.prior == (fitted, below) and vae.top_prior is fitted and fitted.event_shape == (3,)
    assert len(vae.weights) == count + len(fitted.weights) and vae.latent_scale.mean.shape == (5,)
    drawn = np.concatenate([z for z, _ in vae._draws(x, None, 0)])[:, :3]
    np.testing.assert_allclose(np.array(fitted.distribution().mean()), drawn.mean(axis=0), atol=0.1)
    after = vae.evaluate(x, verbose=0, return_dict=True)
    # What lies below has the density that it had.
    for name in ("kl_1", "log_likelihood"):
        assert after[name] == pytest.approx(before[name], rel=1e-5)
    assert after["kl_0"] < before["kl_0"] - 1
    again = vae.fit_prior(x, "normal", seed=0)
    assert len(vae.weights) == count + len(again.weights)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.sample(4, seed=0), vae.sample(4, seed=0))
    # It has no weights that are trained, so that training goes on.
    vae.fit(x, batch_size=100, verbose=0)


def test_networks_and_parts_that_do_not_fit_are_refused():
    encoder, decoder, groups = ladder(SHAPE, 3, ((4, 2),), widths=(4,))

    def refused(message, *networks, **given):
        with pytest.raises(ValueError, match=f"(?s){message}.*Received"):
            kv.HierarchicalVAE(*networks, **given)

    refused(r"two networks, \(down, inference\)", encoder, decoder, [groups[0][:1]])
    refused(r"\[h, z\] of the group above", encoder, groups[0][0], groups)
    refused("encoder must return 1 tensors", encoder, decoder)
    refused("encoder must return 2 tensors", kv.networks.mlp(SHAPE, 3)[0], decoder, groups)
    refused("for each of 2 groups", encoder, decoder, groups, posterior=["diagonal_normal"] * 3)
    refused("Unknown prior", encoder, decoder, groups, prior="standard_normla")
    refused("label_shape", encoder, decoder, groups, prior="conditional_normal")
    refused("prior of the features above", encoder, decoder, groups, prior=["standard_normal", "conditional_normal:10"])
    refused("for the top group", encoder, decoder, groups, prior=["standard_normal", kv.priors.VampPrior((4, 4, 2))])
    refused("latents of the same size", encoder, decoder, groups, prior=kv.priors.StandardNormal(2))
    refused("prior='hyperspherical_uniform'", encoder, decoder, groups, posterior="power_spherical")
    refused("Expected a posterior", encoder, decoder, groups, posterior=3)
    vae = kv.HierarchicalVAE(encoder, decoder, groups)
    with pytest.raises(ValueError, match=r"make a new model.*Received"):
        vae.prior = "standard_normal"
    vae.objective = "iwae:5"
    assert vae.objective.samples == 5 and "group 1: z (4, 4, 2), residual_normal" in repr(vae)
    with pytest.raises(ValueError, match=r"several take bounds.*Received"):
        kv.objectives.DIP().terms(vae.infer(tensor(binary(2)), seed=tensor_seed(0)))


def test_a_recipe_of_a_ladder_is_a_hierarchy():
    recipe = Recipe("digits", network="ladder:groups=[[4,2]],widths=[4]", latent_size=3, beta_2=0.9, prior="mixture:2")
    vae = runs_model.build(recipe, SHAPE, 1, None)
    assert vae.group_shapes == ((3,), (4, 4, 2)) and vae.optimizer.beta_2 == 0.9
    assert [p.spec for p in vae.prior] == ["mixture:components=2", "conditional_normal"]
    with pytest.raises(ValueError, match=r"prior='hyperspherical_uniform'.*Received"):
        runs_model.build(dataclasses.replace(recipe, posterior="power_spherical"), SHAPE, 1, None)
    with pytest.raises(UsageError, match=r"beta_2.*below 1"):
        Recipe("digits", beta_2=1.0)


@pytest.mark.long_on_jax
def test_the_picture_of_levels_holds_fewer_groups_from_row_to_row(model):
    drawn = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plotting, "image_grid", lambda images, columns, row_names: (images, row_names))
        pictures._write_levels(model, lambda name, figure, caption: drawn.update({name: figure}), 0)
    images, names = drawn["levels.png"]
    assert names == ["all", "top 2", "top 1"]
    rows = np.reshape(images, (3, 10, *SHAPE))
    assert all(np.abs(rows[i] - rows[0]).max(axis=(1, 2, 3)).min() > 1e-4 for i in (1, 2))


def test_two_networks_make_a_vae_and_three_a_hierarchy():
    assert type(composed_of(kv.networks.mlp(SHAPE, 3), seed=0)) is kv.VAE
    vae = composed_of(ladder(SHAPE, 3, ((4, 2),), widths=(4,)), posterior="iaf:widths=[4]", seed=0)
    assert type(vae) is kv.HierarchicalVAE and [q.spec for q in vae.posterior] == ["iaf:widths=[4]", "residual_normal"]


@pytest.mark.parametrize(
    ("shape", "top", "groups", "shapes"),
    [
        ((28, 28, 1), 5, None, [(5,), (7, 7, 8), (7, 7, 8), (14, 14, 8)]),
        ((27, 10, 3), 5, ((14, 2), (14, 3)), [(5,), (14, 5, 2), (14, 5, 3)]),
        ((16, 16, 1), (4, 4, 5), (), [(4, 4, 5)]),
        ((16, 16, 1), np.array([4, 4, 5]), [[8, 1, 2]], [(4, 4, 5), (8, 8, 1), (8, 8, 1)]),
        ((37, 2), 5, ((10, 2),), [(5,), (10, 2)]),
        ((37, 2), (10, 3), ((19, 2),), [(10, 3), (19, 2)]),
    ],
)
def test_a_ladder_has_the_maps_that_it_is_asked_for(shape, top, groups, shapes):
    encoder, decoder, pairs = ladder(shape, top, groups, widths=(3, 4))
    takers = [*(down for down, _ in pairs), decoder]
    assert [tuple(taker.inputs[-1].shape[1:]) for taker in takers] == shapes
    assert decoder.output_shape == (None, *shape[:-1], 3)
    weights = [v.path for network in (encoder, decoder, *(n for pair in pairs for n in pair)) for v in network.weights]
    assert len(set(weights)) == len(weights)


@pytest.mark.long
@pytest.mark.parametrize("top", [3, (2, 2, 2)])
def test_scales_of_a_normalised_ladder_do_not_grow_from_group_to_group(top):
    def kls(**given):
        keras.utils.set_random_seed(0)
        vae = kv.HierarchicalVAE(*ladder((8, 8, 1), top, ((2, 2, 3), (4, 2, 3)), widths=(8, 8), **given), seed=0)
        rng = np.random.default_rng(1)
        for variable in vae.trainable_variables:
            if "kernel" in variable.path:
                variable.assign(rng.normal(size=variable.shape))
        vae.compile()
        logs = vae.evaluate(binary(8), verbose=0, return_dict=True)
        return np.array([logs[name] for name in vae.kl_names])

    plain, normalised = kls(), kls(normalized=True)
    assert not plain[-1] < 1e12 * plain[0]
    assert max(normalised) < 1e3 * min(normalised)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": ((5, 2),)}, r"height of \[8, 4\]"),
        ({"groups": ((8, 2), (4, 2))}, "may only grow"),
        ({"latent_size": (8, 8, 2), "groups": ((4, 2),)}, "may only grow"),
        ({"latent_size": (4, 5, 2)}, "size of the image's maps"),
        ({"latent_size": (3, 3, 2)}, "height"),
        ({"groups": ((8,),)}, r"\(height, channels, count\)"),
        ({"groups": ((8, 0, 1),)}, "positive integers"),
        ({"groups": (8, 2)}, "positive integers"),
        ({"blocks": 0}, "blocks"),
        ({"latent_size": 0}, "latent_size"),
        ({"image_shape": (16,)}, "image_shape"),
        ({"image_shape": (2, 2, 1)}, "fewer widths"),
    ],
)
def test_ladders_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"(?s){message}.*Received: "):
        ladder(**{"image_shape": (16, 16, 1)} | arguments)
