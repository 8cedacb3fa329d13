"""Checkpoints of the best epochs."""

import math
import os
import re
import warnings
from pathlib import Path

import keras

from keras_vae import files
from keras_vae.names import check_whole, one_of
from keras_vae.training import monitors
from keras_vae.training.processes import Processes


class BestCheckpoints(keras.callbacks.Callback):
    """Saves the models of the best epochs, `directory/epoch_<epoch>_<monitor>=<value>.keras`, and deletes all others.

    Each file is written whole or not at all. The names alone tell which models are the best, so that a resumed run goes
    on with the files it finds: give a new run a new directory. Of several processes, the chief writes.

    Args:
        directory: directory for the files; it is made.
        k: how many models to keep.
        monitor: name of the logged number. While the KL is warmed up, values of `loss` cannot be compared; those of
            `elbo` can.
        mode: "max" or "min"; None: inferred from the monitor's name.

    Example: `keras.saving.load_model(checkpoints.best)`.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        k: int = 2,
        monitor: str = "val_elbo",
        mode: str | None = None,
    ):
        super().__init__()
        check_whole(k=k)
        self._directory = Path(directory)
        self._k, self._monitor = k, monitor
        self._sign = {"max": -1, "min": 1}[one_of(mode or _mode(monitor), ("max", "min"), "mode")]
        self._pattern = re.compile(rf"epoch_(\d+)_{re.escape(monitor)}=([-+.e\d]+)\.keras")
        self._missed = False

    @property
    def kept(self) -> list[Path]:
        """The files, the best one first; of equal ones, the earlier one first."""
        found = [(self._pattern.fullmatch(path.name), path) for path in self._directory.glob("epoch_*.keras")]
        return [path for _, _, path in sorted((self._sign * float(m[2]), int(m[1]), p) for m, p in found if m)]

    @property
    def best(self) -> Path | None:
        """The best file; None until there is one."""
        return next(iter(self.kept), None)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        value = float(logs.get(self._monitor, math.nan))
        if self._monitor not in logs and not self._missed:
            self._missed = True
            warnings.warn(
                f"`{self._monitor}` is not logged in epoch {epoch + 1}, so its model is not saved: give `fit` "
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
        if not Processes(self.model).is_chief:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        files.replace(path, self.model.save)
        for other in self.kept[self._k :]:
            other.unlink()


def _mode(monitor):
    mode = monitors.mode(monitor)
    if mode is not None:
        return mode
    raise ValueError(f"Whether a high or a low `{monitor}` is better is not known: give `mode`. Received: mode=None")
