"""The promises that every part keeps, each checked on every composition, on the backend that KERAS_BACKEND names."""

import inspect
import json
import os
import pathlib
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from compositions import COMPOSITIONS

import keras_vae as kv

HERE = pathlib.Path(__file__).resolve().parent
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"

over_all = pytest.mark.parametrize("composition", COMPOSITIONS, ids=lambda c: c.name)


def run_python(code, *arguments, cwd, **environment):
    """Runs `code` in a fresh process; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def public_classes(module, base):
    return {
        value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value is not base
        and not name.startswith("_")
        and value.__module__ == module.__name__
    }


def public_parts():
    """Every class that a user may put in the place of another."""
    return (
        public_classes(kv.likelihoods, kv.likelihoods.Likelihood)
        | public_classes(kv.posteriors, kv.posteriors.Posterior)
        | public_classes(kv.priors, kv.priors.Prior)
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
        used |= {type(part) for part in parts}
    assert public_parts() - used == set()
    in_source = inspect.getsource(sys.modules["compositions"])
    assert [name for name in kv.networks.__all__ if f"kv.networks.{name}(" not in in_source] == []


@over_all
def test_learns_in_every_part(composition):
    vae = composition.model()
    before = {v.path: np.array(v) for v in vae.trainable_variables}
    history = vae.fit(composition.images(), batch_size=16, epochs=2, verbose=0).history
    assert np.isfinite([history[name] for name in ("loss", "elbo", "log_likelihood", "kl")]).all()
    unmoved = [path for v in vae.trainable_variables if np.array_equal(before[path := v.path], np.array(v))]
    assert unmoved == []
    assert int(vae.step) == 6


@over_all
def test_terms_add_up_and_bounds_are_ordered(composition):
    vae = composition.model()
    x = composition.images()
    logs = vae.evaluate(x, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["elbo"], logs["log_likelihood"] - logs["kl"], rtol=1e-5)
    # In expectation the ELBO is below the importance-weighted bound; the noise of 48 images is far smaller than the gap
    # of an untrained model, or both are equal where the posterior is the prior.
    assert logs["elbo"] <= np.mean(vae.log_prob(x, samples=64, seed=0)) + 0.05


@over_all
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_tracks_float32(composition, policy):
    x = composition.images()
    reference = composition.model()
    keras.config.set_dtype_policy(policy)
    try:
        vae = composition.model()
        vae.set_weights(reference.get_weights())
        expected, loss = (m.evaluate(x, batch_size=48, verbose=0, return_dict=True)["loss"] for m in (reference, vae))
        # bfloat16 has 8 bits: features, and so the terms of each pixel, are right to about a hundredth.
        assert loss == pytest.approx(expected, rel=0.02, abs=0.2)
        scaled = isinstance(vae.optimizer, keras.optimizers.LossScaleOptimizer)
        assert scaled == (policy == "mixed_float16")
        if scaled:
            # A scale that fits: the default one finds its own by skipping the first updates, half of these here.
            vae.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2), initial_scale=64.0))
        history = vae.fit(x, batch_size=16, epochs=2, verbose=0).history["loss"]
        tracked = reference.fit(x, batch_size=16, epochs=2, verbose=0).history["loss"]
        np.testing.assert_allclose(history, tracked, rtol=0.05, atol=0.5)
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(v.dtype == "float32" for v in vae.weights if "float" in v.dtype)


@over_all
@pytest.mark.skipif(not ON_TENSORFLOW, reason="JAX always compiles with XLA")
def test_compiles_with_and_without_xla(composition):
    x = composition.images()
    losses = []
    for jit_compile in (True, False):
        vae = composition.model()
        vae.compile(keras.optimizers.SGD(0.0), jit_compile=jit_compile)
        losses.append(np.mean(vae.fit(x, batch_size=48, epochs=8, verbose=0).history["loss"]))
    assert np.isfinite(losses).all()
    # Other noise with XLA than without, so the mean over images and epochs is compared.
    assert np.ptp(losses) <= 0.05 * abs(losses[0]) + 0.5


@pytest.fixture(scope="module")
def trained():
    """{name: (model, eight images)}, each model after one update."""
    models = {}
    for composition in COMPOSITIONS:
        vae, x = composition.model(), composition.images(8)
        vae.fit(x, verbose=0)
        models[composition.name] = vae, x
    return models


RELOAD = """
import json, pathlib, sys
import keras, numpy as np
import keras_vae, compositions
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    vae = keras.saving.load_model(path)
    x = np.load(path.with_suffix(".npy"))
    np.savez(path.with_suffix(".npz"), log_prob=vae.log_prob(x, samples=5, seed=3), reconstruct=vae.reconstruct(x),
             step=int(vae.step), seed=np.array(vae.seed_generator.state),
             optimizer=[np.array(v).sum() for v in vae.optimizer.variables])
"""


def test_reloads_in_a_fresh_process_bit_equal(trained, tmp_path):
    expected = {}
    for name, (vae, x) in trained.items():
        vae.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}.npy", x)
        expected[name] = {
            "log_prob": vae.log_prob(x, samples=5, seed=3),
            "reconstruct": vae.reconstruct(x),
            "step": int(vae.step),
            "seed": np.array(vae.seed_generator.state),
            "optimizer": [np.array(v).sum() for v in vae.optimizer.variables],
        }
    run_python(RELOAD, tmp_path, cwd=HERE, PYTHONPATH=str(HERE.parent))
    for name, values in expected.items():
        loaded = np.load(tmp_path / f"{name}.npz")
        for key, value in values.items():
            np.testing.assert_array_equal(loaded[key], value, err_msg=f"{name}: {key}")


def test_saved_files_hold_no_pickle(tmp_path):
    vae = COMPOSITIONS[0].model()
    vae.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert sorted(archive.namelist()) == ["config.json", "metadata.json", "model.weights.h5"]
        config = json.loads(archive.read("config.json"))
    assert config["config"]["likelihood"]["registered_name"] == "keras_vae>Bernoulli"


SERVE = """
import importlib.util, pathlib, sys
assert importlib.util.find_spec("keras_vae") is None
import numpy as np, tensorflow as tf
for path in sorted(p for p in pathlib.Path(sys.argv[1]).iterdir() if p.is_dir()):
    served = tf.saved_model.load(str(path))
    x = np.load(path.with_suffix(".npy")).astype("float32")
    n, samples, seed = tf.constant(3), tf.constant(20), tf.constant(5)
    out = {}
    for batch in (1, 7):
        out[f"serve{batch}"] = served.serve(x[:batch])
        z = out[f"encode{batch}"] = served.encode(x[:batch])
        out[f"decode{batch}"] = served.decode(z)
        out[f"log_prob{batch}"] = served.log_prob(x[:batch], samples, seed)
        assert (served.log_prob(x[:batch], samples, seed).numpy() == out[f"log_prob{batch}"].numpy()).all()
    out["sample"] = served.sample(n, seed)
    assert (served.sample(n, seed).numpy() == out["sample"].numpy()).all()
    assert (served.sample(n, tf.constant(6)).numpy() != out["sample"].numpy()).any()
    np.savez(path.with_suffix(".npz"), **{key: value.numpy() for key, value in out.items()})
"""


@pytest.mark.skipif(not ON_TENSORFLOW, reason="SavedModels are written by TensorFlow")
def test_serves_where_keras_vae_is_not_installed(trained, tmp_path):
    for name, (vae, x) in trained.items():
        vae.export(tmp_path / name)
        np.save(tmp_path / f"{name}.npy", x)
    # An editable install is found by a hook in site-packages, so the path is put together without that.
    blocked = "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in str(f).lower()]\n"
    blocked += f"sys.path = [p for p in sys.path if p not in ('', {str(HERE.parent)!r}, {str(HERE)!r})]\n"
    run_python(blocked + SERVE, tmp_path, cwd=tmp_path, PYTHONPATH="")
    for name, (vae, x) in trained.items():
        served = np.load(tmp_path / f"{name}.npz")
        for batch in (1, 7):
            close = {"rtol": 1e-4, "atol": 1e-4, "err_msg": name}
            np.testing.assert_allclose(served[f"encode{batch}"], vae.encode(x[:batch]), **close)
            np.testing.assert_allclose(served[f"serve{batch}"], vae.reconstruct(x[:batch]), **close)
            np.testing.assert_allclose(served[f"decode{batch}"], vae.reconstruct(x[:batch]), **close)
            # Estimates of the same quantity from other noise.
            expected = vae.log_prob(x[:batch], samples=200, seed=1)
            np.testing.assert_allclose(served[f"log_prob{batch}"], expected, rtol=0.05, atol=3.0, err_msg=name)
        assert served["sample"].shape == (3, *x.shape[1:])


@pytest.mark.skipif(ON_TENSORFLOW, reason="JAX says how to export")
@pytest.mark.parametrize("format", ["tf_saved_model", "onnx"])
def test_export_under_jax_says_how(tmp_path, format):
    with pytest.raises(RuntimeError, match=r"KERAS_BACKEND=tensorflow.*Received: KERAS_BACKEND=jax"):
        COMPOSITIONS[0].model().export(tmp_path / "m", format=format)
