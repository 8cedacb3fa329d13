"""Speed of the importance-sampled log-likelihood: decoded samples per second.

python benchmarks/log_prob_speed.py --network mlp
python benchmarks/log_prob_speed.py --network conv --chunk 1024
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

import keras_vae as kv

SHAPE = (28, 28, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("mlp", "conv"), default="mlp")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--chunk", type=int, default=1024, help="samples decoded at a time")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    networks = kv.networks.mlp(SHAPE, 20, (512,)) if options.network == "mlp" else kv.networks.conv(SHAPE, 20, (32, 64))
    vae = kv.VAE(*networks, likelihood="bernoulli", seed=0)
    x = (np.random.default_rng(0).random((options.images, *SHAPE)) < 0.13).astype("float32")
    vae.log_prob(x, samples=options.samples, seed=0, chunk=options.chunk)
    speeds = []
    for seed in range(options.rounds):
        start = time.perf_counter()
        vae.log_prob(x, samples=options.samples, seed=seed, chunk=options.chunk)
        speeds.append(options.images * options.samples / (time.perf_counter() - start))
    print(
        f"{options.network}, {options.samples} samples of each of {options.images} images, chunks of {options.chunk}, "
        f"{os.cpu_count()} cores: {statistics.median(speeds):,.0f} decoded samples/s "
        f"({min(speeds):,.0f} to {max(speeds):,.0f} in {options.rounds} rounds)"
    )


if __name__ == "__main__":
    main()
