"""The SavedModels of the zoo: of the entries' own weights, and served where there is only TensorFlow."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import special

import keras_vae as kv
import zoo
from keras_vae import presets
from keras_vae.cli import export
from keras_vae.export.saved_model import CHUNK

FOLDER = Path(__file__).parent.parent / "savedmodels"
NAMES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
SAMPLES, SEED = 40, 5

over_saved = pytest.mark.parametrize("name", NAMES)

SERVE = """
import sys
absent = ("keras_vae", "zoo", "keras", "tf_keras", "tensorflow_probability")
for name in absent:
    # Any import of it fails.
    sys.modules[name] = None
import json, numpy as np, tensorflow as tf
folder, work, samples, seed, *names = sys.argv[1:]
samples, seed = tf.constant(int(samples)), tf.constant(int(seed))
for name in names:
    served = tf.saved_model.load(f"{folder}/{name}")
    x = np.load(f"{work}/{name}.npy")
    z = served.encode(x)
    out = {"encode": z, "decode": served.decode(z), "serve": served.serve(x),
           "sample": served.sample(tf.constant(len(x)), seed), "log_prob": served.log_prob(x, samples, seed)}
    (signed,) = served.signatures["serving_default"](x=tf.constant(x[:1])).values()
    np.savez(f"{work}/{name}.npz", signed=signed, **out)
assert not any(sys.modules[name] for name in absent)
"""


def test_one_entry_has_one():
    # Any other is a command away, and the repository small.
    assert NAMES == ["mnist_iwae"]


@over_saved
def test_is_of_the_weights_of_its_entry(name):
    note = json.loads((FOLDER / name / export.NOTE).read_text())
    assert note["name"] == name and note["format"] == "tf_saved_model"
    assert note["weights_sha256"] == zoo.info(name)["sha256"], f"keras-vae export {name}"


@over_saved
def test_holds_the_weights_once(name):
    size = sum(path.stat().st_size for path in (FOLDER / name).rglob("*") if path.is_file())
    # Four bytes a parameter, averages that are not trained, and the graphs.
    assert size < 1.2 * 4 * zoo.info(name)["parameters"] + 1e6


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """{name: {endpoint: what it gives}}, from a process that has only TensorFlow."""
    work = tmp_path_factory.mktemp("served")
    for name in NAMES:
        # As many as `log_prob` takes at once, so that it draws the same noise.
        np.save(work / f"{name}.npy", presets.fixed_batch(zoo.load(name), images=16).astype("float32"))
    arguments = [sys.executable, "-c", SERVE, FOLDER, work, SAMPLES, SEED, *NAMES]
    done = subprocess.run(list(map(str, arguments)), cwd=work, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: dict(np.load(work / f"{name}.npz")) for name in NAMES}


@over_saved
@pytest.mark.skipif(kv.backend.NAME != "tensorflow", reason="other noise on JAX")
def test_serves_what_keras_vae_computes(name, served):
    vae, found = zoo.load(name), served[name]
    x = presets.fixed_batch(vae, images=16)
    reconstructions = vae.reconstruct(x)
    # Float32 sums in another order on other machines.
    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(found["encode"], vae.encode(x), **close)
    np.testing.assert_allclose(found["decode"], reconstructions, **close)
    np.testing.assert_allclose(found["serve"], reconstructions, **close)
    np.testing.assert_allclose(found["signed"], reconstructions[:1], **close)
    np.testing.assert_allclose(found["sample"], vae.sample(16, seed=SEED), **close)
    # The endpoint draws sixteen samples of z at a time for all images, and counts the first of the last round.
    weights = []
    for number in range(-(-SAMPLES // CHUNK)):
        inference = vae.infer(x, samples=CHUNK, seed=kv.backend.seed_pair(SEED, number))
        weights.append(np.asarray(inference.log_weight)[: SAMPLES - number * CHUNK])
    expected = special.logsumexp(np.concatenate(weights), axis=0) - np.log(SAMPLES)
    np.testing.assert_allclose(found["log_prob"], expected, rtol=1e-5)
