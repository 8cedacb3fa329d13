"""The one schema of config.json and results.json, of runs and of presets, read without any framework."""

import dataclasses
import json
import numbers
import re
import typing
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from keras_vae import names

FORMAT_VERSION = 2
CONFIG, WEIGHTS, RESULTS, CARD = "config.json", "model.weights.h5", "results.json", "README.md"
# Of a run: what it goes on from, whose predecessor is kept; and what was tested, in those of older versions the state.
STATE, MODEL = "state.keras", "model.keras"
# Only where the training images had attributes.
ATTRIBUTES = "attributes.json"
FILES = (CONFIG, WEIGHTS, RESULTS, CARD)
# What cards show of `about` and of `data`, whose other keys are free.
_SHOWN = {
    "about": dict.fromkeys(("name", "title", "license", "repository"), str)
    | dict.fromkeys(("description", "paper", "prior", "use"), str | None),
    "data": {"dataset": str, "preprocessing": str | None},
}


class PresetError(ValueError):
    """A directory is no preset, or one that cannot be trusted; the message, one line, says which file, and why."""

    def __init__(self, message: str):
        # Names out of a stranger's file may hold anything, and be of any length.
        line = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", message).encode(errors="backslashreplace").decode()
        super().__init__(line if len(line) <= 2000 else f"{line[:1000]} ... {line[-900:]}")


@dataclasses.dataclass
class Limits:
    """How large a preset may be: one from a stranger is refused before it takes memory. Assign larger numbers for one
    that you trust, `kv.presets.limits.layers = 10_000`.

    Attributes:
        parameters: numbers in all weights together.
        layers: layers in all networks together; a layer that is called twice counts twice.
        nesting: of networks in networks: of lists and objects in config.json, of groups in the weights.
        json_bytes: size of config.json, of results.json and of attributes.json.
    """

    parameters: int = 10**10
    layers: int = 2_000
    nesting: int = 200
    json_bytes: int = 2**26

    def check(self, name: str, value: int, what: str) -> None:
        """Refuses a value above the limit `name`.

        Raises:
            PresetError: saying how to raise the limit.
        """
        limit = getattr(self, name)
        if value > limit:
            raise PresetError(
                f"{what} is over the limit of {limit:,}. If you trust it, set keras_vae.presets.limits.{name} before "
                f"you load it. Received: {value:,}"
            )


limits = Limits()


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
    # Of the training that the weights at the beginning came from.
    epochs_before: NotRequired[int]
    epoch_kept: NotRequired[int]
    # Of that epoch, in nats unless a metric has another unit: what settings are chosen by, not by the test split.
    validation: NotRequired[dict[str, float]]
    seconds_per_epoch: NotRequired[float]
    training_seconds: NotRequired[float]
    parameters: NotRequired[int]
    preprocessing: NotRequired[str | None]
    training_images: NotRequired[int]
    precision: NotRequired[str]
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
    return checked_config({"format_version": FORMAT_VERSION, "about": {}, "data": {}} | value, path)


def checked_config(value: Any, path: Path) -> Config:
    """`value`, if it is what a config.json holds.

    Raises:
        PresetError: naming the file and the key.
    """
    config = check(value, Config, path)
    for key, shown in _SHOWN.items():
        for name in shown.keys() & config[key].keys():
            check(config[key][name], shown[name], path, f"{key}.{name}")
    return config


def read_results(path: Path) -> Results:
    """What a results.json holds, in the present format.

    Args:
        path: of the file, that of a preset or of a run.

    Raises:
        PresetError: for a file that is missing, no JSON, of a newer format, or not as `Results` says.
    """
    results = check(_read(path), Results, path)
    for name in results.get("pictures", ()):
        if Path(name).name != name or "\\" in name:
            raise PresetError(f"{path}: pictures lie beside it, and have names without folders. Received: {name!r}")
    for name, column in results.get("history", {}).items():
        # Those of a loss that diverged are not finite.
        if not all(isinstance(number, (numbers.Real, type(None))) for number in column):
            raise PresetError(f"`history.{name}` of {path} must be a list of numbers. Received: {str(column)[:100]}")
    return results


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
        # Links are followed, since the hub's cache is made of them.
        if not (directory / name).is_file() or not (directory / name).stat().st_size:
            raise PresetError(f"The preset has no {name}: copy the whole directory again. Received: {directory}")
    config, results = read_config(directory / CONFIG), read_results(directory / RESULTS)
    if "model" not in config or "weights" not in results:
        raise PresetError(
            f"{CONFIG} has no `model`, or {RESULTS} no `weights`: the preset was never finished. Received: {directory}"
        )
    weights = results["weights"]
    if weights["file"] != WEIGHTS or weights["parameters"] < 0 or not re.fullmatch("[0-9a-f]{64}", weights["sha256"]):
        raise PresetError(
            f"`weights` of {directory / RESULTS} must have the file {WEIGHTS!r}, its sha256, and its number of "
            f"parameters. Received: {weights}"
        )
    return config | {"about": {"name": directory.resolve().name} | config["about"]}, results


def check_no_run(directory: str | Path) -> None:
    """Refuses the directory of a run, whose recipe and results a preset of other weights would replace.

    Raises:
        PresetError: naming it.
    """
    if any((Path(directory) / name).exists() for name in (STATE, MODEL)):
        raise PresetError(
            "This is a run, which goes on with what it has: choose another directory for the preset. "
            f"Received: {directory}"
        )


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
    value = _parsed(path)
    if not isinstance(value, dict):
        raise PresetError(f"{path} must hold an object with a `format_version`. Received: {type(value).__name__}")
    # The files of runs had none before version 2.
    version = value.get("format_version", 1)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise PresetError(f"{path}: `format_version` must be a whole number. Received: format_version={version!r}")
    if version > FORMAT_VERSION:
        raise PresetError(
            f"{path} was written by a newer keras_vae; this one reads up to format {FORMAT_VERSION}: "
            f"pip install --upgrade keras_vae. Received: format_version={version!r}"
        )
    return value if version == FORMAT_VERSION else _upgraded(value)


def _parsed(path):
    """What a file of JSON holds, within the limits."""
    try:
        # Neither a directory nor a device, which may have no end.
        if not path.is_file():
            raise PresetError(f"There is no {path.name}. Received: {path}")
        with open(path, "rb") as file:
            text = file.read(limits.json_bytes + 1)
        limits.check("json_bytes", len(text), f"The size of {path} in bytes")
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except OSError as error:
        raise PresetError(f"{path} cannot be read ({error.strerror or error}). Received: {path}") from error
    except RecursionError:
        raise PresetError(f"{path} nests lists and objects too deeply. Received: {path}") from None
    except PresetError:
        raise
    except ValueError as error:
        raise PresetError(f"{path} is not JSON: {error}. Received: {path.parent}") from error
    level, depth = [value], 0
    while level := [inner for item in level if isinstance(item, (list, dict)) for inner in _items(item)]:
        depth += 1
        limits.check("nesting", depth, f"The nesting of lists and objects in {path}")
    return value


def _items(value):
    return value.values() if isinstance(value, dict) else value


def _without_duplicates(pairs):
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in an object")
    return value


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
    likelihood = recipe.get("likelihood", "bernoulli")
    options = {name: recipe[name] for name in usual if recipe.get(name, usual[name]) != usual[name]}
    parts = {
        "network": str(names.Spec(recipe.get("network", "conv"), options=recipe.get("network_arguments", {}))),
        "posterior": recipe.get("posterior", "diagonal_normal"),
        "prior": recipe.get("prior", "standard_normal"),
        # Whose scale, unless it was given, was 1.
        "likelihood": f"{likelihood}:scale=1.0" if likelihood in ("normal", "gaussian", "laplace") else likelihood,
        "objective": str(names.Spec.parse(recipe.get("objective", "elbo")).replaced(**options)),
    }
    merged = {name: item for name, item in (recipe | parts).items() if name not in ("network_arguments", *usual)}
    return {name: merged[name] for name in dict.fromkeys(("dataset", *parts, *merged)) if name in merged}
