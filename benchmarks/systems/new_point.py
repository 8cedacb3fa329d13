"""log p(x) of new points by samples of the prior, and by importance sampling from q(z|x).

In a latent plane both can be had: twenty thousand samples of the prior explain an image, where some hundred of the
posterior do.
"""

from pathlib import Path

import keras_vae as kv
import zoo

IMAGES, SAMPLES = 200, {"posterior": 500, "prior": 20_000}


def run(out: Path) -> dict:
    """Both estimates of test images, and how far they are apart."""
    digits = kv.data.load("mnist")
    vae = zoo.load("mnist_conv_2d")
    x = kv.data.convert(digits.test.images[:IMAGES], vae.likelihood.data)
    found = {name: vae.log_prob(x, count, seed=0, proposal=name, errors=True) for name, count in SAMPLES.items()}
    compared = kv.metrics.agreement(*found.values())
    return {
        **{
            f"log p(x) by {SAMPLES[name]:,} samples of the {name}, nats": float(v.mean())
            for name, (v, _) in found.items()
        },
        "prior less posterior, nats": compared.difference,
        "standard error of that": compared.error,
        f"images of {IMAGES} that can be compared": compared.images,
        "whether they agree (1: yes)": float(bool(compared.agrees)),
    }
