"""Training speed of keras_vae, of a plain Keras loop, and of PyTorch, with the same network and images.

    python benchmarks/train_speed.py --network mlp
    python benchmarks/train_speed.py --network conv --rounds 3

The contenders run in separate processes, in turn, A B C A B C ..., so that a drift of the machine's speed affects all
of them. Each warms up for an epoch and is then timed for whole epochs. Printed are the median, the lowest and the
highest of the rounds, in images per second, and the median ratio to the plain loop. PyTorch takes part if installed.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import numpy as np

SHAPE = (28, 28, 1)
LATENT = 20


def images(count: int) -> "np.ndarray":
    """Random binary images: speed does not depend on their content."""
    import numpy as np

    return (np.random.default_rng(0).random((count, *SHAPE)) < 0.13).astype("float32")


def timed(fit: Callable[[int], object], count: int, epochs: int) -> float:
    """Images per second over `epochs` epochs of `fit(epochs)`, after one to warm up."""
    fit(1)
    start = time.perf_counter()
    fit(epochs)
    return count * epochs / (time.perf_counter() - start)


def keras_networks(network: str) -> "tuple[keras.Model, keras.Model]":
    """Encoder and decoder."""
    import keras_vae as kv

    return kv.networks.mlp(SHAPE, LATENT, (512,)) if network == "mlp" else kv.networks.conv(SHAPE, LATENT, (32, 64))


def ours(options: argparse.Namespace) -> float:
    """Images per second of keras_vae."""
    import keras

    import keras_vae as kv

    vae = kv.VAE(*keras_networks(options.network), likelihood="bernoulli", seed=0)
    vae.compile(keras.optimizers.Adam(1e-3), steps_per_execution=options.steps_per_execution)
    x = images(options.images)
    return timed(lambda n: vae.fit(x, batch_size=options.batch_size, epochs=n, verbose=0), len(x), options.epochs)


def plain(options: argparse.Namespace) -> float:
    """Images per second of the loop in Keras' tutorial: its layers and `train_step`, the same networks and outputs."""
    import keras
    import tensorflow as tf
    from keras import ops

    class PlainVAE(keras.Model):
        def __init__(self, encoder, decoder):
            super().__init__()
            self.encoder, self.decoder = encoder, decoder
            self.head = keras.layers.Dense(2 * LATENT)
            on_maps = len(decoder.output_shape) == 4
            self.output_layer = keras.layers.Dense(1 if on_maps else 784)
            self.noise = keras.random.SeedGenerator(0)
            self.trackers = [keras.metrics.Mean(name=name) for name in ("loss", "reconstruction", "kl")]
            self.head.build(encoder.output_shape)
            self.output_layer.build(decoder.output_shape)
            self.built = True

        @property
        def metrics(self):
            return self.trackers

        def train_step(self, x):
            with tf.GradientTape() as tape:
                mean, log_variance = ops.split(self.head(self.encoder(x, training=True)), 2, axis=-1)
                z = mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.noise)
                logits = self.output_layer(self.decoder(z, training=True))
                target = ops.reshape(x, ops.shape(logits))
                crossentropy = ops.binary_crossentropy(target, logits, from_logits=True)
                reconstruction = ops.mean(ops.sum(ops.reshape(crossentropy, (ops.shape(x)[0], -1)), axis=-1))
                kl = -0.5 * (1 + log_variance - ops.square(mean) - ops.exp(log_variance))
                kl = ops.mean(ops.sum(kl, axis=-1))
                loss = reconstruction + kl
            variables = self.trainable_weights
            self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            for tracker, value in zip(self.trackers, (loss, reconstruction, kl), strict=True):
                tracker.update_state(value)
            return {tracker.name: tracker.result() for tracker in self.trackers}

    vae = PlainVAE(*keras_networks(options.network))
    vae.compile(keras.optimizers.Adam(1e-3), steps_per_execution=options.steps_per_execution)
    x = images(options.images)
    return timed(lambda n: vae.fit(x, batch_size=options.batch_size, epochs=n, verbose=0), len(x), options.epochs)


def pytorch(options: argparse.Namespace) -> float:
    """Images per second of the same layers in PyTorch; batches are indexed from one tensor (a DataLoader is slower)."""
    import torch
    from torch import nn
    from torch.nn import functional

    if options.network == "mlp":
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU())
        decoder = nn.Sequential(nn.Linear(LATENT, 512), nn.ReLU(), nn.Linear(512, 784))
        features = 512
    else:
        encoder = nn.Sequential(
            nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(64 * 49, 256), nn.ReLU(),
        )  # fmt: skip
        decoder = nn.Sequential(
            nn.Linear(LATENT, 64 * 49), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(32, 32, 3, 2, 1, 1), nn.ReLU(),
            nn.Conv2d(32, 1, 1), nn.Flatten(),
        )  # fmt: skip
        features = 256
    head = nn.Linear(features, 2 * LATENT)
    parameters = [p for module in (encoder, head, decoder) for p in module.parameters()]
    optimizer = torch.optim.Adam(parameters, 1e-3)
    x = torch.from_numpy(images(options.images)).permute(0, 3, 1, 2).contiguous()

    def fit(epochs):
        for _ in range(epochs):
            order = torch.randperm(len(x))
            for start in range(0, len(x), options.batch_size):
                batch = x[order[start : start + options.batch_size]]
                mean, log_variance = head(encoder(batch)).chunk(2, dim=-1)
                z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
                summed = functional.binary_cross_entropy_with_logits(decoder(z), batch.flatten(1), reduction="sum")
                kl = -0.5 * torch.sum(1 + log_variance - mean.square() - log_variance.exp())
                loss = (summed + kl) / len(batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return timed(fit, len(x), options.epochs)


CONTENDERS = {"keras_vae": ours, "plain Keras": plain, "PyTorch": pytorch}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("mlp", "conv"), default="mlp")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--images", type=int, default=12_800, help="images in an epoch")
    parser.add_argument("--epochs", type=int, default=5, help="timed epochs in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps-per-execution", type=int, default=1, help="of the two Keras contenders")
    parser.add_argument("--only", choices=CONTENDERS, help="time one contender, once, in this process")
    options = parser.parse_args()
    if options.only:
        print(CONTENDERS[options.only](options))
        return
    names = [n for n in CONTENDERS if n != "PyTorch" or importlib.util.find_spec("torch")]
    speeds = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            done = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--only", name],
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                check=True,
            )
            speeds[name].append(float(done.stdout.split()[-1]))
    print(f"{options.network}, batch {options.batch_size}, {os.cpu_count()} cores, {options.rounds} rounds: images/s")
    for name, values in speeds.items():
        ratio = statistics.median(a / b for a, b in zip(values, speeds["plain Keras"], strict=True))
        print(
            f"{name:12s} {statistics.median(values):9,.0f}   ({min(values):,.0f} to {max(values):,.0f})"
            f"   {ratio:.2f} of plain Keras"
        )


if __name__ == "__main__":
    main()
