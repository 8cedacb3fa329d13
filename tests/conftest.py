"""What all tests share."""

import gc
import os
import sys

import pytest

# How many were run.
TESTS = pytest.StashKey[int]()

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Two workers fill two cores, and what models of this size compute is done before it is dealt out to threads.
for threads in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(threads, "1")
# On JAX most of the time goes into compiling, and what is compiled runs only a few times.
if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


def pytest_configure(config):
    # Most models here are made more than once. What JAX compiled for one test, or in one run, serves the others.
    if os.environ.get("KERAS_BACKEND") == "jax" and config.pluginmanager.hasplugin("cacheprovider"):
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(config.cache.mkdir("jax")))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def pytest_addoption(parser):
    parser.addoption("--run-all", action="store_true", help="run long tests, and all rows of test_relations.py, too")


def in_full(config):
    """Whether what takes long is wanted, too."""
    return config.getoption("--run-all") or config.getoption("markexpr") == "relations"


def pytest_collection_modifyitems(config, items):
    jax = os.environ.get("KERAS_BACKEND") == "jax"
    if not config.getoption("--run-all"):
        for item in items:
            if "long" in item.keywords or (jax and "long_on_jax" in item.keywords):
                item.add_marker(pytest.mark.skip(reason="long: `pytest --run-all` runs it"))


def rewrite_no_graphs():
    """What is traced runs only a few times: it is not worth rewriting its graph first."""
    if tensorflow := sys.modules.get("tensorflow"):
        tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def keep_no_gradients():
    """TFP keeps what it traced of this function from test to test, but its gradients go with a test."""
    special = sys.modules.get("tensorflow_probability.python.math.special")
    if special and hasattr(special.lbeta, "python_function"):
        special.lbeta = special.lbeta.python_function


def pytest_collection_finish(session):
    # TensorFlow's modules stay: they need not be searched for garbage each time that tracing has made many objects.
    gc.freeze()
    gc.set_threshold(1_000_000, 1000, 1000)
    rewrite_no_graphs()
    keep_no_gradients()
    # A loop of several steps takes longer to trace than to run. Tests that are run in full have what users have.
    execution = sys.modules.get("keras_vae.training.execution")
    if execution and not in_full(session.config):
        execution.SEVERAL = 1


def pytest_runtest_teardown(item):
    # Models are rings of objects, which the long intervals above would keep: gigabytes, where all rows are run.
    item.config.stash[TESTS] = item.config.stash.get(TESTS, 0) + 1
    if item.config.stash[TESTS] % (40 if in_full(item.config) else 100) == 0:
        gc.collect()
    # TensorFlow keeps the graph of each step that it ever traced, by the gradients that are registered in it.
    if framework := sys.modules.get("tensorflow.python.framework.ops"):
        known = framework.gradient_registry._registry
        for name in [name for name in known if name.startswith("CustomGradient")]:
            del known[name]


@pytest.fixture
def as_a_program(tmp_path, monkeypatch):
    """An empty working directory; what is defined in `__main__` and set globally is forgotten after the test."""
    import keras
    import matplotlib.pyplot as plt

    from keras_vae import names, presets

    monkeypatch.chdir(tmp_path)
    # IPython makes its own.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    backend, limits = plt.get_backend(), vars(presets.limits).copy()
    yield tmp_path
    vars(presets.limits).update(limits)
    for known in (*names.registry._REGISTRY.values(), keras.saving.get_custom_objects()):
        for name in [name for name, made in known.items() if made.__module__ == "__main__"]:
            del known[name]
    keras.config.set_dtype_policy("float32")
    plt.close("all")
    plt.switch_backend(backend)
