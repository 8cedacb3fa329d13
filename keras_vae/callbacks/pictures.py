"""Pictures of a model during training."""

import importlib.util
import os
import time
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from keras_vae import plotting
from keras_vae.models.base import LatentVariableModel
from keras_vae.names import check_whole, one_of
from keras_vae.training import stream
from keras_vae.training.processes import Processes


class Picture(keras.callbacks.Callback):
    """Base class: writes a picture every few epochs, `directory/<name>_<epoch>.png`.

    A subclass sets `name` and defines `draw`. If the model's outputs are not finite, no picture is written.

    Args:
        directory: directory for the files; it is made.
        every: number of epochs between pictures; the first picture follows epoch `every`.
        tensorboard: log directory of TensorBoard, to show the pictures there, too; needs TensorBoard.
        seed: seed of every picture, so that pictures differ only by what the model has learnt.

    Attributes:
        name: begins the file names, and is the tag in TensorBoard.
        dpi: resolution of the files; None: that of the figure.
    """

    name: str
    dpi: int | None = None

    def __init__(
        self,
        directory: str | os.PathLike,
        every: int = 1,
        tensorboard: str | os.PathLike | None = None,
        seed: int = 0,
    ):
        super().__init__()
        check_whole(every=every)
        self._directory = Path(directory)
        self._every = every
        self._tensorboard = None if tensorboard is None else Path(tensorboard)
        self._events = None
        self.seed = seed

    def draw(self, model: LatentVariableModel) -> Figure:
        """Draws the picture of the model in its present state."""
        raise NotImplementedError

    def check(self, model: LatentVariableModel) -> None:
        """Raises a ValueError, before training, if `draw` would fail."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        # Here, since an error after the first epoch would have cost that epoch.
        self.check(self.model)
        if self._tensorboard is not None and importlib.util.find_spec("tensorboard") is None:
            warnings.warn(
                "Pictures are written to files only, since TensorBoard is not installed: pip install tensorboard. "
                f"Received: tensorboard={str(self._tensorboard)!r}",
                stacklevel=2,
            )
            self._tensorboard = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if (epoch + 1) % self._every:
            return
        try:
            figure = self.draw(self.model)
        except plotting.NotFiniteError:
            # `fit` is about to stop, with a warning that says what to do.
            return
        # All processes draw, since some models take all of them for it.
        if not Processes(self.model).is_chief:
            return
        path = self._directory / f"{self.name}_{epoch + 1:04d}.png"
        plotting.save(figure, path, dpi=self.dpi)
        if self._tensorboard is not None:
            self._show(path.read_bytes(), epoch + 1)

    def on_train_end(self, logs: dict | None = None) -> None:
        if self._events is not None:
            self._events.close()
            self._events = None

    def _show(self, png, step):
        """Gives a PNG to TensorBoard's own writer, which, unlike TensorFlow's, takes no GPU memory from JAX."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if self._events is None:
            # TensorBoard follows only one file in a directory.
            self._events = EventFileWriter(str(self._tensorboard / self.name))
        # Width and height are in the PNG's header.
        width, height = (int.from_bytes(png[i : i + 4]) for i in (16, 20))
        image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
        summary = Summary(value=[Summary.Value(tag=self.name, image=image)])
        self._events.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._events.flush()


class SampleGrid(Picture):
    """Samples, in every picture of the same draws: the mean of p(x|z) for each z drawn from the prior.

    Args:
        directory: directory for `samples_<epoch>.png`; see `Picture` for `every`, `tensorboard` and `seed`.
        count: number of samples.
        temperature: factor on the prior's standard deviation.
        y: (count, *label_shape), if the model is conditional.

    Example: `vae.fit(images, epochs=20, callbacks=[kv.callbacks.SampleGrid("pictures")])`.
    """

    name = "samples"

    def __init__(
        self,
        directory: str | os.PathLike,
        count: int = 64,
        temperature: float = 1.0,
        y: ArrayLike | None = None,
        **kwargs: Any,
    ):
        super().__init__(directory, **kwargs)
        check_whole(count=count)
        self._count, self._temperature, self._y = count, temperature, y

    def check(self, model: LatentVariableModel) -> None:
        _check_drawable(model)
        self._samples(model)

    def draw(self, model: LatentVariableModel) -> Figure:
        return plotting.image_grid(self._samples(model))

    def _samples(self, model):
        return model.sample(self._count, y=self._y, seed=self.seed, temperature=self._temperature)


class _PictureOfImages(Picture):
    """Base class of pictures made from given images and, for a conditional model, their labels."""

    def __init__(self, directory, images, y=None, **kwargs):
        super().__init__(directory, **kwargs)
        self.images, self.y = np.asanyarray(images), None if y is None else np.asarray(y)


class ReconstructionGrid(_PictureOfImages):
    """Images above their reconstructions.

    Args:
        directory: directory for `reconstructions_<epoch>.png`; see `Picture` for `every`, `tensorboard` and `seed`.
        images: (N, *X), all of which are drawn.
        y: (N, *label_shape), if the model is conditional.
    """

    name = "reconstructions"

    def __init__(self, directory: str | os.PathLike, images: ArrayLike, y: ArrayLike | None = None, **kwargs: Any):
        super().__init__(directory, images, y=y, **kwargs)

    def check(self, model: LatentVariableModel) -> None:
        if model.target_shape != model.image_shape:
            raise ValueError(
                "Images are drawn above targets of the same shape alone: draw model.reconstruct(x) yourself. "
                f"Received: images {model.image_shape}, targets {model.target_shape}"
            )
        model.reconstruct(self.images, y=self.y)
        _check_drawable(model)

    def draw(self, model: LatentVariableModel) -> Figure:
        # What is missing is black.
        shown = np.nan_to_num(self.images) if model.missing else self.images
        return plotting.reconstruction_grid(shown, model.reconstruct(self.images, y=self.y))


def traversal(
    model: LatentVariableModel,
    anchor: np.ndarray,
    means: np.ndarray,
    units: ArrayLike | None,
    values: np.ndarray,
    y: np.ndarray | None = None,
) -> Figure:
    """The images of an anchor of which one unit is moved: a row for each unit.

    Args:
        model: it decodes.
        anchor: (D,), flattened.
        means: (N, D), flattened posterior means.
        units: numbers of units; None: those of which the means vary most, at most 8.
        values: of a unit, one after the other.
        y: (N, *label_shape), of which the first one is taken.
    """
    if units is None:
        # A class has no values in between.
        first = model.class_units
        units = first + np.argsort(-np.var(means[:, first:], axis=0), kind="stable")[:8]
    z = plotting.traversal_latents(anchor, units, values)
    y = None if y is None else np.repeat(y[:1], len(z), axis=0)
    images = model.decode(np.reshape(z, (-1, *model.latent_shape)), y=y)
    images = np.reshape(images, (len(units), len(values), *images.shape[1:]))
    return plotting.traversal_grid(images, units, values)


class LatentTraversal(_PictureOfImages):
    """What each latent unit does: a row for each unit, along which only this unit changes.

    Args:
        directory: directory for `traversal_<epoch>.png`; see `Picture` for `every`, `tensorboard` and `seed`.
        images: (N, *X); the other units are those of the first image.
        units: numbers of the units, of flattened latents; None: the units whose posterior means vary most over the
            images, at most 8, in descending order.
        values: values of a unit, one after the other; None: -3, -2, ... 3.
        y: (N, *label_shape), if the model is conditional.
    """

    name = "traversal"

    def __init__(
        self,
        directory: str | os.PathLike,
        images: ArrayLike,
        units: ArrayLike | None = None,
        values: ArrayLike | None = None,
        y: ArrayLike | None = None,
        **kwargs: Any,
    ):
        super().__init__(directory, images, y=y, **kwargs)
        self._units = units
        self._values = np.arange(-3.0, 4.0) if values is None else np.asarray(values)

    def check(self, model: LatentVariableModel) -> None:
        z = _encoded(model, self.images, self.y)
        if model.has_codes:
            raise ValueError(
                "The latents of this model are codes, which have no values in between: there is no traversal. "
                f"Received: latents of type {z.dtype}"
            )
        _check_drawable(model)
        plotting.traversal_latents(z[0], self._units, self._values)

    def draw(self, model: LatentVariableModel) -> Figure:
        means = _encoded(model, self.images, self.y)
        return traversal(model, means[0], means, self._units, self._values, self.y)


class LatentScatter(_PictureOfImages):
    """Posterior means in the plane, coloured by label.

    Args:
        directory: directory for `latent_<epoch>.png`; see `Picture` for `every`, `tensorboard` and `seed`.
        images: (N, *X), of which `count`, evenly spaced, become a point each.
        labels: (N,), as for `kv.plotting.latent_scatter`.
        count: greatest number of points; drawing takes longer than encoding.
        projection: "pca" or "tsne" (slow), for latents of more than two dimensions.
        y: (N, *label_shape), if the model is conditional.
    """

    name = "latent"
    # Enough to see clusters, and drawn in two thirds of the time.
    dpi = 100

    def __init__(
        self,
        directory: str | os.PathLike,
        images: ArrayLike,
        labels: ArrayLike | None = None,
        count: int = 500,
        projection: str = "pca",
        y: ArrayLike | None = None,
        **kwargs: Any,
    ):
        check_whole(count=count)
        if labels is not None and np.shape(labels) != (len(images),):
            raise ValueError(
                f"`labels` must be one for each image. Received: shape {np.shape(labels)}, {len(images)} images"
            )
        images, self._labels, y = (
            None if array is None else stream.evenly(count, np.asanyarray(array)) for array in (images, labels, y)
        )
        super().__init__(directory, images, y=y, **kwargs)
        self._projection = one_of(projection, plotting.PROJECTIONS, "projection")

    def check(self, model: LatentVariableModel) -> None:
        plotting.project(_encoded(model, self.images, self.y))

    def draw(self, model: LatentVariableModel) -> Figure:
        means = _encoded(model, self.images, self.y)
        return plotting.latent_scatter(means, self._labels, projection=self._projection, seed=self.seed)


def _encoded(model, images, y):
    """The flattened latent of each image, (N, D)."""
    z = model.encode(images, y=y)
    return np.reshape(z, (len(z), -1))


def _check_drawable(model):
    plotting.image_grid(np.zeros((1, *model.target_shape)))
