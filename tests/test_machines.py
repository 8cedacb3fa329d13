"""Several processes that train one model, as on several machines."""

import itertools
import json
import pathlib

import h5py
import keras
import numpy as np
import pytest
from processes import run_together

from keras_vae import files
from keras_vae.runs import strategies
from keras_vae.runs.recipe import UsageError
from keras_vae.training import processes
from keras_vae.training.stream import ArrayFeed

HERE = pathlib.Path(__file__).resolve().parent

# How the model of two processes is made.
TOGETHER = """
import contextlib, json, os, pathlib, random, sys
import keras, numpy as np
backend, rank = os.environ["KERAS_BACKEND"], int(os.environ["RANK"])
if backend == "tensorflow":
    import tensorflow as tf
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    scope = strategy.scope
else:
    keras.distribution.initialize()
    scope = keras.distribution.DataParallel().scope
"""

FIT = """
import keras_vae as kv
from keras_vae.training import processes
from keras_vae.training.stream import ArrayFeed, _Batches

class FixedNoise(kv.posteriors.DiagonalNormal):
    def distribution(self, features, prior=None, training=False):
        q = super().distribution(features)
        q.sample = lambda samples, seed: (q.mean() + 0.5 * q.stddev())[None]
        return q

def build(seed=0):
    keras.utils.set_random_seed(0)
    # What draws a seed that is not given.
    random.randrange = lambda stop: 100 + rank
    # On JAX noise is that of one process.
    posterior = FixedNoise(3) if backend == "tensorflow" else "diagonal_normal"
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(16,)), posterior, likelihood="bernoulli", seed=seed)
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae

# 49 images are three batches of 16 and one of 1, of which a process has none.
x = (np.random.default_rng(0).random((49, 8, 8, 1)) < 0.4).astype("float32")
weights = np.linspace(0, 2, 49).astype("float32")

def fit(vae, epochs=3, **options):
    given = {"sample_weight": weights, "validation_data": x[:33], "batch_size": 16, "verbose": 0}
    return vae.fit(x, epochs=epochs, **given, **options).history

class Interrupt(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise InterruptedError

def all_weights(vae):
    return [keras.ops.convert_to_numpy(v) for v in vae.variables]

out = pathlib.Path(sys.argv[1])
found = {"one": fit(build())}
with scope():
    vae = build()
    backup = keras.callbacks.BackupAndRestore(out / "backup")
    best = kv.callbacks.BestCheckpoints(out / "best", k=2)
    found["together"] = fit(vae, callbacks=[best, keras.callbacks.CSVLogger(out / "log.csv")])
    group = processes.Processes(vae)
    found |= {"rank": group.rank, "count": group.count, "chief": group.from_chief(10 + rank)}
    resumed = build()
    with contextlib.suppress(InterruptedError):
        fit(resumed, callbacks=[backup, Interrupt()])
    resumed = build()
    found["resumed"] = fit(resumed, callbacks=[backup])
    found["exact"] = all(map(np.array_equal, all_weights(vae), all_weights(resumed)))
    found["seed"] = build(seed=None).seed
    numbers = np.arange(49, dtype="float32").reshape(49, 1, 1, 1)
    stream = ArrayFeed(numbers, batch_size=16, seed=1, shuffle=True).stream(2)
    if backend == "tensorflow":
        batches = strategy.experimental_distribute_dataset(stream)
        batches = [strategy.experimental_local_results(batch[0])[0].numpy() for batch in batches]
        found["noise"] = strategy.run(lambda: kv.backend.noise_seed(vae.seed_generator)).numpy().tolist()
    else:
        batches = [x[w > 0] for x, _, w in map(stream.__getitem__, range(len(stream)))]
    found["seen"] = [b.reshape(-1).astype(int).tolist() for b in batches]
    found["predicted"] = vae.predict(x, verbose=0).shape
    found["on_batch"] = [vae.test_on_batch(x[:16], return_dict=True)["kl"], build().train_on_batch(x[:16])]
    found["refused"] = []
    for given, seed in ((1 - x if rank else x, 0), (x, rank)):
        vae.seed = seed
        try:
            vae.fit(given, verbose=0)
        except ValueError as error:
            found["refused"].append(str(error))
    vae.seed = 0
    if backend == "jax":
        def fit_stream(dealt_out, batches):
            keras.distribution.distribution().auto_shard_dataset = not dealt_out
            try:
                vae.fit((batch for batch in batches), verbose=0)
            except ValueError as error:
                found["refused"].append(str(error))
        fit_stream(False, [x[:16]])
        fit_stream(True, [x[:16]])
        before = vae.steps
        fit_stream(True, [x[8 * rank : 8 * rank + 8]])
        found["steps"] = [before, vae.steps]
found["best"] = sorted(path.name for path in (out / "best").iterdir())
print(json.dumps(found))
"""


def check_together(found):
    chief, other = found
    assert (chief["rank"], other["rank"], chief["count"]) == (0, 1, 2)
    assert chief["together"] == other["together"]
    for name, values in chief["one"].items():
        # Sums over a batch are made in another order.
        assert chief["together"][name] == pytest.approx(values, rel=2e-6, abs=1e-7), name
    assert chief["chief"] == other["chief"] == 10
    assert chief["seed"] == other["seed"] == 100
    for ours, theirs in zip(chief["seen"], other["seen"], strict=True):
        assert not set(ours) & set(theirs)
    assert sorted(itertools.chain(*chief["seen"], *other["seen"])) == list(range(49))
    # Interrupted after two epochs, and gone on with.
    assert chief["resumed"]["loss"] == chief["together"]["loss"][2:] and chief["exact"] and other["exact"]
    assert len(chief["best"]) == 2
    assert chief["predicted"] == [49, 8, 8, 1] and chief["on_batch"] == other["on_batch"]
    for process in found:
        assert "same arrays" in process["refused"][0] and "same arrays" in process["refused"][1]


def trained_together(tmp_path, backend, **environment):
    """What two processes said that trained one model, checked for what holds on both backends."""
    environment["PYTHONPATH"] = str(HERE.parent)
    printed = run_together(TOGETHER + FIT, tmp_path, cwd=HERE, backend=backend, **environment)
    found = [json.loads(text.splitlines()[-1]) for text in printed]
    check_together(found)
    return found


@pytest.mark.long
def test_two_processes_of_tensorflow_train_one_model(tmp_path):
    pytest.importorskip("tensorflow")
    found = trained_together(tmp_path, "tensorflow", TF_CPP_MIN_LOG_LEVEL="2")
    assert found[0]["noise"] != found[1]["noise"]
    assert (tmp_path / "log.csv").read_text().count("\n") == 4
    assert not (tmp_path / "backup").exists()


@pytest.mark.long
def test_two_processes_of_jax_train_one_model(tmp_path):
    pytest.importorskip("jax")
    # As users compile, not as the suite does.
    found = trained_together(tmp_path, "jax", JAX_DISABLE_MOST_OPTIMIZATIONS="0")
    for process in found:
        assert "dealt out" in process["refused"][2] and "several yield the same" in process["refused"][3]
        # What was refused after its first step is undone.
        assert process["steps"] == [12, 13]
    assert (tmp_path / "log.csv").read_text().count("\n") == 4
    assert not (tmp_path / "backup").exists()


SHARDED = """
import json, warnings
import keras, numpy as np
keras.distribution.initialize()
import keras_vae as kv

mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), keras.distribution.list_devices())
layout = keras.distribution.LayoutMap(mesh)
layout[".*dense.*kernel"] = (None, "model")
x = (np.random.default_rng(0).random((32, 8, 8, 1)) < 0.4).astype("float32")

def build(rate):
    keras.utils.set_random_seed(0)
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 4, widths=(16,)), likelihood="bernoulli", seed=0)
    vae.compile(keras.optimizers.SGD(rate))
    return vae

def shards(vae):
    return [np.asarray(v.value.addressable_data(0)) for v in vae.variables if v.trainable]

one = build(1e-3).fit(x, batch_size=16, epochs=2, verbose=0).history["loss"]
with keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch").scope():
    vae = build(1e-3)
    sharded = vae.fit(x, batch_size=16, epochs=2, verbose=0).history["loss"]
    split = sum(not v.value.is_fully_replicated for v in vae.variables)
    vae = build(1e30)
    before = shards(vae)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vae.fit(x, batch_size=16, epochs=2, verbose=0)
    told = [str(warning.message) for warning in caught if "NaN" in str(warning.message)]
    print(json.dumps([one, sharded, split, all(map(np.array_equal, before, shards(vae))), len(told)]))
"""


@pytest.mark.long
def test_weights_that_no_process_has_whole_are_trained_and_put_back():
    pytest.importorskip("jax")
    environment = {"PYTHONPATH": str(HERE.parent), "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    for text in run_together(SHARDED, cwd=HERE, backend="jax", **environment):
        one, sharded, split, put_back, told = json.loads(text.splitlines()[-1])
        assert sharded == pytest.approx(one, rel=1e-6)
        assert split > 0 and put_back and told == 1


RUN = """
import json, os, sys
import numpy as np
backend = os.environ["KERAS_BACKEND"]
strategy = "multi_worker_mirrored" if backend == "tensorflow" else "data_parallel"
from keras_vae.cli.main import main
from keras_vae.callbacks import Deadline
from keras_vae.training.processes import Agreement

def train(out, *more):
    options = "--network mlp:16 --latent-size 2 --batch-size 32 --eval-images 4 --eval-samples 2 --seed 3"
    return main(["train", "digits", *options.split(), "--strategy", strategy, "--out", out, "--json", *more])

Agreement._EVERY = 1
over = Deadline._is_over
asked = []

def soon_over(deadline):
    asked.append(deadline)
    # One process alone has no time left, in the second epoch; on JAX many steps are made at a time.
    return os.environ["RANK"] == "1" and len(asked) > (50 if backend == "tensorflow" else 4)

codes = [train("whole", "--epochs", "2")]
Deadline._is_over = soon_over
codes.append(train("stopped", "--epochs", "2"))
Deadline._is_over = over
codes.append(train("stopped", "--resume"))
assert codes == [0, 0, 0], codes
"""


def weights(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


def check_run(printed, out):
    # The chief alone prints results.
    whole, stopped, resumed = map(json.loads, printed[0].splitlines()[-3:])
    assert not printed[1]
    assert (stopped["epochs"], resumed["epochs"]) == (1, 2)
    assert resumed["metrics"] == whole["metrics"]
    # To the last bit.
    one, other = (weights(out / name / "model.weights.h5") for name in ("whole", "stopped"))
    assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
    one, other = (files.Table.read(out / name / "history.csv") for name in ("whole", "stopped"))
    for row, expected in zip(other, one, strict=True):
        # Of the epoch that was interrupted the processes' sums were added up in between.
        assert row == pytest.approx(expected, rel=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_run_of_two_processes_stops_and_goes_on_together(tmp_path, backend):
    pytest.importorskip(backend)
    environment = {"PYTHONPATH": str(HERE.parent), "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    check_run(run_together(RUN, cwd=tmp_path, backend=backend, **environment), tmp_path)


def test_a_process_alone_is_the_chief(monkeypatch):
    group = processes.Processes()
    assert (group.count, group.rank, group.is_chief) == (1, 0, True)
    assert group.gathered(7) == [7] and group.from_chief(3) == 3 and group.any(True)
    callbacks = [keras.callbacks.CSVLogger("log.csv"), keras.callbacks.EarlyStopping()]
    assert group.heard_by(callbacks) == callbacks
    monkeypatch.setattr(group, "rank", 1)
    assert group.heard_by(callbacks) == callbacks[1:]
    asked = []
    monkeypatch.setattr(group, "count", 2)
    monkeypatch.setattr(group, "any", lambda flag: bool(asked.append(flag)) or True)
    agreed = processes.Agreement(group)
    assert [agreed(False) for _ in range(40)] == ([False] * 19 + [True]) * 2 and len(asked) == 2
    assert agreed(False, at_once=True)


def test_arrays_are_told_apart():
    x = np.arange(4000.0).reshape(1000, 4)
    other = x.copy()
    other[0, 0] = 1
    told = {processes.fingerprint(a) for a in (x, other, x[:999], x[::-1], x.reshape(1000, 2, 2), x.astype("float32"))}
    assert len(told) == 6
    assert processes.fingerprint(x, None) == processes.fingerprint(x.copy()) != processes.fingerprint(x, x)


@pytest.mark.parametrize("count,batch_size,sizes", [(47, 16, {16, 15}), (48, 16, {16}), (5, 16, {5}), (16, 16, {16})])
def test_a_feed_knows_the_sizes_of_its_batches(count, batch_size, sizes):
    feed = ArrayFeed(np.zeros((count, 1)), batch_size=batch_size)
    assert feed.sizes == sizes == {int((row >= 0).sum()) for row in feed.order()}


TWO = json.dumps({"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}})


@pytest.mark.parametrize(
    "strategy,environment,told",
    [
        (None, {"TF_CONFIG": TWO}, "--strategy multi_worker_mirrored"),
        ("mirrored", {"TF_CONFIG": TWO}, "--strategy multi_worker_mirrored"),
        (None, {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}, "--strategy data_parallel"),
        ("multi_worker_mirrored", {}, "no TF_CONFIG"),
        ("multi_worker_mirrored", {"TF_CONFIG": "worker"}, "JSON"),
        ("mirored", {}, "Did you mean"),
    ],
)
def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch, strategy, environment, told):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=told):
        strategies.check(strategy)


def test_strategies_that_go_with_the_environment(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}}))
    strategies.check(None)
    strategies.check("mirrored")
    monkeypatch.setenv("TF_CONFIG", TWO)
    strategies.check("multi_worker_mirrored")
