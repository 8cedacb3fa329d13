"""What Keras users expect of a model: every form of data, callbacks, weights of examples, reproducible runs."""

import dataclasses
import functools
import logging

import keras
import numpy as np
import pytest
from compositions import COMPOSITIONS, digits

import keras_vae as kv
from keras_vae.parts import policy_scope
from keras_vae.training import execution
from keras_vae.training.stream import ArrayFeed

X = COMPOSITIONS[0].images(100)
Y = kv.data.load("digits").train.labels[:100]
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def make(seed=0, objective="elbo", learning_rate=1e-2, **compiled):
    keras.utils.set_random_seed(seed)
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(16,)), likelihood="bernoulli", objective=objective, seed=seed)
    vae.compile(keras.optimizers.Adam(learning_rate), **compiled)
    return vae


@functools.cache
def _shared():
    vae = make()
    return vae, vae.get_weights()


def untrained():
    """One model as it was at the beginning: what it has compiled serves the next test."""
    vae, weights = _shared()
    vae.set_weights(weights)
    return vae


class Batches(keras.utils.PyDataset):
    """x, or (x, y), in batches of 25."""

    def __init__(self, labels=False):
        super().__init__()
        self.labels = labels

    def __len__(self):
        return 4

    def __getitem__(self, index):
        part = slice(25 * index, 25 * (index + 1))
        return (X[part], Y[part]) if self.labels else X[part]


def forms():
    """The same hundred images in every form that `fit` takes, four steps an epoch."""
    yield "array", lambda: (X,)
    yield "array_and_weights", lambda: (X, None, np.ones(100))
    yield "list", lambda: (X.tolist(),)
    yield "bytes", lambda: (X.astype("uint8"),)
    yield "bool", lambda: (X.astype(bool),)
    yield "tensor", lambda: (keras.ops.convert_to_tensor(X),)
    yield "py_dataset", lambda: (Batches(),)
    yield "generator", lambda: ((Batches()[i] for i in range(4)),)
    if ON_TENSORFLOW:
        import tensorflow as tf

        yield "tf_data", lambda: (tf.data.Dataset.from_tensor_slices(X).batch(25),)
        weighted = tf.data.Dataset.from_tensor_slices((X, np.ones(100))).batch(25).map(lambda x, w: (x, None, w))
        yield "tf_data_and_weights", lambda: (weighted,)


# Keras' word to a generator that ends with the epoch.
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
@pytest.mark.parametrize(("name", "data"), list(forms()), ids=lambda value: value if isinstance(value, str) else "")
def test_fits_every_form_of_data(name, data):
    vae = untrained()
    x, *rest = data()
    sized = {"batch_size": 25} if hasattr(x, "__array__") or name == "list" else {}
    weights = {"sample_weight": rest[1]} if rest else {}
    validation = data() if name not in ("generator", "list") else (X,)
    history = vae.fit(
        x, **weights, **sized, validation_data=validation if len(validation) > 1 else validation[0], verbose=0
    ).history
    assert int(vae.step) == 4
    assert set(history) == {f"{v}{n}" for v in ("", "val_") for n in ("loss", "elbo", "log_likelihood", "kl")}
    assert np.isfinite(list(history.values())).all()
    assert history["val_loss"][0] < history["loss"][0]


def test_labels_are_refused_where_none_are_taken():
    vae = make()
    calls = [
        lambda: vae.fit(X, Y, verbose=0),
        lambda: vae.fit(X, validation_data=(X, Y), verbose=0),
        lambda: vae.evaluate(X, Y, verbose=0),
        lambda: vae.fit((batch, np.zeros(25)) for batch in np.split(X, 4)),
        lambda: vae.sample(2, y=Y[:2]),
        lambda: vae.encode(X, Y),
        lambda: vae.predict(X, Y, verbose=0),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"not conditional.*leave out y.*Received: y of shape"):
            call()
    assert int(vae.step) == 0


def test_validation_draws_noise_of_its_own():
    plain, validated = make(), make()
    plain.fit(X, epochs=2, verbose=0)
    history = validated.fit(X, epochs=2, validation_data=X, validation_batch_size=7, verbose=0).history
    for a, b in zip(plain.get_weights(), validated.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    frozen = make(learning_rate=0.0)
    history = frozen.fit(X, epochs=2, validation_data=X, verbose=0).history
    assert history["val_loss"][0] == history["val_loss"][1] and history["loss"][0] != history["loss"][1]
    assert frozen.evaluate(X, verbose=0) == frozen.evaluate(X, verbose=0)


def test_a_second_fit_goes_on():
    once, twice = make(), make()
    once.fit(X, batch_size=30, epochs=3, verbose=0)
    for epochs in (1, 2):
        twice.fit(X, batch_size=30, epochs=epochs, verbose=0)
    for a, b in zip(once.get_weights(), twice.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_count_wherever_a_batch_is_averaged():
    weights = np.array([0.0, 1.0, 2.0, 1.0] * 5, dtype="float32")
    repeated = np.repeat(X[:20], weights.astype(int), axis=0)
    objectives = ["elbo", "elbo:free_bits=0.3", "elbo:beta=capacity(5,gamma=10)"]
    for likelihood in ("bernoulli", "normal:optimal"):
        for objective in objectives:
            vae = kv.VAE(
                *kv.networks.mlp((8, 8, 1), 3, widths=(16,)), likelihood=likelihood, objective=objective, seed=0
            )
            terms = []
            for x, w in ((X[:20], weights), (repeated, None)):
                inference = vae.infer(x, training=True, seed=kv.backend.seed_pair(0), sample_weight=w)
                # At the mean, so that both see the same z.
                latents, features = vae.run(kv.draws.AtMean(len(x)), x)
                extra = {"sample_weight": w} if vae.likelihood.adapts else {}
                likelihood_of_x = vae.likelihood.distribution(features, x=x, training=True, **extra)
                inference = dataclasses.replace(inference, latents=latents, likelihood=likelihood_of_x)
                terms.append(float(inference.batch_mean(vae.objective.terms(inference)["loss"])))
            assert terms[0] == pytest.approx(terms[1], rel=1e-5), (likelihood, objective)


def test_training_and_validation_mean_the_same():
    # Without learning and with the same beta, both are estimates of the same number.
    vae = make(objective=kv.objectives.ELBO(samples=20, beta=kv.schedules.Constant(3.0)), learning_rate=0.0)
    history = vae.fit(X, batch_size=30, epochs=3, validation_data=X, verbose=0).history
    for name in ("loss", "elbo", "log_likelihood", "kl"):
        # Sixty samples of 100 images: the spread of the mean is below 0.1 nats.
        assert np.mean(history[name]) == pytest.approx(np.mean(history[f"val_{name}"]), abs=0.3), name
    assert history["elbo"][0] == pytest.approx(history["log_likelihood"][0] - history["kl"][0], rel=1e-5)
    assert history["loss"][0] == pytest.approx(3 * history["kl"][0] - history["log_likelihood"][0], rel=1e-5)


def test_the_last_smaller_batch_counts_by_its_size():
    whole = make(learning_rate=0.0).evaluate(X, batch_size=100, verbose=0, return_dict=True)
    parts = make(learning_rate=0.0).evaluate(X, batch_size=64, verbose=0, return_dict=True)
    assert parts["kl"] == pytest.approx(whole["kl"], rel=1e-5)


def test_validation_split_takes_the_last_images():
    vae = make(learning_rate=0.0)
    history = vae.fit(X, validation_split=0.25, batch_size=100, verbose=0).history
    for part, name in ((X[:75], "kl"), (X[75:], "val_kl")):
        assert history[name][0] == pytest.approx(vae.evaluate(part, verbose=0, return_dict=True)["kl"], rel=1e-5)


def test_weights_of_examples():
    keep = (np.arange(100) < 50).astype("float32")
    weighted = make(learning_rate=0.0).fit(X, sample_weight=keep, batch_size=100, verbose=0).history
    half = make(learning_rate=0.0).evaluate(X[:50], verbose=0, return_dict=True)
    assert weighted["kl"][0] == pytest.approx(half["kl"], rel=1e-5)
    # A mean in which each example counts by its weight.
    loss = weighted["kl"][0] - weighted["log_likelihood"][0]
    assert weighted["loss"][0] == pytest.approx(loss, rel=1e-5)


def test_weights_of_classes_are_weights_of_examples():
    by_class = {0: 2.0, 1: 0.0}
    each = np.array([by_class.get(int(y), 1.0) for y in Y], dtype="float32")
    runs = [
        make().fit(X, Y, class_weight=by_class, epochs=2, verbose=0).history,
        make().fit(X, sample_weight=each, epochs=2, verbose=0).history,
        make().fit(Batches(labels=True), class_weight=by_class, epochs=2, verbose=0).history,
    ]
    assert runs[0] == runs[1]
    assert np.isfinite(runs[2]["loss"]).all()
    # The validation images of a split are not weighed.
    split = make().fit(X, Y, class_weight=by_class, validation_split=0.25, verbose=0).history
    weighed = make().fit(X[:75], sample_weight=each[:75], validation_data=X[75:], verbose=0).history
    assert split == weighed


def test_zero_weights_teach_nothing():
    vae = make()
    before = vae.get_weights()
    vae.fit(X, sample_weight=np.zeros(100), verbose=0)
    for was, now in zip(before, vae.get_weights(), strict=True):
        if was.shape:
            np.testing.assert_array_equal(was, now)


@pytest.mark.long
def test_equal_seeds_give_equal_runs_and_others_do_not():
    first, second, third = (make(seed).fit(X, epochs=3, verbose=0).history["loss"] for seed in (0, 0, 1))
    assert first == second
    assert first != third


@pytest.mark.parametrize("steps", [2, 3])
def test_steps_per_execution_changes_no_number(steps):
    plain = make().fit(X, batch_size=25, epochs=2, verbose=0).history
    several = make(steps_per_execution=steps).fit(X, batch_size=25, epochs=2, verbose=0).history
    for name, values in plain.items():
        np.testing.assert_allclose(several[name], values, rtol=1e-5)


def test_regularisers_and_losses_of_layers_count():
    @keras.saving.register_keras_serializable("tests")
    class Penalty(keras.layers.Layer):
        def call(self, x):
            self.add_loss(7.0 + 0.0 * keras.ops.sum(x))
            return x

    def loss_of(*layers, **dense):
        keras.utils.set_random_seed(0)
        encoder = keras.Sequential(
            [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(16, **dense), *layers]
        )
        vae = kv.VAE(encoder, kv.networks.mlp((8, 8, 1), 3)[1], seed=0)
        vae.compile(keras.optimizers.SGD(0.0))
        return vae, vae.fit(X, batch_size=100, verbose=0).history["loss"][0]

    _, plain = loss_of()
    _, penalised = loss_of(Penalty())
    assert penalised == pytest.approx(plain + 7.0, abs=1e-3)
    vae, regularised = loss_of(kernel_regularizer=keras.regularizers.L2(0.5))
    kernel = np.array(vae.encoder.layers[1].kernel)
    assert regularised == pytest.approx(plain + 0.5 * (kernel**2).sum(), rel=1e-5)


@pytest.mark.long_on_jax
def test_networks_of_every_kind():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(7)

        def call(self, x):
            return self.dense(self.flatten(x))

    decoders = [
        kv.networks.mlp((8, 8, 1), 3)[1],
        keras.Sequential([keras.layers.Dense(5, activation="relu")]),
        keras.layers.Dense(5),
        keras.Sequential([keras.layers.Dense(64), keras.layers.Reshape((8, 8, 1)), keras.layers.Dropout(0.1)]),
    ]
    encoders = [
        kv.networks.mlp((8, 8, 1), 3)[0],
        keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(5), keras.layers.BatchNormalization()]),
        keras.layers.Flatten(),
        Subclassed(),
    ]
    for encoder, decoder in zip(encoders, decoders, strict=True):
        vae = kv.VAE(encoder, decoder, kv.posteriors.DiagonalNormal(3), image_shape=(8, 8, 1), seed=0)
        vae.compile("adam")
        assert np.isfinite(vae.fit(X, verbose=0).history["loss"][0])
        assert vae.sample(2, seed=0).shape == (2, 8, 8, 1)


def test_spatial_latents():
    encoder = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, strides=2, padding="same")])
    decoder = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.UpSampling2D()])
    posterior, prior = kv.posteriors.DiagonalNormal((4, 4, 2)), kv.priors.StandardNormal((4, 4, 2))
    vae = kv.VAE(encoder, decoder, posterior, prior, seed=0)
    vae.compile("adam")
    vae.fit(X, verbose=0)
    assert vae.encode(X[:3]).shape == (3, 4, 4, 2)
    assert vae.sample(2).shape == (2, 8, 8, 1)
    assert vae.log_prob(X[:3], samples=4).shape == (3,)


class TestUse:
    @pytest.fixture(scope="class")
    @classmethod
    def vae(cls):
        vae = make()
        vae.fit(X, epochs=5, verbose=0)
        return vae

    def test_encode_is_the_mean_of_the_posterior(self, vae):
        np.testing.assert_allclose(vae.encode(X), np.array(vae.posterior_of(X).mean()), rtol=1e-5, atol=1e-6)

    def test_reconstruct_decodes_the_encoded(self, vae):
        expected = vae.decode(vae.encode(X))
        for given in (vae.reconstruct(X), vae.predict(X, verbose=0), np.array(vae(keras.ops.convert_to_tensor(X)))):
            np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)

    def test_chunks_change_nothing(self, vae):
        np.testing.assert_allclose(vae.encode(X, batch_size=7), vae.encode(X), rtol=1e-5, atol=1e-6)
        whole = vae.log_prob(X, samples=100, seed=0)
        np.testing.assert_allclose(vae.log_prob(X, samples=100, seed=0, chunk=70), whole, rtol=1e-5)
        np.testing.assert_allclose(vae.log_prob(X[3:6], samples=100, seed=0, keys=[3, 4, 5]), whole[3:6], rtol=1e-5)
        np.testing.assert_allclose(vae.log_prob(X, samples=100, seed=0, chunk=4000), whole, rtol=1e-5)
        samples = vae.sample(70, seed=1)
        np.testing.assert_allclose(vae.sample(20, seed=1, batch_size=16), samples[:20], rtol=1e-5, atol=1e-6)

    def test_seeds_govern_samples(self, vae):
        np.testing.assert_array_equal(vae.sample(5, seed=1), vae.sample(5, seed=1))
        assert (vae.sample(5, seed=1) != vae.sample(5, seed=2)).any()
        assert (vae.sample(5) != vae.sample(5)).any()
        assert len(np.unique(vae.sample(600, seed=1).reshape(600, -1), axis=0)) == 600

    def test_temperature_scales_the_prior(self, vae):
        cold = vae.sample(8, seed=1, temperature=0.0)
        np.testing.assert_allclose(cold, np.repeat(vae.decode(np.zeros((1, 3))), 8, axis=0), rtol=1e-5, atol=1e-6)
        assert vae.sample(64, seed=1, temperature=2.0).std(axis=0).mean() > vae.sample(64, seed=1).std(axis=0).mean()

    def test_more_samples_tighten_the_bound(self, vae):
        bounds = [vae.log_prob(X, samples=k, seed=0).mean() for k in (1, 10, 200)]
        assert bounds == sorted(bounds)

    def test_using_it_does_not_move_its_training(self, vae):
        state = np.array(vae.seed_generator.state)
        vae.sample(2), vae.log_prob(X[:3], samples=2), vae.reconstruct(X)
        np.testing.assert_array_equal(state, np.array(vae.seed_generator.state))

    @pytest.mark.skipif(not ON_TENSORFLOW, reason="a warning of TensorFlow's")
    def test_tensorflow_does_not_warn_of_tracing(self, vae):
        said = []
        logger = logging.getLogger("tensorflow")
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())
        logger.addHandler(handler)
        try:
            # Each is compiled once, and there are more than TensorFlow finds suspicious of one function.
            for n in (1, 2, 4, 8, 16, 32, 64):
                vae.sample(n, seed=0)
            for function in (vae.encode, vae.reconstruct, vae.log_prob):
                function(X[:10])
        finally:
            logger.removeHandler(handler)
        assert said == []

    @pytest.mark.parametrize("spherical", [False, True])
    def test_interpolation_ends_at_the_reconstructions(self, vae, spherical):
        path = vae.interpolate(X[0], X[1], steps=5, spherical=spherical)
        assert path.shape == (5, 8, 8, 1)
        np.testing.assert_allclose(path[[0, -1]], vae.reconstruct(X[:2]), rtol=1e-4, atol=1e-5)
        both = vae.interpolate(X[:2], X[1:3], steps=5, spherical=spherical)
        assert both.shape == (2, 5, 8, 8, 1)
        np.testing.assert_allclose(both[0], path, rtol=1e-4, atol=1e-5)
        if not spherical:
            middle = vae.decode(vae.encode(X[:2]).mean(axis=0, keepdims=True))
            np.testing.assert_allclose(path[2], middle[0], rtol=1e-4, atol=1e-5)

    def test_from_config_makes_the_same_model(self, vae):
        twin = kv.VAE.from_config(vae.get_config())
        twin.set_weights(vae.get_weights())
        np.testing.assert_array_equal(twin.log_prob(X, samples=3, seed=1), vae.log_prob(X, samples=3, seed=1))


class TestOrder:
    """Arrays come in an order that is a function of (seed, step)."""

    def batches(self, feed):
        return [np.array(batch[0]).ravel() for batch in self.stream(feed)]

    def stream(self, feed):
        stream = feed.stream()
        return iter(stream) if ON_TENSORFLOW else (stream[i] for i in range(len(stream)))

    def test_each_epoch_is_a_permutation_of_its_own(self):
        feed = ArrayFeed(np.arange(10), batch_size=4, seed=3)
        orders = []
        for feed.start in (0, 3, 0):
            batches = self.batches(feed)
            assert [len(b) for b in batches] == [4, 4, 2]
            orders.append(np.concatenate(batches).tolist())
        assert orders[0] == orders[2] != orders[1]
        assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))

    def test_a_start_within_a_pass_goes_on_from_there(self):
        feed = ArrayFeed(np.arange(10), batch_size=4, seed=3)
        passes = []
        for feed.start in (0, 3):
            passes += self.batches(feed)
        feed.start = 2
        for batch, expected in zip(self.batches(feed), passes[2:5], strict=True):
            np.testing.assert_array_equal(batch, expected)

    def test_without_shuffling_it_is_as_given(self):
        assert np.concatenate(self.batches(ArrayFeed(np.arange(10), shuffle=False))).tolist() == list(range(10))

    def test_steps_per_epoch_go_on_through_the_passes(self):
        feed = ArrayFeed(np.arange(10), batch_size=4, seed=3, steps_per_epoch=3)
        seen = []
        for feed.start in range(0, 15, 3):
            seen += np.concatenate(self.batches(feed)).tolist()
        assert len(seen) == 60
        assert all(sorted(seen[i : i + 10]) == list(range(10)) for i in range(0, 60, 10))

    def test_binarised_images_follow_their_grey_levels(self):
        grey = np.repeat(np.array([[0], [51], [255]], "uint8"), 4000, axis=1)
        feed = ArrayFeed(grey, batch_size=3, shuffle=False, binarize=True)
        draws = []
        for feed.start in (0, 1, 0):
            ((images,),) = self.stream(feed)
            draws.append(np.array(images))
        np.testing.assert_array_equal(draws[0], draws[2])
        assert (draws[0] != draws[1]).any()
        assert set(np.unique(draws[0])) == {0.0, 1.0}
        # Five standard deviations of a share of 4,000.
        np.testing.assert_allclose(draws[0].mean(axis=1), [0.0, 0.2, 1.0], atol=5 * np.sqrt(0.16 / 4000))

    def test_flipped_images_are_mirror_images(self):
        images = np.random.default_rng(0).integers(0, 256, (500, 3, 4, 2), "uint8")
        flips = {}
        # The last feed begins where a resumed run does.
        for epochs in [(0, 1, 0), (1,)]:
            feed = ArrayFeed(images, np.arange(500), batch_size=64, seed=3, flip=True)
            for epoch in epochs:
                feed.start = epoch * feed.steps
                seen, labels = (np.concatenate(parts) for parts in zip(*self.stream(feed), strict=True))
                order = feed.order()
                assert labels.tolist() == order[order >= 0].tolist() and sorted(labels) == list(range(500))
                mirrored = (seen == images[labels, :, ::-1]).all(axis=(1, 2, 3))
                assert ((seen == images[labels]).all(axis=(1, 2, 3)) ^ mirrored).all()
                # Five standard deviations of a share of 500; a batch that is flipped as a whole is none of them.
                assert abs(mirrored.mean() - 0.5) < 5 * np.sqrt(0.25 / 500)
                assert all(0 < share < 1 for share in map(np.mean, np.array_split(mirrored, range(64, 500, 64))))
                flips.setdefault(epoch, []).append(mirrored[np.argsort(labels)].tolist())
        assert flips[0][0] == flips[0][1] and flips[1][0] == flips[1][1]
        assert flips[0][0] != flips[1][0]

    def test_flips_leave_the_binarisation_as_it_is(self):
        grey = np.full((50, 3, 4, 1), 128, "uint8")
        plain, flipped = (self.batches(ArrayFeed(grey, binarize=True, flip=flip)) for flip in (False, True))
        for a, b in zip(plain, flipped, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_only_images_are_flipped(self):
        with pytest.raises(ValueError, match=r"\(N, H, W, C\).*Received: flip=True, x of shape \(5, 8\)"):
            ArrayFeed(np.zeros((5, 8)), flip=True)

    def test_fit_takes_it(self):
        vae = make()
        vae.fit(ArrayFeed(digits()[:100], batch_size=25, binarize=True), epochs=2, verbose=0)
        assert int(vae.step) == 8


@pytest.mark.long
def test_backup_and_restore_resumes_bit_equal(tmp_path):
    """Keras' own callback, in one process; a killed process is tested with the command line."""

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def run(callbacks, vae=None):
        vae = vae or make(objective=kv.objectives.ELBO(beta=kv.schedules.LinearWarmup(10)))
        history = vae.fit(X, batch_size=30, epochs=4, validation_data=X[:20], verbose=0, callbacks=callbacks).history
        return vae, history

    whole, history = run([])
    with pytest.raises(KeyboardInterrupt):
        run([keras.callbacks.BackupAndRestore(tmp_path), Stop()])
    keras.backend.clear_session()
    resumed, rest = run([keras.callbacks.BackupAndRestore(tmp_path)])
    assert rest == {name: values[2:] for name, values in history.items()}
    for a, b in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(np.array(a), np.array(b), err_msg=a.path)


def test_weights_alone_reload(tmp_path):
    vae = make()
    vae.fit(X, verbose=0)
    vae.save_weights(tmp_path / "v.weights.h5")
    other = make(seed=5)
    other.load_weights(tmp_path / "v.weights.h5")
    np.testing.assert_array_equal(other.log_prob(X, samples=2, seed=0), vae.log_prob(X, samples=2, seed=0))


@pytest.mark.long
@pytest.mark.skipif(not ON_TENSORFLOW, reason="on JAX several steps are a Python loop")
def test_fit_chooses_how_many_steps_are_made_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "SEVERAL", 16)

    class EachBatch(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1

    chosen, one = make(), make(steps_per_execution=1)
    histories = [vae.fit(X, batch_size=25, epochs=2, verbose=0).history for vae in (chosen, one)]
    assert (chosen.steps_per_execution, one.steps_per_execution) == (16, 1)
    assert histories[0] == histories[1]
    for callback, steps in ((EachBatch(), 1), (keras.callbacks.ModelCheckpoint(tmp_path / "m.keras"), 16)):
        chosen.fit(X, batch_size=25, verbose=0, callbacks=callback)
        assert chosen.steps_per_execution == steps
        assert getattr(callback, "batches", 4) == 4
    again = keras.saving.load_model(tmp_path / "m.keras")
    again.fit(X, batch_size=25, verbose=0)
    assert again.steps_per_execution == 16
    conv = kv.VAE(*kv.networks.conv((8, 8, 1), 3, widths=(4,)), seed=0)
    conv.compile("adam")
    conv.fit(X, verbose=0)
    assert conv.steps_per_execution == 1


@pytest.mark.long_on_jax
@pytest.mark.parametrize(
    "likelihood",
    [
        "bernoulli",
        "normal:scale=0.2",
        pytest.param("categorical", marks=pytest.mark.long),
        "discretized_logistic_mixture:3",
    ],
)
def test_draws_are_data(likelihood):
    keras.utils.set_random_seed(0)
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(16,)), likelihood=likelihood, seed=0)
    means, draws = (vae.sample(400, seed=0, mean=mean) for mean in (True, False))
    # Another number of rows in a product rounds its sums otherwise.
    np.testing.assert_allclose(vae.sample(5, seed=0, mean=False, batch_size=16), draws[:5], atol=1e-6)
    if likelihood.startswith("normal"):
        np.testing.assert_allclose((draws - means).std(), 0.2, rtol=0.02)
    else:
        assert set(np.unique(draws)) <= set(range(2 if likelihood == "bernoulli" else 256))
    # 25,600 draws with a standard deviation of at most 75 levels.
    spread = 75 if likelihood in ("categorical", "discretized_logistic_mixture:3") else 0.5
    assert abs(draws.mean() - means.mean()) < 5 * spread / 160


def test_an_emulated_bfloat16_is_warned_of(monkeypatch):
    monkeypatch.setattr(kv.backend, "has_bfloat16", lambda: False)
    with policy_scope("mixed_bfloat16"), pytest.warns(UserWarning, match=r"no bfloat16.*float32"):
        make()


@pytest.mark.parametrize("piece", ["encoder", "posterior", "prior", "likelihood", "objective"])
def test_what_is_frozen_stays_so_when_it_is_loaded(piece, tmp_path):
    parts = {"prior": "mixture:components=2", "likelihood": "normal", "objective": "factor:widths=[3]"}
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 2, widths=(4,)), seed=0, **parts)
    everything = len(vae.trainable_variables)
    getattr(vae, piece).trainable = False
    vae.compile("adam")
    assert len(vae.trainable_variables) < everything
    vae.save(tmp_path / "vae.keras")
    # Keras warns, which is an error here, where an optimizer has other variables.
    for made in (keras.saving.load_model(tmp_path / "vae.keras"), kv.VAE.from_config(vae.get_config())):
        assert [v.path for v in made.trainable_variables] == [v.path for v in vae.trainable_variables]
        assert not getattr(made, piece).trainable_variables
