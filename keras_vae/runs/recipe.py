"""What decides a run: a recipe, whose fields are the entries of a file and the options of `keras-vae train` alike.

No framework is imported here: the command shows its help from these fields, and refuses what cannot be meant by them.
"""

import contextlib
import dataclasses
import json
import math
import os
import typing
from collections.abc import Callable
from typing import Any

from keras_vae import names


class UsageError(ValueError):
    """What was asked for cannot be meant; the message says why."""

    exit_code = 2


def _field(help: str, default: Any = dataclasses.MISSING, **rules: Any) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, **rules})


# What a model whose optimum is known in closed form is made of.
BASELINES = {
    "pca": {
        "network": "linear",
        "posterior": "diagonal_normal",
        "prior": "standard_normal",
        "likelihood": "normal:learned",
        "objective": "elbo",
        "output_bias": False,
        "warmup_epochs": 0.0,
        "epochs": 1,
        "ema": None,
        "flip": False,
        "corruption": None,
        "missing": 0.0,
        "precision": "float32",
        # Its posterior is exact.
        "eval_samples": 1,
    }
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What decides a run; `config.json` holds it.

    Types and ranges of all fields are checked when it is made, and specs are brought to one form. Whether there are
    parts of their names is for `keras_vae.runs.model.check`, since parts have to be imported for it.

    The metadata of a field has its `help`, and where they apply its `role` (of a spec), its `choices`, and its range:
    `least`, `above`, `below`.

    Raises:
        UsageError: for a field that cannot be meant.

    Example: `Recipe("digits", network="mlp:widths=[500]", objective="elbo:beta=4.0", epochs=5)`.
    """

    dataset: str = _field(
        "digits, mnist, fashion_mnist, binarized_mnist, cifar10, celeb_a64, a folder of images, a table (.csv, .tsv, "
        ".parquet), a file of arrays (.npy, .npz, .h5, .mat, idx-ubyte, .mtx, .h5ad; FILE::NAME for one of several), "
        "or a recipe: zoo/NAME"
    )
    epochs: int = _field("passes over the training images", 20, least=1)
    batch_size: int = _field("images in a step", 128, least=1)
    network: str = _field(
        "mlp:500, resnet:widths=[64,128],blocks=2, or ladder, whose models have groups of latents",
        "conv",
        role="network",
    )
    latent_size: int | tuple[int, ...] = _field("length of z: 32; or the shape of a map: 8x8x16", 32, least=1)
    posterior: str = _field("q(z|x), of a ladder's top group", "diagonal_normal", role="posterior")
    prior: str = _field("p(z), of a ladder's top group", "standard_normal", role="prior")
    likelihood: str = _field("p(x|z): normal:optimal, laplace:scale=0.1", "bernoulli", role="likelihood")
    corruption: str | None = _field(
        "what is done to training images before they are encoded, the clean ones being scored: masking:rate=0.3, "
        "gaussian:scale=0.3, salt_and_pepper:rate=0.1 (nothing)",
        None,
        role="corruption",
    )
    missing: float = _field(
        "share of the pixels of all images that are missing, taken away at random; the model fills them in",
        0.0,
        least=0,
        below=1,
    )
    output_bias: bool = _field("start the likelihood's output at the mean of the training images", False)
    model: str = _field(
        "what labels are to it: vae, nothing; conditional, p(x|y); m2, which guesses those that are not known",
        "vae",
        role="model",
    )
    labels: int | None = _field(
        "training images whose labels are known, as many of each class; test accuracy is reported (all)", None, least=1
    )
    objective: str = _field("what is minimised: elbo:beta=4.0,free_bits=0.1 or iwae:50", "elbo", role="objective")
    warmup_epochs: float = _field("epochs in which the objective's beta rises from 0", 0.0, least=0)
    optimizer: str = _field("Keras' Adam or AdamW", "adam", choices=("adam", "adamw"))
    learning_rate: float = _field("of the optimizer, at first", 1e-3, above=0)
    learning_rate_schedule: str = _field(
        "constant, cosine (to 0 at the last epoch), or exponential:0.95 (that factor after each epoch)",
        "constant",
        role="learning_rate_schedule",
    )
    beta_2: float = _field("Adam's decay of the mean of squared gradients", 0.999, least=0, below=1)
    clip: float | None = _field("greatest norm of the gradient of all weights together (any)", None, above=0)
    ema: float | None = _field(
        "momentum of a moving average of the weights, 0.999 say, that is validated, tested and kept (no average)",
        None,
        least=0,
        below=1,
    )
    keep: str = _field("test the epoch of the best validation elbo, iwae or loss; or the last", "last")
    seed: int = _field("of the weights, the noise and the order of the images", 0, least=0, below=2**31)
    precision: str = _field(
        "of the networks; auto is mixed_bfloat16 where the processor or GPU has it, and float32 elsewhere",
        "auto",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    data_dir: str | None = _field(
        "where tensorflow-datasets keeps its data (TFDS_DATA_DIR, or ~/tensorflow_datasets)", None
    )
    image_size: int | None = _field("height and width to which the images of a folder are brought (64)", None, least=1)
    flip: bool = _field("show each training image as its mirror image half the time", False)
    eval_images: int | None = _field(
        "test images that log p(x) is estimated for, evenly spread over the split", None, least=1
    )
    eval_samples: int = _field("importance samples for each of them", 500, least=1)
    monitor_images: bool = _field("log squared error, PSNR and SSIM of validation reconstructions, too", False)
    baseline: str | None = _field(
        "pca: probabilistic PCA in the place of a VAE, in closed form (a VAE)", None, choices=tuple(BASELINES)
    )
    start: str | None = _field(
        "a zoo entry, a preset or a run, whose weights the training begins with, as far as they fit (new weights)",
        None,
        option="--from",
    )
    freeze: str | None = _field(
        "encoder, with the posterior, or decoder, with the likelihood: keeps the weights that it begins with (none)",
        None,
        choices=("encoder", "decoder"),
    )
    imports: tuple[str, ...] = _field(
        "a module, or a .py file, that registers parts of your own; may be given more than once", (), option="--import"
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))
        for name, value in BASELINES.get(self.baseline, {}).items():
            if getattr(self, name) != value:
                raise UsageError(
                    f"--baseline {self.baseline} is a model in closed form, with {written(name, value)}. "
                    f"Received: {written(name, getattr(self, name))}"
                )

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Recipe":
        """The recipe of a file's entries.

        Raises:
            UsageError: for entries that are not known, naming the nearest ones, or that cannot be meant.
        """
        for name, value in values.items():
            if name in REMOVED:
                field, spec = instead_of(name, value, str(values.get("network", "mlp")))
                raise UsageError(
                    f"`{name}` belongs to the {field} and is written there: {field}={spec!r}. "
                    f"Received: {name}={value!r}"
                )
            understood(names.one_of, name, FIELDS, "entry of a recipe")
        if "dataset" not in values:
            raise UsageError(f"A recipe needs a `dataset`. Received: {', '.join(values) or 'no entries'}")
        return cls(**values)

    def entries(self) -> dict[str, Any]:
        """The fields as a file has them."""
        return dataclasses.asdict(self)


FIELDS = {field.name: field for field in dataclasses.fields(Recipe)}
_HINTS = typing.get_type_hints(Recipe)


def understood(function: Callable, *arguments: Any) -> Any:
    """`function(*arguments)`, its ValueError as a UsageError."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _checked(field, value):
    """The value of a field in the one form that it has in a file."""
    name, rules, kinds = field.name, field.metadata, kinds_of(field)
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    understood(names.check_type, name, value, _HINTS[name])
    value = _plain(value, kinds)
    if "role" in rules and value is not None:
        return str(understood(names.Spec.parse, value))
    if "choices" in rules and value is not None:
        return understood(names.one_of, value, rules["choices"], name)
    sizes = value if isinstance(value, tuple) else (value,)
    if rules.keys() & _BOUNDS.keys() and not (sizes and all(_in_range(size, rules) for size in sizes)):
        bounds = " and ".join(f"{words} {rules[rule]}" for rule, words in _BOUNDS.items() if rule in rules)
        number = "whole number" if int in kinds else "number"
        raise UsageError(f"`{name}` must be a {number} {bounds}. Received: {name}={value!r}")
    return value


def kinds_of(field: dataclasses.Field) -> set[type]:
    """The types, generic ones by their origin, that a field's value may have."""
    hint = _HINTS[field.name]
    kinds = (hint,) if typing.get_origin(hint) is tuple else typing.get_args(hint) or (hint,)
    return {typing.get_origin(kind) or kind for kind in kinds}


def _plain(value, kinds):
    """`value` without numpy's types, lists as tuples."""
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item, kinds) for item in value)
    kind = next((kind for kind in (int, float) if kind in kinds), None)
    return value if value is None or kind is None else kind(value)


_BOUNDS = {"least": "of at least", "above": "above", "below": "below"}


def _in_range(number, rules):
    if number is None:
        return True
    least, above, below = rules.get("least", -math.inf), rules.get("above", -math.inf), rules.get("below", math.inf)
    return least <= number < below and number > above


# The command line


def option(field: dataclasses.Field) -> str:
    """The option of a field, "--latent-size"; "DATASET" for the data set."""
    if field.default is dataclasses.MISSING:
        return field.name.upper()
    return field.metadata.get("option", f"--{field.name.replace('_', '-')}")


def read(name: str, text: str) -> Any:
    """The value of a field as the command line has it: "32", "8x8x16", "elbo:beta=4.0".

    Raises:
        UsageError: for what cannot be meant.
    """
    kinds = kinds_of(FIELDS[name])
    value = text
    # What is no number is refused below, in the words for this field.
    with contextlib.suppress(ValueError):
        if tuple in kinds and "x" in text:
            value = tuple(map(int, text.split("x")))
        elif int in kinds or float in kinds:
            value = (int if int in kinds else float)(text)
    return _checked(FIELDS[name], value)


def written(name: str, value: Any) -> str:
    """How the command line gives a field this value: "--latent-size 8x8x16", "--no-flip", "DATASET digits"."""
    flag = option(FIELDS[name])
    if isinstance(value, bool):
        return flag if value else flag.replace("--", "--no-")
    if value is None:
        return f"no {flag}"
    return f"{flag} {'x'.join(map(str, value)) if isinstance(value, tuple) else value}"


# Entries of older recipes, each with the one whose spec has it now.
REMOVED = {"beta": "objective", "free_bits": "objective", "network_arguments": "network"}


def instead_of(name: str, value: Any, network: str = "mlp") -> tuple[str, str]:
    """Where an entry of older recipes is now, and how it is written there: ("objective", "elbo:beta=4.0").

    Args:
        name: one of `REMOVED`.
        value: its value, or the text of it.
        network: the network that has the arguments.
    """
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if name == "network_arguments":
        options = value if isinstance(value, dict) else {"widths": (500,)}
        return REMOVED[name], str(names.Spec(network, options=options))
    return REMOVED[name], str(names.Spec("elbo", options={name: value}))
