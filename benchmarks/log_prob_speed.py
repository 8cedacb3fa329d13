"""Speed of the importance-sampled log-likelihood, and of Pythae's `get_nll`: decoded samples per second.

    python benchmarks/log_prob_speed.py --network mlp
    python benchmarks/log_prob_speed.py --network conv --chunk 1024

Both take the same number of samples for each image from networks with the same layers; Pythae, where it is installed
(`pip install keras_vae[bench]`), decodes as many at a time as `--pythae-batch` says.
"""

import argparse
from collections.abc import Callable

import contest


def ours(options: argparse.Namespace) -> Callable[[], int]:
    """keras_vae."""
    import keras

    import keras_vae as kv

    if options.precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    build = getattr(kv.networks, options.network)
    vae = kv.VAE(*build(contest.SHAPE, contest.LATENT, contest.WIDTHS[options.network]), likelihood="bernoulli", seed=0)
    x = contest.images(options.images)

    def work():
        vae.log_prob(x, samples=options.samples, seed=0, chunk=options.chunk)
        return options.images * options.samples

    return work


def pythae(options: argparse.Namespace) -> Callable[[], int]:
    """Pythae's `get_nll`, which also encodes each image once for each sample."""
    import pytorch
    import torch

    vae = pytorch.pythae_vae(options.network).eval()
    x = pytorch.images(options.images)

    def work():
        with torch.no_grad(), pytorch.autocast(options.precision):
            vae.get_nll(x, n_samples=options.samples, batch_size=options.pythae_batch)
        return options.images * options.samples

    return work


CONTENDERS = {"keras_vae": ours, "keras_vae, JAX": ours, "Pythae": pythae}


def main() -> None:
    parser = contest.parser(__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--chunk", type=int, default=1024, help="samples that keras_vae decodes at a time")
    parser.add_argument("--pythae-batch", type=int, default=100, help="samples that Pythae decodes at a time")
    contest.run(CONTENDERS, parser.parse_args(), "samples", "Pythae")


if __name__ == "__main__":
    main()
