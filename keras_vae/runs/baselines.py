"""The simplest density of a data set of one's own, fitted to the same split, which a model has to beat."""

from typing import NamedTuple

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from keras_vae.data import DataSet, Schema
from keras_vae.likelihoods import Likelihood
from keras_vae.training.stream import evenly

_GAUSSIAN = (
    "a Gaussian with full covariance{}, fitted to training examples by the rule of Ledoit and Wolf; a missing value is "
    "the mean of its column"
)
_OF_COLUMNS = " of the real columns and counts, and the frequencies of the categories"
_COUNTS = "independent negative binomials with the means and variances of training examples"
_PCA = (
    "probabilistic PCA of {components} components, the best of {tried} on validation images, fitted to {count:,} "
    "training images in levels with uniform noise, one draw of it each"
)
_REAL = ("normal", "log_normal", "counts")
# Numbers of an example, beyond which a covariance takes too long.
_LARGEST = 2000
# Components to choose among, and what is fitted at most: images, and bytes of them in single precision.
_COMPONENTS, _IMAGES, _BYTES = (16, 64, 128), 5000, 2**28


class Baseline(NamedTuple):
    """What is simplest.

    Attributes:
        log_prob: (N,) nats, in the units of the data, as a model's is.
        protocol: what it is, in words.
    """

    log_prob: np.ndarray
    protocol: str


def simplest(images: DataSet, likelihood: Likelihood, test: np.ndarray, seed: int = 0) -> Baseline | None:
    """log p of examples by what is simplest; None where there is nothing so simple, or nothing to compare.

    Args:
        images: the data set, whose training split it is fitted to.
        likelihood: that of the model; one of counts given their total, say, compares with none of these.
        test: other examples, (N, *X), as it sees them; where a number is missing it does not count.
        seed: of the noise between levels.
    """
    train = images.train.images
    if images.schema is not None:
        return Baseline(of_table(images.schema, train, test), _GAUSSIAN.format(_OF_COLUMNS))
    if images.numbers == "counts":
        given_total = getattr(likelihood, "offset", False) or not likelihood.normalized or likelihood.data != "counts"
        known = not given_total and likelihood.spec.partition(":")[0] != "multinomial"
        return Baseline(of_counts(train, test), _COUNTS) if known else None
    if images.numbers == "numbers" and train[0].size <= _LARGEST:
        return Baseline(of_numbers(train, test), _GAUSSIAN.format(""))
    if images.pictures and likelihood.discrete:
        return of_levels(train, images.validation.images, test, seed)
    return None


def of_numbers(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """log p of measurements, (N, *X) -> (N,) nats, by a Gaussian with full covariance."""
    train, test = (np.reshape(x, (len(x), -1)).astype("float64") for x in (train, test))
    loc, scale = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    train, test = ((x - loc) / scale for x in (train, test))
    units = np.where(np.isnan(test), 0, np.log(scale)).sum(axis=1)
    return _gaussian(np.nan_to_num(train), test) - units


def of_counts(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """log p of counts, (N, *X) -> (N,) nats, by a negative binomial for each element, a Poisson where it spreads less.

    Half a count more keeps the mean above 0.
    """
    from scipy import stats

    train, test = (np.reshape(x, (len(x), -1)).astype("float64") for x in (train, test))
    mean = (np.nansum(train, axis=0) + 0.5) / (1 + np.sum(~np.isnan(train), axis=0))
    spread = np.maximum(np.nanvar(train, axis=0) - mean, 0.0)
    there = ~np.isnan(test)
    x = np.where(there, test, 0.0)
    number = np.divide(mean**2, spread, out=np.ones_like(mean), where=spread > 0)
    over = stats.nbinom.logpmf(x, number, number / (number + mean))
    return np.where(there, np.where(spread > 1e-6 * mean, over, stats.poisson.logpmf(x, mean)), 0.0).sum(axis=1)


def of_levels(train: np.ndarray, validation: np.ndarray, test: np.ndarray, seed: int = 0) -> Baseline:
    """A bound on log p of pictures in levels 0 to 255, (N, *X) -> (N,) nats, by probabilistic PCA.

    Uniform noise makes numbers of levels; the mean log-density of these is a bound (Theis et al. 2016, section 3.1).

    Args:
        train, validation, test: pictures, uint8.
        seed: of the noise.
    """
    size = train[0].size
    count = max(2, min(_IMAGES, _BYTES // (4 * size), len(train)))
    rng = np.random.default_rng(seed)

    def numbers(x):
        flat = np.reshape(x, (len(x), size)).astype("float32")
        return (flat + rng.random(flat.shape, "float32")) / 256

    fitted = numbers(evenly(count, train))
    tried = sorted({min(components, min(fitted.shape) - 1) for components in _COMPONENTS})
    pca = PCA(tried[-1], svd_solver="randomized" if tried[-1] < min(fitted.shape) // 2 else "full", random_state=seed)
    pca.fit(fitted)
    total = fitted.var(axis=0, ddof=1, dtype="float64").sum()
    variances, mean = pca.explained_variance_.astype("float64"), pca.mean_

    def log_prob(x, components):
        noise = max((total - variances[:components].sum()) / (size - components), 1e-9)
        scores = np.square(x @ pca.components_[:components].T, dtype="float64")
        rest = np.square(x, dtype="float64").sum(axis=1) - scores.sum(axis=1)
        scale = np.log(variances[:components]).sum() + (size - components) * np.log(noise)
        errors = (scores / variances[:components]).sum(axis=1) + rest / noise
        return -0.5 * (size * np.log(2 * np.pi) + scale + errors) - size * np.log(256)

    chosen = numbers(evenly(min(count, len(validation)), validation)) - mean
    best = max(tried, key=lambda components: log_prob(chosen, components).mean())
    blocks = np.array_split(test, max(1, len(test) // count))
    found = np.concatenate([log_prob(numbers(block) - mean, best) for block in blocks])
    return Baseline(found, _PCA.format(components=best, tried=", ".join(map(str, tried)), count=count))


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
