"""Arrays to batches, in an order that a resumed run can go on with."""

import keras
import numpy as np

from keras_vae import backend
from keras_vae.names import check_whole
from keras_vae.training import checks

if backend.NAME == "tensorflow":
    import tensorflow as tf


class ArrayFeed:
    """Arrays in batches, in an order that is a function of (seed, epoch) alone, so that a resumed run goes on exactly.

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
        x,
        y=None,
        sample_weight=None,
        batch_size=32,
        seed=0,
        shuffle=True,
        steps_per_epoch=None,
        binarize=False,
        flip=False,
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
        self.epoch = 0

    def check(self, image_shape, likelihood):
        """Refuses images of another shape or kind than `likelihood` expects of this feed.

        Raises:
            ValueError: saying what was found, and what to do.
        """
        if not self.binarize:
            checks.check_array(self.x, image_shape, likelihood)
            return
        checks.check_shape(self.x.shape, image_shape)
        if self.x.dtype != np.uint8 or likelihood.data not in ("binary", "unit interval"):
            raise ValueError(
                "An `ArrayFeed` binarises 8-bit levels (uint8), for a likelihood of binary images. "
                f"Received: dtype={self.x.dtype}, likelihood={type(likelihood).__name__}"
            )

    def order(self):
        """The examples of epoch `self.epoch`, one after the other: (n,) int64."""
        count = len(self.x)
        needed = self.steps * self.batch_size if self.steps_per_epoch else count
        first = self.epoch * needed
        passes = range(first // count, -(-(first + needed) // count))
        stream = np.concatenate([self._pass(number) for number in passes])
        return stream[first - passes.start * count :][:needed]

    def _pass(self, number):
        count = len(self.x)
        if not self.shuffle:
            return np.arange(count, dtype=np.int64)
        return np.random.default_rng([self.seed, number]).permutation(count).astype(np.int64)

    def stream(self):
        """What Keras' `fit` takes: a tf.data.Dataset on TensorFlow, a PyDataset on JAX; x, (x, y) or (x, y, w)."""
        return self._tf_data() if backend.NAME == "tensorflow" else _Batches(self)

    def _pack(self, x, y, sample_weight):
        if sample_weight is not None:
            return (x, y, sample_weight)
        return (x,) if y is None else (x, y)

    def _tf_data(self):
        size, binarize = self.batch_size, self.binarize
        # Host memory: a data set that fits there may not fit on the GPU.
        with tf.device("CPU:0"):
            arrays = [None if a is None else tf.convert_to_tensor(a) for a in (self.x, self.y, self.sample_weight)]

        def batch(index, order, epoch):
            chosen = order[index * size : (index + 1) * size]
            x, y, weight = (None if a is None else tf.gather(a, chosen) for a in arrays)
            seed = tf.stack([tf.cast(self.seed, tf.int64), epoch * self.steps + index])
            if self.flip:
                # A stream beside that of the binarisation, which is the same with flips and without.
                beside = tf.random.experimental.stateless_fold_in(seed, 1)
                flipped = tf.random.stateless_uniform([tf.shape(x)[0], 1, 1, 1], beside) < 0.5
                x = tf.where(flipped, tf.reverse(x, [2]), x)
            if binarize:
                levels = tf.random.stateless_uniform(tf.shape(x), seed, maxval=255, dtype=tf.int32)
                x = tf.cast(levels < tf.cast(x, tf.int32), tf.float32)
            return self._pack(x, y, weight)

        def one_epoch(_):
            # Asked when the epoch's first batch is, after `epoch` was set.
            order = tf.numpy_function(self.order, [], tf.int64)
            order.set_shape([None])
            epoch = tf.numpy_function(lambda: np.int64(self.epoch), [], tf.int64)
            epoch.set_shape([])
            steps = tf.data.Dataset.range(self.steps)
            return steps.map(lambda index: batch(index, order, epoch), num_parallel_calls=2)

        stream = tf.data.Dataset.range(1).flat_map(one_epoch)
        return stream.apply(tf.data.experimental.assert_cardinality(self.steps)).prefetch(2)


class _Batches(keras.utils.PyDataset):
    """An `ArrayFeed`'s current epoch, batch by batch, in numpy."""

    def __init__(self, feed):
        super().__init__()
        self._feed = feed
        self._order = None

    def on_epoch_begin(self):
        self._order = None

    def __len__(self):
        return self._feed.steps

    def __getitem__(self, index):
        feed = self._feed
        if self._order is None or self._order[0] != feed.epoch:
            self._order = (feed.epoch, feed.order())
        chosen = self._order[1][index * feed.batch_size : (index + 1) * feed.batch_size]
        x, y, weight = (None if a is None else np.asarray(a)[chosen] for a in (feed.x, feed.y, feed.sample_weight))
        if feed.flip:
            # A stream beside that of the binarisation. (Not 0, with which it would be the same: numpy pads seeds so.)
            flipped = np.random.default_rng([feed.seed, feed.epoch, index, 1]).random((len(x), 1, 1, 1)) < 0.5
            x = np.where(flipped, x[:, :, ::-1], x)
        if feed.binarize:
            rng = np.random.default_rng([feed.seed, feed.epoch, index])
            x = (rng.integers(0, 255, x.shape, dtype=np.uint8) < x).astype(np.float32)
        return feed._pack(x, y, weight)


class EpochOrder(keras.callbacks.Callback):
    """Tells an `ArrayFeed` which epoch begins, also in a run that starts later than the first."""

    def __init__(self, feed):
        super().__init__()
        self._feed = feed

    def on_epoch_begin(self, epoch, logs=None):
        self._feed.epoch = epoch


def evenly(count, x):
    """At most `count` entries of `x`, evenly spread over it, the first and the last among them."""
    return x[np.linspace(0, len(x) - 1, min(count, len(x))).astype(int)]


def split(arrays, fraction):
    """Keras' `validation_split`: the last share of the arrays, before they are shuffled."""
    if not 0 < fraction < 1:
        raise ValueError(f"`validation_split` must be between 0 and 1. Received: validation_split={fraction!r}")
    arrays = [None if a is None else np.asarray(a) for a in arrays]
    cut = int(len(arrays[0]) * (1 - fraction))
    if cut in (0, len(arrays[0])):
        raise ValueError(f"Too few images to split. Received: {len(arrays[0])} images, validation_split={fraction!r}")
    head, tail = ([None if a is None else a[part] for a in arrays] for part in (slice(cut), slice(cut, None)))
    return head, tuple(tail)


def class_weights(y, sample_weight, class_weight):
    """Keras' `class_weight` as weights of the examples, (N,)."""
    if sample_weight is not None:
        raise ValueError("Give `class_weight` or `sample_weight`, not both. Received: both")
    labels = np.asarray(y)
    if y is None or labels.ndim != 1:
        raise ValueError(
            "`class_weight` needs labels, one integer for each example: fit(x, y, class_weight=...). "
            f"Received: y of shape {None if y is None else labels.shape}"
        )
    return np.array([class_weight.get(int(label), 1.0) for label in labels], dtype="float32")


def check_devices(count, batch_size):
    """Keras' data parallelism cannot deal out a batch that is no multiple of the devices."""
    distribution = keras.distribution.distribution()
    if not isinstance(distribution, keras.distribution.DataParallel):
        return
    devices = int(np.prod(distribution.device_mesh.shape))
    if batch_size % devices or count % batch_size % devices:
        raise ValueError(
            f"With data parallelism over {devices} devices every batch must be a multiple of {devices}, the last "
            f"one of an epoch too. Received: {count} images, batch_size={batch_size}"
        )
