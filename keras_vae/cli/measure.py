"""The command evaluate: a model's results, measured again."""

from pathlib import Path

from keras_vae import files
from keras_vae.cli import models


def evaluate(
    name: str,
    data_dir: str | Path | None,
    eval_images: int | None,
    eval_samples: int | None,
    write: bool,
    as_json: bool,
    command: str,
) -> bool:
    """Measures a model again, prints where results.json differs, and returns whether it does."""
    from keras_vae import presets
    from keras_vae.runs import evaluation

    directory = models.complete(name)
    _, stored = presets.read(directory)
    measured = evaluation.measure_again(directory, data_dir, eval_images, eval_samples, verbose=not as_json)
    rows = evaluation.compare(stored, measured)
    if as_json:
        print(files.json_text(rows))
    else:
        print(f"{'metric':<20} {'results.json':>14} {'now':>14}")
        for row in rows:
            values = ("-" if row[key] is None else f"{row[key]:.5f}" for key in ("stored", "now"))
            print(f"{row['metric']:<20} {' '.join(f'{value:>14}' for value in values)}  {row['verdict']}")
    if write:
        presets.update_results(directory, measured | {"command": command})
    return any(row["verdict"].startswith("differs") for row in rows)
