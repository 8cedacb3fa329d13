"""The labels of a run: which are known, and the form in which its model takes them."""

import numpy as np

from keras_vae.data import DataSet
from keras_vae.models.base import LatentVariableModel
from keras_vae.names import Spec
from keras_vae.runs.recipe import Recipe, UsageError


def classes(recipe: Recipe, images: DataSet) -> int | None:
    """How many classes a data set has; None where its images have no labels.

    Raises:
        UsageError: for a recipe that needs labels which are not there.
    """
    labels = images.train.labels
    needs = [f"--model {recipe.model}"] * (kind(recipe) != "vae") + [f"--labels {recipe.labels}"] * bool(recipe.labels)
    if labels is None and needs:
        raise UsageError(
            "The images of this data set have no labels: a folder of images has those of its sub-folders, one for each "
            f"class. Received: {recipe.dataset} with {' and '.join(needs)}"
        )
    splits = (images.train, images.validation, images.test)
    return None if labels is None else 1 + max(int(split.labels.max()) for split in splits)


def kind(recipe: Recipe) -> str:
    """The name of the recipe's kind of model."""
    return Spec.parse(recipe.model).name


def known(recipe: Recipe, images: DataSet) -> np.ndarray | None:
    """The labels of the training images, (N,), -1 where they are hidden: as many of each class are known.

    Raises:
        UsageError: if there are not so many of a class, or fewer labels than classes.
    """
    labels = images.train.labels
    if recipe.labels is None or labels is None:
        return labels
    count = classes(recipe, images)
    if recipe.labels < count:
        raise UsageError(f"Some of {count} classes would have no label: give more. Received: --labels {recipe.labels}")
    order = np.random.default_rng([recipe.seed, 1]).permutation(len(labels))
    hidden = np.full_like(labels, -1)
    for label in range(count):
        wanted = recipe.labels // count + (label < recipe.labels % count)
        chosen = order[labels[order] == label][:wanted]
        if len(chosen) < wanted:
            raise UsageError(
                f"There are {len(chosen)} training images of class {label}, and {wanted} were to keep their label. "
                f"Received: --labels {recipe.labels}"
            )
        hidden[chosen] = label
    return hidden


def taken(vae: LatentVariableModel, labels: np.ndarray | None) -> np.ndarray | None:
    """Labels, whole numbers, in the form that a model takes: as they are, or one-hot; None where it takes none.

    Raises:
        UsageError: for a model whose labels are of another kind, or of fewer classes.
    """
    if vae.label_shape is None:
        return None
    if labels is None or len(vae.label_shape) > 1:
        raise UsageError(
            "This model takes labels of a class each, and these images have none. "
            f"Received: a model with labels of shape {vae.label_shape}"
        )
    if vae.classes is not None:
        return labels
    (count,) = vae.label_shape
    if labels.min() < 0:
        raise UsageError(
            "A conditional model needs the labels of all images: leave out --labels, or take --model m2. "
            f"Received: {np.sum(labels < 0):,} of {len(labels):,} labels that are not known"
        )
    if labels.max() >= count:
        raise UsageError(f"This model has {count} classes, numbered from 0. Received: label {labels.max()}")
    return np.eye(count, dtype="float32")[labels]


def needed(vae: LatentVariableModel, labels: np.ndarray | None) -> np.ndarray | None:
    """Labels as of `taken`, of a model that does nothing without them; None for any other."""
    return None if vae.labels_optional else taken(vae, labels)
