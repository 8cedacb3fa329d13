"""Elements that are missing: scored is what is there, and the rest can be filled in."""

import keras
import numpy as np
import pytest
from compositions import BY_NAME, digits, holed
from keras import layers, ops
from scipy import stats

import keras_vae as kv
from keras_vae import distributions

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
SHAPE = (8, 8, 1)
BINARY = BY_NAME["bernoulli"].images()
HOLED = holed(BINARY)
# Those of which p(x|z) is a product over the elements.
PRODUCTS = (
    "bernoulli",
    "soft_bernoulli",
    "continuous_bernoulli",
    "normal",
    "normal_per_pixel",
    "laplace",
    "student_t",
    "log_cosh",
    "beta",
    "discretized_logistic",
    "logistic_mixture",
    "categorical",
    "poisson",
    "negative_binomial",
    "from_function",
)
REFUSED = {
    "normal:optimal": SHAPE,
    "poisson:offset=true": SHAPE,
    "multinomial": SHAPE,
    "ms_ssim": SHAPE,
    "perceptual": SHAPE,
    "discretized_logistic_mixture:components=2": (8, 8, 3),
}


def built(name):
    """A likelihood of the list, built, and images as it sees them."""
    likelihood = BY_NAME[name].likelihood()
    likelihood.build((5,), SHAPE)
    return likelihood, np.asarray(BY_NAME[name].images(3), dtype="float32")


@pytest.mark.parametrize("name", PRODUCTS)
def test_what_is_there_is_scored_and_nothing_else(name):
    likelihood, x = built(name)
    features = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(2, 3, 5)), "float32")
    there = np.random.default_rng(1).random(x.shape) < 0.5
    for training in (False, True):
        whole = likelihood.distribution(features, training=training)
        observed = distributions.Observed(whole)
        assert distributions.is_product(whole) and distributions.whole(observed) is whole
        # To the last bit.
        np.testing.assert_array_equal(np.array(observed.log_prob(x)), np.array(whole.log_prob(x)))
        assert (np.array(observed.log_prob(np.full_like(x, np.nan))) == 0).all()
        parts = [np.array(observed.log_prob(np.where(chosen, x, np.nan))) for chosen in (there, ~there)]
        assert all((part != 0).all() for part in parts)
        np.testing.assert_allclose(sum(parts), np.array(whole.log_prob(x)), rtol=1e-5, atol=1e-4)


def test_a_normal_of_what_is_there_is_scipys():
    likelihood, x = built("normal")
    features = ops.zeros((1, 3, 5))
    x[:, 2:5] = np.nan
    expected = np.nansum(stats.norm.logpdf(x, 0.0, 0.5), axis=(1, 2, 3))
    found = np.array(distributions.Observed(likelihood.distribution(features)).log_prob(x))
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


@pytest.mark.parametrize("spec", REFUSED)
def test_likelihoods_that_are_no_products_are_refused(spec):
    with pytest.raises(ValueError, match=f"(?s)may be missing where.*Received: likelihood='{spec.partition(':')[0]}"):
        kv.VAE(*kv.networks.mlp(REFUSED[spec], 2, widths=(4,)), likelihood=spec, missing=True)


def test_objectives_that_look_at_images_are_refused():
    networks = kv.networks.mlp(SHAPE, 2, widths=(4,))
    with pytest.raises(ValueError, match=r"whole images.*Received: objective='vae_gan"):
        kv.VAE(*networks, likelihood="normal", objective="vae_gan", missing=True)
    vae = kv.VAE(*networks, likelihood="normal", missing=True)
    with pytest.raises(ValueError, match="may be missing where"):
        vae.likelihood = "normal:optimal"
    with pytest.raises(ValueError, match="decided when it is made"):
        vae.missing = False


def plain(missing=False, networks=None, **given):
    keras.utils.set_random_seed(0)
    networks = kv.networks.mlp(SHAPE, 3, widths=(8,)) if networks is None else networks
    vae = kv.VAE(*networks, seed=0, missing=missing, **given)
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae


@pytest.mark.long_on_jax
def test_a_model_of_full_images_is_the_plain_one():
    models = [plain(missing) for missing in (False, True)]
    losses = [vae.fit(BINARY, batch_size=16, epochs=2, verbose=0).history["loss"] for vae in models]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)
    for weight, other in zip(*(vae.get_weights() for vae in models), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-4, atol=1e-6)
    models[1].set_weights(models[0].get_weights())
    a, b = (vae.log_prob(BINARY, samples=5, seed=0) for vae in models)
    # The same operations; XLA on JAX may sum them in another order.
    (np.testing.assert_array_equal if ON_TENSORFLOW else np.testing.assert_allclose)(b, a)
    np.testing.assert_array_equal(models[1].impute(BINARY, samples=2), BINARY)


@pytest.fixture(scope="module")
def linear():
    """x = W z + b + noise of scale s, z ~ N(0, I), with q(z|x) wider than the posterior; W, b, s."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    decoder = keras.Sequential([keras.Input((2,)), layers.Identity()])
    vae = kv.VAE(encoder, decoder, likelihood="normal:scale=0.5", missing=True, seed=0)
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(4, 2)), rng.normal(size=4)
    vae.likelihood.head.dense.kernel.assign(weights.T)
    vae.likelihood.head.dense.bias.assign(bias)
    # N(0, 1.5^2), whatever x is.
    vae.posterior.head.dense.kernel.assign(np.zeros((3, 4)))
    vae.posterior.head.dense.bias.assign([0, 2 * np.log(1.5)] * 2)
    return vae, weights, bias, 0.5


@pytest.fixture(scope="module")
def rows():
    x = np.random.default_rng(1).normal(size=(6, 4)).astype("float32")
    x[0, 0] = x[1, :2] = x[2, 1:] = x[3, ::2] = x[4] = np.nan
    return x


def test_log_prob_of_what_is_there_is_the_exact_marginal(linear, rows):
    vae, weights, bias, scale = linear
    covariance = weights @ weights.T + scale**2 * np.eye(4)
    there = ~np.isnan(rows)
    exact = [stats.multivariate_normal(bias[t], covariance[np.ix_(t, t)]).logpdf(x[t]) if t.any() else 0.0
             for x, t in zip(rows, there, strict=True)]  # fmt: skip
    found = vae.log_prob(rows, samples=20000, seed=0)
    np.testing.assert_allclose(found, exact, atol=0.1)
    assert vae.log_prob(rows[4:5], samples=10, seed=0) != 0  # an estimate by samples of q(z|x), which is no prior


def conditional(linear, x):
    """Mean and covariance of what is missing of a row, given what is there, in closed form."""
    _, weights, bias, scale = linear
    covariance = weights @ weights.T + scale**2 * np.eye(4)
    there = ~np.isnan(x)
    gain = covariance[np.ix_(~there, there)] @ np.linalg.inv(covariance[np.ix_(there, there)])
    return bias[~there] + gain @ (x - bias)[there], covariance[np.ix_(~there, ~there)] - gain @ covariance[
        np.ix_(there, ~there)
    ]


@pytest.mark.long_on_jax
def test_imputed_means_and_draws_are_those_given_what_is_there(linear, rows):
    vae = linear[0]
    filled = vae.impute(rows, samples=20000, seed=0)
    drawn = vae.impute(rows[1:2], samples=20000, draws=2000, seed=0)
    np.testing.assert_array_equal(filled[~np.isnan(rows)], rows[~np.isnan(rows)])
    for x, row in zip(rows, filled, strict=True):
        np.testing.assert_allclose(row[np.isnan(x)], conditional(linear, x)[0], atol=0.15)
    mean, covariance = conditional(linear, rows[1])
    assert drawn.shape == (2000, 1, 4)
    missing = drawn[:, 0, :2]
    np.testing.assert_allclose(missing.mean(0), mean, atol=0.15)
    np.testing.assert_allclose(np.cov(missing.T), covariance, atol=0.25)
    # No neighbour and no cut changes a number.
    np.testing.assert_array_equal(vae.impute(rows, samples=20000, seed=0)[1], filled[1])
    np.testing.assert_allclose(vae.impute(rows[1:2], samples=20000, seed=0, keys=[1])[0], filled[1], rtol=1e-5)


@pytest.fixture(scope="module")
def trained():
    vae = plain(True, kv.networks.mlp(SHAPE, 3, widths=(16,), missing=True), objective="iwae:3")
    history = vae.fit(HOLED, batch_size=16, epochs=2, validation_data=HOLED[:16], verbose=0).history
    assert np.isfinite([value for values in history.values() for value in values]).all()
    return vae


def test_an_encoder_sees_zeros_and_a_mask(trained):
    (seen, shape), (mask, _) = trained.network_inputs(ops.convert_to_tensor(HOLED))
    assert shape == SHAPE
    np.testing.assert_array_equal(np.array(seen), np.nan_to_num(HOLED))
    np.testing.assert_array_equal(np.array(mask), ~np.isnan(HOLED))
    # In the units of networks.
    levels = plain(True, likelihood="discretized_logistic")
    x = holed(digits()[:4].astype("float32"))
    ((seen, _),) = levels.network_inputs(ops.convert_to_tensor(x))
    np.testing.assert_allclose(np.array(seen), np.nan_to_num(x / 127.5 - 1), atol=1e-6)
    blank = HOLED.copy()
    blank[:2] = np.nan
    assert np.isfinite(trained.encode(blank)).all() and np.isfinite(trained.reconstruct(blank)).all()
    assert np.isfinite(trained.predict(blank, verbose=0)).all()


def test_an_image_of_which_nothing_is_there_has_all_the_probability(trained):
    x = np.full((2, *SHAPE), np.nan, dtype="float32")
    inference = trained.infer(x, samples=4, seed=kv.backend.seed_pair(0))
    assert (np.array(inference.log_likelihood) == 0).all()
    # With q(z|x) = p(z), as a better one would be, it is so to the last digit.
    standard = plain(True)
    standard.posterior.head.dense.kernel.assign(np.zeros(standard.posterior.head.dense.kernel.shape))
    np.testing.assert_allclose(standard.log_prob(x, samples=3, seed=0), 0, atol=1e-6)


def test_streams_and_reloading(trained, tmp_path):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return (HOLED[16 * index :][:16],)

    expected = trained.evaluate(HOLED, batch_size=16, verbose=0)
    np.testing.assert_allclose(trained.evaluate(Batches(), verbose=0), expected, rtol=1e-5)
    if ON_TENSORFLOW:
        import tensorflow as tf

        stream = tf.data.Dataset.from_tensor_slices(HOLED).batch(16)
        np.testing.assert_allclose(trained.evaluate(stream, verbose=0), expected, rtol=1e-5)
    trained.save(tmp_path / "vae.keras")
    trained.save_to_preset(tmp_path / "preset")
    for loaded in (keras.saving.load_model(tmp_path / "vae.keras"), kv.VAE.from_preset(tmp_path / "preset")):
        assert loaded.missing and "NaN is missing" in repr(loaded)
        np.testing.assert_array_equal(loaded.impute(HOLED[:4], seed=0), trained.impute(HOLED[:4], seed=0))


def test_nan_is_refused_where_it_has_no_meaning(trained):
    vae = plain()
    for use in (vae.fit, vae.evaluate, vae.log_prob, vae.encode):
        with pytest.raises(ValueError, match=r"NaN.*missing=True.*Received"):
            use(HOLED)
    with pytest.raises(ValueError, match=r"missing=True.*Received: missing=False"):
        vae.impute(BINARY)
    infinite = HOLED.copy()
    infinite[1, 0, 0, 0] = np.inf
    with pytest.raises(ValueError, match=r"infinite values.*at index \(1, 0, 0, 0\)"):
        trained.encode(infinite)
    with pytest.raises(ValueError, match="binarise"):
        trained.encode(HOLED * 255)


@pytest.mark.long_on_jax
def test_other_models_take_what_is_missing():
    networks = kv.networks.ladder(SHAPE, 2, ((2, 1, 1),), widths=(2, 2), missing=True)
    ladder = kv.HierarchicalVAE(*networks, missing=True, seed=0)
    assert np.isfinite(ladder.impute(HOLED[:2], samples=3, seed=0)).all()
    assert kv.HierarchicalVAE.from_config(ladder.get_config()).missing
    vamp = plain(True, kv.networks.mlp(SHAPE, 3, widths=(4,), missing=True), prior="vamp:components=2")
    assert np.isfinite(vamp.log_prob(HOLED[:2], samples=2)).all()
    image, mask, label = keras.Input(SHAPE), keras.Input(SHAPE), keras.Input((2,))
    joined = layers.Concatenate()([*map(layers.Flatten(), (image, mask)), label])
    encoder = keras.Model([image, mask, label], layers.Dense(4)(joined))
    labelled = kv.VAE(encoder, kv.networks.mlp(SHAPE, 3, widths=(4,))[1], missing=True, seed=0)
    assert labelled.label_shape == (2,)
    assert np.isfinite(labelled.impute(HOLED[:2], samples=2, y=np.eye(2))).all()


def test_variants_take_what_is_missing_with_labels_too():
    vae = kv.variants.get("conditional")(SHAPE, 3, network="conv:widths=[2]", label_shape=2, missing=True, seed=0)
    assert [tuple(i.shape[1:]) for i in vae.encoder.inputs] == [SHAPE, SHAPE, (2,)]
    x, y = map(ops.convert_to_tensor, (HOLED[:2], np.eye(2, dtype="float32")))
    found = vae.infer(x, y, seed=kv.backend.seed_pair(0))
    there = ~np.isnan(HOLED[:2])
    seen = [np.where(there, HOLED[:2], 0), there.astype("float32"), np.array(y)]
    expected = vae.posterior.distribution(vae.encoder(list(map(ops.convert_to_tensor, seen)))).mean()
    np.testing.assert_allclose(*map(np.array, (found.latents[0].posterior.mean(), expected)), rtol=1e-5, atol=1e-6)
    assert not np.isnan(vae.reconstruct(HOLED[:2], np.array(y))).any()
    with pytest.raises(ValueError, match="takes whole images"):
        kv.variants.get("m2")(SHAPE, 3, classes=10, missing=True)


def grey(**parts):
    keras.utils.set_random_seed(0)
    networks = kv.networks.mlp(SHAPE, 3, widths=(8,), missing=not parts.get("target"))
    vae = kv.VAE(*networks, likelihood="normal", missing=True, seed=0, **parts)
    vae.compile(keras.optimizers.SGD(1e-3))
    return vae


def masked_and_nan():
    x = (digits()[:32] / 255).astype("float32")
    mask = np.random.default_rng(0).uniform(size=x.shape) < 0.5
    return x, np.ma.masked_array(np.where(mask, 0.77, x), mask=mask), np.where(mask, np.float32(np.nan), x)


def test_what_is_masked_is_missing_wherever_it_is_given():
    x, masked, nan = masked_and_nan()
    vae, of_targets = grey(), grey(target="y")
    uses = {
        "array": lambda a: vae.evaluate(a, verbose=0),
        "generator": lambda a: vae.evaluate(((a[i : i + 16],) for i in (0, 16)), steps=2, verbose=0),
        "interpolate": lambda a: vae.interpolate(a[0], a[1], steps=3),
        "neighbourhood": lambda a: vae.sample(4, sampler=kv.samplers.Neighbourhood(a, scale=0.0), seed=0),
        "picture": lambda a: vae.reconstruct(kv.callbacks.ReconstructionGrid("unused", a[:4]).images),
        "split": lambda a: grey(target="y").fit(x, a, validation_split=0.25, verbose=0).history["loss"],
        "targets": lambda a: of_targets.evaluate(x, a, verbose=0),
    }
    for name, use in uses.items():
        np.testing.assert_array_equal(use(masked), use(nan), err_msg=name)


def test_labels_as_large_as_x_are_no_mask():
    encoder, decoder = kv.networks.labelled(*kv.networks.mlp(SHAPE, 3, widths=(8,)), label_shape=SHAPE)
    with pytest.raises(ValueError, match=r"give the encoder both, \[x, mask, y\]"):
        kv.VAE(encoder, decoder, missing=True)
    with_mask = kv.networks.labelled(*kv.networks.mlp(SHAPE, 3, widths=(8,), missing=True), label_shape=SHAPE)
    vae = kv.VAE(*with_mask, missing=True, seed=0)
    y = np.random.default_rng(0).uniform(size=(2, 4, *SHAPE)).astype("float32")
    assert np.abs(vae.encode(BINARY[:4], y[0]) - vae.encode(BINARY[:4], y[1])).max() > 0.01
