"""Which of the numbers that `fit` logs are better when they are high."""

from collections.abc import Iterable

import keras

_HIGH = ("elbo", "log_likelihood", "log_prob", "iwae", "active_units", "ssim", "psnr", "accuracy")

_LOW = ("loss", "bits_per_dim", "error", "mse", "fid")


def mode(monitor: str) -> str | None:
    """ "max" or "min", whichever is better, by the name of what is monitored; None: it tells nothing."""
    return next((mode for mode, endings in (("max", _HIGH), ("min", _LOW)) if monitor.endswith(endings)), None)


def tell(callbacks: Iterable[keras.callbacks.Callback]) -> None:
    """Tells callbacks of Keras' whose `mode` is "auto", such as `EarlyStopping("val_elbo")`.

    Keras itself knows it of the loss alone, and of metrics that were compiled, which a model's terms are not.
    """
    for callback in callbacks:
        if getattr(callback, "mode", None) == "auto" and isinstance(getattr(callback, "monitor", None), str):
            callback.mode = mode(callback.monitor) or "auto"
