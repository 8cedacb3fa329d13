"""A posterior that has become the prior, told while the model trains."""

import math
import warnings
from collections.abc import Iterable

import keras

# Nats: a KL below it carries nothing, and is what is left of noise.
_LEAST_KL = 0.01
# Updates before which a low KL may be a passing one.
_AFTER = 1000


def warn(found: list[str], epoch: int) -> None:
    """Says what was found after an epoch, counted from 0, and what helps."""
    warnings.warn(
        "The posterior has collapsed to the prior: the decoder ignores z. Warm the KL up "
        "(`kv.objectives.ELBO(beta=kv.schedules.LinearWarmup(5_000))`, or `Cyclical`), give each unit free bits "
        "(`ELBO(free_bits=0.1)`), lower `beta` or the learning rate, use a weaker decoder, or give a Normal a "
        "smaller scale (`Normal('optimal')` finds it). "
        f"Received: after epoch {epoch + 1} {' and '.join(found)}",
        RuntimeWarning,
        stacklevel=2,
    )


def watched(callbacks: Iterable[keras.callbacks.Callback]) -> list[keras.callbacks.Callback]:
    """What tells of a collapse, unless one of the callbacks does."""
    return [] if any(getattr(callback, "tells_of_collapse", False) for callback in callbacks) else [Collapse()]


class Collapse(keras.callbacks.Callback):
    """What `fit` looks at itself, once 1,000 updates are made: whether the KL of the epoch is zero, in two digits."""

    def __init__(self):
        super().__init__()
        self._warned = False

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        kl = logs.get("kl", math.inf)
        # A schedule may want as little; of points, it is no KL and may be anything.
        if self._warned or self.model.deterministic or logs.get("capacity", math.inf) < _LEAST_KL:
            return
        if abs(kl) < _LEAST_KL and self.model.updates >= _AFTER:
            self._warned = True
            warn([f"the KL is {kl:.1g} nats"], epoch)
