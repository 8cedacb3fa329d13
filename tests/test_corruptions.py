"""Denoising: x is corrupted before it is encoded, in training alone."""

import keras
import numpy as np
import pytest
from compositions import BY_NAME, digits
from keras import ops

import keras_vae as kv

SHAPE = (8, 8, 1)
BINARY = BY_NAME["bernoulli"].images()
# Enough that shares and moments are right to a hundredth.
X = np.full((64, 30, 30, 1), 0.25, dtype="float32")
SEED = kv.backend.seed_pair(3)


def corrupted(spec, x=X, seed=SEED, data="unit interval"):
    return np.array(kv.corruptions.get(spec).corrupted(ops.convert_to_tensor(x), seed, data))


def test_corruptions_are_what_they_say():
    noise = corrupted("gaussian:scale=0.3") - X
    assert noise.mean() == pytest.approx(0, abs=0.01) and noise.std() == pytest.approx(0.3, abs=0.01)
    assert np.abs(np.corrcoef(noise.reshape(64, -1)[:2])[0, 1]) < 0.1
    masked = corrupted("masking:rate=0.3")
    assert set(np.unique(masked)) == {0.0, 0.25}
    assert (masked == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert np.isnan(corrupted("masking:rate=0.3,value=none")).mean() == pytest.approx(0.3, abs=0.01)
    salted = corrupted("salt_and_pepper:rate=0.1")
    assert set(np.unique(salted)) == {0.0, 0.25, 1.0}
    for value in (0, 1):
        assert (salted == value).mean() == pytest.approx(0.05, abs=0.005)
    assert set(np.unique(corrupted("salt_and_pepper:rate=0.5,low=-2,high=2"))) == {-2.0, 0.25, 2.0}


def test_levels_have_noise_of_their_own_range():
    levels = corrupted("gaussian:scale=0.1", X * 400, data="8-bit levels") - X * 400
    assert levels.std() == pytest.approx(25.5, abs=0.5)
    assert set(np.unique(corrupted("salt_and_pepper", X * 400, data="8-bit levels"))) == {0.0, 100.0, 255.0}


@pytest.mark.parametrize("spec", ["gaussian", "masking", "salt_and_pepper"])
def test_noise_is_that_of_its_seed(spec):
    np.testing.assert_array_equal(corrupted(spec), corrupted(spec))
    assert (corrupted(spec) != corrupted(spec, seed=kv.backend.seed_pair(4))).any()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("masking:rate=1.5", "at most 1"),
        ("gaussian:scale=-1", "at least 0"),
        ("gausian", "Did you mean 'gaussian'"),
        ("masking:value=none", "missing=True"),
    ],
)
def test_what_cannot_be_meant_is_refused(spec, said):
    with pytest.raises(ValueError, match=f"{said}.*Received"):
        kv.VAE(*kv.networks.mlp(SHAPE, 2, widths=(4,)), corruption=spec)


def test_counts_are_masked_alone():
    networks = kv.networks.mlp(SHAPE, 2, widths=(4,))
    with pytest.raises(ValueError, match=r"Counts.*'masking'.*Received: <Gaussian gaussian>"):
        kv.VAE(*networks, likelihood="poisson", corruption="gaussian")
    vae = kv.VAE(*networks, likelihood="poisson", corruption="masking")
    with pytest.raises(ValueError, match="Counts"):
        vae.corruption = "salt_and_pepper"


def made(corruption, networks=None):
    keras.utils.set_random_seed(0)
    networks = kv.networks.mlp(SHAPE, 3, widths=(8,)) if networks is None else networks
    vae = kv.VAE(*networks, corruption=corruption, seed=0)
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae


@pytest.mark.long_on_jax
def test_the_clean_image_is_scored_and_noise_is_of_training_alone():
    vae, other = made("masking:rate=1"), made(None)
    inferences = [m.infer(ops.convert_to_tensor(BINARY), training=True, seed=SEED) for m in (vae, other)]
    np.testing.assert_array_equal(np.array(inferences[0].x), BINARY)
    np.testing.assert_array_equal(np.array(inferences[0].seen), np.zeros_like(BINARY))
    black = other.infer(ops.zeros_like(BINARY), seed=SEED)
    for ours, theirs in ((inferences[0], black), (inferences[1], inferences[1])):
        np.testing.assert_allclose(np.array(ours.kl), np.array(theirs.kl), rtol=1e-6)
    np.testing.assert_allclose(
        np.array(inferences[0].log_likelihood), np.array(other.infer(black.x, seed=SEED).observe(black.features)
                                                         .log_prob(BINARY)), rtol=1e-5)  # fmt: skip
    # Nothing but training is corrupted, and no state of a seed is moved by it.
    np.testing.assert_array_equal(vae.log_prob(BINARY, samples=3, seed=0), other.log_prob(BINARY, samples=3, seed=0))
    assert vae.evaluate(BINARY, verbose=0) == other.evaluate(BINARY, verbose=0)
    states = [np.array(v) for v in vae.non_trainable_variables]
    vae.infer(ops.convert_to_tensor(BINARY), training=True, seed=SEED)
    for before, after in zip(states, vae.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(before, np.array(after))


@pytest.mark.long
def test_a_layer_of_ones_own_and_what_is_set_later(tmp_path):
    vae = made(keras.layers.GaussianNoise(0.5, seed=1))
    losses = [vae.fit(BINARY, epochs=1, verbose=0, shuffle=False).history["loss"][0]]
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert isinstance(loaded.corruption, keras.layers.GaussianNoise) and loaded.corruption.stddev == 0.5
    vae.corruption = "masking:rate=0.9"
    assert vae.corruption.rate == 0.9 and "corrupted by masking:rate=0.9" in repr(vae)
    losses.append(vae.fit(BINARY, epochs=1, verbose=0).history["loss"][0])
    vae.corruption.rate = 0.1
    losses.append(vae.fit(BINARY, epochs=1, verbose=0).history["loss"][0])
    vae.corruption = None
    losses.append(vae.fit(BINARY, epochs=1, verbose=0).history["loss"][0])
    assert np.isfinite(losses).all()
    with pytest.raises(ValueError, match=r"keeps its shape.*Received"):
        made(keras.layers.Flatten())


def test_it_is_saved_and_there_is_a_variant(tmp_path):
    vae = kv.variants.get("denoising")(SHAPE, 3, seed=0, network="mlp:widths=[4]", rate=0.2)
    assert vae.corruption.spec == "masking:rate=0.2"
    vae.save_to_preset(tmp_path)
    assert kv.VAE.from_preset(tmp_path).corruption.spec == vae.corruption.spec
    ladder = kv.HierarchicalVAE(*kv.networks.ladder(SHAPE, 2, ((2, 1, 1),), widths=(2, 2)), corruption="gaussian")
    assert kv.HierarchicalVAE.from_config(ladder.get_config()).corruption.spec == "gaussian"
    # What a plain model writes is as it was.
    assert not {"corruption", "missing", "target", "target_shape"} & set(made(None).get_config())


def test_levels_are_denoised_in_their_units():
    keras.utils.set_random_seed(0)
    vae = kv.VAE(*kv.networks.mlp(SHAPE, 2, widths=(4,)), likelihood="discretized_logistic", corruption="gaussian")
    x = ops.convert_to_tensor(digits()[:16], "float32")
    seen = np.array(vae.infer(x, training=True, seed=SEED).seen)
    assert (seen - digits()[:16]).std() == pytest.approx(0.3 * 255, rel=0.1)


def test_noise_is_for_numbers_of_a_table_alone():
    columns = [{"name": "a", "kind": "normal", "loc": 0.0, "scale": 1.0}, {"name": "n", "kind": "counts"}]
    likelihood = kv.likelihoods.Columns(columns)
    with pytest.raises(ValueError, match="Columns that are counts hold whole numbers"):
        kv.VAE(*kv.networks.mlp((2,), 2, widths=(4,)), likelihood=likelihood, corruption="gaussian")
    for kinds, corruption in ((columns[:1], "gaussian"), (columns, "masking")):
        networks = kv.networks.mlp((len(kinds),), 2, widths=(4,))
        kv.VAE(*networks, likelihood=kv.likelihoods.Columns(kinds), corruption=corruption)
