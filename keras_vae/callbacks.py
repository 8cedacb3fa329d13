"""Keras callbacks: pictures while a model trains, what its latents carry, and its best epochs.

They look at the model at the ends of epochs only, with seeds of their own: a training with them ends with the same
weights, to the last bit, as one without.
"""

import importlib.util
import math
import re
import time
import warnings
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_vae import checks, plotting, records, schedules
from keras_vae.metrics import active_units
from keras_vae.parts import check_whole, one_of


class Picture(keras.callbacks.Callback):
    """Base class: a picture at the end of every so many epochs, `directory/<name>_<epoch>.png`.

    A subclass has a `name` (and a `dpi`, if not the figure's), and says in `draw` what is to be seen. Where the model's
    outputs are no longer finite there is no picture.

    Args:
        directory: where the files go; it is made.
        every: epochs from one picture to the next; the first one is that of epoch `every`.
        tensorboard: TensorBoard's log directory, where the pictures are to be seen, too; needs TensorBoard installed.
        seed: int; the same one at every epoch, so that pictures differ by what was learnt alone.
    """

    name = None
    dpi = None

    def __init__(self, directory, every=1, tensorboard=None, seed=0):
        super().__init__()
        check_whole(every=every)
        self._directory = Path(directory)
        self._every = every
        self._tensorboard = None if tensorboard is None else Path(tensorboard)
        self._events = None
        self.seed = seed

    def draw(self, model):
        """The picture of the model as it is now, a matplotlib figure."""
        raise NotImplementedError

    def check(self, model):
        """Raises a ValueError, before the training, where `draw` would fail."""

    def on_train_begin(self, logs=None):
        # Here, because an epoch later the error would have cost an epoch.
        self.check(self.model)
        if self._tensorboard is not None and importlib.util.find_spec("tensorboard") is None:
            warnings.warn(
                "Pictures go to files alone, since TensorBoard is not installed: pip install tensorboard. "
                f"Received: tensorboard={str(self._tensorboard)!r}",
                stacklevel=2,
            )
            self._tensorboard = None

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self._every:
            return
        try:
            figure = self.draw(self.model)
        except plotting.NotFiniteError:
            # The training's own end is near, and its warning says what to do.
            return
        path = self._directory / f"{self.name}_{epoch + 1:04d}.png"
        plotting.save(figure, path, dpi=self.dpi)
        if self._tensorboard is not None:
            self._show(path.read_bytes(), epoch + 1)

    def on_train_end(self, logs=None):
        if self._events is not None:
            self._events.close()
            self._events = None

    def _show(self, png, step):
        """Hands a PNG to TensorBoard by its own writer, which, unlike TensorFlow's, takes no GPU from JAX."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if self._events is None:
            # TensorBoard follows one file in a directory.
            self._events = EventFileWriter(str(self._tensorboard / self.name))
        # Width and height are in the PNG's header.
        width, height = (int.from_bytes(png[i : i + 4]) for i in (16, 20))
        image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
        summary = Summary(value=[Summary.Value(tag=self.name, image=image)])
        self._events.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._events.flush()


class SampleGrid(Picture):
    """Images of the model's own, always from the same draws from the prior.

    Args:
        directory: where `samples_<epoch>.png` go; see `Picture` for `every`, `tensorboard`, `seed`.
        count: how many images.
        temperature: factor on the prior's standard deviation.
        y: (count, ...), for a conditional model.

    Example: `vae.fit(images, epochs=20, callbacks=[kv.callbacks.SampleGrid("pictures")])`.
    """

    name = "samples"

    def __init__(self, directory, count=64, temperature=1.0, y=None, **kwargs):
        super().__init__(directory, **kwargs)
        check_whole(count=count)
        self._count, self._temperature, self._y = count, temperature, y

    def check(self, model):
        _check_drawable(model)

    def draw(self, model):
        return plotting.image_grid(model.sample(self._count, y=self._y, seed=self.seed, temperature=self._temperature))


class _PictureOfImages(Picture):
    """Base class of pictures that start from given images, which are checked before the training."""

    def __init__(self, directory, images, y=None, **kwargs):
        super().__init__(directory, **kwargs)
        self.images, self.y = np.asarray(images), y

    def check(self, model):
        checks.check_array(self.images, model.image_shape, model.likelihood)


class ReconstructionGrid(_PictureOfImages):
    """Images above their reconstructions.

    Args:
        directory: where `reconstructions_<epoch>.png` go; see `Picture` for `every`, `tensorboard`, `seed`.
        images: (N, *X), all are shown.
        y: (N, ...), for a conditional model.
    """

    name = "reconstructions"

    def check(self, model):
        super().check(model)
        _check_drawable(model)

    def draw(self, model):
        return plotting.reconstruction_grid(self.images, model.reconstruct(self.images, y=self.y))


class LatentTraversal(_PictureOfImages):
    """What each latent unit does: a row for each, along which it alone changes.

    Args:
        directory: where `traversal_<epoch>.png` go; see `Picture` for `every`, `tensorboard`, `seed`.
        images: (N, *X); the other units stay as in the encoding of the first one.
        units: which units; None: those whose posterior mean varies most over the images, where there are several,
            at most 8, the most varying one first.
        values: what a unit takes, one after the other; None: -3, -2, ... 3.
        y: (N, ...), for a conditional model.
    """

    name = "traversal"

    def __init__(self, directory, images, units=None, values=None, y=None, **kwargs):
        super().__init__(directory, images, y=y, **kwargs)
        self._units = units
        self._values = np.arange(-3.0, 4.0) if values is None else np.asarray(values)

    def check(self, model):
        super().check(model)
        _check_drawable(model)
        plotting.traversal_latents(model.encode(self.images, y=self.y)[0], self._units, self._values)

    def draw(self, model):
        means = model.encode(self.images, y=self.y)
        units = np.argsort(-np.var(means, axis=0), kind="stable")[:8] if self._units is None else self._units
        z = plotting.traversal_latents(means[0], units, self._values)
        images = model.decode(z, y=None if self.y is None else np.repeat(self.y[:1], len(z), axis=0))
        images = np.reshape(images, (len(units), len(self._values), *images.shape[1:]))
        return plotting.traversal_grid(images, units, self._values)


class LatentScatter(_PictureOfImages):
    """Posterior means in the plane, coloured by label.

    Args:
        directory: where `latent_<epoch>.png` go; see `Picture` for `every`, `tensorboard`, `seed`.
        images: (N, *X), of which `count`, evenly spaced, become a point each.
        labels: (N,), as `kv.plotting.latent_scatter` takes them.
        count: how many points at most; drawing takes longer than encoding.
        projection: "pca" or "tsne" (slow), for latents of more than two dimensions.
        y: (N, ...), for a conditional model.
    """

    name = "latent"
    # Enough to see clusters, and drawn in two thirds of the time.
    dpi = 100

    def __init__(self, directory, images, labels=None, count=500, projection="pca", y=None, **kwargs):
        check_whole(count=count)
        if labels is not None and np.shape(labels) != (len(images),):
            raise ValueError(
                f"`labels` must be one for each image. Received: shape {np.shape(labels)}, {len(images)} images"
            )
        images, self._labels, y = _evenly(count, images, labels, y)
        super().__init__(directory, images, y=y, **kwargs)
        self._projection = one_of(projection, plotting.PROJECTIONS, "projection")

    def check(self, model):
        super().check(model)
        plotting.project(self._means(model))

    def _means(self, model):
        means = model.encode(self.images, y=self.y)
        return np.reshape(means, (len(means), -1))

    def draw(self, model):
        means = self._means(model)
        return plotting.latent_scatter(means, self._labels, projection=self._projection, seed=self.seed)


def _evenly(count, first, *others):
    """At most `count` entries of each array, evenly spaced; None stays None."""
    chosen = np.linspace(0, len(first) - 1, min(count, len(first))).astype(int)
    return [None if array is None else np.asarray(array)[chosen] for array in (first, *others)]


def _check_drawable(model):
    plotting.image_grid(np.zeros((1, *model.image_shape)))


class _ActiveUnitsOf:
    """The number of active units of a model, measured on at most `count` of the images, evenly spaced."""

    def __init__(self, images, count, threshold):
        check_whole(least=2, images=len(images), count=count)
        (self._images,), self._threshold = _evenly(count, images), threshold

    def check(self, model):
        checks.check_array(self._images, model.image_shape, model.likelihood)

    def __call__(self, model):
        """The number, and that of all units; (nan, all) where the means are not finite."""
        means = model.encode(self._images)
        size = math.prod(means.shape[1:])
        if not np.isfinite(means).all():
            return math.nan, size
        return int(active_units(means, self._threshold).sum()), size


class ActiveUnits(keras.callbacks.Callback):
    """Logs `active_units`: how many latent units have a posterior mean that varies over the images.

    Args:
        images: (N, *X), best validation images.
        count: of how many of them, evenly spaced, it is measured.
        threshold: variance above which a unit is active.
        every: epochs from one measurement to the next; in between the last one is logged again.

    Reference: Burda, Grosse and Salakhutdinov 2016, section 5.2.
    """

    def __init__(self, images, count=1000, threshold=0.01, every=1):
        super().__init__()
        check_whole(every=every)
        self._measure = _ActiveUnitsOf(images, count, threshold)
        self._every = every
        self._last = None

    def on_train_begin(self, logs=None):
        self._measure.check(self.model)
        self._last = None

    def on_epoch_end(self, epoch, logs=None):
        # In every epoch the same names are logged, or tables of them would have ragged lines.
        if self._last is None or (epoch + 1) % self._every == 0:
            self._last, _ = self._measure(self.model)
        logs["active_units"] = self._last


class CollapseWarning(keras.callbacks.Callback):
    """Warns, once, when the posterior has collapsed to the prior: the latents carry (nearly) nothing.

    Args:
        images: (N, *X), of which active units are counted (on at most 1,000); None: the KL alone is looked at.
        after: epochs after whose end it begins to look; a collapse often undoes itself early in a training.
        least_kl: nats of KL (`kl` of the logs) below which it warns; not while a `Capacity` asks for less.
        least_units: active units below which it warns.
    """

    def __init__(self, images=None, after=5, least_kl=0.1, least_units=1):
        super().__init__()
        check_whole(after=after, least_units=least_units)
        self._measure = None if images is None else _ActiveUnitsOf(images, 1000, 0.01)
        self._after, self._least_kl, self._least_units = after, least_kl, least_units
        self._warned = False

    def on_train_begin(self, logs=None):
        if self._measure is not None:
            self._measure.check(self.model)
        self._warned = False

    def on_epoch_end(self, epoch, logs=None):
        if self._warned or epoch + 1 < self._after or logs.get("capacity", math.inf) < self._least_kl:
            return
        found = []
        if logs["kl"] < self._least_kl:
            found.append(f"the KL is {logs['kl']:.3g} nats")
        if self._measure is not None:
            active, units = self._measure(self.model)
            if active < self._least_units:
                found.append(f"{active} of {units} latent units are active")
        if not found:
            return
        self._warned = True
        warnings.warn(
            f"The posterior has collapsed to the prior: the decoder learns to do without z. Warm the KL up "
            "(`kv.objectives.ELBO(beta=kv.schedules.LinearWarmup(5_000))`, or `Cyclical`), give each unit free bits "
            "(`ELBO(free_bits=0.1)`), lower `beta` or the learning rate, take a weaker decoder, or give a Normal a "
            "smaller scale (`Normal('optimal')` finds it). "
            f"Received: after epoch {epoch + 1} {' and '.join(found)}",
            RuntimeWarning,
            stacklevel=2,
        )


class ScheduleLogger(keras.callbacks.Callback):
    """Logs `learning_rate` and the objective's schedules (`beta` or `capacity`, ...) as they are at the epoch's end.

    What the objective logs itself, as its mean over the epoch, stays as it is.
    """

    def on_epoch_end(self, epoch, logs=None):
        model = self.model
        for name, value in vars(model.objective).items():
            if isinstance(value, schedules.Schedule):
                name = "capacity" if isinstance(value, schedules.Capacity) else name
                logs.setdefault(name, float(ops.convert_to_numpy(value(model.step))))
        logs.setdefault("learning_rate", float(ops.convert_to_numpy(model.optimizer.learning_rate)))


class BestCheckpoints(keras.callbacks.Callback):
    """Keeps the models of the best epochs, `directory/epoch_<epoch>_<monitor>=<value>.keras`, and no others.

    A file is there whole or not at all. The names alone say which are the best, so that a resumed run goes on with what
    it finds: give a new run a new directory.

    Args:
        directory: where the files go; it is made.
        k: how many are kept.
        monitor: name of the logged number. A `loss` whose KL is warmed up compares nothing; an ELBO does.
        mode: "max" or "min"; None: as the monitor's name says.

    Example: `keras.saving.load_model(checkpoints.best)`.
    """

    def __init__(self, directory, k=2, monitor="val_elbo", mode=None):
        super().__init__()
        check_whole(k=k)
        self._directory = Path(directory)
        self._k, self._monitor = k, monitor
        self._sign = {"max": -1, "min": 1}[one_of(mode or _mode(monitor), ("max", "min"), "mode")]
        self._pattern = re.compile(rf"epoch_(\d+)_{re.escape(monitor)}=([-+.e\d]+)\.keras")
        self._missed = False

    @property
    def kept(self):
        """The files, the best one first, of equal ones the earlier."""
        found = [(self._pattern.fullmatch(path.name), path) for path in self._directory.glob("epoch_*.keras")]
        return [path for _, _, path in sorted((self._sign * float(m[2]), int(m[1]), p) for m, p in found if m)]

    @property
    def best(self):
        """The best file, None before there is one."""
        return next(iter(self.kept), None)

    def on_epoch_end(self, epoch, logs=None):
        value = float(logs.get(self._monitor, math.nan))
        if self._monitor not in logs and not self._missed:
            self._missed = True
            warnings.warn(
                f"`{self._monitor}` is not logged in epoch {epoch + 1}, of which no model is kept: give `fit` "
                f"`validation_data`, or monitor another number. Received: {', '.join(logs)}",
                stacklevel=2,
            )
        if not math.isfinite(value):
            return
        # Nine digits tell all float32 numbers apart.
        path = self._directory / f"epoch_{epoch + 1:04d}_{self._monitor}={value:.9g}.keras"
        kept = self.kept
        worst = kept[self._k - 1] if len(kept) >= self._k else None
        if worst is not None and self._sign * value >= self._sign * float(self._pattern.fullmatch(worst.name)[2]):
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        records.replace(path, self.model.save)
        for other in self.kept[self._k :]:
            other.unlink()


_HIGH = ("elbo", "log_likelihood", "log_prob", "iwae", "active_units", "ssim", "psnr", "accuracy")
_LOW = ("loss", "bits_per_dim", "error", "mse", "fid")


def _mode(monitor):
    for mode, endings in (("max", _HIGH), ("min", _LOW)):
        if monitor.endswith(endings):
            return mode
    raise ValueError(f"Whether a high `{monitor}` is good is not known: give `mode`. Received: mode=None")
