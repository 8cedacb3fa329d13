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


def networks(width: int, latent_size: int) -> tuple:
    """Encoder of [x, mask] and decoder, each linear and beside it a dense layer."""
    import keras
    from keras import layers

    x, mask, z = keras.Input((30,)), keras.Input((30,)), keras.Input((latent_size,))
    seen = layers.Concatenate()([x, mask])
    features = layers.Concatenate()([seen, layers.Dense(width, activation="tanh")(seen)])
    hidden = layers.Concatenate()([z, layers.Dense(width // 2, activation="tanh")(z)])
    return keras.Model([x, mask], features), keras.Model(z, hidden)


def ours(train: np.ndarray, test: np.ndarray, seed: int, options: argparse.Namespace) -> np.ndarray:
    """A VAE trained on what is there."""
    import keras

    import keras_vae as kv

    keras.utils.set_random_seed(seed)
    vae = kv.VAE(
        *networks(options.width, options.latent_size),
        posterior="full_covariance_normal",
        likelihood="normal:scale=per_pixel",
        objective="iwae:20",
        missing=True,
        seed=seed,
    )
    rate = keras.optimizers.schedules.CosineDecay(5e-3, options.epochs * -(-len(train) // 64))
    vae.compile(keras.optimizers.AdamW(rate, weight_decay=1e-2))
    vae.fit(train, batch_size=64, epochs=options.epochs, verbose=0)
    return vae.impute(test, samples=options.samples, seed=seed)


WAYS = {"mean of the column": mean, "IterativeImputer": iterative, "keras_vae": ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--missing", type=float, nargs="+", default=[0.2, 0.3], help="chances of a value")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--latent-size", type=int, default=20)
    parser.add_argument("--width", type=int, default=128, help="of the encoder's dense layer, twice the decoder's")
    parser.add_argument("--epochs", type=int, default=800)
    parser.add_argument("--samples", type=int, default=10_000, help="importance samples for each row")
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
