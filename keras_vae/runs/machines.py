"""A run on several devices or machines."""

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras

from keras_vae import backend
from keras_vae.runs import strategies
from keras_vae.runs.recipe import UsageError
from keras_vae.training.processes import Processes


class LostProcess(RuntimeError):
    """Another process of the run has ended, or cannot be reached."""


# What the backends raise then, among other things, and words that tell it from those.
if backend.NAME == "tensorflow":
    import tensorflow as tf

    _LOST, _WORDS = (tf.errors.UnavailableError, tf.errors.AbortedError), ("",)
else:
    import jax

    _LOST, _WORDS = jax.errors.JaxRuntimeError, ("Gloo", "NCCL", "UNAVAILABLE", "heartbeat")


class Machines:
    """What trains the model of a run together.

    Args:
        strategy: one of `strategies.STRATEGIES`; None: one device.

    Attributes:
        processes: the `Processes`.
        several: whether there is a strategy.

    Raises:
        UsageError: for a strategy of the other backend, or that does not go with the environment.
    """

    def __init__(self, strategy: str | None = None):
        strategies.check(strategy)
        wanted = strategies.STRATEGIES.get(strategy, backend.NAME)
        if wanted != backend.NAME:
            raise UsageError(
                f"--strategy {strategy} is one of {wanted}'s: set KERAS_BACKEND={wanted}, or choose another one. "
                f"Received: KERAS_BACKEND={backend.NAME}"
            )
        self._strategy = None if strategy is None else _made(strategy)
        self.several = strategy is not None
        with contextlib.nullcontext() if self._strategy is None else self._strategy.scope():
            self.processes = Processes()

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Within it, a model is made and trained by all.

        Raises:
            LostProcess: where one of several has ended.
        """
        with contextlib.nullcontext() if self._strategy is None else self._strategy.scope():
            try:
                yield
            except _LOST as error:
                if self.processes.count == 1 or not any(word in str(error) for word in _WORDS):
                    raise
                raise LostProcess(
                    "Another process of this run has ended, or cannot be reached: look at what it said, and start all "
                    "of them again with --resume, from the last state that was written. "
                    f"Received: {type(error).__name__}, {self.processes.count} processes"
                ) from error

    @contextlib.contextmanager
    def directory(self, out: Path) -> Iterator[Path]:
        """Where this process writes the run: the chief to `out`, others to a copy of it, which is removed again."""
        with tempfile.TemporaryDirectory() as aside:
            own = out if self.processes.is_chief else Path(aside) / out.name
            if own is not out and out.exists():
                # What is not needed to go on.
                ignored = shutil.ignore_patterns(".lock*", "partial.*", "tensorboard", "savedmodel")
                shutil.copytree(out, own, ignore=ignored)
            # Before the chief writes, all have read.
            self.wait()
            yield own

    def check_together(self, steps: int) -> None:
        """Refuses processes that would not go on from the same step.

        Raises:
            UsageError: in all of them.
        """
        found = self.processes.gathered(steps)
        if len(set(found)) > 1:
            raise UsageError(
                "To go on with a run, all processes must see its directory: put --out where all machines see it. "
                f"Received: models after {', '.join(map(str, found))} steps"
            )

    def wait(self) -> None:
        """Waits until all processes are there."""
        self.processes.any(False)


@functools.cache
def _made(strategy):
    """The strategy, or distribution, which a process can make only once, before it computes anything."""
    if strategy == "data_parallel":
        if "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ and not jax.distributed.is_initialized():
            keras.distribution.initialize()
        return keras.distribution.DataParallel()
    return tf.distribute.MirroredStrategy() if strategy == "mirrored" else tf.distribute.MultiWorkerMirroredStrategy()
