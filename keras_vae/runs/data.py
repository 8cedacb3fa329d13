"""The data of a run: what is trained on, and what is evaluated, as the likelihood sees it."""

from pathlib import Path

import numpy as np

from keras_vae import data
from keras_vae.likelihoods import Likelihood
from keras_vae.priors import fitting
from keras_vae.runs import labelling
from keras_vae.runs.recipe import Recipe, UsageError
from keras_vae.training.stream import ArrayFeed

# Of validation and test images: runs with different seeds are then measured on the same bits.
BINARISATION_SEED = 0
# Of what is missing of the images.
HOLES_SEED = 0


def read(recipe: Recipe, likelihood: Likelihood) -> tuple[data.DataSet, ArrayFeed, dict[str, np.ndarray]]:
    """The data set, the feed of its training images, and {split: images as the likelihood sees them}.

    The labels of the feed are whole numbers, if there are any, whatever the model takes.
    """
    try:
        images = data.load(recipe.dataset, recipe.data_dir, recipe.image_size)
    except data.DataError as error:
        known = recipe.dataset in data.names() or Path(recipe.dataset).expanduser().exists()
        raise error if known else UsageError(str(error)) from error

    # What is missing has no bits.
    dynamic = _is_dynamic(likelihood, images) and not recipe.missing
    x = images.train.images if dynamic else seen(images.train.images, likelihood, images)
    x = holed(x, recipe.missing, 0)
    y, weights = labelling.known(recipe, images), None
    if y is not None and recipe.labels is not None and labelling.kind(recipe) == "m2":
        index, weights = fitting.repeated(y)
        x, y = x[index], y[index]
    train = ArrayFeed(x, y, weights, recipe.batch_size, recipe.seed, binarize=dynamic, flip=recipe.flip)
    splits = {"validation": images.validation, "test": images.test}
    evaluated = {name: seen(split.images, likelihood, images) for name, split in splits.items()}
    return images, train, {name: holed(x, recipe.missing, i + 1) for i, (name, x) in enumerate(evaluated.items())}


def is_own(recipe: Recipe) -> bool:
    """Whether the data are a user's own, of which nothing is known before they are read."""
    return recipe.dataset not in data.names()


def holed(x: np.ndarray, share: float, split: int) -> np.ndarray:
    """Images of which each element is missing with the probability `share`, by the seed of all runs.

    Args:
        x: images as a likelihood sees them.
        share: the probability; 0: they stay as they are.
        split: number of the split, 0, 1, 2.
    """
    if not share:
        return x
    missing = np.random.default_rng([HOLES_SEED, split]).random(x.shape, dtype="float32") < share
    return np.where(missing, np.float32(np.nan), x.astype("float32", copy=False))


def seen(levels: np.ndarray, likelihood: Likelihood, images: data.DataSet) -> np.ndarray:
    """Stored images of a data set as the likelihood sees them, binarised once if it is binary; numbers as they are."""
    if images.raw:
        return levels
    return data.convert(levels, likelihood.data, BINARISATION_SEED, binary=images.binary)


def mean_image(images: data.DataSet) -> np.ndarray | None:
    """The mean training image, between 0 and 1, both excluded; a table and other numbers have none."""
    if images.raw:
        return None
    count = len(images.train)
    mean = np.mean(images.train.images, axis=0, dtype="float64") / (1 if images.binary else 255)
    return (count * mean + 0.5) / (count + 1)


def described(recipe: Recipe, likelihood: Likelihood, images: data.DataSet) -> dict:
    """What config.json says of the data."""
    seen = preprocessing(likelihood, images, recipe.seed, recipe.missing)
    return {
        "dataset": recipe.dataset,
        "preprocessing": f"{likelihood.data}{f' ({seen})' if seen else ''}",
        "training_images": len(images.train),
    }


def preprocessing(
    likelihood: Likelihood, images: data.DataSet, training_seed: int | None = None, missing: float = 0.0
) -> str | None:
    """How stored images became what the likelihood sees.

    Args:
        likelihood: whose data they are to be.
        images: the data set.
        training_seed: that of the training, if it is to be told of, too.
        missing: the share of the pixels that are.

    Returns:
        A phrase, or None for 8-bit levels as they are.
    """
    if images.raw:
        there = f"; {np.isnan(images.test.images).mean():.1%} of values missing" if images.has_missing else ""
        if images.schema is not None:
            return f"real columns standardised by training rows, densities in the units of the table{there}"
        said = {"numbers": "standardised by training examples, densities in the units of the data"}
        return f"{said.get(likelihood.data, 'numbers as they are')}{there}"
    if missing:
        others = preprocessing(likelihood, images)
        return f"{others + ', and ' if others else ''}{missing:.3g} of all pixels missing at random, seed {HOLES_SEED}"
    if _is_dynamic(likelihood, images):
        if training_seed is None:
            return f"binarised once, seed {BINARISATION_SEED}"
        return (
            f"training images anew in each epoch, seed {training_seed}; validation and test images once, seed "
            f"{BINARISATION_SEED}"
        )
    if images.binary:
        return "fixed, that of the data set"
    return {
        "unit interval": "8-bit levels / 255, not dequantised",
        "real": "8-bit levels / 255, not dequantised",
        "open unit interval": "(8-bit levels + 0.5) / 256, not dequantised",
    }.get(likelihood.data)


def _is_dynamic(likelihood, images):
    return likelihood.data == "binary" and not (images.binary or images.raw)
