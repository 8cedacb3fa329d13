"""A preset is a directory: config.json, model.weights.h5, results.json and README.md; saved, loaded, verified.

config.json says what the model is and how it was trained; results.json what was measured, and the sha256 of the weights
that it was measured on; README.md, the card, is written from the two. Nothing in it is code.
"""

import hashlib
import json
import math
import tempfile
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae import draws, files
from keras_vae.presets import cards, hub, schema, trust, weights
from keras_vae.presets.location import find
from keras_vae.presets.pictures import compact
from keras_vae.presets.schema import (
    ATTRIBUTES,
    CARD,
    CONFIG,
    FILES,
    FORMAT_VERSION,
    RESULTS,
    WEIGHTS,
    PresetError,
    read,
)


def save(
    model: keras.Model,
    directory: str | Path,
    *,
    about: dict | None = None,
    data: dict | None = None,
    recipe: dict | None = None,
    results: dict | None = None,
    history: dict | None = None,
    pictures: dict | None = None,
    attributes: dict | None = None,
) -> None:
    """Writes a preset; files of the same names are replaced, all four together.

    Args:
        model: a built `LatentVariableModel`; its weights are written as they are.
        directory: where; it is made if need be, and other files in it are left alone.
        about: {"name", "title", "description", "paper", "license", ...}, what a reader wants to know; the name
            defaults to that of the directory.
        data: {"dataset", "preprocessing", ...}, what the model was trained on.
        recipe: what `keras-vae train` needs to do it again.
        results: {"metrics": {name: {"value", "unit", "split", "images", "samples", "protocol"}}, "command", ...}, see
            `keras_vae.presets.schema.Results`.
        history: {column: [a number for each epoch]}, or what `fit` returns.
        attributes: {name: direction in latent space}, see `keras_vae.metrics.attribute_direction`.
        pictures: {path: caption} of image files that the card is to show; they are copied.

    Raises:
        PresetError: if the directory cannot be written, what is given is not as the schema says, or two pictures have
            one name.
    """
    directory = Path(directory)
    shown = {path: compact(Path(path)) for path in pictures or {}}
    called = [*FILES, ATTRIBUTES, *(name for name, _ in shown.values())]
    if twice := {name for name in called if called.count(name) > 1}:
        raise PresetError(f"Several files of a preset cannot have one name: rename pictures. Received: {min(twice)}")
    # One that was never compiled: Keras would write the optimiser, too.
    bare = model.bare()
    config = {
        "format_version": FORMAT_VERSION,
        "about": {"name": directory.resolve().name, **(about or {})},
        "data": data or {},
        "recipe": recipe or {},
        "seed": model.seed,
        "model": keras.saving.serialize_keras_object(bare),
    }
    results = {
        "format_version": FORMAT_VERSION,
        "weights": {"file": WEIGHTS, "sha256": "", "parameters": parameters(model)},
        "metrics": {},
        **(results or {}),
        "fixed_batch": {
            "what": "log p(x|z) + log p(z) of keras_vae.presets.fixed_batch at the posterior mean",
            "unit": "nats",
            "score": fixed_batch_score(model).tolist(),
        },
        "pictures": {shown[path][0]: caption for path, caption in (pictures or {}).items()},
        "history": getattr(history, "history", history) or {},
    }
    # Numpy's numbers as Python's, for the card as for the files.
    config, results = (json.loads(files.json_text(value)) for value in (config, results))
    schema.checked_config(config, directory / CONFIG)
    schema.check(results, schema.Results, directory / RESULTS)

    def write_weights(path):
        weights.write(bare, path)
        results["weights"]["sha256"] = sha256(path)

    # In this order: the results name the hash of the weights, as the card does, and say that all is there.
    writers = {
        WEIGHTS: write_weights,
        **{name: write for name, write in shown.values()},
        CONFIG: lambda path: files.dump_json(path, config),
    }
    if attributes:
        # Six digits are more than a mean over thousands of images can vouch for.
        rounded = {name: np.vectorize(lambda v: float(f"{v:.6g}"))(value) for name, value in attributes.items()}
        value = {"format_version": FORMAT_VERSION, "directions": {name: v.tolist() for name, v in rounded.items()}}
        writers[ATTRIBUTES] = lambda path: path.write_text(json.dumps(value) + "\n", encoding="utf-8")
    writers[CARD] = lambda path: path.write_text(cards.text(config, results), encoding="utf-8")
    writers[RESULTS] = lambda path: files.dump_json(path, results)
    try:
        files.make_directory(directory)
        files.replace_together({directory / name: write for name, write in writers.items()})
        if not attributes:
            # Those of the weights that were replaced.
            (directory / ATTRIBUTES).unlink(missing_ok=True)
        for name in results["pictures"]:
            # The same one, before it was a photograph.
            if name.endswith(".jpg"):
                (directory / name).with_suffix(".png").unlink(missing_ok=True)
    except OSError as error:
        raise PresetError(
            f"The preset cannot be written ({error.strerror or error}): choose a directory that can be. "
            f"Received: {directory}"
        ) from error


def described(directory: Path) -> dict[str, Any]:
    """What `save` was given for a preset beside the model: for the same one with another prior, or other weights."""
    config, results = read(directory)
    own = ("weights", "fixed_batch", "pictures", "history")
    return {
        **{key: config[key] for key in ("about", "data", "recipe")},
        "results": {key: value for key, value in results.items() if key not in own},
        "history": results.get("history"),
        "pictures": {directory / name: caption for name, caption in results.get("pictures", {}).items()},
        "attributes": attributes(directory),
    }


def push(
    model: keras.Model,
    repo: str,
    *,
    private: bool = False,
    token: str | None = None,
    commit_message: str | None = None,
    about: dict | None = None,
    **described: Any,
) -> str:
    """Uploads a model as a preset to the Hugging Face Hub, where `load("hf://user/repo")` finds it.

    Args:
        model: as in `save`.
        repo: "user/repo"; it is made if need be.
        private: whether a new repository can be seen by its owner only.
        token: of the user; None: that of `hf auth login`.
        commit_message: what the commit is called.
        about, **described: as in `save`.

    Returns:
        The URL of the commit.

    Raises:
        PresetError: if the preset cannot be uploaded.
        ImportError: if huggingface_hub is not installed.
    """
    repo = repo.removeprefix(hub.SCHEME)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / repo.rpartition("/")[2]
        save(model, directory, about={**(about or {}), "repository": f"{hub.SCHEME}{repo}"}, **described)
        return hub.upload(directory, repo, private, token, commit_message)


def load(name: str | Path) -> keras.Model:
    """Makes the model of a preset, after its weights were verified.

    Args:
        name: "mnist_mlp", an entry of the zoo; a directory; or "hf://user/repo", see `keras_vae.presets.find`.

    Returns:
        The model, not compiled.

    Raises:
        PresetError: if there is none of this name, or for a file that is missing, damaged, or of a newer format.
    """
    directory = find(name)
    config, results = read(directory)
    described = trust.checked(config["model"], directory / CONFIG)
    _verify(directory, results)
    numbers, whole = trust.numbers_in(directory / WEIGHTS)
    try:
        with trust.no_more_than(numbers, directory / WEIGHTS):
            model = keras.saving.deserialize_keras_object(described, safe_mode=True)
    except PresetError:
        raise
    except Exception as error:  # Keras and users' own parts raise nearly anything for what they cannot be made of.
        raise PresetError(
            f"{directory / CONFIG} does not describe a model that can be made here ({_told(error)}). "
            f"Received: {directory}"
        ) from error
    trust.check_whole_numbers(model, whole, directory / WEIGHTS)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.filterwarnings("always", "Skipping nested container", UserWarning)
            model.load_weights(directory / WEIGHTS)
        for warning in warned:
            # Of layers in lists that the file lacks Keras only warns, and leaves them as they are.
            if str(warning.message).startswith("Skipping nested container"):
                raise warning.message
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    except Exception as error:  # As above.
        raise PresetError(
            f"{directory / WEIGHTS} does not fit the model of {CONFIG} ({_told(error)}). Received: {directory}"
        ) from error
    return model


def attributes(name: str | Path) -> dict[str, np.ndarray]:
    """The directions in latent space that move an attribute of images.

    Args:
        name: of the preset, as in `load`.

    Returns:
        {attribute: (D,) or (h, w, c), float32}; empty where the training images had no attributes.

    Raises:
        PresetError: if there is no preset of this name, or for a file that is no JSON, or of a newer format.
    """
    path = find(name) / ATTRIBUTES
    if not path.is_file():
        return {}
    found = {}
    for name, direction in schema.read_attributes(path)["directions"].items():
        try:
            with np.errstate(over="ignore"):
                found[name] = np.array(direction, dtype="float32")
        except (ValueError, TypeError, OverflowError):
            found[name] = np.float32(np.nan)
        if not np.all(np.isfinite(found[name])) or found[name].shape != next(iter(found.values())).shape:
            raise PresetError(
                f"`directions.{name}` of {path} must be finite numbers, of one shape for all attributes. "
                f"Received: {str(direction)[:100]}"
            )
    return found


def verify(directory: str | Path) -> None:
    """Refuses weights that are not those that results.json was measured on.

    Raises:
        PresetError: naming the file, and its expected and actual sha256.
    """
    _verify(Path(directory), read(directory)[1])


def _verify(directory, results):
    path = directory / WEIGHTS
    expected, actual = results["weights"]["sha256"], sha256(path)
    if actual != expected:
        raise PresetError(
            f"{path} is damaged, or not the file that {RESULTS} belongs to: its sha256 should be {expected}. Copy the "
            f"whole directory again. Received: sha256 {actual}"
        )


def card(directory: str | Path) -> str:
    """The card of a preset, Markdown after YAML front matter, from its other files."""
    return cards.text(*read(directory))


def write_card(directory: str | Path) -> None:
    """Writes README.md anew."""
    path = Path(directory) / CARD
    text = card(directory)
    try:
        files.replace(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise PresetError(f"The card cannot be written ({error.strerror or error}). Received: {path}") from error


def update_results(directory: str | Path, measured: dict, **extent: int | None) -> None:
    """Writes results.json and README.md anew, with what was measured again.

    Args:
        directory: that of the preset.
        measured: as `results` of `save`, and "score" of the fixed batch; metrics that it lacks stay.
        extent: entries of the recipe that it was measured by in the place of the preset's own; None: not those.
    """
    directory = Path(directory)
    config, results = read(directory)
    config["recipe"] |= {name: value for name, value in extent.items() if value is not None}
    fixed_batch = results["fixed_batch"] | {"score": measured["score"]}
    metrics = results["metrics"] | measured["metrics"]
    rest = {key: value for key, value in measured.items() if key != "score"}
    results |= rest | {"metrics": metrics, "fixed_batch": fixed_batch}
    schema.check(results, schema.Results, directory / RESULTS)
    text = cards.text(config, results)
    files.replace_together(
        {
            directory / CONFIG: lambda path: files.dump_json(path, config),
            directory / RESULTS: lambda path: files.dump_json(path, results),
            directory / CARD: lambda path: path.write_text(text, encoding="utf-8"),
        }
    )


def parameters(model: keras.Model) -> int:
    """How many numbers are trained."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fixed_batch(model: keras.Model, images: int = 8, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Made-up images that `model` may see, always the same ones: (images, *shape).

    Args:
        model: a `LatentVariableModel`.
        images: how many.
        shape: of each; None: that of what the model is given, *X.
    """
    levels = np.random.default_rng(0).integers(0, 256, (images, *(model.image_shape if shape is None else shape)))
    if model.likelihood.data == "table":
        return model.likelihood.made_up(levels)
    return {
        "binary": lambda: (levels > 127).astype("float32"),
        "8-bit levels": lambda: levels.astype("uint8"),
        "counts": lambda: (levels // 16).astype("float32"),
        "open unit interval": lambda: ((levels + 0.5) / 256).astype("float32"),
    }.get(model.likelihood.data, lambda: (levels / 255).astype("float32"))()


def fixed_batch_score(model: keras.Model) -> np.ndarray:
    """log p(x|z) + log p(z) of `fixed_batch` at the posterior mean, (images,) nats.

    It is free of noise, and so tells on either backend whether a model was restored.
    """
    x, y = ops.cast(fixed_batch(model), "float32"), None
    if model.label_shape is not None:
        y = np.zeros((len(x), *model.label_shape), dtype="float32")
        y[..., 0] = 1
        y = ops.convert_to_tensor(y)
    latents, features = model.run(draws.AtMean(len(x)), x, y)
    prior = sum(latent.prior.log_prob(latent.z) for latent in latents)
    if model.target is not None:
        x = ops.cast(fixed_batch(model, shape=model.target_shape), "float32")
    log_prob = model.likelihood.distribution(features).log_prob(x) + prior
    return ops.convert_to_numpy(log_prob)[0].astype("float64")


def _told(error):
    # Keras tells first what else may be wrong.
    said = str(error).rpartition("Exception encountered: ")[2]
    return " ".join(said.split())[:300] or type(error).__name__
