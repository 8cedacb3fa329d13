"""What a run of numbers has in the place of pictures: examples that are drawn, and a baseline."""

from pathlib import Path

import numpy as np
from sklearn.covariance import LedoitWolf

from keras_vae.data import DataSet, Schema
from keras_vae.models.base import LatentVariableModel

ROWS = 100
_GAUSSIAN = (
    "a Gaussian with full covariance{}, fitted to training examples by the rule of Ledoit and Wolf; a missing value is "
    "the mean of its column"
)
_OF_COLUMNS = " of the real columns and counts, and the frequencies of the categories"
_REAL = ("normal", "log_normal", "counts")
# Numbers of an example, beyond which a covariance takes too long.
_LARGEST = 2000


def write_samples(vae: LatentVariableModel, out: Path, seed: int) -> None:
    """Writes examples that are drawn from the model to a directory: samples.csv of a table's rows, or samples.npy."""
    drawn = vae.draw(ROWS, seed=seed)
    if vae.likelihood.data == "table":
        Schema(vae.likelihood.columns).write(drawn, out / "samples.csv")
    else:
        np.save(out / "samples.npy", drawn)


def baseline(images: DataSet, test: np.ndarray) -> tuple[np.ndarray, str] | None:
    """log p of examples, (N,) nats, by what is simplest, and what that is; None where there is nothing so simple.

    It is in the units of the data, as a model's is.

    Args:
        images: the data set, whose training split it is fitted to.
        test: other examples, (N, *X); where a number is missing it does not count.
    """
    train = images.train.images
    if images.schema is not None:
        return of_table(images.schema, train, test), _GAUSSIAN.format(_OF_COLUMNS)
    if images.numbers != "numbers" or train[0].size > _LARGEST:
        return None
    train, test = (np.reshape(x, (len(x), -1)).astype("float64") for x in (train, test))
    loc, scale = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    train, test = ((x - loc) / scale for x in (train, test))
    units = np.where(np.isnan(test), 0, np.log(scale)).sum(axis=1)
    return _gaussian(np.nan_to_num(train), test) - units, _GAUSSIAN.format("")


def of_table(schema: Schema, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """log p of rows of a table, (N,) nats.

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
        total += _gaussian(seen, test[:, real].astype("float64"))
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


def _gaussian(train, x):
    """The log-density of the elements that are there, of a Gaussian that is fitted: (N,)."""
    from scipy.stats import multivariate_normal

    # Of fewer examples than numbers, a covariance as it is found has no inverse.
    gaussian = LedoitWolf().fit(train)
    mean, covariance = gaussian.location_, gaussian.covariance_
    found, there = np.zeros(len(x)), ~np.isnan(x)
    for pattern in np.unique(there, axis=0):
        if pattern.any():
            rows = (there == pattern).all(axis=1)
            part = multivariate_normal(mean[pattern], covariance[np.ix_(pattern, pattern)], allow_singular=True)
            found[rows] = part.logpdf(x[np.ix_(rows, pattern)])
    return found
