"""The command evaluate: models' results, measured again."""

from pathlib import Path

import zoo
from keras_vae import files
from keras_vae.cli import models
from keras_vae.runs.recipe import UsageError


def names(name: str | None, every: bool) -> list[str]:
    """The models that are measured.

    Raises:
        UsageError: unless it is either one or every entry of the zoo.
    """
    if every == (name is not None):
        raise UsageError(f"Give the NAME of a model, or --all. Received: {f'{name} --all' if every else 'neither'}")
    return zoo.list_models() if every else [name]


def evaluate(
    name: str | None,
    every: bool,
    data_dir: str | Path | None,
    eval_images: int | None,
    eval_samples: int | None,
    write: bool,
    as_json: bool,
) -> bool:
    """Measures a model again, or each, prints where results.json differs, and returns whether it does.

    With `write`, what was measured of one is written before the next one is.
    """
    from keras_vae import presets
    from keras_vae.runs import evaluation

    compared = {}
    for entry in names(name, every):
        directory = models.complete(entry)
        _, stored = presets.read(directory)
        if every and not as_json:
            print(f"{entry}:", flush=True)
        measured = evaluation.measure_again(directory, data_dir, eval_images, eval_samples, verbose=not as_json)
        compared[entry] = evaluation.compare(stored, measured)
        if not as_json:
            _show(compared[entry])
        if write:
            presets.update_results(directory, measured, eval_images=eval_images, eval_samples=eval_samples)
    if as_json:
        print(files.json_text(compared if every else compared[name]))
    return any(row["verdict"].startswith("differs") for rows in compared.values() for row in rows)


def _show(rows):
    print(f"{'metric':<20} {'results.json':>14} {'now':>14}")
    for row in rows:
        values = ("-" if row[key] is None else f"{row[key]:.5f}" for key in ("stored", "now"))
        print(f"{row['metric']:<20} {' '.join(f'{value:>14}' for value in values)}  {row['verdict']}")
    print(end="", flush=True)
