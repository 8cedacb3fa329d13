"""What a run is to do, decided and refused before a framework is imported."""

from pathlib import Path
from typing import Any, NamedTuple

from keras_vae import data, names, presets, sources
from keras_vae.runs import directory
from keras_vae.runs.defaults import suiting
from keras_vae.runs.imports import find_parts
from keras_vae.runs.recipe import BASELINES, FIELDS, Recipe, UsageError, understood


class Plan(NamedTuple):
    """A run: its recipe, what it says of itself, and its results if it is complete."""

    recipe: Recipe
    about: dict[str, str]
    results: dict | None


def plan(
    dataset: str | Path,
    out: Path,
    resume: bool = False,
    defaults: dict[str, Any] | None = None,
    preset: str | Path | None = None,
    overwrite: bool = False,
    about: dict[str, str] | None = None,
    **given: Any,
) -> Plan:
    """The plan of a run; the arguments are those of `keras_vae.runs.run.run`.

    Raises:
        UsageError: if the directory exists, or cannot be resumed with these fields; for a data set or a part that is
            not known; for a preset that would be replaced.
        PresetError: for a file that is not as the schema says.
    """
    given = {"dataset": str(dataset)} | {name: value for name, value in given.items() if value is not None}
    results = None
    if resume:
        config, results = directory.read(out)
        before = Recipe.of(config["recipe"])
        recipe, about = _resumed(before, given, out), about or config["about"]
        if recipe != before or (results and results["epochs"] != recipe.epochs):
            results = None
        # A run of an older version, or whose preset was to be another one.
        wanted = (out, out if preset is None else Path(preset))
        if not all((path / name).is_file() for path in wanted for name in (presets.WEIGHTS, presets.RESULTS)):
            results = None
    else:
        directory.check_new(out)
        defaults = (
            suiting(given["dataset"], data.look(given["dataset"], given.get("data_dir"))) | _as_started(given)
            if defaults is None
            else defaults
        )
        baseline = given.get("baseline", defaults.get("baseline"))
        recipe = Recipe.of(defaults | BASELINES.get(baseline, {}) | given)
    if recipe.dataset not in data.names() and data.look(recipe.dataset, recipe.data_dir) is None:
        understood(data.load, recipe.dataset)
    find_parts(recipe.imports)
    if recipe.freeze and not recipe.start:
        raise UsageError(
            f"What is frozen keeps the weights that it begins with: say whose, --from NAME. Received: --freeze "
            f"{recipe.freeze} without --from"
        )
    if recipe.start is not None:
        presets.find(recipe.start)
    for field in FIELDS.values():
        role, spec = field.metadata.get("role"), getattr(recipe, field.name)
        if role is not None and spec is not None:
            # What a user's own modules register is known when they are imported.
            spec = names.Spec.parse(spec)
            understood(sources.check_spec, role, spec, bool(recipe.imports))
    if preset is not None and not overwrite and not results:
        directory.check_preset(Path(preset), recipe if resume else None)
    return Plan(recipe, about or {}, results)


# What makes the model whose weights another run begins with.
_OF_MODEL = ("network", "latent_size", "posterior", "prior", "likelihood", "objective")


def _as_started(given):
    """What a recipe has of the model that the training begins with, unless it is given."""
    if "start" not in given:
        return {}
    config = presets.read_config(presets.find(given["start"]) / presets.CONFIG)
    values = {name: config["recipe"][name] for name in _OF_MODEL if name in config["recipe"]}
    # Only pictures of a folder are brought to a size.
    if given["dataset"] not in data.names() and Path(given["dataset"]).expanduser().is_dir() and "model" in config:
        values["image_size"] = config["model"]["config"]["image_shape"][0]
    return values


def _resumed(before, given, out):
    """The recipe of the run in `out`, which `given` may not contradict."""
    recipe = Recipe.of(before.entries() | given)
    for then, now in directory.contradictions(before, recipe):
        raise UsageError(f"The run in {out} has {then} and goes on with it. Received: {now}")
    if recipe.epochs < before.epochs:
        raise UsageError(f"--epochs of a run may only grow from {before.epochs}. Received: {recipe.epochs}")
    if recipe.learning_rate_schedule == "cosine" and recipe.epochs != before.epochs:
        raise UsageError(
            f"The learning rate of this run falls to 0 at epoch {before.epochs}: start another run for more. "
            f"Received: --epochs {recipe.epochs}"
        )
    return recipe
