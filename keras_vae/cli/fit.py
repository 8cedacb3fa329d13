"""The commands fit-prior and round: a trained model with another prior, or with weights of fewer bits."""

from pathlib import Path

import zoo
from keras_vae import files, presets
from keras_vae.cli import models
from keras_vae.runs import directory
from keras_vae.runs.recipe import understood


def check(name: str, preset: Path | None, overwrite: bool) -> Path:
    """The directory to write to.

    Raises:
        UsageError: for a preset that is there, unless it is to be replaced, and for a run, whose state has the weights
            and the prior that it was trained with.
    """
    preset = preset or Path("presets") / zoo.find(name).name
    understood(presets.check_no_run, preset)
    if not overwrite:
        directory.check_preset(preset)
    return preset


def fit_prior(
    name: str,
    spec: str,
    preset: Path | None,
    overwrite: bool,
    train_images: int | None,
    labels: int | None,
    epochs: int | None,
    learning_rate: float | None,
    seed: int,
    data_dir: str | None,
    eval_images: int | None,
    eval_samples: int | None,
    command: str,
    as_json: bool,
) -> None:
    """Writes a preset, and prints ELBO and log p(x) of test images with the former and with the fitted prior."""
    from keras_vae.runs import prior

    preset = check(name, preset, overwrite)
    rows = prior.fit(
        models.complete(name),
        spec,
        preset,
        seed=seed,
        train_images=train_images,
        labels=labels,
        epochs=epochs,
        learning_rate=learning_rate,
        data_dir=data_dir,
        eval_images=eval_images,
        eval_samples=eval_samples,
        command=command,
        verbose=not as_json,
    )
    if as_json:
        print(files.json_text({"preset": str(preset), "metrics": rows}))
        return
    print(f"{'test split':<14} {'before':>12} {'after':>12}")
    for row in rows:
        print(f"{row['metric']:<14} {row['before']:>12.3f} {row['after']:>12.3f} {row['unit']}")
    print(preset)


def round_weights(
    name: str,
    within: float,
    preset: Path | None,
    overwrite: bool,
    data_dir: str | None,
    eval_images: int,
    command: str,
    as_json: bool,
) -> None:
    """Writes a preset with rounded weights, and prints how many bits they have, and what that changed."""
    from keras_vae.runs import rounding

    preset = check(name, preset, overwrite)
    done = rounding.round_preset(
        models.complete(name), preset, within=within, eval_images=eval_images, data_dir=data_dir, command=command
    )
    if as_json:
        print(files.json_text({"preset": str(preset), **done}))
        return
    bits = rounding.spread(done["least_bits"], done["bits"])
    print(
        f"{bits} of mantissa: log p(x) moved by {done['moved']:.2g} ± {done['standard_error']:.1g} nats; "
        f"{done['before']:,} bytes became {done['after']:,}. What was measured is that of the exact weights: "
        f"keras-vae evaluate {preset} --write measures these.\n{preset}"
    )
