"""Models that encode x and score y: pairs of images."""

import keras
import numpy as np
import own_parts
import pytest
from compositions import digits

import keras_vae as kv

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
LARGE = (digits()[:48] / 255).astype("float32")
SMALL = LARGE.reshape(48, 4, 2, 4, 2, 1).mean((2, 4))
NOISY = LARGE + np.random.default_rng(0).normal(0, 0.3, LARGE.shape).astype("float32")


def paired(x_shape=(8, 8, 1), y_shape=(8, 8, 1), **given):
    keras.utils.set_random_seed(0)
    encoder, _ = kv.networks.mlp(x_shape, 3, widths=(8,))
    _, decoder = kv.networks.mlp(y_shape, 3, widths=(8,))
    vae = kv.VAE(encoder, decoder, likelihood="normal:scale=0.3", seed=0, **given)
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae


@pytest.fixture(scope="module")
def enlarging():
    """From 4x4 to 8x8 pixels."""
    vae = paired((4, 4, 1), target="y", target_shape=(8, 8, 1))
    history = vae.fit(SMALL, LARGE, batch_size=16, epochs=2, validation_data=(SMALL[:16], LARGE[:16]), verbose=0)
    assert np.isfinite([history.history["loss"], history.history["val_loss"]]).all()
    return vae


@pytest.mark.long
def test_with_x_for_a_target_it_is_the_plain_model():
    plain, pairs = paired(), paired(target="y")
    losses = [
        vae.fit(LARGE, y, batch_size=16, epochs=2, validation_data=valid, verbose=0).history
        for vae, y, valid in ((plain, None, LARGE), (pairs, LARGE, (LARGE, LARGE)))
    ]
    assert losses[0] == losses[1]
    for weight, other in zip(plain.get_weights(), pairs.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)
    np.testing.assert_array_equal(
        plain.log_prob(LARGE, samples=3, seed=0), pairs.log_prob(LARGE, y=LARGE, samples=3, seed=0)
    )
    np.testing.assert_array_equal(plain.reconstruct(LARGE), pairs.reconstruct(LARGE))
    noisy = paired(target="y")
    assert np.isfinite(noisy.fit(NOISY, LARGE, verbose=0).history["loss"]).all()


def test_what_comes_out_are_targets(enlarging):
    assert enlarging.target_shape == (8, 8, 1) and "targets (8, 8, 1)" in repr(enlarging)
    assert enlarging.reconstruct(SMALL[:3]).shape == (3, 8, 8, 1)
    assert enlarging.predict(SMALL[:3], verbose=0).shape == (3, 8, 8, 1)
    assert enlarging.encode(SMALL[:3]).shape == (3, 3)
    assert enlarging.sample(2, seed=0).shape == (2, 8, 8, 1)
    ours = enlarging.log_prob(SMALL[:3], y=LARGE[:3], samples=5, seed=0)
    assert ours.shape == (3,) and (ours != enlarging.log_prob(SMALL[:3], y=LARGE[3:6], samples=5, seed=0)).all()


def test_streams(enlarging):
    expected = enlarging.evaluate(SMALL, LARGE, batch_size=16, verbose=0)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return SMALL[16 * index :][:16], LARGE[16 * index :][:16]

    np.testing.assert_allclose(enlarging.evaluate(Batches(), verbose=0), expected, rtol=1e-5)
    assert np.isfinite(enlarging.train_on_batch(SMALL[:4], LARGE[:4], return_dict=True)["loss"])
    if ON_TENSORFLOW:
        import tensorflow as tf

        stream = tf.data.Dataset.from_tensor_slices((SMALL, LARGE)).batch(16)
        assert np.isfinite(enlarging.fit(stream, verbose=0).history["loss"]).all()
        with pytest.raises(ValueError, match=r"\(N, 8, 8, 1\)"):
            enlarging.fit(stream.map(lambda x, y: (x, x)), verbose=0)
        with pytest.raises(ValueError, match="scores targets"):
            enlarging.fit(stream.map(lambda x, y: x), verbose=0)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (SMALL, None, "scores targets, not x"),
        (SMALL, SMALL, r"\(N, 8, 8, 1\)"),
        (LARGE, LARGE, r"\(N, 4, 4, 1\)"),
        (SMALL, LARGE[:7], "a target for each of 48"),
        (SMALL, LARGE + np.inf, "infinite"),
        (SMALL + np.nan, LARGE, "NaN"),
    ],
)
def test_what_is_no_pair_is_refused(enlarging, x, y, said):
    for use in (enlarging.fit, enlarging.evaluate, lambda x, y: enlarging.log_prob(x, y=y)):
        with pytest.raises(ValueError, match=f"(?s){said}.*Received"):
            use(x, y)


def test_what_has_no_meaning_is_refused(enlarging):
    with pytest.raises(ValueError, match=r"leave out y.*Received"):
        enlarging.reconstruct(SMALL, LARGE)
    with pytest.raises(ValueError, match=r"no target.*Received"):
        enlarging.impute(SMALL)
    with pytest.raises(ValueError, match="class_weight"):
        enlarging.fit(SMALL, LARGE, class_weight={0: 1.0}, verbose=0)
    with pytest.raises(ValueError, match="of the same shape alone"):
        kv.callbacks.ReconstructionGrid("pictures", SMALL).check(enlarging)
    with pytest.raises(ValueError, match="Unknown target"):
        paired(target="z")
    with pytest.raises(ValueError, match="target='y'"):
        paired(target_shape=(8, 8, 1))
    feed = kv.feed.ArrayFeed(SMALL, LARGE, flip=True)
    with pytest.raises(ValueError, match="flip and binarise both"):
        enlarging.fit(feed, verbose=0)
    with pytest.raises(ValueError, match="one or the other"):
        kv.VAE(*own_parts.conditional_mlp((8, 8, 1), 3), target="y")


def test_files(enlarging, tmp_path):
    enlarging.save(tmp_path / "vae.keras")
    enlarging.save_to_preset(tmp_path / "preset")
    for loaded in (keras.saving.load_model(tmp_path / "vae.keras"), kv.VAE.from_preset(tmp_path / "preset")):
        assert (loaded.target, loaded.target_shape) == ("y", (8, 8, 1))
        np.testing.assert_array_equal(loaded.reconstruct(SMALL[:3]), enlarging.reconstruct(SMALL[:3]))
    if ON_TENSORFLOW:
        import tensorflow as tf

        enlarging.export(str(tmp_path / "served"))
        served = tf.saved_model.load(str(tmp_path / "served"))
        np.testing.assert_allclose(
            np.array(served.serve(SMALL[:3])), enlarging.reconstruct(SMALL[:3]), rtol=1e-4, atol=1e-4
        )
        log_prob = served.log_prob(SMALL[:3], LARGE[:3], tf.constant(20), tf.constant(5))
        expected = enlarging.log_prob(SMALL[:3], y=LARGE[:3], samples=20)
        np.testing.assert_allclose(np.array(log_prob), expected, atol=5)


def test_missing_and_noise_go_with_pairs():
    vae = paired(target="y", missing=True, corruption="masking:rate=0.5,value=none")
    holed = np.where(np.random.default_rng(0).random(LARGE.shape) < 0.3, np.nan, LARGE).astype("float32")
    assert np.isfinite(vae.fit(holed, holed, verbose=0).history["loss"]).all()
    assert np.isfinite(vae.reconstruct(holed)).all()


def test_a_stream_of_pairs_is_encoded(enlarging):
    def batches():
        return ((SMALL[i : i + 8], LARGE[i : i + 8]) for i in (0, 8))

    for name in ("encode", "reconstruct"):
        found = np.concatenate(list(getattr(enlarging, name)(batches())))
        np.testing.assert_allclose(found, getattr(enlarging, name)(SMALL[:16]), rtol=1e-5, atol=1e-6)
