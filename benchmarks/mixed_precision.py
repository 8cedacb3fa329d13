"""Whether a zoo entry, trained briefly in mixed precision, reaches the test ELBO of float32.

    python benchmarks/mixed_precision.py --entry mnist_mlp --epochs 5 --seeds 3

trains the entry's networks in float32 and under both mixed policies with each seed, and prints a Markdown table. The
learning rate is constant, and there are no warm-up and no averaged weights, for which a short run is too short. Compare
the differences between policies with the spread between the seeds of float32.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import zoo
from keras_vae import files
from keras_vae.runs import run as experiment

SHORT = {"ema": None, "keep": "last", "warmup_epochs": 0.0, "learning_rate_schedule": "constant"}
# log p(x) is not compared.
UNMEASURED = {"eval_images": 1, "eval_samples": 1}


def test_elbo(recipe: dict, precision: str, seed: int, epochs: int) -> float:
    """The ELBO over the whole test split, in nats."""
    settings = recipe | SHORT | UNMEASURED | {"precision": precision, "seed": seed, "epochs": epochs}
    dataset = settings.pop("dataset")
    with tempfile.TemporaryDirectory() as folder:
        results = experiment.run(dataset, Path(folder) / "run", verbose=False, defaults=settings)
    return results["metrics"]["elbo"]["value"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="mnist_mlp")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    config = files.read_json(zoo.find(options.entry, trained=False) / "config.json")
    print("| precision | test ELBO of each seed, nats | mean | lowest to highest |")
    print("|---|---|---|---|")
    for precision in ("float32", "mixed_bfloat16", "mixed_float16"):
        elbos = [test_elbo(config["recipe"], precision, seed, options.epochs) for seed in range(options.seeds)]
        listed = ", ".join(f"{elbo:.2f}" for elbo in elbos)
        print(
            f"| {precision} | {listed} | {statistics.mean(elbos):.2f} | {min(elbos):.2f} to {max(elbos):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
