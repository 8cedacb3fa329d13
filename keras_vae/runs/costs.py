"""How much of a test split is evaluated, and what that costs."""

import time
from typing import NamedTuple

import numpy as np

from keras_vae.models.base import LatentVariableModel
from keras_vae.runs.recipe import Recipe

# What the protocol of results says for which there was too little time.
CUT = "; cut to the time that was left"
# About what pictures, the SavedModel and the first calls of functions take.
_SECONDS_WRITING = 15
# Passes over test images beside that of log p(x).
_PASSES = 4


class Extent(NamedTuple):
    """How much is evaluated: test images in all, those that log p(x) is estimated for, and samples for each of them."""

    test: int
    images: int
    samples: int
    cut: bool = False

    @classmethod
    def of(cls, recipe: Recipe, test: np.ndarray) -> "Extent":
        """What a recipe asks for."""
        return cls(len(test), min(recipe.eval_images or len(test), len(test)), recipe.eval_samples)


class Costs(NamedTuple):
    """Seconds that an image takes to be reconstructed, and log p(x) for each sample of z."""

    image: float
    sample: float

    @classmethod
    def measured(cls, vae: LatentVariableModel, test: np.ndarray, y: np.ndarray | None = None) -> "Costs":
        """Those of a model, on a few images, and their labels where it is conditional."""
        few, y = test[:16], None if y is None else y[:16]

        def seconds(function):
            # The first call compiles.
            function()
            begin = time.monotonic()
            function()
            return (time.monotonic() - begin) / len(few)

        scored = seconds(lambda: vae.log_prob(few, samples=16, y=y, seed=0)) / 16
        # Where all samples are alike, more of them cost nothing.
        return cls(seconds(lambda: vae.reconstruct(few, y)), 0.0 if vae.deterministic else scored)

    def seconds(self, extent: Extent) -> float:
        """What an evaluation takes, and what is written after it."""
        numbers = _PASSES * self.image * extent.test + self.sample * extent.images * extent.samples
        return _SECONDS_WRITING + numbers

    def extent(self, wanted: Extent, seconds: float) -> Extent:
        """As much of an evaluation as fits in the time that is left; fewer images first, then fewer samples."""
        if self.seconds(wanted) <= seconds:
            return wanted
        left = max(0.0, seconds - _SECONDS_WRITING)
        test = _between(16, left / 2 / (_PASSES * self.image), wanted.test)
        pairs = (left - _PASSES * self.image * test) / max(self.sample, 1e-12)
        images = _between(100, pairs / wanted.samples, wanted.images)
        return Extent(test, images, _between(10, pairs / images, wanted.samples), cut=True)


def _between(least, value, most):
    return int(min(most, max(least, value)))


def is_cut(results: dict) -> bool:
    """Whether there was too little time for all that the recipe asks for."""
    return any(metric["protocol"].endswith(CUT) for metric in results["metrics"].values())
