"""The three splits of what has none, or not all of them."""

import re

import numpy as np

NAMES = ("train", "validation", "test")
# What people call them, in lower case.
CALLED = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "eval", "evaluation"), "validation"),
    **dict.fromkeys(("test", "testing", "te"), "test"),
}
# What they add to it: "Training_Set", "test-images".
_ADDED = {"set", "data", "images", "split"}


def words(name: str) -> list[str]:
    """The words of a name, in lower case."""
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


def called(name: str) -> str | None:
    """The split that a folder is named after, one of `NAMES`; None where it is named after none."""
    found = [CALLED.get(word, CALLED.get(word.removesuffix("set"))) for word in words(name) if word not in _ADDED]
    return found[0] if len(found) == 1 else None


def members(given: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Split -> indices of its examples; each split that is not given gets a tenth of the training examples.

    Args:
        given: {split: indices}, "train" among them.
        seed: of the draw.
    """
    missing = [split for split in ("validation", "test") if split not in given]
    train = np.asarray(given["train"])
    train = np.random.default_rng(seed).permutation(train) if missing else train
    tenth = max(1, round(len(train) / 10))
    found = dict(given)
    for split in missing:
        found[split], train = train[:tenth], train[tenth:]
    return found | {"train": train}
