"""A two-stage VAE of faces: a second VAE learns how the latents of the first are distributed.

The first is `celeba64_conv`, whose posteriors, over all images, are no N(0, I). Samples of three priors of it are
judged by ../faces.py, in the features of a classifier that none of them is trained with.

Reference: Dai and Wipf 2019, "Diagnosing and enhancing VAE models", arXiv:1903.05789.
"""

from pathlib import Path

import keras
import numpy as np
from faces import KEPT, REFERENCE, SAMPLES, in_unit, judge

import keras_vae as kv
import zoo


def run(out: Path, epochs: int = 60) -> dict:
    """Fits the second stage; returns distances to test images, and writes `two_stage.png` into `out`.

    Its rows: samples of N(0, I), of a mixture, of the second stage.
    """
    data = kv.data.load("celeb_a64")
    network, _ = judge(KEPT, data.train, 5)
    real = network.predict((data.test.images[:REFERENCE] / 255).astype("float32"), verbose=0)
    keras.utils.set_random_seed(0)
    vae = zoo.load("celeba64_conv")
    train = kv.data.convert(data.train.images, vae.likelihood.data)
    numbers, rows = {}, []

    def measure(name):
        images = in_unit(vae, vae.sample(SAMPLES, seed=0))
        distance = kv.metrics.frechet_distance(network.predict(images, verbose=0), real)
        numbers[f"distance of samples of {name}"] = distance
        rows.append(images[:10])

    mixture = vae.prior
    vae.prior = kv.priors.StandardNormal(vae.latent_shape[0])
    measure("N(0, I)")
    vae.prior = mixture
    measure("a mixture of Normals")
    vae.fit_prior(train, "two_stage", seed=0, epochs=epochs)
    measure("a second VAE")
    kv.plotting.save(kv.plotting.image_grid(np.concatenate(rows), columns=10), out / "two_stage.png")
    return numbers
