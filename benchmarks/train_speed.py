"""Training speed of keras_vae, of a plain Keras loop, of Pythae's trainer and of PyTorch, with the same layers.

    python benchmarks/train_speed.py --network mlp
    python benchmarks/train_speed.py --network conv --precision bfloat16 --rounds 7

Each contender trains whole epochs, in turn with the others. Printed are images per second of the clock and of CPU time,
which other processes disturb least, and the median of each round's ratio to the plain loop. Pythae and PyTorch take
part where they are installed (`pip install keras_vae[bench]`), JAX likewise.
"""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

import contest

if TYPE_CHECKING:
    import keras


def keras_networks(options: argparse.Namespace) -> "tuple[keras.Model, keras.Model]":
    """Encoder and decoder."""
    import keras

    import keras_vae as kv

    if options.precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    return getattr(kv.networks, options.network)(contest.SHAPE, contest.LATENT, contest.WIDTHS[options.network])


def fitting(vae: "keras.Model", steps: int | str, options: argparse.Namespace) -> Callable[[], int]:
    """Trains a model for some epochs."""
    import keras

    vae.compile(keras.optimizers.Adam(1e-3), steps_per_execution=steps)
    x = contest.images(options.images)

    def work():
        vae.fit(x, batch_size=options.batch_size, epochs=options.epochs, verbose=0)
        return len(x) * options.epochs

    return work


def ours(options: argparse.Namespace) -> Callable[[], int]:
    """keras_vae."""
    import keras_vae as kv

    steps = options.steps_per_execution
    vae = kv.VAE(*keras_networks(options), likelihood="bernoulli", seed=0)
    return fitting(vae, int(steps) if steps.isdigit() else steps, options)


def plain(options: argparse.Namespace) -> Callable[[], int]:
    """The loop in Keras' tutorial, its layers and `train_step`, of the same networks and outputs, 32 steps a call."""
    import keras
    import tensorflow as tf
    from keras import ops

    class PlainVAE(keras.Model):
        def __init__(self, encoder, decoder):
            super().__init__()
            self.encoder, self.decoder = encoder, decoder
            self.head = keras.layers.Dense(2 * contest.LATENT, dtype="float32")
            on_maps = len(decoder.output_shape) == 4
            self.output_layer = keras.layers.Dense(1 if on_maps else 784, dtype="float32")
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

    return fitting(PlainVAE(*keras_networks(options)), 32, options)


def pythae(options: argparse.Namespace) -> Callable[[], int]:
    """Pythae's trainer."""
    import tempfile

    import pytorch
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    x = pytorch.images(options.images)
    config = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=options.batch_size,
        num_epochs=options.epochs,
        learning_rate=1e-3,
    )
    data = BaseDataset(x, x.new_zeros(len(x)))
    trainer = BaseTrainer(pytorch.pythae_vae(options.network), data, training_config=config)

    def work():
        with pytorch.autocast(options.precision):
            trainer.train()
        return len(x) * options.epochs

    return work


def hand_written_pytorch(options: argparse.Namespace) -> Callable[[], int]:
    """A loop in PyTorch; batches are indexed from one tensor (a DataLoader is slower)."""
    import pytorch
    import torch
    from torch import nn
    from torch.nn import functional

    encoder, decoder, features = pytorch.networks(options.network)
    head = nn.Linear(features, 2 * contest.LATENT)
    parameters = [p for module in (encoder, head, decoder) for p in module.parameters()]
    optimizer = torch.optim.Adam(parameters, 1e-3)
    x = pytorch.images(options.images)

    def step(batch):
        with pytorch.autocast(options.precision):
            mean, log_variance = head(encoder(batch)).float().chunk(2, dim=-1)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            logits = decoder(z).float()
        summed = functional.binary_cross_entropy_with_logits(logits, batch.flatten(1), reduction="sum")
        kl = -0.5 * torch.sum(1 + log_variance - mean.square() - log_variance.exp())
        optimizer.zero_grad()
        ((summed + kl) / len(batch)).backward()
        optimizer.step()

    def work():
        for _ in range(options.epochs):
            order = torch.randperm(len(x))
            for start in range(0, len(x), options.batch_size):
                step(x[order[start : start + options.batch_size]])
        return len(x) * options.epochs

    return work


CONTENDERS = {
    "keras_vae": ours,
    "keras_vae, JAX": ours,
    "plain Keras": plain,
    "Pythae": pythae,
    "PyTorch": hand_written_pytorch,
}


def main() -> None:
    parser = contest.parser(__doc__)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--images", type=int, default=12_800, help="images in an epoch")
    parser.add_argument("--epochs", type=int, default=5, help="epochs in a round")
    parser.add_argument("--steps-per-execution", default="auto", help="of keras_vae: a number, or auto")
    contest.run(CONTENDERS, parser.parse_args(), "images", "plain Keras")


if __name__ == "__main__":
    main()
