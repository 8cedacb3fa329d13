"""From one backend to the other, with and without TensorFlow there, and a clear word to others.

The suite itself runs on either: `KERAS_BACKEND=jax python -m pytest`.
"""

import pathlib

import keras
import pytest
from processes import run_python

HERE = pathlib.Path(__file__).resolve().parent
ROOT = str(HERE.parent)

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="starts a process of each backend, which one run of the suite does"
)


WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None
import keras, numpy as np
import keras_vae as kv
digits = kv.data.load("digits")
x = kv.data.convert(digits.train.images, "binary")
vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 4), seed=0)
vae.compile(keras.optimizers.Adam(1e-3))
loss = vae.fit(x, batch_size=64, epochs=2, verbose=0).history["loss"]
assert loss[1] < loss[0], loss
vae.save(sys.argv[1])
print(vae.log_prob(x[:10], samples=2000, seed=0).mean())
"""

WITH_TENSORFLOW = """
import sys
import keras, numpy as np
import keras_vae as kv
assert keras.backend.backend() == "tensorflow"
x = kv.data.convert(kv.data.load("digits").train.images, "binary")
vae = keras.saving.load_model(sys.argv[1])
print(vae.log_prob(x[:10], samples=2000, seed=0).mean())
"""


@on_tensorflow
@pytest.mark.long
def test_trains_on_jax_without_tensorflow_and_loads_on_tensorflow(tmp_path):
    pytest.importorskip("jax")
    path = tmp_path / "m.keras"
    printed = [
        run_python(code, path, cwd=tmp_path, PYTHONPATH=ROOT, KERAS_BACKEND=backend).split()[-1]
        for code, backend in ((WITHOUT_TENSORFLOW, "jax"), (WITH_TENSORFLOW, "tensorflow"))
    ]
    # Other noise on each backend: 2,000 samples leave a few hundredths of a nat.
    assert float(printed[0]) == pytest.approx(float(printed[1]), abs=0.2)


def test_torch_is_refused(monkeypatch):
    source = HERE.parent / "keras_vae" / "backend.py"
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ImportError, match=r"KERAS_BACKEND=tensorflow.*Received: KERAS_BACKEND=torch"):
        exec(compile(source.read_text(), str(source), "exec"), {"__name__": "keras_vae.backend_again"})
