"""Test accuracy on MNIST with few labels: M1, M2 and M1+M2, as of Kingma et al. 2014, table 1.

    KERAS_BACKEND=jax python benchmarks/few_labels.py --out runs/few_labels

writes a line into a file for each model that is trained, and the table of docs/labels.md from it; what is in the file
is not trained again. Networks are dense, of one hidden layer of 500 units, z has 50 units. The images are binarised
once; labels are as many of each class, chosen by the seed. M1 takes batches of 128 and Adam at 1e-3; M2 batches of 200,
at a rate that falls from 2e-3 to 0. M2 of images weighs its classifier by an alpha of 50, M1+M2 by 1. M1+M2 is an M2 of
the posterior means of M1's active units, by a Normal likelihood with a scale for each.
"""

import argparse
import time
from pathlib import Path

import guides
import keras

import keras_vae as kv
from keras_vae import files
from keras_vae.priors import fitting
from keras_vae.runs import labelling
from keras_vae.runs.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent
# Error in percent, Kingma et al. 2014, table 1.
PUBLISHED = {"m2": {100: 11.97, 600: 4.94, 1000: 3.60}, "m1+m2": {100: 3.33, 600: 2.59, 1000: 2.40}}
TITLES = {"m1": "M1, logistic regression", "m2": "M2", "m1+m2": "M1+M2"}
SIZES = {"network": "mlp:widths=[500]", "latent_size": 50, "seed": 0}


def guesses(x, few, x_test, epochs: int, batch_size: int = 200, **parts):
    """What an M2 of labels that are -1 where they are not known guesses of other examples."""
    m2 = kv.variants.get("m2")(x.shape[1:], classes=10, **SIZES, **parts)
    index, weights = fitting.repeated(few)
    steps = epochs * -(-len(index) // batch_size)
    m2.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)), steps_per_execution=16)
    m2.fit(x[index], few[index], sample_weight=weights, batch_size=batch_size, epochs=epochs, verbose=0)
    return m2.classify(x_test)


def rows(models: list[str], counts: list[int], epochs: dict[str, int], done: list[dict]):
    """A row of each model and number of labels that is not done."""
    digits = kv.data.load("mnist")
    x, x_test = (kv.data.convert(split.images, "binary") for split in (digits.train, digits.test))
    latents = None
    if {"m1", "m1+m2"} & set(models):
        m1 = kv.variants.get("vae")(x.shape[1:], **SIZES)
        m1.compile(keras.optimizers.Adam(1e-3), steps_per_execution=16)
        m1.fit(x, batch_size=128, epochs=epochs["m1"], verbose=0)
        latents = [m1.encode(images) for images in (x, x_test)]
        active = latents[0].var(axis=0) > 0.01
        latents = [means[:, active] for means in latents]
    for model in models:
        for count in counts:
            if any(row["model"] == model and row["labels"] == count for row in done):
                continue
            few = labelling.known(Recipe("mnist", labels=count), digits)
            begun = time.monotonic()
            if model == "m1":
                guess = kv.metrics.latent_classifier(latents[0], few, latents[1])
            elif model == "m2":
                guess = guesses(x, few, x_test, epochs[model], alpha=50.0)
            else:
                guess = guesses(
                    latents[0], few, latents[1], epochs[model], likelihood="normal:scale=per_pixel", alpha=1.0
                )
            error = 100 * (1 - kv.metrics.accuracy(guess, digits.test.labels))
            seconds = round(time.monotonic() - begun)
            yield {"model": model, "labels": count, "error": error, "epochs": epochs[model], "seconds": seconds}


def table(done: list[dict]) -> str:
    """All rows as Markdown, errors in percent, beside the published ones."""
    counts = sorted({row["labels"] for row in done})
    heads = [f"{count:,} labels" for count in counts]
    lines = [f"| model | epochs | {' | '.join(heads)} |", "|---" * (2 + len(counts)) + "|"]
    for model, title in TITLES.items():
        found = {row["labels"]: row for row in done if row["model"] == model}
        if found:
            cells = [f"{found[count]['error']:.2f}" if count in found else "" for count in counts]
            epochs = "/".join(dict.fromkeys(str(row["epochs"]) for row in found.values()))
            lines.append(f"| {title} | {epochs} | {' | '.join(cells)} |")
        if model in PUBLISHED:
            cells = [f"{PUBLISHED[model][count]:.2f}" if count in PUBLISHED[model] else "" for count in counts]
            lines.append(f"| {title}, Kingma et al. 2014 | | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/few_labels"))
    parser.add_argument("--models", nargs="+", choices=TITLES, default=list(TITLES))
    parser.add_argument("--labels", nargs="+", type=int, default=[100, 600, 1000])
    parser.add_argument("--epochs", nargs=3, type=int, default=[20, 20, 20], metavar=("M1", "M2", "M1+M2"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "rows.json"
    done = files.read_json(path) or []
    for row in rows(options.models, options.labels, dict(zip(TITLES, options.epochs, strict=True)), done):
        done.append(row)
        print(row, flush=True)
        files.write_json(path, done)
        guides.write("few_labels.py", "labels.md", table(done))


if __name__ == "__main__":
    main()
