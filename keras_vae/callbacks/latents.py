"""How much information the latents carry, measured during training."""

import math

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_vae.metrics import active_units
from keras_vae.names import check_whole
from keras_vae.training import collapse, stream


class _ActiveUnitsOf:
    """Counts the active units of a model on at most `count` of the images, evenly spaced."""

    def __init__(self, images, y, count, threshold):
        check_whole(least=2, images=len(images), count=count)
        self._images = stream.evenly(count, np.asanyarray(images))
        self._y = None if y is None else stream.evenly(count, np.asarray(y))
        self._threshold = threshold

    def __call__(self, model):
        """The number of active units, and of all units; (nan, all) if the latents are not finite."""
        if model.has_codes:
            raise ValueError(
                "Codes, which are whole numbers, have no means whose variance would tell active units: see the logged "
                f"`perplexity`, how many codes are in use. Received: latents of type {model.latent_dtype}"
            )
        z = model.encode(self._images, y=self._y)[:, model.class_units :]
        size = math.prod(z.shape[1:])
        if not np.isfinite(z).all():
            return math.nan, size
        return int(active_units(z, self._threshold).sum()), size


class ActiveUnits(keras.callbacks.Callback):
    """Logs `active_units`, the number of latent units whose posterior mean varies over the images.

    Args:
        images: (N, *X), preferably validation images.
        count: on how many of the images, evenly spaced, to measure.
        threshold: variance above which a unit is active.
        every: number of epochs between measurements; the epochs in between log the last one again.
        y: (N, *label_shape), if the model is conditional.

    Reference: Burda, Grosse and Salakhutdinov 2016, section 5.2.
    """

    def __init__(
        self,
        images: ArrayLike,
        count: int = 1000,
        threshold: float = 0.01,
        every: int = 1,
        y: ArrayLike | None = None,
    ):
        super().__init__()
        check_whole(every=every)
        self._measure = _ActiveUnitsOf(images, y, count, threshold)
        self._every = every
        self._last = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        # The model refuses here, not after an epoch, what it cannot encode.
        self._measure(self.model)
        self._last = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        # Every epoch logs the same names, or tables of them would have ragged lines.
        if self._last is None or (epoch + 1) % self._every == 0:
            self._last, _ = self._measure(self.model)
        logs["active_units"] = self._last


class CollapseWarning(keras.callbacks.Callback):
    """Warns, once, if the posterior has collapsed to the prior, so that the latents carry (almost) no information.

    Args:
        images: (N, *X), on at most 1,000 of which active units are counted; None: only the KL is checked.
        after: number of epochs before the first check; early in training a collapse is often temporary.
        least_kl: KL in nats (`kl` of the logs) below which to warn, unless a `Capacity` asks for less.
        least_units: number of active units below which to warn.
        y: (N, *label_shape), if the model is conditional.

    `fit` warns by itself, without this callback, of a KL below 0.01 nats after 1,000 updates.
    """

    tells_of_collapse = True

    def __init__(
        self,
        images: ArrayLike | None = None,
        after: int = 5,
        least_kl: float = 0.1,
        least_units: int = 1,
        y: ArrayLike | None = None,
    ):
        super().__init__()
        check_whole(after=after, least_units=least_units)
        self._measure = None if images is None else _ActiveUnitsOf(images, y, 1000, 0.01)
        self._after, self._least_kl, self._least_units = after, least_kl, least_units
        self._warned = False

    def on_train_begin(self, logs: dict | None = None) -> None:
        if self._measure is not None:
            self._measure(self.model)
        self._warned = False

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
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
        collapse.warn(found, epoch)
