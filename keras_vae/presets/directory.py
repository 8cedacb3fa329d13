"""A preset is a directory: config.json, model.weights.h5, results.json and README.md; saved, loaded, verified.

config.json says what the model is and how it was trained; results.json what was measured, and the sha256 of the weights
that it was measured on; README.md, the card, is written from the two. Nothing in it is code.
"""

import hashlib
import json
import math
import shutil
from functools import partial
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_vae import draws, files
from keras_vae.presets import cards

FORMAT_VERSION = 1
CONFIG, WEIGHTS, RESULTS, CARD = "config.json", "model.weights.h5", "results.json", "README.md"
# Only where the images of the training had attributes.
ATTRIBUTES = "attributes.json"
FILES = (CONFIG, WEIGHTS, RESULTS, CARD)


class PresetError(ValueError):
    """A directory is no preset, or one that cannot be trusted; the message says which file, and why."""


def save(
    model, directory, *, about=None, data=None, recipe=None, results=None, history=None, pictures=None, attributes=None
):
    """Writes a preset; files of the same names are replaced, all four together.

    Args:
        model: a built `LatentVariableModel`; its weights are written as they are.
        directory: where; it is made if need be, and other files in it are left alone.
        about: {"name", "title", "description", "paper", "license", ...}, what a reader wants to know; the name is that
            of the directory where it is left out.
        data: {"dataset", "preprocessing", ...}, what the model was trained on.
        recipe: what `keras-vae train` needs to do it again.
        results: {"metrics": {name: {"value", "unit", "split", "images", "samples", "protocol"}}, "command", ...}.
        history: {column: [a number for each epoch]}.
        attributes: {name: direction in latent space}, see `keras_vae.metrics.attribute_direction`.
        pictures: {path: caption} of image files that the card is to show; they are copied.

    Raises:
        PresetError: if the directory cannot be written.
    """
    directory = Path(directory)
    # One that was never compiled: Keras would write the optimiser, too.
    bare = type(model).from_config(model.get_config())
    bare.set_weights(model.get_weights())
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
        "weights": {"file": WEIGHTS, "sha256": None, "parameters": parameters(model)},
        "metrics": {},
        **(results or {}),
        "fixed_batch": {
            "what": "log p(x|z) + log p(z) of keras_vae.presets.fixed_batch at the posterior mean",
            "unit": "nats",
            "score": fixed_batch_score(model).tolist(),
        },
        "pictures": {Path(path).name: caption for path, caption in (pictures or {}).items()},
        "history": history or {},
    }

    def write_weights(path):
        bare.save_weights(path)
        results["weights"]["sha256"] = sha256(path)

    # In this order: the results name the hash of the weights, and the card shows the results.
    writers = {
        WEIGHTS: write_weights,
        CONFIG: lambda path: files.dump_json(path, config),
        RESULTS: lambda path: files.dump_json(path, results),
        CARD: lambda path: path.write_text(cards.text(config, results), encoding="utf-8"),
        **{Path(source).name: partial(shutil.copyfile, source) for source in pictures or {}},
    }
    if attributes:
        # Six digits are more than a mean over thousands of images can vouch for.
        rounded = {name: np.vectorize(lambda v: float(f"{v:.6g}"))(value) for name, value in attributes.items()}
        value = {"format_version": FORMAT_VERSION, "directions": {name: v.tolist() for name, v in rounded.items()}}
        writers[ATTRIBUTES] = lambda path: path.write_text(json.dumps(value) + "\n", encoding="utf-8")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        files.replace_together({directory / name: write for name, write in writers.items()})
    except OSError as error:
        raise PresetError(
            f"The preset cannot be written ({error.strerror or error}): choose a directory that can be. "
            f"Received: {directory}"
        ) from error


def load(directory):
    """Makes the model of a preset, after its weights were verified.

    Args:
        directory: that of the preset.

    Returns:
        The model, not compiled.

    Raises:
        PresetError: for a file that is missing, damaged, or of a newer format.
    """
    directory = Path(directory)
    config, results = read(directory)
    _verify(directory, results)
    try:
        model = keras.saving.deserialize_keras_object(config["model"], safe_mode=True)
    except Exception as error:  # Keras raises nearly anything for parts that it does not know.
        raise PresetError(
            f"{directory / CONFIG} does not describe a model that can be made here ({_first_line(error)}): parts of "
            f"your own must be registered, so import the module that defines them first. Received: {directory}"
        ) from error
    try:
        model.load_weights(directory / WEIGHTS)
    except (ValueError, OSError, KeyError) as error:
        raise PresetError(
            f"{directory / WEIGHTS} does not fit the model of {CONFIG} ({_first_line(error)}). Received: {directory}"
        ) from error
    return model


def read(directory):
    """config.json and results.json of a preset, as dictionaries; the weights are neither read nor verified.

    Raises:
        PresetError: for a file that is missing, no JSON, or of a newer format.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise PresetError(f"A preset is a directory with {', '.join(FILES)}; there is none here. Received: {directory}")
    for name in (CONFIG, WEIGHTS, RESULTS):
        if not (directory / name).is_file():
            raise PresetError(f"The preset has no {name}: copy the whole directory again. Received: {directory}")
    config, results = (_read_json(directory / name) for name in (CONFIG, RESULTS))
    if "model" not in config or not results.get("weights", {}).get("sha256"):
        raise PresetError(
            f"{CONFIG} has no `model`, or {RESULTS} no sha256 of the weights: the preset was never finished. "
            f"Received: {directory}"
        )
    return config, results


def attributes(directory):
    """The directions in latent space that move an attribute of images.

    Args:
        directory: that of the preset.

    Returns:
        {name: (D,) or (h, w, c), float32}; empty where the images of the training had no attributes.

    Raises:
        PresetError: for a file that is no JSON, or of a newer format.
    """
    path = Path(directory) / ATTRIBUTES
    if not path.is_file():
        return {}
    directions = _read_json(path)["directions"]
    return {name: np.asarray(direction, dtype="float32") for name, direction in directions.items()}


def verify(directory):
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


def card(directory):
    """The card of a preset, Markdown after YAML front matter, from its other files."""
    return cards.text(*read(directory))


def write_card(directory):
    """Writes README.md anew."""
    path = Path(directory) / CARD
    text = card(directory)
    try:
        files.replace(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise PresetError(f"The card cannot be written ({error.strerror or error}). Received: {path}") from error


def update_results(directory, measured):
    """Writes results.json and README.md anew, with what was `measured` in the place of what they said.

    Args:
        directory: that of the preset.
        measured: as `results` of `save`; metrics that it lacks stay.
    """
    directory = Path(directory)
    config, results = read(directory)
    results |= measured | {"metrics": results["metrics"] | measured["metrics"]}
    text = cards.text(config, results)
    files.replace_together(
        {
            directory / RESULTS: lambda path: files.dump_json(path, results),
            directory / CARD: lambda path: path.write_text(text, encoding="utf-8"),
        }
    )


def parameters(model):
    """How many numbers are trained."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def sha256(path):
    """The sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fixed_batch(model, images=8):
    """Made-up images that `model` may see, always the same ones: (images, *X)."""
    levels = np.random.default_rng(0).integers(0, 256, (images, *model.image_shape))
    return {
        "binary": lambda: (levels > 127).astype("float32"),
        "8-bit levels": lambda: levels.astype("uint8"),
        "open unit interval": lambda: ((levels + 0.5) / 256).astype("float32"),
    }.get(model.likelihood.data, lambda: (levels / 255).astype("float32"))()


def fixed_batch_score(model):
    """log p(x|z) + log p(z) of `fixed_batch` at the posterior's mean, (images,) nats: no noise is in it, so that it
    tells whether a model was restored, also on the other backend."""
    x = ops.cast(fixed_batch(model), "float32")
    y = None if model.label_shape is None else _first_class(len(x), model.label_shape)
    latents, features = model.run(draws.AtMean(len(x)), x, y)
    prior = sum(latent.prior.log_prob(latent.z) for latent in latents)
    likelihood = model.likelihood.distribution(features)
    return ops.convert_to_numpy(likelihood.log_prob(x) + prior)[0].astype("float64")


def _first_class(count, label_shape):
    y = np.zeros((count, *label_shape), "float32")
    y[..., :1] = 1.0
    return y


def _read_json(path):
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PresetError(f"{path} is not JSON ({error}). Received: {path.parent}") from error
    version = value.get("format_version") if isinstance(value, dict) else None
    if not isinstance(version, int):
        raise PresetError(f"{path} is not that of a preset: it has no `format_version`. Received: {path.parent}")
    if version > FORMAT_VERSION:
        raise PresetError(
            f"{path} was written by a newer keras_vae; this one reads up to format {FORMAT_VERSION}: "
            f"pip install --upgrade keras_vae. Received: format_version={version}"
        )
    return value


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
