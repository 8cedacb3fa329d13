"""What all tests share."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# On JAX most of the time goes into compiling, and what is compiled runs only a few times.
if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


def pytest_addoption(parser):
    parser.addoption("--run-all", action="store_true", help="run all rows of test_relations.py, not a few of them")
