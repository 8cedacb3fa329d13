"""The models of the best epochs."""

import math
import re
import warnings
from pathlib import Path

import keras

from keras_vae import files
from keras_vae.names import check_whole, one_of


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
        files.replace(path, self.model.save)
        for other in self.kept[self._k :]:
            other.unlink()


_HIGH = ("elbo", "log_likelihood", "log_prob", "iwae", "active_units", "ssim", "psnr", "accuracy")

_LOW = ("loss", "bits_per_dim", "error", "mse", "fid")


def _mode(monitor):
    for mode, endings in (("max", _HIGH), ("min", _LOW)):
        if monitor.endswith(endings):
            return mode
    raise ValueError(f"Whether a high `{monitor}` is good is not known: give `mode`. Received: mode=None")
