"""log p(x) of new points by samples of the prior, by importance sampling from q(z|x), and by quadrature.

In a latent plane all three can be had: a grid over the plane gives the integral itself, thousands of samples of the
prior come near it, and so do some hundred of the posterior, unless an image has explanations in two parts of the plane,
of which q(z|x) covers one.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.special import logsumexp

import keras_vae as kv
import zoo

IMAGES, SAMPLES = 100, {"posterior": 500, "prior": 10_000}
# The plane within which all of the prior's mass lies, and points along each of its sides.
SIDE, POINTS = 7.0, 600


def quadrature(vae: kv.VAE, x: np.ndarray) -> np.ndarray:
    """log p(x) of images with Normal pixels of one scale, (N,) nats, by a sum over a grid."""
    line, step = np.linspace(-SIDE, SIDE, POINTS, retstep=True)
    z = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype("float32")
    means = np.asarray(vae.decode(z), "float64").reshape(len(z), -1)
    scale = float(np.asarray(vae.likelihood.scale))
    images = x.reshape(len(x), -1).astype("float64")
    squares = (images**2).sum(1)[:, None] - 2 * images @ means.T + (means**2).sum(1)
    log_likelihood = -squares / (2 * scale**2) - images.shape[1] * np.log(scale * np.sqrt(2 * np.pi))
    log_prior = np.asarray(vae.prior.distribution().log_prob(z), "float64")
    return logsumexp(log_likelihood + log_prior, axis=1) + 2 * np.log(step)


def drawn(exact: np.ndarray, found: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """How far each estimate is from the integral, with its standard error."""
    figure = Figure(figsize=(8, 3.2), dpi=100, layout="constrained")
    plots = figure.subplots(1, len(found), sharey=True)
    for ax, (name, (values, errors)) in zip(plots, found.items(), strict=True):
        style = {"fmt": ".", "markersize": 4, "linewidth": 0.8}
        ax.errorbar(exact, values - exact, errors, **style)
        ax.axhline(0, color="black", linewidth=0.8)
        # The few whose estimates are far off would hide the others.
        ax.set(title=f"{SAMPLES[name]:,} samples of the {name}", xlabel="log p(x) by quadrature, nats", ylim=(-3, 3))
    plots[0].set_ylabel("estimate less quadrature, nats")
    return figure


def run(out: Path) -> dict:
    """All estimates of test images, and how far they are apart."""
    digits = kv.data.load("mnist")
    vae = zoo.load("mnist_conv_2d")
    x = kv.data.convert(digits.test.images[:IMAGES], vae.likelihood.data)
    exact = quadrature(vae, x)
    found = {name: vae.log_prob(x, count, seed=0, proposal=name, errors=True) for name, count in SAMPLES.items()}
    kv.plotting.save(drawn(exact, found), out / "new_point.png")
    compared = kv.metrics.agreement(*found.values())
    numbers = {"log p(x) by quadrature, nats": float(exact.mean())}
    for name, (values, _) in found.items():
        title = f"{SAMPLES[name]:,} samples of the {name}"
        numbers[f"log p(x) by {title}, nats"] = float(values.mean())
        numbers[f"median distance of {title} from quadrature, nats"] = float(np.median(np.abs(values - exact)))
    return numbers | {
        "prior less posterior, nats": compared.difference,
        "standard error of that": compared.error,
        f"images of {IMAGES} whose two estimates can be compared": compared.images,
    }
