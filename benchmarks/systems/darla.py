"""Features for a domain that training has not seen: a denoising autoencoder, then a beta-VAE scored in its features.

Digits of MNIST in colours from red to green are the domain that everything is trained on, with labels for a linear
probe; digits in colours from cyan to magenta, with noise, are the other. A code that is good for transfer keeps the
probe's accuracy there.

Reference: Higgins et al. 2017, "DARLA: Improving zero-shot transfer in reinforcement learning", arXiv:1707.08475,
section 4.1 (beta-VAE with the loss in features of a denoising autoencoder).
"""

import colorsys
from pathlib import Path

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import keras_vae as kv

SHAPE, LATENT_SIZE, WIDTHS = (28, 28, 3), 32, (400, 200)
NOISE = 0.15
PROBED = 5000


def coloured(levels: np.ndarray, seed: int, shifted: bool = False) -> np.ndarray:
    """Grey digits (N, 28, 28, 1) in random colours of a domain, with noise where it is shifted: (N, 28, 28, 3)."""
    rng = np.random.default_rng(seed)
    hues = rng.uniform(0, 0.4, len(levels)) + (0.5 if shifted else 0)
    colours = np.array([colorsys.hsv_to_rgb(hue, 0.9, 1) for hue in hues])[:, None, None]
    x = levels / 255 * colours
    return np.clip(x + rng.normal(0, NOISE, x.shape) * shifted, 0, 1).astype("float32")


def train(x: np.ndarray, epochs: int, backup: Path, **parts) -> kv.VAE:
    """A dense model with other parts, trained."""
    keras.utils.set_random_seed(0)
    vae = kv.VAE(*kv.networks.mlp(SHAPE, LATENT_SIZE, widths=WIDTHS), seed=0, **parts)
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, epochs * -(-len(x) // 128))))
    vae.fit(
        x,
        batch_size=128,
        epochs=epochs,
        callbacks=[keras.callbacks.BackupAndRestore(backup, delete_checkpoint=False)],
        verbose=2,
    )
    return vae


def run(out: Path, epochs: int = 15, beta: float = 4.0) -> dict:
    """Trains all; returns the accuracies of a linear probe, and writes `darla.png` into `out`."""
    digits = kv.data.load("mnist")
    x = coloured(digits.train.images, 0)
    domains = {name: coloured(digits.test.images, 1, shifted=name == "shifted") for name in ("same", "shifted")}
    parts = {"posterior": "point", "likelihood": "normal:0.3", "corruption": "masking:0.3"}
    denoising = train(x, epochs, out / "denoising", **parts)
    inputs = keras.Input(SHAPE)
    in_features = kv.likelihoods.Perceptual(keras.Model(inputs, denoising.encoder(inputs)))
    # The same weight of the KL for each number that is scored, of which there are fewer in features.
    share = denoising.encoder.output_shape[-1] / x[0].size
    objectives = {"pixels": f"elbo:beta={beta}", "features": f"elbo:beta={beta * share}"}
    models = {
        "denoising": denoising,
        "beta-VAE": train(x, epochs, out / "pixels", likelihood="normal:learned", objective=objectives["pixels"]),
        "darla": train(x, epochs, out / "features", likelihood=in_features, objective=objectives["features"]),
    }
    results = {}
    for name, vae in models.items():
        probe, scaler = LogisticRegression(max_iter=500), StandardScaler()
        probe.fit(scaler.fit_transform(vae.encode(x[:PROBED])), digits.train.labels[:PROBED])
        for domain, images in domains.items():
            found = probe.score(scaler.transform(vae.encode(images)), digits.test.labels)
            results[f"accuracy of a probe, {name}, {domain} domain"] = float(found)
    shown = [images[:8] for images in domains.values()]
    rows = [*shown, *(vae.reconstruct(shown[1]) for vae in models.values())]
    kv.plotting.save(kv.plotting.image_grid(np.clip(np.concatenate(rows), 0, 1), columns=8), out / "darla.png")
    return results
