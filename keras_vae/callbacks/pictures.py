"""Pictures while a model trains."""

import importlib.util
import time
import warnings
from pathlib import Path

import keras
import numpy as np

from keras_vae import plotting
from keras_vae.names import check_whole, one_of
from keras_vae.training import checks, stream


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
        images, self._labels, y = (
            None if array is None else stream.evenly(count, np.asarray(array)) for array in (images, labels, y)
        )
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


def _check_drawable(model):
    plotting.image_grid(np.zeros((1, *model.image_shape)))
