"""All published variants on one protocol: binarised MNIST, the same dense networks, the same budget, several seeds.

    python benchmarks/variants.py --out runs/variants

trains one run after the other, each in a directory of its own, and writes the table of docs/variants.md after each of
them. What is complete is not trained again, and what was interrupted goes on: start it again until it is done.
`--variants iaf aae --seeds 1` runs some of them, `--table` none.

The speed is that of an epoch of 12,800 images after one that compiles, by CPU time, which others disturb least.
Variants of other likelihoods are left out, since densities of grey values compare with nothing here, and so are those
of other networks and those that take labels. ELBO and log p(x) are left out where there are none: codes that are points
have no density.
"""

import argparse
import statistics
import time
from pathlib import Path

import contest
import guides

from keras_vae import files, variants
from keras_vae.runs import prior
from keras_vae.runs import run as experiment

ROOT = Path(__file__).resolve().parent.parent
PROTOCOL = {
    "network": "mlp:widths=[512]",
    "latent_size": 20,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "precision": "float32",
    "eval_images": 500,
    "eval_samples": 500,
}
IMAGES = 12_800
OTHERS = {"likelihood", "network", "model"}
COMPARED = tuple(name for name in variants.list() if not OTHERS & variants.get(name).parts.keys())
# Units that the papers' own defaults, made for other sizes, are replaced by.
SIZES = {"factor-vae": {"widths": (200, 200)}}


def finished(out: Path) -> dict | None:
    """The results of a run that is complete."""
    results = files.read_json(out / "results.json")
    return results if results and results["epochs"] == results["epochs_planned"] else None


def train(name: str, seed: int, out: Path, epochs: int) -> None:
    """One run, and the prior that its paper fits afterwards."""
    variant = variants.get(name)
    if not finished(out):
        specs = {role: str(spec) for role, spec in variant.specs(**SIZES.get(name, {})).items()}
        fields = PROTOCOL | specs | {"seed": seed, "epochs": epochs}
        experiment.run("binarized_mnist", out, resume=(out / "config.json").exists(), defaults=fields)
    if variant.fitted and not (out / "fitted" / "results.json").exists():
        prior.fit(out, variant.fitted, out / "fitted")


def speed(name: str, out: Path) -> None:
    """Images per second of CPU time, in a file."""
    import keras

    if out.exists():
        return
    arguments = {"network": PROTOCOL["network"], "likelihood": "bernoulli"} | SIZES.get(name, {})
    vae = variants.get(name)(contest.SHAPE, PROTOCOL["latent_size"], seed=0, **arguments)
    vae.compile(keras.optimizers.Adam(PROTOCOL["learning_rate"]))
    x = contest.images(IMAGES)
    for _ in range(2):
        begun = time.process_time()
        vae.fit(x, batch_size=PROTOCOL["batch_size"], verbose=0)
    speeds = {"images_per_cpu_second": IMAGES / (time.process_time() - begun)}
    files.replace(out, lambda partial: files.dump_json(partial, speeds))


def row(name: str, runs: list[Path]) -> str:
    """A line of the table: means over the seeds, and from lowest to highest where there are several."""
    variant = variants.get(name)
    shown = [run / "fitted" if variant.fitted else run for run in runs]
    results = [files.read_json(path / "results.json") for path in shown]
    found = files.read_json(runs[0].with_name(f"{name}.json"))

    def column(metric, digits):
        return over([result["metrics"][metric]["value"] for result in results if metric in result["metrics"]], digits)

    bounds = ("", "") if variant.parts.get("posterior") == "point" else (column("elbo", 1), column("log_prob", 1))
    speed = f"{found['images_per_cpu_second']:,.0f}" if found else ""
    cells = (f"`{name}`", *bounds, column("active_units", 0), column("squared_error", 1), speed, len(runs))
    return f"| {' | '.join(map(str, cells))} |"


def over(values: list[float], digits: int) -> str:
    """A mean, with the range."""
    if not values:
        return ""
    mean, lowest, highest = (f"{f(values):,.{digits}f}" for f in (statistics.mean, min, max))
    return mean if lowest == highest else f"{mean} ({lowest} to {highest})"


def table(out: Path, seeds: int) -> str:
    """All runs that are complete, as Markdown."""
    lines = [
        "| variant | ELBO | log p(x) | active units of 20 | squared error | images/CPU second | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in COMPARED:
        runs = [run for seed in range(seeds) if finished(run := out / f"{name}-{seed}")]
        if variants.get(name).fitted:
            runs = [run for run in runs if (run / "fitted" / "results.json").exists()]
        if runs:
            lines.append(row(name, runs))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/variants"))
    parser.add_argument("--variants", nargs="+", choices=COMPARED, default=COMPARED, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--table", action="store_true", help="write the table of what there is")
    options = parser.parse_args()
    # One seed of all first.
    for seed in () if options.table else range(options.seeds):
        for name in options.variants:
            print(f"{name}, seed {seed}", flush=True)
            train(name, seed, options.out / f"{name}-{seed}", options.epochs)
            speed(name, options.out / f"{name}.json")
            guides.write("variants.py", "variants.md", table(options.out, options.seeds))
    guides.write("variants.py", "variants.md", table(options.out, options.seeds))


if __name__ == "__main__":
    main()
