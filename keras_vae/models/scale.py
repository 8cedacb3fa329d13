"""The scale of latents over the data."""

import dataclasses
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class LatentScale:
    """Mean and standard deviation of the aggregate posterior, the mean of q(z|x) over the data.

    Args:
        mean: (D,), of each unit of a latent vector, or (c,), of each channel of a latent map, float32.
        std: of the same shape, above 0.
    """

    mean: np.ndarray
    std: np.ndarray

    def __post_init__(self):
        if self.mean.shape != self.std.shape or self.mean.ndim != 1 or not np.all(self.std > 0):
            raise ValueError(
                "A latent scale is a mean and a standard deviation above 0 of each unit or channel. "
                f"Received: mean of shape {self.mean.shape}, std of shape {self.std.shape}"
            )

    @classmethod
    def of(cls, draws: Iterable[np.ndarray]) -> "LatentScale":
        """That of draws of q(z|x), one for each example, which come in parts, (n, *D).

        Reference: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1.
        """
        count, mean, squares = 0, 0.0, 0.0
        for part in draws:
            rows = np.reshape(part, (-1, np.shape(part)[-1])).astype("float64")
            own, share = rows.mean(axis=0), len(rows) / (count + len(rows))
            squares = squares + np.sum((rows - own) ** 2, axis=0) + (own - mean) ** 2 * count * share
            mean, count = mean + (own - mean) * share, count + len(rows)
        std = np.sqrt(squares / count)
        # A unit that is the same whatever the image has no scale.
        std = np.where(std > 1e-6, std, 1.0)
        return cls(mean.astype("float32"), std.astype("float32"))

    def standardized(self, z: np.ndarray) -> np.ndarray:
        """`z` with mean 0 and standard deviation 1 over the data."""
        return (z - self.mean) / self.std

    def restored(self, z: np.ndarray) -> np.ndarray:
        """What `standardized` made of z, as z again."""
        return z * self.std + self.mean
