"""The one schema of config.json and results.json, of runs and of presets, read without any framework."""

import typing
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from keras_vae import files, names

FORMAT_VERSION = 2
CONFIG, WEIGHTS, RESULTS, CARD = "config.json", "model.weights.h5", "results.json", "README.md"
# Only where the training images had attributes.
ATTRIBUTES = "attributes.json"
FILES = (CONFIG, WEIGHTS, RESULTS, CARD)


class PresetError(ValueError):
    """A directory is no preset, or one that cannot be trusted; the message says which file, and why."""


class Config(TypedDict):
    """What a model is and how it was trained: config.json."""

    format_version: int
    # Name, title, description, paper, license, use, repository: what a reader wants to know.
    about: dict
    # Data set, preprocessing, number of training images.
    data: dict
    # What `keras-vae train` needs to do it again; the five parts are specs.
    recipe: dict
    seed: NotRequired[int]
    # Keras' configuration of the model. Presets only.
    model: NotRequired[dict]


class Metric(TypedDict):
    """A measured number, with all that is needed to measure it again."""

    value: float
    unit: str
    split: str
    images: int
    # Of z, for each image; 0 where none were drawn.
    samples: int
    protocol: str
    # Over images.
    standard_error: NotRequired[float | None]


class Weights(TypedDict):
    """Which weights were measured."""

    file: str
    sha256: str
    parameters: int


class FixedBatch(TypedDict):
    """The score of `fixed_batch`, by which a restored model is recognised."""

    what: str
    unit: str
    score: list[float]


class Results(TypedDict):
    """What was measured, and where the numbers come from: results.json."""

    format_version: int
    metrics: dict[str, Metric]
    epochs: NotRequired[int]
    epochs_planned: NotRequired[int]
    epoch_kept: NotRequired[int]
    seconds_per_epoch: NotRequired[float]
    training_seconds: NotRequired[float]
    parameters: NotRequired[int]
    preprocessing: NotRequired[str | None]
    training_images: NotRequired[int]
    command: NotRequired[str | None]
    versions: NotRequired[dict[str, str | None]]
    backend: NotRequired[str]
    # Presets only: the weights, {file: caption}, {column: a number for each epoch}.
    weights: NotRequired[Weights]
    fixed_batch: NotRequired[FixedBatch]
    pictures: NotRequired[dict[str, str]]
    history: NotRequired[dict[str, list]]


class Attributes(TypedDict):
    """Directions in latent space, {attribute: nested lists of the latent's shape}: attributes.json."""

    format_version: int
    directions: dict[str, list]


def read_config(path: Path) -> Config:
    """What a config.json holds, in the present format.

    Args:
        path: of the file; the config.json of a run whose settings stood there without a `format_version` will do.

    Raises:
        PresetError: for a file that is missing, no JSON, of a newer format, or not as `Config` says.
    """
    value = _read(path)
    return check({"format_version": FORMAT_VERSION, "about": {}, "data": {}} | value, Config, path)


def read_results(path: Path) -> Results:
    """What a results.json holds, in the present format.

    Args:
        path: of the file, that of a preset or of a run.

    Raises:
        PresetError: for a file that is missing, no JSON, of a newer format, or not as `Results` says.
    """
    return check(_read(path), Results, path)


def read_attributes(path: Path) -> Attributes:
    """What an attributes.json holds.

    Raises:
        PresetError: for a file that is missing, no JSON, of a newer format, or not as `Attributes` says.
    """
    return check(_read(path), Attributes, path)


def read(directory: Path) -> tuple[Config, Results]:
    """config.json and results.json of a preset; the weights are neither read nor verified.

    Raises:
        PresetError: for a file that is missing or not as the schema says.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise PresetError(f"A preset is a directory with {', '.join(FILES)}; there is none here. Received: {directory}")
    for name in (CONFIG, WEIGHTS, RESULTS):
        if not (directory / name).is_file():
            raise PresetError(f"The preset has no {name}: copy the whole directory again. Received: {directory}")
    config, results = read_config(directory / CONFIG), read_results(directory / RESULTS)
    if "model" not in config or "weights" not in results:
        raise PresetError(
            f"{CONFIG} has no `model`, or {RESULTS} no `weights`: the preset was never finished. Received: {directory}"
        )
    return config | {"about": {"name": directory.resolve().name} | config["about"]}, results


def check(value: Any, schema: type, path: Path, key: str = "") -> Any:
    """`value`, if it is as `schema` says.

    Args:
        value: what a JSON file holds.
        schema: a `TypedDict`, a dict[str, ...] or any type that `names.check_type` knows.
        path: of the file, for the message.
        key: where in the file `value` stands; "": at the top.

    Raises:
        PresetError: naming the file and the key.
    """
    fixed, free = typing.is_typeddict(schema), typing.get_origin(schema) is dict
    hints = typing.get_type_hints(schema) if fixed else {}
    where = f"`{key}` of {path}" if key else str(path)
    try:
        names.check_type(key or "content", value, dict if fixed or free else schema, f"{path}: ")
        for name in hints:
            if name in schema.__required_keys__ and name not in value:
                raise ValueError(f"{where} has no key {name!r}. Received: {', '.join(value) or 'no keys'}")
        for name in value if fixed else ():
            names.one_of(name, tuple(hints), f"key in {where}")
    except ValueError as error:
        raise PresetError(str(error)) from None
    for name, item in value.items() if fixed or free else ():
        check(item, hints[name] if fixed else typing.get_args(schema)[1], path, f"{key}.{name}" if key else name)
    return value


def _read(path):
    """The object that a file holds, in the present format."""
    path = Path(path)
    try:
        value = files.read_json(path)
    except ValueError as error:
        raise PresetError(f"{error}. Received: {path.parent}") from error
    if value is None:
        raise PresetError(f"There is no {path.name}. Received: {path}")
    if not isinstance(value, dict):
        raise PresetError(f"{path} must hold an object with a `format_version`. Received: {type(value).__name__}")
    # The files of runs had none before version 2.
    version = value.get("format_version", 1)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise PresetError(
            f"{path} was written by a newer keras_vae; this one reads up to format {FORMAT_VERSION}: "
            f"pip install --upgrade keras_vae. Received: format_version={version!r}"
        )
    return value if version == FORMAT_VERSION else _upgraded(value)


def _upgraded(value):
    """What version 1 wrote, in the present format; those of a run were flat."""
    value = value | {"format_version": FORMAT_VERSION}
    if "settings" in value:
        metrics = {name: item for name, item in value.items() if isinstance(item, dict) and "value" in item}
        value = {name: item for name, item in value.items() if name not in (*metrics, "settings")}
        value["metrics"] = metrics
    if "binarisation" in value:
        value["preprocessing"] = value.pop("binarisation")
    if "dataset" in value:
        recipe = {name: item for name, item in value.items() if name != "format_version"}
        value = {"format_version": FORMAT_VERSION, "data": {"dataset": value["dataset"]}, "recipe": recipe}
        value["seed"] = recipe.get("seed", 0)
    if isinstance(value.get("recipe"), dict) and value["recipe"]:
        value["recipe"] = _with_specs(value["recipe"])
    return value


def _with_specs(recipe):
    """A recipe of version 1 with its five parts as specs."""
    usual = {"beta": 1.0, "free_bits": 0.0}
    options = {name: recipe[name] for name in usual if recipe.get(name, usual[name]) != usual[name]}
    parts = {
        "network": str(names.Spec(recipe.get("network", "conv"), options=recipe.get("network_arguments", {}))),
        "posterior": "diagonal_normal",
        "prior": "standard_normal",
        "likelihood": recipe.get("likelihood", "bernoulli"),
        "objective": str(names.Spec.parse(recipe.get("objective", "elbo")).replaced(**options)),
    }
    merged = {name: item for name, item in (recipe | parts).items() if name not in ("network_arguments", *usual)}
    return {name: merged[name] for name in dict.fromkeys(("dataset", *parts, *merged)) if name in merged}
