"""Relations that hold for every combination of features, on rows that hold every pair of features at least once.

By default two rows run, one of a model of a user's own; `pytest -m relations` or `pytest --run-all` runs all of them,
which takes most of an hour on two cores.
"""

import dataclasses
import itertools

import keras
import numpy as np
import own_parts
import pytest
from compositions import BY_NAME, LATENT, Composition, labels
from conftest import in_full
from keras import layers, ops

import keras_vae as kv
from keras_vae.parts import policy_scope
from keras_vae.training import averages

pytestmark = pytest.mark.relations
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"

COUNT, BATCH, CLASSES = 20, 8, 10
STEPS = -(-COUNT // BATCH)


def with_layer(layer):
    """A dense pair of which each network ends in what `layer(name)` makes."""

    def networks(shape):
        pair = kv.networks.mlp(shape, LATENT, widths=(12,))
        return [keras.Model(n.inputs, layer(f"{n.name}_{layer.__name__}")(n.output), name=n.name) for n in pair]

    return networks


def dropout(name):
    return layers.Dropout(0.2, name=name)


def normalisation(name):
    return layers.BatchNormalization(momentum=0.5, name=name)


LIKELIHOODS = {
    "bernoulli": lambda: kv.likelihoods.Bernoulli(),
    "continuous_bernoulli": lambda: kv.likelihoods.ContinuousBernoulli(),
    "normal": lambda: kv.likelihoods.Normal(0.5),
    "normal_learned": lambda: kv.likelihoods.Normal("learned"),
    "normal_per_pixel": lambda: kv.likelihoods.Normal("per_pixel"),
    "normal_optimal": lambda: kv.likelihoods.Normal("optimal"),
    "laplace_optimal": lambda: kv.likelihoods.Laplace("optimal"),
    "beta": lambda: kv.likelihoods.Beta(),
    "categorical": lambda: kv.likelihoods.Categorical(),
    "discretized_logistic": lambda: kv.likelihoods.DiscretizedLogistic(),
    "logistic_mixture": lambda: kv.likelihoods.DiscretizedLogisticMixture(components=2),
    "student_t": lambda: kv.likelihoods.FromFunction(own_parts.student_t, channels=1),
}
POSTERIORS = {
    "diagonal": kv.posteriors.DiagonalNormal,
    "softplus": lambda size: kv.posteriors.DiagonalNormal(size, "softplus"),
    "full": kv.posteriors.FullCovarianceNormal,
    "squares": own_parts.Squares,
}
PRIORS = {
    "standard": kv.priors.StandardNormal,
    "shifted": own_parts.ShiftedNormal,
    "vamp": lambda size: kv.priors.VampPrior(size, components=4),
}
OBJECTIVES = {
    "elbo": lambda: kv.objectives.ELBO(),
    "samples": lambda: kv.objectives.ELBO(samples=3),
    "free_bits": lambda: kv.objectives.ELBO(free_bits=0.3),
    "warmup": lambda: kv.objectives.ELBO(beta="linear_warmup:5"),
    "capacity": lambda: kv.objectives.ELBO(beta=kv.schedules.Capacity(epsilon=2.0, steps=5)),
    "iwae": lambda: kv.objectives.IWAE(samples=3),
    "adversarial": lambda: own_parts.Adversarial(),
}
NETWORKS = {
    "mlp": lambda shape: kv.networks.mlp(shape, LATENT, widths=(12,)),
    "conv": lambda shape: kv.networks.conv(shape, LATENT, widths=(4, 4), dense=None),
    "conv1d": lambda shape: kv.networks.conv1d(shape, LATENT, widths=(4, 4)),
    "latent_map": lambda shape: kv.networks.resnet(shape, (2, 2, LATENT), widths=(4, 4), blocks=(0, 1)),
    "conditional": lambda shape: own_parts.conditional_mlp(shape, LATENT, width=12),
    "dropout": with_layer(dropout),
    "normalisation": with_layer(normalisation),
}
FACTORS = {
    "likelihood": tuple(LIKELIHOODS),
    "posterior": tuple(POSTERIORS),
    "prior": tuple(PRIORS),
    "objective": tuple(OBJECTIVES),
    "network": tuple(NETWORKS),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
    "weights": ("none", "sample_weight", "class_weight"),
    "averages": ("none", "ema"),
    "validation": ("none", "data", "split"),
    "input": ("arrays", "tf_data", "generator", "py_dataset"),
}
# Pairs that cannot be, or that are not promised.
EXCLUDED = {
    ("posterior=full", "network=latent_map"): "a full covariance is over a vector",
    ("posterior=squares", "network=latent_map"): "written for a vector",
    ("prior=shifted", "network=latent_map"): "written for a vector",
    ("prior=vamp", "network=conditional"): "pseudo-inputs have no labels",
    ("likelihood=student_t", "network=conv1d"): "written for images",
    **{
        ("validation=split", f"input={form}"): "a stream cannot be split"
        for form in ("tf_data", "generator", "py_dataset")
    },
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One value of each factor."""

    likelihood: str
    posterior: str
    prior: str
    objective: str
    network: str
    precision: str
    weights: str
    averages: str
    validation: str
    input: str
    # A model of another kind, in the place of a VAE.
    of: Composition | None = None

    def __str__(self):
        parts = (self.likelihood, self.posterior, self.prior, self.objective, self.network)
        rest = (self.precision, self.weights, self.averages, self.validation, self.input)
        return "-".join((*((self.of.name,) if self.of else parts), *rest))

    @property
    def composition(self):
        if self.of is not None:
            return self.of
        size = (2, 2, LATENT) if self.network == "latent_map" else LATENT

        def networks(shape):
            encoder, decoder = NETWORKS[self.network](shape)
            return encoder, widened(decoder) if self.posterior == "squares" else decoder

        return Composition(
            str(self),
            likelihood=LIKELIHOODS[self.likelihood],
            posterior=lambda: POSTERIORS[self.posterior](size),
            prior=lambda: PRIORS[self.prior](size),
            objective=OBJECTIVES[self.objective],
            network=networks,
            labels=self.prior == "shifted" or self.network == "conditional",
            signal=self.network == "conv1d",
        )

    def model(self, optimizer=None, **compiled):
        """A compiled model, the same one at each call."""
        with policy_scope(self.precision):
            model = self.composition.model()
            optimizer = optimizer or keras.optimizers.Adam(1e-2, use_ema=self.averages == "ema", ema_momentum=0.8)
            if self.precision == "mixed_float16":
                # A scale that fits: with the default one the first updates are skipped.
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=64.0)
            model.compile(optimizer, **compiled)
        return model

    def data(self, count=COUNT):
        """x, y (None where there are none), weights of the examples (None where there are none)."""
        x, *y = self.composition.data(count)
        if not y and self.weights == "class_weight":
            y = [labels()[:count]]
        weights = np.arange(count) % 3
        return x, y[0] if y else None, weights.astype("float32") if self.weights == "sample_weight" else None

    def fit(self, model, epochs=2, form=None, validation=True, shuffle=True, **arguments):
        """`fit` as the row says; without its validation, a split set is cut down to what would be trained on."""
        form = form or self.input
        x, y, weights = self.data()
        others = self.data(7)
        if self.weights != "sample_weight":
            others = others[:2] if self.composition.labels else others[:1]
        others = tuple(others) if len(others) > 1 else others[0]
        given = {"none": {}, "data": {"validation_data": others}, "split": {"validation_split": 0.25}}[self.validation]
        if validation is True:
            arguments |= given
        elif self.validation == "split":
            x, y, weights = (None if a is None else a[:15] for a in (x, y, weights))
        if validation == "other":
            arguments["validation_data"] = others
        if self.weights == "class_weight":
            arguments["class_weight"] = {number: float(number % 3) for number in range(CLASSES)}
        if form == "arrays":
            arguments |= {"y": y, "sample_weight": weights, "batch_size": BATCH, "shuffle": shuffle}
        else:
            x, arguments["shuffle"] = stream(form, x, y, weights), False
            arguments |= {"steps_per_epoch": STEPS} if form == "generator" else {}
        return model.fit(x, epochs=epochs, verbose=0, **arguments)


def widened(decoder):
    """A decoder of twice as many latents, by a dense layer before one of `LATENT`."""
    z = keras.Input((2 * LATENT,), name="wide_input")
    rest = [keras.Input(i.shape[1:], name=f"wide_{n}") for n, i in enumerate(decoder.inputs[1:])]
    first = layers.Dense(LATENT, name="wide_dense")(z)
    return keras.Model([z, *rest] if rest else z, decoder([first, *rest] if rest else first), name="wide")


def stream(form, x, y, weights):
    """Batches of x, (x, y) or (x, y, weights) in order."""

    def packed(x, y, weights):
        return (x, y, weights) if weights is not None else (x,) if y is None else (x, y)

    def batch(index):
        part = slice(index * BATCH, (index + 1) * BATCH)
        return packed(*(None if a is None else a[part] for a in (x, y, weights)))

    if form == "generator":
        return (batch(index) for index in itertools.cycle(range(STEPS)))
    if form == "tf_data":
        import tensorflow as tf

        there = [a is not None for a in (x, y, weights)]
        slices = tf.data.Dataset.from_tensor_slices(tuple(a for a in (x, y, weights) if a is not None))

        def unpacked(*given):
            given = iter(given)
            return packed(*(next(given) if held else None for held in there))

        return slices.batch(BATCH).map(unpacked)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return STEPS

        def __getitem__(self, index):
            return batch(index)

    return Batches()


def pairs(values):
    """The pairs of "factor=value" of a row, or of its first values."""
    return set(itertools.combinations([f"{factor}={value}" for factor, value in zip(FACTORS, values, strict=False)], 2))


def wanted():
    """All pairs of values of two factors that can be."""
    named = {factor: [f"{factor}={value}" for value in values] for factor, values in FACTORS.items()}
    every = {pair for a, b in itertools.combinations(named, 2) for pair in itertools.product(named[a], named[b])}
    assert EXCLUDED.keys() <= every
    return every - EXCLUDED.keys()


def covering():
    """Rows that hold every wanted pair, each made around a pair that is missing, of values that add most others."""
    # (Not by allpairspy, which leaves pairs out where others are excluded.)
    missing, rows = wanted(), []

    def gain(chosen):
        held = set(itertools.combinations([f"{name}={chosen[name]}" for name in FACTORS if name in chosen], 2))
        return -1 if held & EXCLUDED.keys() else len(held & missing)

    while missing:
        row = dict(part.split("=") for part in min(missing))
        for factor in [factor for factor in FACTORS if factor not in row]:
            row = max(({**row, factor: value} for value in FACTORS[factor]), key=gain)
        rows.append(Row(**row))
        missing -= pairs(row[factor] for factor in FACTORS)
    return rows


def two_levels(scale, *values):
    """A row of a user's model, whose parts are its own."""
    composition = Composition(
        f"two_levels_{scale}",
        likelihood=lambda: kv.likelihoods.Bernoulli() if scale is None else kv.likelihoods.Normal(scale),
        make=lambda shape, seed: own_parts.TwoLevels(shape, scale=scale, seed=seed),
    )
    return Row("", "", "", "", "", *values, of=composition)


ROWS = covering()
OWN = [
    two_levels(None, "float32", "sample_weight", "ema", "data", "arrays"),
    two_levels("optimal", "mixed_bfloat16", "class_weight", "none", "split", "arrays"),
    two_levels("learned", "float32", "none", "none", "none", "tf_data"),
]


def pytest_generate_tests(metafunc):
    if "row" in metafunc.fixturenames:
        rows = [*ROWS, *OWN] if in_full(metafunc.config) else [ROWS[0], OWN[0]]
        metafunc.parametrize("row", rows, ids=str, scope="module", indirect=True)


@pytest.fixture(scope="module")
def row(request):
    return request.param


@dataclasses.dataclass
class Run:
    """A model after one epoch and another, and what it was in between."""

    model: keras.Model
    path: str
    state: dict


@pytest.fixture(scope="module")
def run(row, tmp_path_factory):
    model = row.model()
    row.fit(model, epochs=1)
    path = tmp_path_factory.mktemp("run") / "m.keras"
    model.save(path)
    row.fit(model, epochs=2, initial_epoch=1)
    return Run(model, path, state(model))


@pytest.fixture(scope="module")
def whole(row):
    """The state after two epochs in one run."""
    model = row.model()
    row.fit(model)
    return state(model)


def state(model):
    """Everything that training changes, by name."""
    variables = [*model.variables, *model.optimizer.variables]
    noise = model.test_seed_generator.state
    # Without the names of models, optimisers and generators, which are numbered.
    return {f"{i} {v.path.split('/')[-1]}": np.array(v) for i, v in enumerate(variables) if v is not noise}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_array_equal(found[path], value, err_msg=path)


def test_every_pair_that_can_be_is_there():
    held = set().union(*(pairs(dataclasses.astuple(row)[: len(FACTORS)]) for row in ROWS))
    assert held == wanted()


def test_two_calls_are_one(row, run, whole):
    if row.averages == "ema":
        pytest.skip("Keras ends each `fit` with the averages in the place of the weights")
    assert_equal(run.state, whole)


def test_a_resumed_run_is_the_same(row, run):
    model = keras.saving.load_model(run.path)
    row.fit(model, epochs=2, initial_epoch=1)
    assert_equal(state(model), run.state)


def test_a_second_run_is_the_same_whatever_validation_and_callbacks(row, whole, tmp_path):
    model = row.model()
    x, y, _ = row.data(8)
    y = y if row.composition.labels else None
    callbacks = [kv.callbacks.LatentScatter(tmp_path, x, y=y), kv.callbacks.BestCheckpoints(tmp_path, monitor="loss")]
    if not row.composition.signal:
        callbacks.append(kv.callbacks.SampleGrid(tmp_path, count=8, y=y))
    row.fit(model, validation="other" if row.validation == "none" else False, callbacks=callbacks)
    assert_equal(state(model), whole)


def test_the_form_of_the_data_changes_nothing(row, whole):
    if row.input == "arrays" and row.validation == "split":
        pytest.skip("a stream cannot be split")
    streamed = row.model()
    if row.input == "generator" and row.averages == "ema" and averages.statistics(streamed):
        pytest.skip("a generator comes once: there is nothing to estimate the averages' statistics from")
    row.fit(streamed, form="py_dataset" if row.input == "arrays" else None)
    expected = row.model()
    row.fit(expected, form="arrays", shuffle=False)
    assert_equal(state(streamed), state(expected))


@pytest.mark.parametrize(
    "form", ["tf_data", *(pytest.param(form, marks=pytest.mark.long) for form in ("generator", "py_dataset"))]
)
def test_a_stream_may_have_weights_and_no_labels(form):
    plain = Row("bernoulli", "diagonal", "standard", "elbo", "mlp", "float32", "sample_weight", "none", "none", form)
    streamed, expected = plain.model(), plain.model()
    history = plain.fit(streamed).history
    assert history == plain.fit(expected, form="arrays", shuffle=False).history
    assert_equal(state(streamed), state(expected))


def test_a_py_dataset_may_go_on_for_ever():
    class Endless(keras.utils.PyDataset):
        num_batches = None

        def __getitem__(self, index):
            return (BY_NAME["bernoulli"].images(BATCH),)

    model = BY_NAME["bernoulli"].model()
    model.fit(Endless(), steps_per_epoch=2, shuffle=False, verbose=0)
    assert int(model.step) == 2


class Still(kv.draws.Draw):
    """In the place of noise, points along one standard deviation."""

    def __init__(self, samples, batch, seed):
        super().__init__(samples, batch)

    def __call__(self, posterior, prior, point=None):
        offsets = np.linspace(-1, 1, self.samples, dtype="float32")
        offsets = np.reshape(offsets, (-1, 1, *[1] * len(posterior.event_shape)))
        return posterior.mean() + offsets * posterior.stddev()


def step(row, x, y, weights):
    """What is logged of one update on one batch, and the gradients and other changes that it makes."""
    model = row.model(keras.optimizers.SGD(1.0), run_eagerly=True)
    before = state(model)
    logs = model.fit(x, y, sample_weight=weights, batch_size=len(x), shuffle=False, verbose=0).history
    after = state(model)
    changes = {name: after[name].astype("float64") - before[name] for name in before if after[name].dtype.kind == "f"}
    return {name: values[0] for name, values in logs.items()}, changes


def assert_close(found, expected, precision):
    (logs, changes), (expected_logs, expected_changes) = found, expected
    # Sums of float32 in another order; terms of 8 or 11 bits.
    tolerance = 1e-4 if precision == "float32" else 0.03
    for name, value in expected_logs.items():
        assert logs[name] == pytest.approx(value, rel=tolerance, abs=tolerance), name
    if precision != "float32":
        # Gradients of biases are sums of hundreds of terms, of as few bits.
        return
    scale = np.sqrt(sum((v**2).sum() for v in expected_changes.values()))
    assert scale > 0
    for name, value in expected_changes.items():
        error = np.linalg.norm(changes[name] - value)
        assert error <= tolerance * scale, f"{name}: {error} of {scale}"


def test_weights_count_examples(row, monkeypatch):
    monkeypatch.setattr(kv.draws, "FromPosterior", Still)
    x, y, _ = row.data(8)
    y = y if row.composition.labels else None

    def taken(index, weights=None):
        return step(row, x[index], None if y is None else y[index], weights)

    everything = np.arange(8)
    if row.network != "dropout" and row.objective != "adversarial":
        assert_close(taken(everything, np.ones(8)), taken(everything), row.precision)
    if row.network in ("dropout", "normalisation") or row.objective == "adversarial":
        pytest.skip("noise or statistics of the whole batch, not of the model's own making")
    weights = np.array([1, 0, 2, 0, 3, 1, 0, 1], "float32")
    repeated = np.repeat(everything, weights.astype(int))
    assert_close(taken(everything, weights), taken(repeated), row.precision)


def test_results_of_an_example_are_its_own(row, run):
    model, composition = run.model, row.composition
    x, y, _ = row.data(8)
    y = y if composition.labels else None
    order = np.array([6, 2, 7, 0])
    picked = x[order], None if y is None else y[order]
    # Halves of 8 bits, where another order of sums gives another last bit.
    scale = 255.0 if composition.likelihood().discrete else 1.0
    tolerance = 1e-4 if row.precision == "float32" else 0.05
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(model.encode(*picked, batch_size=2), model.encode(x, y)[order], **close)
    images = {"rtol": tolerance, "atol": tolerance * scale}
    whole = model.reconstruct(x, y)
    np.testing.assert_allclose(model.reconstruct(*picked, batch_size=2), whole[order], **images)
    scored = model.log_prob(x, samples=3, y=y, seed=5)
    again = model.log_prob(picked[0], samples=3, y=picked[1], seed=5, keys=order)
    np.testing.assert_allclose(again, scored[order], rtol=tolerance, atol=10 * tolerance)
    samples = model.sample(8, y=y, seed=5)
    fewer = model.sample(3, y=None if y is None else y[:3], seed=5)
    np.testing.assert_allclose(fewer, samples[:3], **images)


def test_log_prob_is_above_the_elbo(row, run):
    x, y, _ = row.data()
    y = ops.convert_to_tensor(y) if row.composition.labels else None
    inference = run.model.infer(ops.convert_to_tensor(x), y, samples=100, seed=kv.backend.seed_pair(3))
    log_weight = np.array(inference.log_weight)
    assert log_weight.shape == (100, COUNT)
    # Where the KL is in closed form, the ELBO and the mean of log w are two estimates of one number.
    error = 5 * log_weight.std(axis=0) / np.sqrt(100) + 1e-2
    elbo, bound = np.array(inference.elbo), np.array(inference.log_mean_weight)
    assert (elbo <= bound + error).all()
    estimate = run.model.log_prob(x, samples=100, y=None if y is None else np.array(y), seed=4, chunk=128)
    # The same number from other noise, of which the heaviest weights decide.
    assert estimate.mean() == pytest.approx(bound.mean(), abs=5 * log_weight.std(axis=0).max() / np.sqrt(COUNT))


def test_saved_and_exported_it_is_the_same(row, run, tmp_path):
    x, y, _ = row.data(8)
    y = y if row.composition.labels else None
    run.model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert_equal(state(loaded), state(run.model))
    codes, images = run.model.encode(x, y), run.model.reconstruct(x, y)
    np.testing.assert_array_equal(loaded.encode(x, y), codes)
    np.testing.assert_array_equal(loaded.log_prob(x, 3, y, seed=1), run.model.log_prob(x, 3, y, seed=1))
    np.testing.assert_array_equal(loaded.sample(8, y, seed=1), run.model.sample(8, y, seed=1))
    if ON_TENSORFLOW:
        import tensorflow as tf

        run.model.export(tmp_path / "served")
        served = tf.saved_model.load(str(tmp_path / "served"))
        given = [tf.constant(a, "float32") for a in (x, y) if a is not None]
        tolerance = 1e-4 if row.precision == "float32" else 0.05
        np.testing.assert_allclose(served.encode(*given), codes, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(served.serve(*given), images, rtol=tolerance, atol=tolerance * np.abs(images).max())
