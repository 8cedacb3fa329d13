"""The command export: a model for serving where keras_vae is not installed."""

from pathlib import Path

import zoo
from keras_vae import files
from keras_vae.cli import models
from keras_vae.cli.output import say
from keras_vae.runs.recipe import UsageError

# Which weights an exported model has.
NOTE = "served_from.json"
_FOLDERS = {"tf_saved_model": "savedmodels", "onnx": "onnxmodels"}


def check(name: str, out: Path | None, format: str, overwrite: bool) -> Path:
    """The directory to write to.

    Raises:
        UsageError: if it is there, unless it is an export that is to be replaced.
    """
    out = out or Path(_FOLDERS[format]) / zoo.find(name).name
    if out.exists() and not overwrite:
        raise UsageError(f"There is something already: choose another --out, or --overwrite it. Received: {out}")
    if out.exists() and not (out / NOTE).is_file():
        raise UsageError(f"Only what `keras-vae export` wrote is replaced, which has a {NOTE}. Received: {out}")
    return out


def export(name: str, out: Path | None, format: str, overwrite: bool, command: str, as_json: bool) -> None:
    """Writes a SavedModel or ONNX files, with a note that says which weights they have."""
    out = check(name, out, format, overwrite)
    model, entry = models.load(name), models.info(name)
    note = {
        "name": entry["name"],
        "weights_sha256": entry.get("sha256"),
        "format": format,
        "images": {"shape": model.image_shape, "values": model.likelihood.data},
        "latents": {"shape": model.latent_shape},
        "command": command,
    }

    def write(partial):
        model.export(str(partial), format=format)
        files.dump_json(partial / NOTE, note)

    files.make_directory(out.parent)
    files.replace(out, write)
    say(out, as_json, **note)
