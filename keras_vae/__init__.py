"""Variational autoencoders for Keras 3, as compositions of five parts."""

import importlib
import os
import sys

__version__ = "0.1.0"
# Of the docstrings, for pdoc.
__docformat__ = "google"

# The command line imports what it needs when it has read its arguments: its help need not wait for TensorFlow.
if os.path.basename(sys.argv[0]) != "keras-vae" and "keras_vae.cli" not in sys.orig_argv:
    from keras_vae import (
        backend,
        data,
        distributions,
        feed,
        inference,
        likelihoods,
        metrics,
        networks,
        objectives,
        posteriors,
        presets,
        priors,
        schedules,
    )
    from keras_vae.model import LatentVariableModel
    from keras_vae.vae import VAE

    __all__ = [
        "VAE",
        "LatentVariableModel",
        "backend",
        "callbacks",
        "data",
        "distributions",
        "feed",
        "inference",
        "likelihoods",
        "metrics",
        "networks",
        "objectives",
        "plotting",
        "posteriors",
        "presets",
        "priors",
        "schedules",
    ]

    def __getattr__(name):
        # Most programs draw nothing, and need not wait for what draws.
        if name in ("callbacks", "plotting"):
            return importlib.import_module(f"keras_vae.{name}")
        raise AttributeError(f"module 'keras_vae' has no attribute {name!r}")
