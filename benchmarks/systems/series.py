"""A convolutional VAE of one-dimensional series: waves of three forms, with noise of a known scale.

Because the signals are generated, the number that a good model reaches is known: a scale of the noise of 0.1. Signals
with a short spike, which training had none of, are to be told from others by log p(x).
"""

from pathlib import Path

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

import keras_vae as kv

LENGTH, NOISE = 128, 0.1
LATENT_SIZE = 6


def signals(count: int, seed: int, spikes: bool = False) -> np.ndarray:
    """Sine, square and triangular waves of random amplitude, frequency and phase, with noise: (count, 128, 1).

    Args:
        count: how many.
        seed: of what is random.
        spikes: whether each has a spike of height 0.5 on three neighbouring points.
    """
    rng = np.random.default_rng(seed)
    amplitude, frequency, phase = rng.uniform((0.5, 1, 0), (1, 4, 1), (count, 3)).T[..., None]
    turns = frequency * np.linspace(0, 1, LENGTH) + phase
    sine = np.sin(2 * np.pi * turns)
    forms = np.stack([sine, np.tanh(8 * sine), np.arcsin(sine) * 2 / np.pi])
    x = amplitude * forms[rng.integers(3, size=count), np.arange(count)] + rng.normal(0, NOISE, (count, LENGTH))
    if spikes:
        at = rng.integers(LENGTH - 3, size=count)[:, None] + np.arange(3)
        x[np.arange(count)[:, None], at] += 0.5 * rng.choice((-1, 1), (count, 1))
    return x[..., None].astype("float32")


def run(out: Path, epochs: int = 60) -> dict:
    """Trains it; returns its numbers, and writes `series.png` into `out`."""
    train, test, odd = signals(20_000, 0), signals(2000, 1), signals(2000, 2, spikes=True)
    keras.utils.set_random_seed(0)
    networks = kv.networks.conv1d((LENGTH, 1), LATENT_SIZE, widths=(32, 64, 64))
    vae = kv.VAE(*networks, likelihood="normal:optimal", seed=0)
    steps = epochs * -(-len(train) // 128)
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)))
    backup = keras.callbacks.BackupAndRestore(out / "backup", delete_checkpoint=False)
    vae.fit(train, batch_size=128, epochs=epochs, callbacks=[backup], verbose=2)

    pca = kv.probabilistic_pca(train, LATENT_SIZE, seed=0)
    scores = {name: vae.log_prob(x, samples=100, seed=0) for name, x in (("test", test), ("odd", odd))}
    pca_scores = {name: pca.log_prob(x, samples=1, seed=0) for name, x in (("test", test), ("odd", odd))}
    shown = test[:8]
    figure = kv.plotting.image_grid(np.concatenate([shown, vae.reconstruct(shown), vae.sample(8, seed=0)]), columns=8)
    kv.plotting.save(figure, out / "series.png")
    return {
        "log p(x), nats": float(scores["test"].mean()),
        "log p(x) of probabilistic PCA, nats": float(pca_scores["test"].mean()),
        "scale of the noise": float(np.sqrt(vae.likelihood.average(1.0))),
        "AUC of spikes by log p(x)": _auc(scores),
        "AUC of spikes by probabilistic PCA": _auc(pca_scores),
    }


def _auc(scores):
    """How well log p(x) tells odd signals from others; 0.5 is chance, 1 without error."""
    unlikely = -np.concatenate([scores["test"], scores["odd"]])
    return float(roc_auc_score(np.repeat((0, 1), (len(scores["test"]), len(scores["odd"]))), unlikely))
