"""What the latents carry while a model trains."""

import math
import warnings

import keras
import numpy as np

from keras_vae.metrics import active_units
from keras_vae.names import check_whole
from keras_vae.training import checks, stream


class _ActiveUnitsOf:
    """The number of active units of a model, measured on at most `count` of the images, evenly spaced."""

    def __init__(self, images, count, threshold):
        check_whole(least=2, images=len(images), count=count)
        self._images, self._threshold = stream.evenly(count, np.asarray(images)), threshold

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
