"""Bad input is refused before the first step, with what to do, and the model stays as it was."""

import functools

import keras
import numpy as np
import pytest
import scipy.sparse
from compositions import COMPOSITIONS, digits

import keras_vae as kv

BINARY = COMPOSITIONS[0].images()
UNIT = (digits()[:48] / 255).astype("float32")


def make(likelihood="bernoulli", **parts):
    keras.utils.set_random_seed(0)
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(16,)), likelihood=likelihood, seed=0, **parts)
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae


@functools.cache
def shared(likelihood="bernoulli"):
    """A model for all tests that leave it as it was, or trained: what it has compiled serves the next."""
    return make(likelihood)


def with_nan(x):
    x = np.array(x)
    x[5, 2, 3, 0] = np.nan
    return x


BAD = {
    "no_channel_axis": ("bernoulli", BINARY[..., 0], r"x\[\.\.\., None\]"),
    "no_batch_axis": ("bernoulli", BINARY[0], r"x\[None\]"),
    "other_size": ("bernoulli", np.zeros((4, 7, 8, 1), "float32"), r"\(N, 8, 8, 1\)"),
    "nan": ("bernoulli", with_nan(BINARY), r"NaN"),
    "infinite": ("normal", np.full((2, 8, 8, 1), np.inf, "float32"), "infinite"),
    "empty": ("bernoulli", np.zeros((0, 8, 8, 1), "float32"), "empty"),
    "text": ("bernoulli", np.full((2, 8, 8, 1), "a"), "numbers"),
    "bytes_for_bernoulli": ("bernoulli", digits()[:48], "binarise"),
    "greys_for_bernoulli": ("bernoulli", UNIT, "continuous_bernoulli"),
    "bytes_for_continuous_bernoulli": ("continuous_bernoulli", digits()[:48], "discretized_logistic_mixture"),
    "bytes_for_normal": ("normal", digits()[:48], "255"),
    "negative_for_continuous_bernoulli": ("continuous_bernoulli", UNIT - 0.5, "normal"),
    "greys_for_levels": ("discretized_logistic_mixture", UNIT, "uint8"),
    "binary_for_levels": ("categorical", BINARY, "'bernoulli'"),
    "edges_for_beta": ("beta", UNIT, r"\+ 0\.5\) / 256"),
    "edges_after_rounding_for_beta": ("beta", np.full((2, 8, 8, 1), 1 - 1e-12), "float32 rounds"),
    "beyond_the_unit_interval": ("continuous_bernoulli", np.full((2, 8, 8, 1), 1.01), "0, 1"),
    "too_large_for_float32": ("normal", np.full((2, 8, 8, 1), 1e200), "too large for float32"),
    "counts_for_normal": ("normal", np.arange(128, dtype="uint16").reshape(2, 8, 8, 1), "Standardise|by 255"),
    "twelve_bits_for_normal": ("normal", np.linspace(0, 4095, 128).reshape(2, 8, 8, 1), "standardized.*4095"),
    "twelve_bits_for_levels": ("categorical", np.arange(128).reshape(2, 8, 8, 1) * 32, "65535"),
    "masked": ("normal", np.ma.masked_greater(UNIT, 0.9), "masked"),
    "a_dictionary": ("bernoulli", {"image": BINARY}, r"x\['image'\]"),
}


def streams(x):
    """The same images in the other forms that `fit` takes."""
    tf = pytest.importorskip("tensorflow") if keras.backend.backend() == "tensorflow" else None

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return (x,)

    yield Batches()
    yield (batch for batch in [(x,)])
    if tf is not None:
        yield tf.data.Dataset.from_tensor_slices(x).batch(16)


def state(vae):
    return [np.array(v) for v in (*vae.variables, *vae.optimizer.variables)]


def assert_usable_as_it_was(vae, before, x):
    names = [v.path for v in (*vae.variables, *vae.optimizer.variables)]
    for name, was, now in zip(names, before, state(vae), strict=True):
        np.testing.assert_array_equal(now, was, err_msg=name)
    assert np.isfinite(vae.fit(x, verbose=0, batch_size=16).history["loss"][0])


@pytest.mark.parametrize("name", BAD)
def test_arrays(name):
    likelihood, x, message = BAD[name]
    # Whether these are levels is asked only of a model that has seen none.
    vae = (make if name == "binary_for_levels" else shared)(likelihood)
    before = state(vae)
    for use in (
        lambda: vae.fit(x, verbose=0),
        lambda: vae.fit(GOOD[likelihood], validation_data=x, verbose=0),
        lambda: vae.evaluate(x, verbose=0),
        lambda: vae.log_prob(x, samples=2),
        lambda: vae.reconstruct(x),
    ):
        with pytest.raises(ValueError, match=f"(?s){message}.*Received: "):
            use()
    assert_usable_as_it_was(vae, before, GOOD[likelihood])


GOOD = {
    c.name: c.images() for c in COMPOSITIONS if c.name in ("bernoulli", "continuous_bernoulli", "categorical", "beta")
}
GOOD |= {"normal": UNIT, "discretized_logistic_mixture": digits()[:48]}


@pytest.mark.parametrize("name", ["other_size", "nan", "bytes_for_bernoulli", "greys_for_bernoulli"])
def test_streams(name):
    likelihood, x, message = BAD[name]
    vae = shared(likelihood)
    before = state(vae)
    for use in (lambda data: vae.fit(data, verbose=0), lambda data: vae.evaluate(data, verbose=0)):
        for stream in streams(x):
            with pytest.raises(ValueError, match=f"(?s){message}.*Received: "):
                use(stream)
    assert_usable_as_it_was(vae, before, GOOD[likelihood])


def test_the_whole_of_a_stream_is_checked():
    levels = [BINARY[:16], digits()[:16].astype("float32")]

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return levels[index]

    given = [Batches(), (batch for batch in levels)]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        given.append(tf.data.Dataset.from_tensor_slices(np.concatenate(levels)).batch(16))
    for stream in given:
        vae = shared()
        with pytest.raises(ValueError, match=r"(?s)Bernoulli expects binary.*Received"):
            vae.fit(stream, verbose=0)
        assert np.isfinite(vae.fit(BINARY, verbose=0).history["loss"][0])


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch", "predict_on_batch"])
def test_single_batches_are_checked(method):
    vae = shared()
    for x, message in ((UNIT, "continuous_bernoulli"), (with_nan(BINARY), "NaN"), (BINARY[0], r"x\[None\]")):
        with pytest.raises(ValueError, match=f"(?s){message}.*Received"):
            getattr(vae, method)(x)
    assert np.isfinite(getattr(vae, method)(BINARY[:8])).all()


def test_a_black_image_alone_is_one_of_the_levels_that_were_trained_on(tmp_path):
    levels = digits()[:48].astype("float32")
    vae = make("discretized_logistic")
    vae.fit(levels, verbose=0)
    vae.save(tmp_path / "vae.keras")
    black = np.zeros((2, 8, 8, 1), "float32")
    for model in (vae, keras.saving.load_model(tmp_path / "vae.keras")):
        assert np.isfinite(model.log_prob(black, samples=2)).all()
        assert model.encode(black).shape == (2, 3)


def test_other_units_than_those_of_training_are_refused():
    vae = make("normal")
    vae.fit(UNIT, verbose=0)
    vae.log_prob(UNIT * 20, samples=2)
    with pytest.raises(ValueError, match=r"other units.*from 0 to 1"):
        vae.log_prob(UNIT * 255, samples=2)


def test_large_values_are_warned_of():
    with pytest.warns(UserWarning, match=r"standardized.*largest 255"):
        make("normal").fit(UNIT * 255, verbose=0)


def test_what_rounding_makes_of_data_is_taken():
    for x in (UNIT.astype("float64") * 1.0000000000000002, UNIT * (1 + 1e-7)):
        assert np.isfinite(shared("continuous_bernoulli").fit(x, verbose=0).history["loss"][0])


def test_forms_of_arrays():
    class Frame:
        """As pandas has it, so that it need not be installed."""

        def __array__(self, dtype=None, copy=None):
            return rows.astype(dtype or rows.dtype)

    rows = BINARY.reshape(48, 64)
    vae = kv.VAE(*kv.networks.mlp((64,), 3, widths=(16,)), seed=0)
    vae.compile("adam")
    for x in (Frame(), scipy.sparse.csr_matrix(rows)):
        np.testing.assert_allclose(vae.encode(x), vae.encode(rows), atol=1e-6)
        assert np.isfinite(vae.fit(x, verbose=0).history["loss"][0])


def test_a_stream_in_the_place_of_an_array_says_how_to_go_on():
    for use in (shared().posterior_of, shared().fit_latent_scale, shared().fit_prior):
        with pytest.raises(ValueError, match=r"take streams.*Received: generator"):
            use(batch for batch in [BINARY])


def test_a_model_that_was_not_compiled_says_so():
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(16,)), seed=0)
    for use in (vae.fit, vae.evaluate, vae.train_on_batch, vae.test_on_batch):
        with pytest.raises(ValueError, match=r"compile\(\)"):
            use(BINARY)


def test_empty_streams():
    vae = shared()
    before = state(vae)
    for stream in ((batch for batch in ()), *list(streams(BINARY[:0]))[2:]):
        with pytest.raises(ValueError, match=r"empty.*Received"):
            vae.fit(stream, verbose=0)
    assert_usable_as_it_was(vae, before, BINARY)


def test_an_error_in_the_first_step_leaves_the_model_usable():
    class Broken(kv.objectives.ELBO):
        broken = True

        def terms(self, inference):
            if self.broken:
                raise RuntimeError("in the step")
            return super().terms(inference)

    objective = Broken()
    vae = make(objective=objective)
    before = state(vae)
    for use in (lambda: vae.fit(BINARY, verbose=0), lambda: vae.evaluate(BINARY, verbose=0)):
        with pytest.raises(RuntimeError, match="in the step"):
            use()
    objective.broken = False
    assert_usable_as_it_was(vae, before, BINARY)


def test_an_interrupted_run_keeps_what_it_learnt():
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                raise KeyboardInterrupt

    vae = make()
    with pytest.raises(KeyboardInterrupt):
        vae.fit(BINARY, batch_size=16, verbose=0, callbacks=[Interrupt()])
    assert int(vae.step) == 2
    assert np.isfinite(vae.fit(BINARY, verbose=0).history["loss"][0])


class Poison(keras.callbacks.Callback):
    """Makes the loss NaN from an epoch on."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch
        self.good = None

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.good = [np.array(w) for w in self.model.get_weights()]
            kernel = self.model.likelihood.head.dense.kernel
            kernel.assign(np.full(kernel.shape, np.nan))


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_loss_that_turns_nan_stops_with_the_last_good_weights(epoch):
    vae = make()
    first = [np.array(w) for w in vae.get_weights()]
    poison = Poison(epoch)
    with pytest.warns(RuntimeWarning, match=r"(?s)last good weights.*learning rate.*Received"):
        history = vae.fit(BINARY, batch_size=16, epochs=5, verbose=0, callbacks=[poison]).history
    assert len(history["loss"]) == epoch + 1
    for good, now in zip(poison.good if epoch else first, vae.get_weights(), strict=True):
        np.testing.assert_array_equal(good, now)
    assert np.isfinite(vae.fit(BINARY, verbose=0).history["loss"][0])


@pytest.mark.parametrize("argument", ["loss", "metrics", "weighted_metrics", "loss_weights"])
def test_compile_refuses_what_keras_would_ignore(argument):
    with pytest.raises(ValueError, match=r"(?s)objective.*Received"):
        make().compile("adam", **{argument: ["mse"]})


def identity(shape):
    return keras.Sequential([keras.Input(shape), keras.layers.Identity()])


MISFITS = {
    "posterior_and_prior": (
        lambda: make(posterior=kv.posteriors.DiagonalNormal(3), prior=kv.priors.StandardNormal(4)),
        "same size",
    ),
    "posterior_and_decoder": (lambda: make(posterior=kv.posteriors.DiagonalNormal(5)), r"decoder.*\(5,\)"),
    "decoder_and_image": (
        lambda: kv.VAE(identity((8, 8, 1)), keras.Sequential([keras.Input((4,)), keras.layers.Reshape((2, 2, 1))])),
        r"decoder does not fit.*\(2, 2, 1\).*\(8, 8, 1\)",
    ),
    "encoder_and_images": (
        lambda: kv.VAE(kv.networks.mlp((8, 8, 1), 3)[0], identity((3,)), image_shape=(9, 9, 1)),
        r"encoder cannot take.*\(9, 9, 1\)",
    ),
    "encoder_without_shape": (
        lambda: kv.VAE(keras.Sequential([keras.layers.Flatten()]), identity((3,))),
        "image_shape=",
    ),
    "decoder_without_shape": (
        lambda: kv.VAE(identity((4,)), keras.Sequential([keras.layers.Dense(3)])),
        "DiagonalNormal",
    ),
    "unknown_likelihood": (lambda: make("bernouli"), "'bernoulli'"),
    "unknown_posterior": (lambda: make(posterior="diagonal"), "'diagonal_normal'"),
    "unknown_objective": (lambda: make(objective="elb"), "'elbo'"),
    "a_part_of_another_kind": (lambda: make(kv.posteriors.DiagonalNormal(3)), "Likelihood"),
    "unknown_scale": (lambda: kv.likelihoods.Normal("learnt"), "'learned'"),
    "negative_scale": (lambda: kv.likelihoods.Normal(-1.0), "positive"),
    "unknown_parameterization": (lambda: kv.posteriors.DiagonalNormal(3, "log_var"), "'log_variance'"),
    "size_zero": (lambda: kv.posteriors.DiagonalNormal(0), "at least 1"),
    "size_of_text": (lambda: kv.priors.StandardNormal("16"), "positive integer"),
    "components_zero": (lambda: kv.likelihoods.DiscretizedLogisticMixture(components=0), "at least 1"),
    "class_weight_without_labels": (
        lambda: shared().fit(BINARY, class_weight={0: 1.0}, verbose=0),
        "labels",
    ),
    "class_weight_with_unlabelled_batches": (
        lambda: shared().fit(next(streams(BINARY)), class_weight={0: 1.0}, verbose=0),
        "labels",
    ),
    "a_feed_that_binarises_greys": (
        lambda: shared().fit(kv.feed.ArrayFeed(UNIT, binarize=True), verbose=0),
        "8-bit levels",
    ),
    "a_feed_of_greys": (lambda: shared().fit(kv.feed.ArrayFeed(UNIT), verbose=0), "continuous_bernoulli"),
    "labels_of_none": (lambda: shared().fit(BINARY, np.zeros(3), verbose=0), "not conditional"),
    "weights_of_other_length": (
        lambda: shared().fit(BINARY, sample_weight=np.ones(3), verbose=0),
        "one number for each",
    ),
    "samples_zero": (lambda: shared().log_prob(BINARY, samples=0), "at least 1"),
    "sample_none": (lambda: shared().sample(0), "at least 1"),
    "latents_of_other_size": (lambda: shared().decode(np.zeros((2, 4))), r"\(N, 3\)"),
    "ends_of_other_shape": (lambda: shared().interpolate(BINARY[0], BINARY[:2]), "both sides"),
    "channels_first": (
        lambda: kv.VAE(
            keras.Sequential([keras.Input((1, 8, 8)), keras.layers.Conv2D(2, 3, data_format="channels_first")]),
            identity((3,)),
        ),
        "channels_last",
    ),
    "export_format": (lambda: shared().export("m", format="litert"), "tf_saved_model"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_misfits(name):
    make_misfit, message = MISFITS[name]
    with pytest.raises(ValueError, match=f"(?s){message}.*Received|Received.*{message}"):
        make_misfit()


def test_a_likelihood_that_cannot_be_saved_says_so(tmp_path):
    def normal(features):
        return kv.backend.tfd.Independent(kv.backend.tfd.Normal(features, 1.0), 3)

    with pytest.warns(UserWarning, match=r"register_keras_serializable"):
        likelihood = kv.likelihoods.FromFunction(normal, channels=1)
    vae = make(likelihood)
    assert np.isfinite(vae.fit(UNIT, verbose=0).history["loss"][0])
    with pytest.raises(ValueError, match=r"register_keras_serializable.*Received"):
        vae.save(tmp_path / "m.keras")


@pytest.mark.filterwarnings("ignore:This likelihood trains")
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda features: features, "must return a TFP distribution"),
        (lambda features: kv.backend.tfd.Normal(features, 1.0), "tfd.Independent"),
    ],
)
def test_a_function_that_makes_no_distribution_of_images(function, message):
    with pytest.raises(ValueError, match=f"{message}.*Received"):
        make(kv.likelihoods.FromFunction(function, channels=1))


@pytest.mark.parametrize("temperature", [np.nan, np.inf, -1.0, "hot", None, [1.0, 2.0]])
def test_a_temperature_is_a_number_that_is_not_negative(temperature):
    with pytest.raises(ValueError, match=r"`temperature` must be a finite number of at least 0\. Received"):
        shared().sample(2, temperature=temperature)


def test_latents_are_finite():
    vae = shared()
    for value in (np.nan, np.inf, 1e300):
        with pytest.raises(ValueError, match=r"Latents must be finite\. Received"):
            vae.decode(np.full((2, 3), value))
    np.testing.assert_array_equal(vae.decode([[0, 0, 0]]), vae.decode(np.zeros((1, 3))))


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True])
def test_a_batch_has_at_least_one_image(batch_size):
    vae = shared()
    calls = (vae.encode, vae.reconstruct, vae.fit, vae.evaluate, vae.predict)
    for call in (*calls, lambda x, **given: vae.decode(np.zeros((2, 3)), **given)):
        with pytest.raises(ValueError, match=r"`batch_size` must be a whole number of at least 1\. Received"):
            call(BINARY, batch_size=batch_size)


def test_swapped_networks_are_refused():
    for networks in (kv.networks.mlp((8, 8, 1), 3, widths=(4,)), kv.networks.conv((8, 8, 1), 3, widths=(4,))):
        with pytest.raises(ValueError, match=r"The encoder comes first.*Received: encoder='decoder'"):
            kv.VAE(*networks[::-1])
    mine = [
        keras.Sequential([keras.Input(s), keras.layers.Flatten(), keras.layers.Dense(4)]) for s in ((8, 8, 1), (3,))
    ]
    with pytest.raises(ValueError, match=r"The encoder comes first.*of inputs \(3,\)"):
        kv.VAE(*mine[::-1])
    # More latents than pixels are no mistake.
    kv.VAE(*kv.networks.mlp((2,), 5, widths=(4,)), likelihood="normal")


def decoder(*layers):
    return keras.Sequential([keras.Input((3,)), *layers])


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "tanh", "hard_sigmoid"])
def test_an_output_layer_in_front_of_the_likelihoods_is_warned_of(activation):
    encoder, _ = kv.networks.mlp((8, 8, 1), 3, widths=(4,))
    dense, reshape = keras.layers.Dense, keras.layers.Reshape
    layer = dense(64, activation=activation)
    for last in ([layer], [layer, reshape((8, 8, 1))], [dense(64), keras.layers.Activation(activation)]):
        with pytest.warns(UserWarning, match=rf"ends in a {activation} of the images' size.*Received: layer"):
            kv.VAE(encoder, decoder(*last))


def test_hidden_layers_of_any_activation_are_not_warned_of():
    encoder, _ = kv.networks.mlp((8, 8, 1), 3, widths=(4,))
    dense = keras.layers.Dense
    for last in (
        dense(64, activation="relu"),
        dense(64),
        dense(32, activation="tanh"),
        dense(65, activation="sigmoid"),
    ):
        kv.VAE(encoder, decoder(last))
    kv.VAE(*kv.networks.conv((8, 8, 1), 3, widths=(4,), activation="tanh"))


@keras.saving.register_keras_serializable("tests")
def logit_normal(features):
    return kv.backend.tfd.Independent(kv.backend.tfd.LogitNormal(features, 1.0), 3)


@keras.saving.register_keras_serializable("tests")
def median(distribution):
    return distribution.distribution.quantile(0.5)


@pytest.mark.filterwarnings("ignore:This likelihood trains")
def test_a_distribution_without_a_mean_needs_an_image(tmp_path):
    with pytest.raises(ValueError, match=r"no mean.*`image`.*Received"):
        make(kv.likelihoods.FromFunction(logit_normal, channels=1))
    with pytest.raises(ValueError, match=r"`image` must make"):
        make(kv.likelihoods.FromFunction(logit_normal, channels=1, image=lambda d: median(d)[..., 0]))
    vae = make(kv.likelihoods.FromFunction(logit_normal, channels=1, data="open unit interval", image=median))
    vae.save(tmp_path / "vae.keras")
    again = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_allclose(again.sample(4, seed=0), vae.sample(4, seed=0), rtol=1e-5)


def test_columns_of_frames_keep_their_order(tmp_path):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(40, 3)) * [1, 10, 100], columns=list("abc"))
    vae = kv.VAE(*kv.networks.mlp((3,), 2, widths=(8,)), likelihood="standardized", seed=0)
    vae.compile("sgd")
    vae.fit(frame, validation_split=0.25, verbose=0)
    vae.save(tmp_path / "vae.keras")
    expected = vae.log_prob(frame.to_numpy(), samples=3, seed=0)
    for model in (vae, keras.saving.load_model(tmp_path / "vae.keras")):
        for columns in ("abc", "cba", "cxab"):
            given = frame.assign(x=0.0)[list(columns)]
            np.testing.assert_array_equal(model.log_prob(given, samples=3, seed=0), expected)
        with pytest.raises(ValueError, match="trained on other columns: there must be 'b'"):
            model.encode(frame.rename(columns={"b": "B"}))
    with pytest.raises(ValueError, match="trained on other columns: there must be 'a', 'b', 'c'"):
        vae.fit(frame.rename(columns=str.upper), verbose=0)


def test_a_batch_is_weighed_by_the_classes_of_its_labels():
    x, y = BINARY[:6], np.array([0, 1, 1, 0, 2, 1])
    losses = []
    for given in ({"y": y, "class_weight": {0: 0.0, 1: 2.0}}, {"sample_weight": np.array([0, 2, 2, 0, 1, 2.0])}):
        keras.utils.set_random_seed(0)
        vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 2, widths=(4,)), seed=0)
        vae.compile("sgd")
        losses.append(vae.train_on_batch(x, return_dict=True, **given)["loss"])
    assert losses[0] == losses[1]
    with pytest.raises(ValueError, match="`class_weight` needs labels"):
        vae.train_on_batch(x, class_weight={0: 1.0})
