"""What a recipe that says nothing of it has, by its data set."""

import math
from typing import Any

_GREY = {"epochs": 30, "eval_images": 1000}
_PHOTOS = {"epochs": 30, "latent_size": 128, "likelihood": "discretized_logistic", "eval_images": 100}
_NUMBERS = {
    "epochs": 30,
    "batch_size": 64,
    "network": "mlp",
    "latent_size": 8,
    "likelihood": "standardized:of=normal(per_column)",
    "learning_rate": 2e-3,
    "precision": "float32",
    "keep": "elbo",
    "eval_images": 1000,
}
_TABLES = _NUMBERS | {"epochs": 200, "network": "table", "likelihood": "columns"}
# By what a data set without a name holds.
_OWN = {
    "pictures": _PHOTOS | {"keep": "elbo"},
    "bits": _PHOTOS | {"keep": "elbo", "likelihood": "bernoulli", "latent_size": 32},
    "levels": _PHOTOS | {"keep": "elbo", "network": "mlp", "latent_size": 32},
    "counts": _NUMBERS | {"likelihood": "negative_binomial", "latent_size": 16},
    "numbers": _NUMBERS,
    "table": _TABLES,
}
_DEFAULTS = {
    "digits": {"epochs": 150, "batch_size": 32, "network": "mlp", "latent_size": 16, "learning_rate": 2e-3},
    "mnist": _GREY,
    "fashion_mnist": _GREY,
    "binarized_mnist": _GREY,
    "cifar10": _PHOTOS | {"likelihood": "discretized_logistic_mixture"},
}
# Fields whose default is the data set's.
VARYING = {name for values in (*_DEFAULTS.values(), *_OWN.values()) for name in values}


# Updates that a run of one's own data makes, where it is not too small or too large for that.
_UPDATES = 3000


def suiting(dataset: str, own: tuple[str, int] | None = None) -> dict[str, Any]:
    """Entries that suit a data set.

    Args:
        dataset: its name.
        own: of one that has no name: what it holds, a key of `_OWN`, and about how many examples to train on.
    """
    if own is None:
        return _DEFAULTS.get(dataset, _PHOTOS)
    kind, count = own
    found = _OWN[kind]
    # An eighth of the examples at most, a power of two.
    batch = 1 << max(3, min(found.get("batch_size", 128), count // 8).bit_length() - 1)
    steps = max(1, math.ceil(count / batch))
    epochs = min(500, max(found["epochs"], math.ceil(_UPDATES / steps)))
    return found | {"batch_size": batch, "epochs": epochs}
