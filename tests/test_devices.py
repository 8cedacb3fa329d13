"""Several devices by Keras' and TensorFlow's own means, each in a process that has two CPU devices."""

import json
import pathlib

import pytest
from test_conformance import run_python

HERE = pathlib.Path(__file__).resolve().parent

JAX = """
import json, sys
import keras, numpy as np
import keras_vae as kv
from compositions import COMPOSITIONS

def losses(devices):
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    keras.utils.set_random_seed(0)
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(16,)), likelihood="bernoulli", seed=0)
    vae.compile(keras.optimizers.Adam(1e-2))
    evaluated = vae.evaluate(COMPOSITIONS[0].images(48), batch_size=16, verbose=0)
    history = vae.fit(COMPOSITIONS[0].images(48), batch_size=16, epochs=3, verbose=0).history
    # The last batch cannot be shared evenly.
    history["loss"] += vae.fit(COMPOSITIONS[0].images(47), batch_size=16, epochs=2, verbose=0).history["loss"]
    encoder = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.BatchNormalization(), keras.layers.Flatten()])
    normalised = kv.VAE(encoder, kv.networks.mlp((8, 8, 1), 3)[1], likelihood="bernoulli")
    normalised.compile()
    try:
        normalised.fit(COMPOSITIONS[0].images(47), batch_size=16, verbose=0)
    except ValueError as error:
        refused = str(error)
    else:
        refused = None
    return evaluated, history["loss"], refused

devices = keras.distribution.list_devices("cpu")
assert len(devices) == 2
print(json.dumps({"one": losses(devices[:1]), "two": losses(devices)}))
"""

TENSORFLOW = """
import contextlib, json
import keras, numpy as np, tensorflow as tf
import keras_vae as kv
from keras_vae.backend import noise_seed, tfd
from compositions import COMPOSITIONS

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2

class FixedNoise(kv.posteriors.DiagonalNormal):
    def distribution(self, features, prior=None, training=False):
        q = super().distribution(features)
        q.sample = lambda samples, seed: (q.mean() + 0.5 * q.stddev())[None]
        return q

def run(scope):
    with scope:
        keras.utils.set_random_seed(0)
        vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(16,)), FixedNoise(3), likelihood="bernoulli", seed=0)
        vae.compile(keras.optimizers.Adam(1e-2))
    # Means of the epoch; the batches of 16 are dealt out as two of 8, the last one, of 1, as one of 1 and one of none.
    history = vae.fit(COMPOSITIONS[0].images(49), batch_size=16, epochs=3, verbose=0).history
    return vae, {name: values for name, values in history.items()}

_, one = run(contextlib.nullcontext())
vae, two = run(strategy.scope())
seeds = strategy.run(lambda: noise_seed(vae.seed_generator))
seeds = [s.numpy().tolist() for s in strategy.experimental_local_results(seeds)]
step = int(keras.ops.convert_to_numpy(vae.step))

# New parts are where the others are, within the scope and outside.
x = COMPOSITIONS[0].images(48)
later = []
for scope in (contextlib.nullcontext, strategy.scope):
    with scope():
        vae.fit_prior(x, "flow:steps=1,widths=[8]", seed=0, epochs=1, batch_size=16)
    later.append(vae.evaluate(x, batch_size=16, verbose=0, return_dict=True)["loss"])
    with scope():
        vae.prior = "vamp:components=2"
    vae.compile(keras.optimizers.Adam(1e-2))
    later += vae.fit(x, batch_size=16, epochs=1, verbose=0).history["loss"]
    vae.prior = "standard_normal"
print(json.dumps({"one": one, "two": two, "seeds": seeds, "step": step, "later": later}))
"""


def last_line(code, **environment):
    return json.loads(run_python(code, cwd=HERE, PYTHONPATH=str(HERE.parent), **environment).splitlines()[-1])


@pytest.mark.long
def test_data_parallel_on_jax_gives_the_loss_of_one_device():
    pytest.importorskip("jax")
    # As users compile, not as the suite does.
    compiled = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    result = last_line(JAX, KERAS_BACKEND="jax", **compiled)
    (one, trained_one, _), (two, trained_two, refused) = result["one"], result["two"]
    # The same noise and the same numbers; sums over the batch are made in another order, so the last bit may differ.
    assert two == pytest.approx(one, rel=2e-7)
    assert trained_two == pytest.approx(trained_one, rel=2e-7)
    assert "multiple of 2" in refused and "Received: 47 images" in refused


@pytest.mark.long
def test_mirrored_strategy_gives_the_loss_of_one_device():
    pytest.importorskip("tensorflow")
    result = last_line(TENSORFLOW, KERAS_BACKEND="tensorflow")
    for name, values in result["one"].items():
        assert result["two"][name] == pytest.approx(values, rel=1e-5), name
    assert result["step"] == 12
    assert result["seeds"][0] != result["seeds"][1]
    assert all(0 < loss < 100 for loss in result["later"]), result["later"]
