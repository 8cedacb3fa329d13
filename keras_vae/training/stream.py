"""Arrays to batches, in an order that a resumed run can go on with."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_vae import backend
from keras_vae.names import check_whole
from keras_vae.training import checks, processes, values
from keras_vae.training.pipelines import in_pipeline

if backend.NAME == "tensorflow":
    import tensorflow as tf


# Bytes of an array up to which TensorFlow has a copy.
_COPIED = 2**28


class ArrayFeed:
    """Arrays in batches, in an order that is a function of (seed, step) alone, so that a later run goes on exactly.

    Args:
        x: (N, *X).
        y: (N, ...) or None.
        sample_weight: (N,) or None.
        batch_size: examples in a batch; the last batch of a pass may be smaller.
        seed: of the order, of the flips and of the binarisation.
        shuffle: whether each epoch has an order of its own.
        steps_per_epoch: batches that make an epoch, taken from one pass after the other; None: an epoch is a pass.
        binarize: whether `x`, 8-bit levels, are drawn anew in each epoch as 1 with probability x / 255, otherwise 0
            (Salakhutdinov and Murray 2008).
        flip: whether in each epoch each image, (H, W, C), is its mirror image with probability 1/2.

    Raises:
        ValueError: for arrays of different lengths, a batch size that is no positive integer, or flips of what are no
            images.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
        batch_size: int = 32,
        seed: int = 0,
        shuffle: bool = True,
        steps_per_epoch: int | None = None,
        binarize: bool = False,
        flip: bool = False,
    ):
        check_whole(batch_size=batch_size)
        lengths = {len(a) for a in (x, y, sample_weight) if a is not None}
        if len(lengths) > 1:
            raise ValueError(f"x, y and sample_weight must be equally long. Received: lengths {sorted(lengths)}")
        if flip and len(x.shape) != 4:
            raise ValueError(f"Only images, (N, H, W, C), can be flipped. Received: flip={flip}, x of shape {x.shape}")
        self.x, self.y, self.sample_weight = x, y, sample_weight
        self.batch_size, self.seed, self.shuffle, self.binarize, self.flip = batch_size, seed, shuffle, binarize, flip
        self.steps_per_epoch = steps_per_epoch
        self.steps = steps_per_epoch or -(-len(x) // batch_size)
        # Batches that were taken before the epoch that comes, and those in it: fewer in the rest of one.
        self.start, self.batches = 0, self.steps

    @property
    def sizes(self) -> set[int]:
        """How many examples are in a batch, and in the last of a pass."""
        last = self.batch_size if self.steps_per_epoch else (len(self.x) - 1) % self.batch_size + 1
        return {last} if len(self.x) < self.batch_size and not self.steps_per_epoch else {self.batch_size, last}

    def check(self, model: keras.Model) -> None:
        """Refuses data that `model` does not expect of this feed.

        Raises:
            ValueError: saying what was found, and what to do.
        """
        likelihood = model.likelihood
        arrays = (self.x, self.y, self.sample_weight)
        processes.Processes(model).check_same(*arrays, seed=self.seed, batch_size=self.batch_size)
        checks.checked_y(model, self.y, len(self.x))
        checks.checked_weights(self.sample_weight, len(self.x))
        if model.target and (self.flip or self.binarize):
            raise ValueError(
                "What an `ArrayFeed` does to x it does not do to targets: flip and binarise both beforehand. "
                f"Received: flip={self.flip}, binarize={self.binarize}"
            )
        if not self.binarize:
            checks.checked_x(model, self.x)
            return
        values.check_shape(self.x.shape, model.image_shape)
        if self.x.dtype != np.uint8 or likelihood.data not in ("binary", "unit interval"):
            raise ValueError(
                "An `ArrayFeed` binarises 8-bit levels (uint8), for a likelihood of binary images. "
                f"Received: dtype={self.x.dtype}, likelihood={type(likelihood).__name__}"
            )

    def order(self) -> np.ndarray:
        """The examples of the batches from `self.start` on: (batches, batch_size) int64, -1 for none.

        Batch number k of all is the same whenever it is asked for.
        """
        numbers = np.arange(self.start, self.start + self.batches)
        if self.steps_per_epoch:
            # Passes follow each other without a gap.
            places = numbers[:, None] * self.batch_size + np.arange(self.batch_size)
            passes, places = np.divmod(places, len(self.x))
        else:
            passes, within = np.divmod(numbers, self.steps)
            places = within[:, None] * self.batch_size + np.arange(self.batch_size)
            passes = np.broadcast_to(passes[:, None], places.shape)
        order = np.full(places.shape, -1, dtype=np.int64)
        for number in np.unique(passes):
            chosen = (passes == number) & (places < len(self.x))
            order[chosen] = self._pass(number)[places[chosen]]
        return order

    def _pass(self, number):
        count = len(self.x)
        if not self.shuffle:
            return np.arange(count, dtype=np.int64)
        return np.random.default_rng([self.seed, number]).permutation(count).astype(np.int64)

    def stream(self, shards: int = 1) -> Any:
        """What Keras' `fit` takes: a tf.data.Dataset on TensorFlow, a PyDataset on JAX; x, (x, y) or (x, y, w).

        Args:
            shards: into how many parts devices cut a batch.
        """
        return self._tf_data(shards) if backend.NAME == "tensorflow" else _Batches(self, shards)

    def again(self) -> Iterable[tuple[np.ndarray, ...]]:
        """The batches of one more pass, all of the same size, in numpy; they change nothing of the order."""
        size = min(self.batch_size, len(self.x))
        settings = {"shuffle": self.shuffle, "binarize": self.binarize, "flip": self.flip}
        arrays = (self.x, self.y, self.sample_weight)
        feed = ArrayFeed(*arrays, size, self.seed, steps_per_epoch=len(self.x) // size, **settings)
        if backend.NAME == "tensorflow":
            return feed.stream().as_numpy_iterator()
        return map(_Batches(feed).__getitem__, range(feed.steps))

    def _pack(self, x, y, sample_weight):
        if sample_weight is not None:
            return (x, y, sample_weight)
        return (x,) if y is None else (x, y)

    def _tf_data(self, shards):
        binarize, several = self.binarize, shards > 1
        # Host memory: a data set that fits there may not fit on the GPU.
        with tf.device("CPU:0"):
            rows = [None if a is None else _rows(a) for a in (self.x, self.y, self.sample_weight)]
        epoch_order, epoch_start = self.order, lambda: np.int64(self.start)

        def batch(index, order, sizes, start):
            chosen = order[index, : sizes[index]]
            x, y, weight = (None if given is None else given(chosen) for given in rows)
            seed = tf.stack([tf.cast(self.seed, tf.int64), start + index])
            if self.flip:
                # A stream beside that of the binarisation, which is the same with flips and without.
                beside = tf.random.experimental.stateless_fold_in(seed, 1)
                flipped = tf.random.stateless_uniform([tf.shape(x)[0], 1, 1, 1], beside) < 0.5
                x = tf.where(flipped, tf.reverse(x, [2]), x)
            if binarize:
                levels = tf.random.stateless_uniform(tf.shape(x), seed, maxval=255, dtype=tf.int32)
                x = tf.cast(levels < tf.cast(x, tf.int32), tf.float32)
            if y is None and weight is not None and several:
                # A strategy's iterators have no None.
                y = tf.zeros([tf.shape(x)[0], 0])
            return self._pack(x, y, weight)

        def one_epoch(_):
            # Asked when the epoch's first batch is, after `start` was set.
            order = in_pipeline(epoch_order)
            order.set_shape([self.batches, self.batch_size])
            # Each batch is at the beginning of its row.
            sizes = tf.math.count_nonzero(order >= 0, axis=1)
            start = in_pipeline(epoch_start)
            start.set_shape([])
            steps = tf.data.Dataset.range(self.batches)
            return steps.map(as_it_is(lambda index: batch(index, order, sizes, start)), num_parallel_calls=2)

        # Translating functions that have no branches takes longer than tracing them.
        as_it_is = tf.autograph.experimental.do_not_convert
        stream = tf.data.Dataset.range(1).flat_map(as_it_is(one_epoch))
        # Of several processes, each makes all batches, and keeps its part of each.
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        stream = stream.apply(tf.data.experimental.assert_cardinality(self.batches))
        return stream.with_options(options).prefetch(2)


def _rows(array):
    """A function that gives rows of an array by their indices, of a copy, or of what is large of the array itself."""
    if array.nbytes <= _COPIED:
        held = tf.convert_to_tensor(array)
        return lambda chosen: tf.gather(held, chosen)

    # A memory map is read where a batch needs it.
    def read(index):
        return np.ascontiguousarray(array[index])

    def rows(chosen):
        found = in_pipeline(read, [chosen], array.dtype)
        found.set_shape((None, *array.shape[1:]))
        return found

    return rows


class _Batches(keras.utils.PyDataset):
    """An `ArrayFeed`'s current epoch, batch by batch, in numpy: what this process has of each.

    Where devices share a batch, one that they cannot share evenly is filled up with examples of weight 0.

    Args:
        feed: the feed.
        shards: into how many parts devices cut a batch.
    """

    def __init__(self, feed, shards=1):
        super().__init__()
        self._feed, self._shards = feed, shards
        self._order = None
        self._filled = any(size % shards for size in feed.sizes)

    def on_epoch_begin(self):
        self._order = None

    def __len__(self):
        return self._feed.batches

    def __getitem__(self, index):
        feed = self._feed
        if self._order is None or self._order[0] != feed.start:
            self._order = (feed.start, feed.order())
        chosen = self._order[1][index]
        chosen = chosen[chosen >= 0]
        count, size = len(chosen), -(-len(chosen) // self._shards) * self._shards
        chosen = np.pad(chosen, (0, size - count), mode="edge")
        own = processes.own_rows(size) if self._shards > 1 else slice(None)
        given = (feed.x, feed.y, feed.sample_weight)
        x, y, weight = (None if a is None else np.asarray(a)[chosen[own]] for a in given)
        if self._filled:
            there = (np.arange(size) < count)[own].astype(np.float32)
            weight = there if weight is None else weight * there
        if feed.flip:
            # A stream beside that of the binarisation. (Not 0, with which it would be the same: numpy pads seeds so.)
            flipped = np.random.default_rng([feed.seed, feed.start + index, 1]).random((size, 1, 1, 1)) < 0.5
            x = np.where(flipped[own], x[:, :, ::-1], x)
        if feed.binarize:
            rng = np.random.default_rng([feed.seed, feed.start + index])
            x = (rng.integers(0, 255, (size, *x.shape[1:]), dtype=np.uint8)[own] < x).astype(np.float32)
        return feed._pack(x, y, weight)


class StepOrder(keras.callbacks.Callback):
    """Tells an `ArrayFeed` at each epoch how far the model is, also in a run that goes on from another."""

    def __init__(self, feed: ArrayFeed, model: keras.Model):
        super().__init__()
        # Not `self.model`, which on JAX takes the state out of the running loop at each look.
        self._feed, self._trained = feed, model

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._feed.start = self._trained.steps


def evenly(count: int, x: np.ndarray) -> np.ndarray:
    """At most `count` entries of `x`, evenly spread over it, the first and the last among them; all as they are."""
    return x if count >= len(x) else x[np.linspace(0, len(x) - 1, count).astype(int)]
