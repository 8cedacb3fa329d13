"""The promises that every model keeps, each checked on every composition, on the backend that KERAS_BACKEND names."""

import functools
import inspect
import json
import math
import pathlib
import sys
import zipfile

import keras
import numpy as np
import pytest
from compositions import BY_NAME, COMPOSITIONS, WRITTEN, over
from conftest import in_full
from processes import run_python
from scipy import special

import keras_vae as kv
from keras_vae.export.saved_model import CHUNK
from keras_vae.parts import policy_scope
from keras_vae.training import execution

HERE = pathlib.Path(__file__).resolve().parent
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
# A likelihood of each kind of data, a map of features, several groups of latents, labels.
COMPILED = ("normal_optimal", "colour_mixture", "beta", "two_levels", "conditional")
# Their posteriors draw by rejection.
REJECTING = ("power_spherical", "von_mises_fisher")
SERVED = tuple(composition for composition in COMPOSITIONS if composition.served)

# Of the list, each in a fresh process of its own; by default the first, models that other tests have trained.
PARTS = 8

over_parts = pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.long) for part in range(1, PARTS))]
)


def in_part(part, compositions):
    """The names of those that are in a part of the list."""
    first, rest = ([c.name for c in compositions if (c.name in WRITTEN) == kept] for kept in (True, False))
    return rest[part - 1 :: PARTS - 1] if part else first


@pytest.fixture(scope="module", params=over(COMPOSITIONS))
def composition(request):
    return request.param


@pytest.fixture(scope="module", params=over(SERVED))
def served(request):
    """A composition that is used in another way than others, not only trained."""
    return request.param


def run_in_full_unless(chosen, request):
    """Leaves a test that is not chosen to `pytest --run-all`."""
    if not chosen and not in_full(request.config):
        pytest.skip("long: `pytest --run-all` runs it")


@functools.cache
def trained(name):
    """A model after two epochs of three batches, its weights before them, and what was logged."""
    composition = BY_NAME[name]
    model, data = composition.model(), composition.data()
    before = {v.path: np.array(v) for v in model.trainable_variables}
    first = tuple(a[:16] for a in data)
    with pytest.MonkeyPatch.context() as patch:
        # Several steps at a time, as users have it.
        patch.setattr(execution, "SEVERAL", 16)
        history = model.fit(
            *data, batch_size=16, epochs=2, validation_data=first if len(first) > 1 else first[0], verbose=0
        ).history
    return model, before, history


def data_of(name, count):
    """Images, and labels (or None)."""
    x, *y = BY_NAME[name].data(count)
    return x, y[0] if y else None


def public_classes(module, base):
    return {
        value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value is not base
        and not name.startswith("_")
        and value.__module__.startswith(module.__name__)
    }


def public_parts():
    """Every class that a user may put in the place of another."""
    return (
        public_classes(kv.likelihoods, kv.likelihoods.Likelihood)
        | public_classes(kv.posteriors, kv.posteriors.Posterior)
        | public_classes(kv.priors, kv.priors.Prior)
        | public_classes(kv.corruptions, kv.corruptions.Corruption)
        | public_classes(kv.objectives, kv.objectives.Objective)
        | public_classes(kv.schedules, kv.schedules.Schedule)
    )


def test_every_public_part_is_in_the_list():
    used = set()
    for composition in COMPOSITIONS:
        objective = composition.objective()
        parts = [composition.likelihood(), composition.posterior(), composition.prior(), objective]
        if isinstance(objective, kv.objectives.ELBO):
            parts.append(objective.beta)
        used |= {type(part) for part in [*parts, kv.corruptions.get(composition.given.get("corruption"))]}
    assert len(public_parts()) > 15
    assert public_parts() - used == set()
    in_source = inspect.getsource(sys.modules["compositions"])
    pairs = set(kv.networks.__all__) - {"diffusion_transformer"}
    assert [name for name in sorted(pairs) if f"kv.networks.{name}(" not in in_source] == []


def test_every_composition_has_an_oracle_or_a_reason():
    assert len(BY_NAME) == len(COMPOSITIONS)
    for composition in COMPOSITIONS:
        if composition.oracle.startswith("none: "):
            continue
        file, _, test = composition.oracle.partition("::")
        function, _, case = test.partition("[")
        module = __import__(file.removesuffix(".py"))
        assert callable(getattr(module, function, None)), composition
        if case:
            marks = [m for m in getattr(module, function).pytestmark if m.name == "parametrize"]
            cases = [set(map(str, mark.args[1])) for mark in marks]
            assert any(case.removesuffix("]") in names for names in cases), composition


def test_learns_in_every_part(composition):
    model, before, history = trained(composition.name)
    for name in ("loss", "elbo", "log_likelihood", "kl", *model.objective.names):
        assert np.isfinite([*history[name], *history[f"val_{name}"]]).all(), name
    unmoved = [path for v in model.trainable_variables if np.array_equal(before[path := v.path], np.array(v))]
    assert unmoved == []
    assert len(before) == len(model.trainable_variables)
    assert int(model.step) == 6


def test_terms_add_up_and_bounds_are_ordered(composition):
    model = trained(composition.name)[0]
    x, y = data_of(composition.name, 48)
    logs = model.evaluate(x, y, batch_size=16, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["elbo"], logs["log_likelihood"] - logs["kl"], rtol=1e-5)
    assert model.evaluate(x, y, batch_size=16, verbose=0, return_dict=True) == logs
    # In expectation the ELBO is below the importance-weighted bound, here by much more than the noise of 48 images; or
    # both are equal where the posterior is the prior. Means of one sample each are 0.5 nats off at worst.
    log_prob = model.log_prob(x, samples=64, y=y, seed=0, chunk=128)
    assert log_prob.shape == (48,)
    assert logs["elbo"] <= np.mean(log_prob) + 0.5


def test_use(served):
    model = trained(served.name)[0]
    x, y = data_of(served.name, 8)
    z = model.encode(x, y)
    assert z.shape == (8, *model.latent_shape) and z.dtype == model.latent_dtype
    images = model.decode(z, y)
    close = {"rtol": 1e-4, "atol": 1e-4 * max(1.0, np.abs(images).max())}
    assert images.shape == x.shape and np.isfinite(images).all()
    np.testing.assert_allclose(model.reconstruct(x, y), images, **close)
    np.testing.assert_allclose(model.predict(x, y, verbose=0), images, **close)
    if model.has_codes:
        with pytest.raises(ValueError, match=f"cannot interpolate. Received: latents of type {model.latent_dtype}"):
            model.interpolate(x[0], x[1])
    else:
        path = model.interpolate(x[0], x[1], steps=3, y=None if y is None else y[0])
        ends = model.reconstruct(x[:2], None if y is None else y[[0, 0]])
        assert path.shape == (3, *x.shape[1:])
        np.testing.assert_allclose(path[[0, -1]], ends, **close)
    samples = model.sample(8, y=y, seed=1)
    assert samples.shape == x.shape and np.isfinite(samples).all()
    fewer = model.sample(3, y=None if y is None else y[:3], seed=1)
    np.testing.assert_allclose(fewer, samples[:3], rtol=1e-5, atol=1e-5)
    assert (model.sample(8, y=y, seed=2) != samples).any()


def test_labels_are_asked_for_where_they_count(served):
    model = trained(served.name)[0]
    x, y = data_of(served.name, 8)
    if y is None:
        assert model.label_shape is None
        with pytest.raises(ValueError, match=r"not conditional.*Received"):
            model.encode(x, np.zeros((8, 10)))
        return
    if model.labels_optional:
        y = y % 10
        others = (y + 1) % 10
        assert model.encode(x).shape == model.encode(x, y).shape
    else:
        with pytest.raises(ValueError, match=r"conditional: give y.*Received"):
            model.encode(x)
        others = np.roll(y, 1, axis=1)
    assert (model.sample(8, y=y, seed=1) != model.sample(8, y=others, seed=1)).any()
    assert (model.log_prob(x, y=y, samples=2, seed=1) != model.log_prob(x, y=others, samples=2, seed=1)).all()


def test_callbacks_draw_any_model(served, tmp_path):
    if served.name == "table":
        pytest.skip("rows of a table are no pictures")
    if served.signal:
        pytest.skip("a sequence is no picture")
    model = trained(served.name)[0]
    x, y = data_of(served.name, 8)
    callbacks = [
        kv.callbacks.SampleGrid(tmp_path, count=8, y=y),
        kv.callbacks.ReconstructionGrid(tmp_path, x, y=y),
        kv.callbacks.LatentScatter(tmp_path, x, y=y),
    ]
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
        callback.on_epoch_end(0, {})
        callback.on_train_end()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["latent_0001.png", "reconstructions_0001.png", "samples_0001.png"]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_tracks_float32(served, policy, request):
    run_in_full_unless(served.name in (COMPILED[:3] if ON_TENSORFLOW else COMPILED[:1]), request)
    _, before, history = trained(served.name)
    x, y = data_of(served.name, 48)
    with policy_scope(policy):
        model = served.model()
        for variable, value in zip(model.trainable_variables, before.values(), strict=True):
            np.testing.assert_allclose(np.array(variable), value, rtol=1e-2, atol=1e-2)
            variable.assign(value)
        scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        assert scaled == (policy == "mixed_float16")
        if scaled:
            # A scale that fits: the default one finds its own by skipping the first updates, half of these here.
            model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2), initial_scale=64.0))
        tracked = model.fit(x, y, batch_size=16, epochs=2, verbose=0).history["loss"]
        # bfloat16 has 8 bits: features, and so the terms of each pixel, are right to about a hundredth; six updates
        # then differ by as much.
        np.testing.assert_allclose(tracked, history["loss"], rtol=0.05, atol=0.5)
    assert all(v.dtype == "float32" for v in model.weights if "float" in v.dtype)


@pytest.mark.parametrize(
    "name", [n if n == "conditional" else pytest.param(n, marks=pytest.mark.long) for n in COMPILED]
)
@pytest.mark.skipif(not ON_TENSORFLOW, reason="JAX always compiles with XLA")
def test_compiles_with_and_without_xla(name):
    composition = BY_NAME[name]
    losses = []
    for jit_compile in (True, False):
        model = composition.model()
        model.compile(keras.optimizers.SGD(0.0), jit_compile=jit_compile)
        losses.append(np.mean(model.fit(*composition.data(), batch_size=48, epochs=8, verbose=0).history["loss"]))
    assert np.isfinite(losses).all()
    # Other noise with XLA than without, so the mean over images and epochs is compared.
    assert np.ptp(losses) <= 0.05 * abs(losses[0]) + 0.5


RELOAD = """
import pathlib, sys
import keras, numpy as np
import compositions, conftest
# Graphs are rewritten, and so round, as in the tests.
conftest.rewrite_no_graphs()
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    model = keras.saving.load_model(path)
    given = dict(np.load(path.with_suffix(".given.npz")))
    x, y = given["x"], given.get("y")
    np.savez(path.with_suffix(".npz"), log_prob=model.log_prob(x, samples=3, y=y, seed=3), step=int(model.step),
             seed=np.array(model.seed_generator.state), paths=[v.path for v in model.weights],
             optimizer=[np.array(v).sum() for v in model.optimizer.variables])
"""


@over_parts
def test_reloads_in_a_fresh_process_bit_equal(part, tmp_path):
    expected = {}
    for name in in_part(part, COMPOSITIONS):
        model = trained(name)[0]
        x, y = data_of(name, 2)
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.given.npz", x=x, **({} if y is None else {"y": y}))
        expected[name] = {
            "log_prob": model.log_prob(x, samples=3, y=y, seed=3),
            "step": int(model.step),
            "seed": np.array(model.seed_generator.state),
            "optimizer": [np.array(v).sum() for v in model.optimizer.variables],
        }
    run_python(RELOAD, tmp_path, cwd=HERE, PYTHONPATH=str(HERE.parent))
    for name, values in expected.items():
        loaded = np.load(tmp_path / f"{name}.npz")
        for key, value in values.items():
            np.testing.assert_array_equal(loaded[key], value, err_msg=f"{name}: {key}")
        # Of parts: what an optimiser with several rates goes by.
        of_parts = [path for v in trained(name)[0].weights if (path := v.path).split("/")[0] in ROLES]
        assert set(of_parts) <= set(loaded["paths"]), name


ROLES = ("posterior", "prior", "likelihood", "objective")


def test_variables_of_parts_are_found_by_their_paths():
    paths = {v.path for v in trained("adversarial")[0].trainable_variables}
    assert {f"objective/critic/{layer}/{name}" for layer in ("hidden", "output") for name in ("kernel", "bias")} < paths
    assert {"prior/inputs", "posterior/step_0/kernel_0"} < {v.path for v in trained("vamp_iaf")[0].trainable_variables}
    assert "prior/head/dense/kernel" in {v.path for v in trained("conditional_normal")[0].trainable_variables}


def test_saved_files_hold_no_pickle(tmp_path):
    model = trained("bernoulli")[0]
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert sorted(archive.namelist()) == ["config.json", "metadata.json", "model.weights.h5"]
        config = json.loads(archive.read("config.json"))
    assert config["config"]["likelihood"]["registered_name"] == "keras_vae>Bernoulli"


def test_presets_give_the_same_model(served, tmp_path, request):
    run_in_full_unless(served.name in WRITTEN or ON_TENSORFLOW, request)
    model = trained(served.name)[0]
    x, y = data_of(served.name, 2)
    model.save_to_preset(tmp_path)
    loaded = type(model).from_preset(tmp_path)
    for here, there in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(here, there)
    np.testing.assert_array_equal(loaded.reconstruct(x, y), model.reconstruct(x, y))
    score = json.loads((tmp_path / "results.json").read_text())["fixed_batch"]["score"]
    assert len(score) == 8 and all(map(math.isfinite, score))
    np.testing.assert_array_equal(kv.presets.fixed_batch_score(loaded), score)


SERVE = """
import importlib.util, pathlib, sys
assert importlib.util.find_spec("keras_vae") is None
import numpy as np, tensorflow as tf
for path in sorted(p for p in pathlib.Path(sys.argv[1]).iterdir() if p.is_dir()):
    served = tf.saved_model.load(str(path))
    given = dict(np.load(path.with_suffix(".given.npz")))
    x, y = given["x"].astype("float32"), [given["y"].astype("float32")] if "y" in given else []
    n, samples, seed = tf.constant(3), tf.constant(20), tf.constant(5)
    out = {}
    for batch in (1, 7):
        labels = [v[:batch] for v in y]
        out[f"serve{batch}"] = served.serve(x[:batch], *labels)
        z = out[f"encode{batch}"] = served.encode(x[:batch], *labels)
        out[f"decode{batch}"] = served.decode(z, *labels)
        out[f"log_prob{batch}"] = served.log_prob(x[:batch], *labels, samples, seed)
        assert (served.log_prob(x[:batch], *labels, samples, seed).numpy() == out[f"log_prob{batch}"].numpy()).all()
    labels = [v[:3] for v in y]
    out["sample"] = served.sample(n, seed, *labels)
    assert (served.sample(n, seed, *labels).numpy() == out["sample"].numpy()).all()
    assert (served.sample(n, tf.constant(6), *labels).numpy() != out["sample"].numpy()).any()
    np.savez(path.with_suffix(".npz"), **{key: value.numpy() for key, value in out.items()})
"""


def log_prob_as_served(model, x, y):
    """What the endpoint gives for 20 samples and seed 5, from the weights of chunks of samples."""
    x, y = (None if a is None else keras.ops.convert_to_tensor(a, "float32") for a in (x, y))
    seeds = [keras.ops.convert_to_tensor([5, number], "int32") for number in range(-(-20 // CHUNK))]
    passes = [model.infer(x, y, samples=CHUNK, seed=seed) for seed in seeds]
    each = model.classes or 1
    weights = [p.log_weight if p.weights is None else p.log_term + np.log(CHUNK) for p in passes]
    weights = np.concatenate([np.array(w, "float64") for w in weights])
    return special.logsumexp(weights[: 20 * each], axis=0) - np.log(20)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="SavedModels are written by TensorFlow")
@over_parts
def test_serves_where_keras_vae_is_not_installed(part, tmp_path):
    names = in_part(part, SERVED)
    for name in names:
        x, y = data_of(name, 8)
        trained(name)[0].export(tmp_path / name)
        np.savez(tmp_path / f"{name}.given.npz", x=x, **({} if y is None else {"y": y}))
    # An editable install is found by a hook in site-packages, so the path is put together without that.
    blocked = "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in str(f).lower()]\n"
    blocked += f"sys.path = [p for p in sys.path if p not in ('', {str(HERE.parent)!r}, {str(HERE)!r})]\n"
    run_python(blocked + SERVE, tmp_path, cwd=tmp_path, PYTHONPATH="")
    for name in names:
        model = trained(name)[0]
        x, y = data_of(name, 8)
        served = np.load(tmp_path / f"{name}.npz")
        expected = {"encode": model.encode(x, y), "serve": model.reconstruct(x, y)}
        expected["decode"] = expected["serve"]
        for batch in (1, 7):
            labels = None if y is None else y[:batch]
            for endpoint, value in expected.items():
                found = served[f"{endpoint}{batch}"]
                np.testing.assert_allclose(found, value[:batch], rtol=1e-4, atol=1e-4, err_msg=f"{name}: {endpoint}")
            found, value = served[f"log_prob{batch}"], log_prob_as_served(model, x[:batch], labels)
            # A graph that rounds otherwise may reject another draw; then it is another estimate.
            atol = 0.5 if name in REJECTING else 1e-3
            np.testing.assert_allclose(found, value, rtol=1e-4, atol=atol, err_msg=f"{name}: log_prob")
        assert served["sample"].shape == (3, *x.shape[1:])


@pytest.mark.skipif(ON_TENSORFLOW, reason="JAX says how to export")
@pytest.mark.parametrize("format", ["tf_saved_model", "onnx"])
def test_export_under_jax_says_how(tmp_path, format):
    with pytest.raises(RuntimeError, match=r"KERAS_BACKEND=tensorflow.*Received: KERAS_BACKEND=jax"):
        trained("bernoulli")[0].export(tmp_path / "m", format=format)
