"""Numbers in any units, standardised by the model: against the model of numbers that were standardised before."""

import keras
import numpy as np
import pytest
from scipy import stats

import keras_vae as kv
from keras_vae.backend import seed_pair
from keras_vae.parts import soft_clip_inverse

RNG = np.random.default_rng(0)
LOC, SCALE = np.array([300.0, -2e4, 0.01]), np.array([5.0, 300.0, 1e-3])
# Columns with something in common.
X = (LOC + SCALE * (RNG.normal(size=(96, 1)) * [1, -1, 0.5] + 0.3 * RNG.normal(size=(96, 3)))).astype("float32")
SERIES = np.stack([X[i : i + 7] for i in range(48)])


def made(likelihood, x=X, **given):
    vae = kv.VAE(*kv.networks.mlp(x.shape[1:], 2, widths=(8,)), likelihood=likelihood, seed=0, **given)
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae


def moments(x):
    axes = tuple(range(x.ndim - 1))
    return np.nanmean(x, axes, dtype="float64"), np.nanstd(x, axes, dtype="float64")


@pytest.mark.parametrize(
    ("of", "x"),
    [
        pytest.param("normal", X, id="row"),
        pytest.param("normal:optimal", X, id="batch", marks=pytest.mark.long),
        pytest.param("student_t:freedom=3.0", SERIES, id="series", marks=pytest.mark.long),
    ],
)
def test_it_is_the_likelihood_of_standardised_data_in_the_units_of_the_data(of, x):
    vae, plain = made(f"standardized:of={of.replace(':', '(') + ')' * (':' in of)}", x), made(of, x)
    before = [np.array(v) for v in vae.trainable_variables]
    for variable, value in zip(plain.trainable_variables, before, strict=True):
        variable.assign(value)
    loc, scale = moments(x)
    seen = ((x - loc) / scale).astype("float32")
    losses = [
        vae_.fit(x_, batch_size=24, epochs=2, verbose=0).history["loss"] for vae_, x_ in ((vae, x), (plain, seen))
    ]
    units = np.log(scale).sum() * x[0].size / len(scale)
    np.testing.assert_allclose(np.array(losses[0]) - units, losses[1], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(vae.log_prob(x[:5], 20, seed=1) + units, plain.log_prob(seen[:5], 20, seed=1), atol=0.05)
    for use in (lambda m, x: m.reconstruct(x[:5]), lambda m, _: m.sample(5, seed=1), lambda m, _: m.draw(5, seed=1)):
        np.testing.assert_allclose((use(vae, x) - loc) / scale, use(plain, seen), atol=0.05)


def test_what_is_missing_is_left_out_and_filled_in_in_its_units():
    holes = np.where(RNG.random(X.shape) < 0.3, np.nan, X).astype("float32")
    vae = made("standardized", holes, missing=True)
    vae.fit(holes, epochs=2, verbose=0)
    for found, expected in zip((vae.likelihood.loc, vae.likelihood.scale), moments(holes), strict=True):
        np.testing.assert_allclose(np.array(found), expected, rtol=1e-4)
    filled = vae.impute(holes, samples=10, seed=0)
    # A mask says the same.
    masked = np.ma.masked_array(np.nan_to_num(holes, nan=-999.0), np.isnan(holes))
    np.testing.assert_array_equal(vae.impute(masked, samples=10, seed=0), filled)
    assert np.abs((filled - LOC) / SCALE).max() < 6
    np.testing.assert_array_equal(filled[~np.isnan(holes)], holes[~np.isnan(holes)])


def test_units_are_those_of_the_first_array_and_stay(tmp_path):
    vae = made("standardized")
    with pytest.raises(ValueError, match=r"see\(x\).*Received: a stream"):
        vae.fit((X[:8] for _ in range(3)), steps_per_epoch=2, verbose=0)
    vae.likelihood.see(X)
    vae.fit((X[:8] for _ in range(3)), steps_per_epoch=2, verbose=0)
    vae.fit(X + SCALE.astype("float32"), verbose=0)
    np.testing.assert_allclose(np.array(vae.likelihood.loc), moments(X)[0], rtol=1e-5)
    vae.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.log_prob(X[:3], 5, seed=0), vae.log_prob(X[:3], 5, seed=0))
    with pytest.raises(ValueError, match="other units"):
        loaded.log_prob(1e4 * X[:3], 5)


def test_what_does_not_fit_is_said():
    with pytest.warns(UserWarning, match="1 of 3 columns with one value, the first number 1"):
        made("standardized").likelihood.see(np.where([False, True, False], 7.0, X))
    with pytest.raises(ValueError, match=r"real numbers.*Received: of='bernoulli'"):
        kv.likelihoods.Standardized("bernoulli")
    with pytest.raises(ValueError, match="standardized"):
        made("normal").fit(X, verbose=0)


def test_what_is_far_from_0_is_no_constant():
    far = 1.7e9 + 1000 * RNG.normal(size=(60, 3))
    with pytest.raises(ValueError, match=r"so far from 0.*Received: mean 1\.7.*deviation 1?.* in column 0"):
        made("standardized").fit(far, verbose=0)
    made("standardized").likelihood.see(far - far.mean(axis=0))


@pytest.mark.parametrize("way", ["weights", "transfer", "set"])
def test_units_come_with_weights(way, tmp_path):
    taught, vae = made("standardized"), made("standardized")
    taught.fit(X, epochs=2, verbose=0)
    if way == "weights":
        taught.save_weights(tmp_path / "m.weights.h5")
        vae.load_weights(tmp_path / "m.weights.h5")
    elif way == "set":
        vae.set_weights(taught.get_weights())
    else:
        assert kv.take_weights(vae, taught) == []
    vae.compile(keras.optimizers.SGD(0.0))
    before = vae.log_prob(X, 5, seed=0)
    vae.fit(X + 3 * SCALE.astype("float32"), verbose=0)
    np.testing.assert_array_equal(vae.log_prob(X, 5, seed=0), before)


def test_noise_is_in_standard_deviations():
    keras.utils.set_random_seed(0)
    for spec, most in (("gaussian:scale=0.5", 4.5), ("masking:rate=0.5", 3.5), ("salt_and_pepper:rate=0.5", 3.5)):
        vae = made("standardized", corruption=spec)
        vae.likelihood.see(X)
        noisy = vae._corrupted(keras.ops.convert_to_tensor(X), keras.ops.convert_to_tensor(seed_pair(1)))
        seen = np.array(vae.likelihood.network_input(noisy))
        moved = seen - np.array(vae.likelihood.network_input(keras.ops.convert_to_tensor(X)))
        assert np.abs(seen).max() < most and 0.3 < moved.std() < 3
        if spec.startswith("masking"):
            # To the means.
            assert abs(np.mean(np.abs(seen) < 1e-3) - 0.5) < 0.1


def test_x_of_other_units_than_its_targets_is_said():
    y = X[:, :1]
    encoder, _ = kv.networks.mlp((3,), 2, widths=(8,))
    _, decoder = kv.networks.mlp((1,), 2, widths=(8,))
    networks = encoder, decoder
    vae = kv.VAE(*networks, likelihood="standardized", target="y", target_shape=(1,), seed=0)
    vae.compile("adam")
    with pytest.raises(ValueError, match=r"has other columns.*Received: x of shape \(96, 3\), targets \(1,\)"):
        vae.fit(X, y, verbose=0)
    vae = made("standardized", target="y", target_shape=(3,))
    with pytest.warns(UserWarning, match="standardised by the units of the targets"):
        vae.fit(X / 1000, X, verbose=0)


def test_each_column_may_have_a_scale_of_its_own():
    likelihood = kv.likelihoods.Normal("per_column")
    likelihood.build((5,), (2, 3))
    scale = np.array([0.1, 1.0, 5.0])
    likelihood.log_scale.assign(soft_clip_inverse(np.log(scale), -7.0, 7.0))
    features, x = RNG.normal(size=(1, 4, 5)).astype("float32"), RNG.normal(size=(4, 2, 3)).astype("float32")
    distribution = likelihood.distribution(keras.ops.convert_to_tensor(features))
    expected = stats.norm(np.array(distribution.mean()), scale).logpdf(x).sum(axis=(-2, -1))
    np.testing.assert_allclose(np.array(distribution.log_prob(x)), expected, rtol=1e-4)
