"""The cost of callbacks: the time that each takes at the end of an epoch, as a share of training time.

    python benchmarks/callbacks_speed.py --network mlp
    python benchmarks/callbacks_speed.py --network conv --epochs 4

All callbacks, with their defaults, run in one training run on MNIST. Each is timed by itself, since the difference
between two training runs would drown in the noise of a shared machine. Times are CPU times of the process, which other
processes do not affect; the time of a callback is multiplied by the number of cores, as if it kept all of them waiting.
The first epoch, in which functions are compiled, is reported separately. For JAX set KERAS_BACKEND=jax.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

import keras_vae as kv

SHAPE = (28, 28, 1)


def timed(callback: keras.callbacks.Callback, seconds: list[float]) -> keras.callbacks.Callback:
    """Makes `callback` append the CPU time of each of its epoch ends to `seconds`."""
    end = callback.on_epoch_end

    def on_epoch_end(epoch, logs=None):
        start = time.process_time()
        end(epoch, logs)
        seconds.append(time.process_time() - start)

    callback.on_epoch_end = on_epoch_end
    return callback


class Steps(keras.callbacks.Callback):
    """The CPU seconds from the beginning of each epoch to the end of its last training step."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._start = time.process_time()

    def on_test_begin(self, logs: dict | None = None) -> None:
        self.seconds.append(time.process_time() - self._start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("mlp", "conv"), default="mlp")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    mnist = kv.data.load("mnist")
    train, validation = (kv.data.convert(split.images, "binary", 0) for split in (mnist.train, mnist.validation))
    labels = np.asarray(mnist.validation.labels)
    networks = kv.networks.mlp(SHAPE, 20, (512,)) if options.network == "mlp" else kv.networks.conv(SHAPE, 20, (32, 64))
    vae = kv.VAE(*networks, likelihood="bernoulli", seed=0)
    vae.compile(keras.optimizers.Adam(1e-3))
    steps = Steps()
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        callbacks = {
            "SampleGrid": kv.callbacks.SampleGrid(out, tensorboard=out / "logs"),
            "ReconstructionGrid": kv.callbacks.ReconstructionGrid(out, validation[:20], tensorboard=out / "logs"),
            "LatentTraversal": kv.callbacks.LatentTraversal(out, validation[:100], tensorboard=out / "logs"),
            "LatentScatter": kv.callbacks.LatentScatter(out, validation, labels),
            "ActiveUnits": kv.callbacks.ActiveUnits(validation),
            "CollapseWarning": kv.callbacks.CollapseWarning(validation, after=1),
            "ScheduleLogger": kv.callbacks.ScheduleLogger(),
            "BestCheckpoints": kv.callbacks.BestCheckpoints(out / "best"),
        }
        seconds = {name: [] for name in callbacks}
        timers = [timed(callback, seconds[name]) for name, callback in callbacks.items()]
        vae.fit(
            train,
            batch_size=options.batch_size,
            epochs=options.epochs + 1,
            verbose=0,
            validation_data=validation[:1000],
            callbacks=[steps, *timers],
        )
    cores = len(os.sched_getaffinity(0))
    epochs = steps.seconds[1:]
    print(
        f"{options.network}, {kv.backend.NAME}, {len(train):,} images, batch {options.batch_size}, {cores} cores: an "
        f"epoch's steps take {statistics.median(epochs):.2f} s of CPU time ({min(epochs):.2f} to {max(epochs):.2f} in "
        f"{len(epochs)} epochs)"
    )
    for name, (first, *rest) in seconds.items():
        shares = [100 * cores * own / epoch for own, epoch in zip(rest, epochs, strict=True)]
        print(
            f"{name:19s} {1000 * statistics.median(rest):6.0f} ms   {statistics.median(shares):5.2f}% "
            f"({min(shares):.2f}% to {max(shares):.2f}%)   first {1000 * first:5.0f} ms"
        )


if __name__ == "__main__":
    main()
