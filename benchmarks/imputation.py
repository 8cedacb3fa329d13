"""What is missing of a table, filled in: a VAE beside scikit-learn's imputers, on the same rows and the same holes.

    python benchmarks/imputation.py
    python benchmarks/imputation.py --missing 0.2 --splits 1

The table is scikit-learn's breast cancer, 569 rows of 30 columns, standardised by what is there of the training rows;
20% of the rows are for the test. Each value is missing with the same chance, in training and test rows alike. The
numbers are root mean squared errors of the missing values of test rows, mean and standard deviation over the splits.
"""

import argparse
import statistics

import numpy as np


def split(missing: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training rows and test rows, with NaN where a value is missing, and the test rows as they are."""
    from sklearn import datasets

    rng = np.random.default_rng(seed)
    x = datasets.load_breast_cancer().data[rng.permutation(569)]
    holed = np.where(rng.random(x.shape) < missing, np.nan, x)
    test = len(x) // 5
    mean, scale = np.nanmean(holed[test:], axis=0), np.nanstd(holed[test:], axis=0)
    return (holed[test:] - mean) / scale, (holed[:test] - mean) / scale, (x[:test] - mean) / scale


def mean(train: np.ndarray, test: np.ndarray, seed: int, options: argparse.Namespace) -> np.ndarray:
    """The mean of each column."""
    from sklearn.impute import SimpleImputer

    return SimpleImputer().fit(train).transform(test)


def iterative(train: np.ndarray, test: np.ndarray, seed: int, options: argparse.Namespace) -> np.ndarray:
    """Each column by Bayesian ridge regression on the others, again and again."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return IterativeImputer(max_iter=50, random_state=seed).fit(train).transform(test)


def ours(train: np.ndarray, test: np.ndarray, seed: int, options: argparse.Namespace) -> np.ndarray:
    """A VAE trained on what is there."""
    import keras

    import keras_vae as kv

    keras.utils.set_random_seed(seed)
    networks = kv.networks.mlp((30,), options.latent_size, widths=tuple(options.widths), missing=True)
    vae = kv.VAE(
        *networks,
        likelihood=options.likelihood,
        objective=options.objective,
        corruption=options.corruption,
        missing=True,
        seed=seed,
    )
    rate = keras.optimizers.schedules.CosineDecay(options.learning_rate, options.epochs * -(-len(train) // 64))
    vae.compile(keras.optimizers.AdamW(rate, weight_decay=options.weight_decay))
    vae.fit(train, batch_size=64, epochs=options.epochs, verbose=0)
    return vae.impute(test, samples=options.samples, seed=seed)


WAYS = {"mean of the column": mean, "IterativeImputer": iterative, "keras_vae": ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--missing", type=float, nargs="+", default=[0.2, 0.3, 0.5], help="chances of a value")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--latent-size", type=int, default=10)
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 128])
    parser.add_argument("--likelihood", default="student_t:scale=per_pixel")
    parser.add_argument("--objective", default="iwae:20")
    parser.add_argument("--corruption", default="masking:rate=0.2,value=none")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=1e-2)
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    print(f"| missing | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}")
    for missing in options.missing:
        errors = {way: [] for way in WAYS}
        for seed in range(options.splits):
            train, test, whole = split(missing, seed)
            for way, impute in WAYS.items():
                filled = impute(train.astype("float32"), test.astype("float32"), seed, options)
                errors[way].append(np.sqrt(np.mean((filled - whole)[np.isnan(test)] ** 2)))
        shown = [f"{statistics.mean(e):.3f} ± {statistics.pstdev(e):.3f}" for e in errors.values()]
        print(f"| {missing:.0%} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
