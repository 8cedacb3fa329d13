"""What a run of a table has in the place of pictures: rows that are drawn, and a baseline."""

from pathlib import Path

import numpy as np
from sklearn.mixture import GaussianMixture

from keras_vae.data import Schema
from keras_vae.models.base import LatentVariableModel

ROWS = 100
BASELINE = (
    "a Gaussian with full covariance of the real columns and counts, and the frequencies of the categories, fitted to "
    "training rows; a missing value is the column's mean"
)
_REAL = ("normal", "log_normal", "counts")


def write_samples(vae: LatentVariableModel, path: Path, seed: int) -> None:
    """Writes rows that are drawn from the model, with names and types of the columns, to a .csv file."""
    Schema(vae.likelihood.columns).write(vae.sample(ROWS, mean=False, seed=seed), path)


def baseline(schema: Schema, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """log p of rows, (N,) nats, by what is simplest: see `BASELINE`. It is in the units of the table, as a model's is.

    Args:
        schema: the columns.
        train: training rows as numbers, (M, C).
        test: other rows, (N, C); where a value is missing it does not count.
    """
    there = ~np.isnan(test)
    total = np.zeros(len(test))
    real = [number for number, column in enumerate(schema) if column.kind in _REAL]
    columns = list(schema)
    if real:
        means = np.nanmean(train[:, real], axis=0)
        seen = np.where(np.isnan(train[:, real]), means, train[:, real]).astype("float64")
        gaussian = GaussianMixture(1, reg_covar=1e-4).fit(seen)
        moments = gaussian.means_[0], gaussian.covariances_[0]
        total += _marginal(*moments, test[:, real].astype("float64"), there[:, real])
    for number, column in enumerate(columns):
        values, known = test[:, number], there[:, number]
        if column.kind in _REAL:
            if column.kind != "counts":
                units = np.log(column.scale) + (column.kind == "log_normal") * (column.loc + column.scale * values)
                total -= np.where(known, units, 0.0)
            continue
        counts = np.bincount(train[~np.isnan(train[:, number]), number].astype(int), minlength=len(column.categories))
        log_shares = np.log((counts + 0.5) / (counts + 0.5).sum())
        total += np.where(known, log_shares[np.where(known, values, 0).astype(int)], 0.0)
    return total


def _marginal(mean, covariance, x, there):
    """The log-density of the elements that are there, of a Gaussian: (N,)."""
    from scipy.stats import multivariate_normal

    found = np.zeros(len(x))
    for pattern in np.unique(there, axis=0):
        if pattern.any():
            rows = (there == pattern).all(axis=1)
            part = multivariate_normal(mean[pattern], covariance[np.ix_(pattern, pattern)], allow_singular=True)
            found[rows] = part.logpdf(x[np.ix_(rows, pattern)])
    return found
