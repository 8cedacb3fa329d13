"""Numbers and codes side by side, against each part alone and numpy."""

import keras
import numpy as np
import pytest
from compositions import BY_NAME, digits
from keras import ops
from scipy import special

import keras_vae as kv
from keras_vae.backend import seed_pair, tfd, tfp
from keras_vae.inference import Latent
from keras_vae.runs import model as runs_model
from keras_vae.runs.recipe import Recipe

SHAPE = (8, 8, 1)
X = (digits()[:32] > 127).astype("float32")


def tensor(array):
    return ops.convert_to_tensor(np.asarray(array, dtype="float32"))


@pytest.fixture(scope="module")
def pair():
    """A posterior of two numbers and two codes with its prior, and features of five examples."""
    keras.utils.set_random_seed(0)
    posterior = kv.posteriors.Joint(4, categorical="one_hot:classes=3", count=2)
    posterior.build((6,))
    prior = kv.priors.get("joint:of_numbers=mixture(components=2)", 4, **posterior.suiting)
    prior.build(SHAPE)
    return posterior, prior, tensor(np.random.default_rng(0).normal(size=(5, 6)))


def test_codes_that_there_are_not_are_refused():
    vae, (x, *_) = BY_NAME["joint"].model(), BY_NAME["joint"].data(3)
    z = vae.encode(x)
    for code in (5, -1, 0.5):
        z[:, -1] = code
        with pytest.raises(ValueError, match=r"last 2 must be codes, whole numbers from 0 to 4\. Received: "):
            vae.decode(z)
    z[:, -1] = 4
    vae.decode(z)


def test_the_kl_is_the_sum_of_both_parts(pair):
    posterior, _, features = pair
    q, prior = posterior.distribution(features), kv.priors.JointPrior(4, codes=3, coded=2).distribution()
    z = q.sample(3, seed=seed_pair(0))
    latent = Latent(z, q, prior)
    real, coded = posterior.parts
    raw = np.array(real.head(features), "float64")
    loc, log_variance = raw[..., 0], raw[..., 1]
    continuous = 0.5 * (loc**2 + np.exp(log_variance) - log_variance - 1)
    p = special.softmax(np.reshape(np.array(coded.head(features), "float64"), (5, 2, 3)), axis=-1)
    categorical = np.log(3) + (p * np.log(p)).sum(axis=-1)
    np.testing.assert_allclose(np.array(latent.kl), continuous.sum(axis=-1) + categorical.sum(axis=-1), rtol=1e-4)
    by_unit = np.concatenate([continuous, categorical], axis=-1)
    np.testing.assert_allclose(np.array(latent.unit_kl), by_unit, rtol=1e-4, atol=1e-6)
    assert q.event_shape == prior.event_shape == (4,) and z.shape == (3, 5, 4)


@pytest.mark.long_on_jax
def test_each_part_is_what_it_is_alone(pair):
    posterior, prior, features = pair
    q, p, seed = posterior.distribution(features), prior.distribution(), ops.convert_to_tensor(seed_pair(3))
    real, coded = posterior.parts
    draw = kv.draws.FromPosterior(2, 5, seed)
    z = draw(q, p)
    alone = real.distribution(features)
    numbers = alone.sample(2, seed=seed)
    np.testing.assert_array_equal(z[..., :2], numbers)
    codes = np.array(z)[..., 2:].astype("int32")
    np.testing.assert_array_equal(codes, np.array(z)[..., 2:])
    assert set(codes.ravel()) <= {0, 1, 2}
    expected = alone.log_prob(numbers) + coded.distribution(features).log_prob(codes)
    np.testing.assert_allclose(np.array(q.log_prob(z)), np.array(expected), rtol=1e-5)
    of_prior = prior.parts[0].distribution().log_prob(numbers) - 2 * np.log(3)
    np.testing.assert_allclose(np.array(p.log_prob(z)), np.array(of_prior), rtol=1e-5)
    point = np.array(posterior.point(q))
    np.testing.assert_array_equal(point[:, :2], alone.mean())
    np.testing.assert_array_equal(point[:, 2:], coded.point(coded.distribution(features)))
    # No closed form of a mixture's: samples in its place, and the exact KL of the codes.
    latent = Latent(z, q, p)
    assert latent.kl.shape == (2, 5) and latent.unit_kl is None
    seen = np.array(posterior.embed(z, q))
    assert seen.shape == (2, 5, 8) and posterior.embedding_shape == (8,)
    np.testing.assert_array_equal(seen[..., :2], numbers)
    np.testing.assert_array_equal(seen[..., 2:], np.reshape(np.eye(3)[codes], (2, 5, 6)))
    np.testing.assert_array_equal(posterior.embed(z), seen)
    # Temperature is that of the numbers.
    cold = np.array(prior.distribution(temperature=0.0).sample(50, seed=seed_pair(0)))
    assert len(np.unique(cold[:, 0].round(4))) <= 2 and len(np.unique(cold[:, 2])) == 3


def test_gradients_pass_both_parts(pair):
    posterior, _, features = pair

    def seen(features):
        q = posterior.distribution(features)
        return ops.sum(ops.square(posterior.embed(q.sample(2, seed=seed_pair(0)), q) - 0.3))

    _, slope = tfp.math.value_and_gradient(seen, features)
    assert np.abs(np.array(slope)).min() > 0
    assert posterior.distribution(features).reparameterization_type == tfd.NOT_REPARAMETERIZED


def test_each_kl_has_a_capacity(pair):
    posterior, _, features = pair
    q, prior = posterior.distribution(features), kv.priors.JointPrior(4, codes=3, coded=2).distribution()
    latent = Latent(q.sample(2, seed=seed_pair(0)), q, prior)
    likelihood = tfd.Independent(tfd.Normal(ops.zeros((2, 5, 4)), 1.0), 1)
    inference = kv.inference.Inference(tensor(np.ones((5, 4))), None, likelihood, (latent,), ops.convert_to_tensor(5))
    objective = kv.objectives.JointCapacity(
        continuous_weight="capacity:epsilon=3.0,steps=10,gamma=7.0", categorical_weight="capacity:epsilon=0.5,gamma=2.0"
    )
    terms = objective.terms(inference)
    first, second = (np.array(part.kl, "float64") for part in latent.parts)
    np.testing.assert_allclose(np.array(terms["continuous_kl"]), first, rtol=1e-5)
    np.testing.assert_allclose(np.array(terms["categorical_kl"]), second, rtol=1e-5)
    expected = 7 * abs(first.mean() - 1.5) + 2 * abs(second.mean() - 0.5) - np.array(inference.log_likelihood)[0]
    np.testing.assert_allclose(np.array(terms["loss"]), expected, rtol=1e-4)
    weights = kv.objectives.JointCapacity(continuous_weight=1.0, categorical_weight=1.0).terms(inference)["loss"]
    np.testing.assert_allclose(np.array(weights), np.array(kv.objectives.ELBO().terms(inference)["loss"]), rtol=1e-4)


@pytest.fixture(scope="module")
def fitted():
    vae = kv.variants.get("joint-vae")(SHAPE, 4, network="mlp:widths=[16]", count=2, seed=0)
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae, vae.fit(X, batch_size=16, epochs=2, validation_data=X[:8], verbose=0).history


@pytest.mark.long_on_jax
def test_it_goes_all_the_way(fitted, tmp_path):
    vae, history = fitted
    assert vae.prior.spec == "joint:codes=10,coded=2" and vae.latent_shape == (4,) and vae.latent_dtype == "float32"
    total = np.array(history["continuous_kl"]) + history["categorical_kl"]
    np.testing.assert_allclose(total, history["kl"], rtol=1e-4)
    z = vae.encode(X[:4])
    np.testing.assert_array_equal(z[:, 2:], np.round(z[:, 2:]))
    np.testing.assert_allclose(vae.decode(z), vae.reconstruct(X[:4]), rtol=1e-5, atol=1e-6)
    bound = vae.log_prob(X, samples=200, seed=0).mean()
    assert vae.evaluate(X, verbose=0, return_dict=True)["elbo"] < bound + 0.5
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.sample(4, seed=0), vae.sample(4, seed=0))
    np.testing.assert_array_equal(loaded.log_prob(X[:2], samples=3, seed=0), vae.log_prob(X[:2], samples=3, seed=0))
    # What the decoder sees tells the size.
    networks = kv.networks.mlp(SHAPE, 12, widths=(4,))
    for posterior, size in (("joint", 3), ("joint:categorical=one_hot(classes=4)", 9)):
        assert kv.VAE(*networks, posterior=posterior).posterior.size == size


def test_a_recipe_has_the_prior_that_suits_the_posterior():
    runs_model.check(Recipe("digits", posterior="joint:count=2", prior="joint", objective="joint_capacity"))
    runs_model.check(Recipe("digits", posterior="residual_quantizer", prior="autoregressive_codes"))
    recipe = Recipe("digits", network="mlp:widths=[4]", posterior="joint:count=2", prior="joint", latent_size=5)
    vae = runs_model.build(recipe, SHAPE, 1, None)
    assert vae.prior.spec == "joint:codes=10,coded=2" and vae.latent_shape == (5,)


NETWORKS = kv.networks.mlp(SHAPE, 12, widths=(4,))


def scored(**parts):
    vae = kv.VAE(*NETWORKS, seed=0, **parts)
    return vae.objective.terms(vae.infer(tensor(X)))


JOINT = "joint:categorical=one_hot(classes=4),count=2"
REFUSED = {
    "a map": (lambda: kv.posteriors.Joint((2, 2, 3)), r"needs a latent vector of 2 units"),
    "no numbers": (lambda: kv.posteriors.Joint(2, count=2), r"at least one is a number. Received: 2 of 2 units"),
    "no codes": (lambda: kv.posteriors.Joint(2, count=0), r"must be a whole number of at least 1"),
    "two of numbers": (lambda: kv.posteriors.Joint(3, categorical="point"), r"one of codes, one for each"),
    "two of codes": (lambda: kv.posteriors.Joint(3, continuous="one_hot"), r"a posterior of numbers"),
    "an unknown name": (lambda: kv.posteriors.Joint(3, continuous="normall"), r"Unknown posterior.*normall"),
    "a decoder": (lambda: kv.VAE(*NETWORKS, posterior="joint:count=2"), r"sees 20 numbers of the codes"),
    "other codes": (lambda: kv.VAE(*NETWORKS, posterior=JOINT, prior="joint:codes=5"), r"below 4.*below 5"),
    "a prior of numbers": (lambda: kv.VAE(*NETWORKS, posterior=JOINT, prior="mixture"), r"prior='joint'"),
    "a prior of the encoder": (lambda: kv.VAE(*NETWORKS, posterior=JOINT, prior="vamp"), r"q\(z\|u\)"),
    "a part of the encoder": (
        lambda: kv.VAE(*NETWORKS, posterior=JOINT, prior="joint:of_numbers=vamp"),
        r"made of the encoder",
    ),
    "one kind": (
        lambda: scored(objective="joint_capacity"),
        r"set posterior='joint'",
    ),
    "distances": (
        lambda: scored(posterior=JOINT, objective="mmd"),
        r"real numbers, and not for codes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_meaning_is_refused(case):
    function, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        function()


def test_there_is_no_way_between_codes(fitted):
    vae, _ = fitted
    for function in (
        lambda: vae.interpolate(X[0], X[1]),
        lambda: vae.fit_latent_scale(X),
        lambda: vae.fit_prior(X),
        lambda: vae.sample(2, sampler=kv.samplers.Neighbourhood(X)),
    ):
        with pytest.raises(ValueError, match="Received"):
            function()
