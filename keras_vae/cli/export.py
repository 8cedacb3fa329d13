"""The command export: a model for serving where keras_vae is not installed."""

from pathlib import Path

from keras_vae.cli.output import say

# Which weights an exported model has.
NOTE = "served_from.json"
_FOLDERS = {"tf_saved_model": "savedmodels", "onnx": "onnxmodels"}


def export(name: str, out: Path | None, format: str, command: str, as_json: bool) -> None:
    """Writes a SavedModel or ONNX files, with a note that says which weights they have."""
    import zoo
    from keras_vae import files

    out = out or Path(_FOLDERS[format]) / zoo.find(name).name
    model, entry = zoo.load(name), zoo.info(name)
    # A failed export must not leave the note of an earlier one.
    (out / NOTE).unlink(missing_ok=True)
    model.export(str(out), format=format)
    note = {
        "name": entry["name"],
        "weights_sha256": entry["sha256"],
        "format": format,
        "images": {"shape": model.image_shape, "values": model.likelihood.data},
        "latents": {"shape": model.latent_shape},
        "command": command,
    }
    files.write_json(out / NOTE, note)
    say(out, as_json, **note)
