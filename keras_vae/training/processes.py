"""The processes that train one model together: which of them this is, what they tell each other, who has which data."""

import contextlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from keras_vae import backend

if backend.NAME == "tensorflow":
    import tensorflow as tf
else:
    import jax
    from jax.experimental import multihost_utils

# Of Keras' own, those that write files, and change nothing else.
_WRITERS = (keras.callbacks.ModelCheckpoint, keras.callbacks.CSVLogger, keras.callbacks.TensorBoard)


class Processes:
    """The processes of a TensorFlow strategy or a Keras distribution; a process that is in none is alone.

    What they tell each other, all of them must be asked for, in one order.

    Args:
        model: whose strategy it is on TensorFlow; None: that of the current scope.

    Attributes:
        count: how many there are.
        rank: which of them this is; the first, 0, is the chief, who writes files.
    """

    def __init__(self, model: keras.Model | None = None):
        self.count, self.rank = 1, 0
        if backend.NAME == "tensorflow":
            self._strategy = tf.distribute.get_strategy() if model is None else model.distribute_strategy
            if isinstance(self._strategy, tf.distribute.MultiWorkerMirroredStrategy):
                resolver = self._strategy.cluster_resolver
                jobs = resolver.cluster_spec().as_dict()
                chiefs, workers = (len(jobs.get(job, ())) for job in ("chief", "worker"))
                self.count = max(1, chiefs + workers)
                self.rank = (resolver.task_id or 0) + (chiefs if resolver.task_type == "worker" else 0)
        elif (distribution := keras.distribution.distribution()) is not None:
            self.count, self.rank = distribution.num_processes, jax.process_index()

    @property
    def is_chief(self) -> bool:
        """Whether this one writes files."""
        return self.rank == 0

    def gathered(self, number: int) -> list[int]:
        """A number of each process, from 0 to 2^31 - 1, in the order of their ranks."""
        if self.count == 1:
            return [number]
        if backend.NAME == "jax":
            return multihost_utils.process_allgather(np.array([number], "int32")).reshape(-1).tolist()
        # A column for each process; it counts as often as the process has replicas.
        row = np.zeros((2, self.count), "int64")
        row[:, self.rank] = number, 1
        value = self._strategy.experimental_distribute_values_from_function(lambda _: tf.constant(row))
        totals, replicas = self._strategy.reduce("SUM", value, axis=None).numpy()
        return (totals // replicas).tolist()

    def from_chief(self, number: int) -> int:
        """The chief's number, from 0 to 2^31 - 1."""
        return self.gathered(number)[0]

    def any(self, flag: bool) -> bool:
        """Whether any process has the flag set."""
        return any(self.gathered(int(flag)))

    def check_same(self, *arrays: np.ndarray | None, seed: int, batch_size: int) -> None:
        """Refuses arrays, or what decides their order, that are not the same in all processes.

        Raises:
            ValueError: in all of them.
        """
        if self.count > 1 and len(set(self.gathered(fingerprint(*arrays, np.array([[seed, batch_size]]))))) > 1:
            raise ValueError(
                "Each process must be given the same arrays, in the same order, and have the same seed and batch size: "
                "each takes its part of every batch. For data that lies in parts give a stream of this process's part. "
                f"Received: what differs between {self.count} processes, here seed={seed}, batch_size={batch_size}"
            )

    def heard_by(self, callbacks: Iterable[keras.callbacks.Callback]) -> list[keras.callbacks.Callback]:
        """The callbacks of a user, as this process has them: where it is not the chief, Keras' own write nothing."""
        if self.is_chief:
            return list(callbacks)
        heard = (c for c in callbacks if not isinstance(c, _WRITERS))
        return [_Reading(c) if isinstance(c, keras.callbacks.BackupAndRestore) else c for c in heard]


class Agreement:
    """Asks at each step of a loop whether any process wants something; of several, only now and then.

    Args:
        processes: those that are asked.
    """

    # Asking may take as long as a step of a small network.
    _EVERY = 20

    def __init__(self, processes: Processes):
        self._processes, self._asked = processes, 0

    def __call__(self, flag: bool, at_once: bool = False) -> bool:
        """Whether any has the flag set; where they are not asked now, False."""
        if self._processes.count == 1:
            return flag
        self._asked += 1
        return (at_once or self._asked % self._EVERY == 0) and self._processes.any(flag)


class _Reading(keras.callbacks.Callback):
    """A `BackupAndRestore` that restores what another process backs up."""

    def __init__(self, callback):
        super().__init__()
        self._callback = callback

    def set_model(self, model):
        super().set_model(model)
        self._callback.set_model(model)

    def on_train_begin(self, logs=None):
        self._callback.on_train_begin(logs)


def fingerprint(*arrays: np.ndarray | None) -> int:
    """A number from 0 to 2^31 - 1 that tells arrays apart, by their shapes and some of their examples."""
    number = 0
    for a in arrays:
        if a is not None:
            some = np.ascontiguousarray(a[np.linspace(0, len(a) - 1, min(len(a), 256)).astype(int)])
            number = zlib.crc32(some.view(np.uint8), zlib.crc32(repr((np.shape(a), str(a.dtype))).encode(), number))
    return number & 0x7FFFFFFF


def on_its_own(function: Callable, *args: Any, **options: Any) -> Any:
    """`function(*args, **options)`, with what Keras makes in it on this process's devices.

    Within a strategy's scope, or under a distribution, variables are of all processes, and making one waits for them.
    """
    if backend.NAME == "tensorflow":
        together = tf.distribute.has_strategy()
    else:
        together = keras.distribution.distribution() is not None
    if not together:
        return function(*args, **options)
    # Another thread has neither.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *args, **options).result()


# Keras' distributions, which only JAX has


def shards(model: keras.Model | None = None) -> int:
    """Into how many parts a batch is cut: replicas on TensorFlow, devices along the axis of the batch on JAX."""
    if backend.NAME == "tensorflow":
        return (tf.distribute.get_strategy() if model is None else model.distribute_strategy).num_replicas_in_sync
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else distribution.num_model_replicas


def own_rows(count: int) -> np.ndarray | slice:
    """Which examples of a batch, whose size is a multiple of `shards`, this process gives its devices, on JAX."""
    distribution = keras.distribution.distribution()
    if distribution is None or distribution.num_processes == 1:
        return slice(None)
    places = distribution.get_data_layout((count,)).backend_layout.addressable_devices_indices_map((count,))
    return np.unique(np.concatenate([np.arange(count)[place] for place in places.values()]))


def dealt_out(stream: Any) -> Any:
    """A user's stream, of which each process gets its part, as a Keras distribution would have it.

    Raises:
        ValueError: for one that cannot be dealt out.
    """
    distribution = keras.distribution.distribution()
    if distribution is None or distribution.num_processes == 1 or not distribution.auto_shard_dataset:
        return stream
    if hasattr(stream, "element_spec"):
        return distribution.distribute_dataset(stream)
    raise ValueError(
        "Of several processes each must get its own part of the data: give arrays or a tf.data.Dataset, which are "
        "dealt out; or have the stream yield this process's part of each batch, and say so by "
        "DataParallel(auto_shard_dataset=False). "
        f"Received: {type(stream).__name__}, {distribution.num_processes} processes"
    )


def come_dealt_out() -> bool:
    """Whether a user's streams are said to be the part of this process already, on JAX."""
    distribution = keras.distribution.distribution()
    return distribution is not None and distribution.num_processes > 1 and not distribution.auto_shard_dataset


@contextlib.contextmanager
def as_dealt() -> Iterator[None]:
    """Within it, Keras takes data that is dealt out already as it is."""
    distribution = keras.distribution.distribution()
    before = getattr(distribution, "auto_shard_dataset", False)
    if before:
        distribution.auto_shard_dataset = False
    try:
        yield
    finally:
        if before:
            distribution.auto_shard_dataset = True
