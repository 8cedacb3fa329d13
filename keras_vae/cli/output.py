"""What commands write and print: images, arrays, and a line or a JSON value about them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_vae import files

if TYPE_CHECKING:
    import pandas as pd

    from keras_vae.models.base import LatentVariableModel


def say(out: Path, as_json: bool, **facts: Any) -> None:
    """Prints the path of what was written; as JSON with further facts."""
    print(files.json_text({"out": str(out), **facts}) if as_json else out)


def save_images(out: Path, images: np.ndarray, model: "LatentVariableModel", columns: int | None = None) -> None:
    """Writes images in the units of a model's data.

    Args:
        out: a .npy file for the array; a .png file for a grid, pixel by pixel; or a directory for a .png of each image;
            of rows of a table, a .csv file.
        images: (N, *X).
        model: the model.
        columns: images per row of the grid; None: about as many as rows.
    """
    if out.suffix.lower() == ".npy":
        save_array(out, images)
        return
    from keras_vae import data, plotting

    if model.likelihood.data == "table":
        save_frame(out, data.Schema(model.likelihood.columns).decode(images))
        return
    _check_kind(out, table=False)
    if not plotting.can_show(model.image_shape) or model.likelihood.data in data.RAW:
        raise ValueError(f"These are no pictures: write them to a .npy file. Received: --out {out}")
    plotting.save_pixels(data.to_levels(images, model.likelihood.data), out, columns)


def _check_kind(out, table):
    if (out.suffix.lower() == ".csv") != table:
        raise ValueError(f"Rows of tables are written to .csv files, and images to others. Received: --out {out}")


def save_frame(out: Path, frame: "pd.DataFrame") -> None:
    """Writes a table to a .csv file."""
    from keras_vae import data

    _check_kind(out, table=True)
    files.make_directory(out.parent)
    data.write_frame(frame, out)


def save_array(out: Path, array: np.ndarray) -> None:
    """Writes an array to a .npy file."""

    def write(partial):
        # To an open file, since numpy adds .npy to names without it.
        with open(partial, "wb") as file:
            np.save(file, array, allow_pickle=False)

    files.make_directory(out.parent)
    files.replace(out, write)
