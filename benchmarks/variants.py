"""All published variants on one protocol: binarised MNIST, the same dense networks, the same budget, several seeds.

    python benchmarks/variants.py --out runs/variants
    python benchmarks/variants.py --speed

The first trains one run after the other, each in a directory of its own, and writes its results into variants.json and
the table of docs/variants.md. What is in variants.json is not trained again, on whichever machine it was, and what was
interrupted goes on: start it again until it is done. `--variants iaf aae --seeds 1` runs some of them.

The second measures the speeds of all, on one machine: that of an epoch of 12,800 images after one that compiles, by CPU
time, which others disturb least.

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

PROTOCOL = {
    "network": "mlp:widths=[512]",
    "latent_size": 20,
    "epochs": 10,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "precision": "float32",
    "eval_images": 500,
    "eval_samples": 500,
}
IMAGES = 12_800
RESULTS = Path(__file__).with_suffix(".json")
OTHERS = {"likelihood", "network", "model"}
COMPARED = tuple(name for name in variants.list() if not OTHERS & variants.get(name).parts.keys())
# Units that the papers' own defaults, made for other sizes, are replaced by.
SIZES = {"factor-vae": {"widths": (200, 200)}}
# What is kept of a run, with the digits that the table shows.
METRICS = {"elbo": 1, "log_prob": 1, "active_units": 0, "squared_error": 1}


def train(name: str, seed: int, out: Path) -> dict[str, float]:
    """One run, and the prior that its paper fits afterwards.

    Returns:
        Its test metrics.
    """
    variant = variants.get(name)
    results = files.read_json(out / "results.json")
    if not results or results["epochs"] < results["epochs_planned"]:
        specs = {role: str(spec) for role, spec in variant.specs(**SIZES.get(name, {})).items()}
        fields = PROTOCOL | specs | {"seed": seed}
        experiment.run("binarized_mnist", out, resume=(out / "config.json").exists(), defaults=fields)
    if variant.fitted:
        out, run = out / "fitted", out
        if not (out / "results.json").exists():
            prior.fit(run, variant.fitted, out)
    metrics = files.read_json(out / "results.json")["metrics"]
    without = ("elbo", "log_prob") if variant.parts.get("posterior") == "point" else ()
    return {metric: metrics[metric]["value"] for metric in METRICS if metric in metrics and metric not in without}


def speed(name: str) -> float:
    """Images per second of CPU time."""
    import keras

    arguments = {"network": PROTOCOL["network"], "likelihood": "bernoulli"} | SIZES.get(name, {})
    vae = variants.get(name)(contest.SHAPE, PROTOCOL["latent_size"], seed=0, **arguments)
    vae.compile(keras.optimizers.Adam(PROTOCOL["learning_rate"]))
    x = contest.images(IMAGES)
    for _ in range(2):
        begun = time.process_time()
        vae.fit(x, batch_size=PROTOCOL["batch_size"], verbose=0)
    return IMAGES / (time.process_time() - begun)


def measured() -> dict:
    """{variant: {"runs": {seed: {metric: value}}, "images_per_cpu_second": number}} of what was measured so far."""
    return files.read_json(RESULTS) or {}


def add(name: str, found: dict) -> None:
    """Something measured of a variant, into the file and the table."""
    results = measured()
    results[name] = results.get(name, {"runs": {}}) | found
    files.write_json(RESULTS, results)
    guides.write("variants.py", "variants.md", table(results))


def table(results: dict) -> str:
    """All that was measured, as Markdown: means over the seeds, and from lowest to highest where there are several."""
    lines = [
        "| variant | ELBO | log p(x) | active units of 20 | squared error | images/CPU second | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in COMPARED:
        if name in results:
            runs = results[name]["runs"].values()
            columns = [over([run[metric] for run in runs if metric in run], n) for metric, n in METRICS.items()]
            speed = results[name].get("images_per_cpu_second")
            cells = (f"`{name}`", *columns, f"{speed:,.0f}" if speed else "", str(len(runs)))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def over(values: list[float], digits: int) -> str:
    """A mean, with the range."""
    if not values:
        return ""
    mean, lowest, highest = (f"{f(values):,.{digits}f}" for f in (statistics.mean, min, max))
    return mean if lowest == highest else f"{mean} ({lowest} to {highest})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/variants"))
    parser.add_argument("--variants", nargs="+", choices=COMPARED, default=COMPARED, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--speed", action="store_true", help="measure the speeds, and train nothing")
    options = parser.parse_args()
    if options.speed:
        for name in options.variants:
            print(f"{name}, speed", flush=True)
            add(name, {"images_per_cpu_second": speed(name)})
        return
    # One seed of all first.
    for seed in range(options.seeds):
        for name in options.variants:
            runs = measured().get(name, {"runs": {}})["runs"]
            if str(seed) not in runs:
                print(f"{name}, seed {seed}", flush=True)
                add(name, {"runs": runs | {seed: train(name, seed, options.out / f"{name}-{seed}")}})


if __name__ == "__main__":
    main()
