"""VAEs of small tables beside densities that scikit-learn has: mean log p of test rows, in nats.

    python benchmarks/tables.py

Half of the rows are for training, a quarter for what is chosen (the number of components, of axes, and the epoch), a
quarter for the test. All columns are taken as real numbers, which the baselines need; log p is that of the table in its
units. The table of docs/tables.md is written anew.
"""

import argparse

import guides
import keras
import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

import keras_vae as kv

TABLES = {
    "breast cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
    "iris": datasets.load_iris,
}
LATENT_SIZES = {"breast cancer": 10, "wine": 4, "diabetes": 4, "iris": 2}


def split(frame: pd.DataFrame, seed: int = 0) -> list[pd.DataFrame]:
    """Training, validation and test rows."""
    order = np.random.default_rng(seed).permutation(len(frame))
    cuts = len(frame) // 2, 3 * len(frame) // 4
    return [frame.iloc[part] for part in np.split(order, cuts)]


def best(models: list, train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> float:
    """The mean log p of test rows of the model that is best on validation rows."""
    scored = [(model.fit(train).score(validation), model.score(test)) for model in models]
    return max(scored)[1]


def vae(schema: kv.data.Schema, size: int, rows: list[np.ndarray], epochs: int) -> float:
    """The same of a VAE, with the weights of its best epoch, by 500 samples."""
    train, validation, test = rows
    keras.utils.set_random_seed(0)
    networks = kv.networks.table(schema, size, widths=(128,))
    model = kv.VAE(*networks, likelihood=kv.likelihoods.Columns(schema), corruption="gaussian:scale=0.3", seed=0)
    model.compile(keras.optimizers.Adam(1e-3))
    early = keras.callbacks.EarlyStopping("val_elbo", patience=100, restore_best_weights=True)
    model.fit(train, batch_size=64, epochs=epochs, validation_data=validation, callbacks=[early], verbose=0)
    model.fit_prior(train, "normal", seed=0)
    return float(model.log_prob(test, samples=500, seed=0).mean())


def row(name: str, epochs: int) -> str:
    """A line of the table."""
    frame = TABLES[name](as_frame=True).data
    frame = frame.loc[:, frame.nunique() > 1]
    train, validation, test = split(frame)
    schema = kv.data.schema(train, **dict.fromkeys(map(str, frame.columns), "normal"))
    rows = [schema.encode(part) for part in (train, validation, test)]
    units = -sum(np.log(column.scale) for column in schema)
    gaussians = [GaussianMixture(1, reg_covar=r, random_state=0) for r in (1e-6, 1e-3, 1e-2, 1e-1)]
    mixtures = [GaussianMixture(k, reg_covar=r, random_state=0) for k in (2, 3, 5) for r in (1e-3, 1e-2, 1e-1)]
    axes = [PCA(k) for k in sorted({1, 2, 4, 8, 12} & set(range(1, len(schema))))]
    found = [best(models, *rows) + units for models in (gaussians, mixtures, axes)]
    found.append(vae(schema, LATENT_SIZES[name], rows, epochs))
    cells = (name, len(frame), len(schema), *(f"{value:.1f}" for value in found))
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=1000, help="at most; it stops 100 epochs after the best one")
    options = parser.parse_args()
    lines = [
        "| table | rows | columns | Gaussian | mixture | probabilistic PCA | VAE |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in TABLES:
        lines.append(row(name, options.epochs))
        print(lines[-1], flush=True)
    guides.write("tables.py", "tables.md", "\n".join(lines))


if __name__ == "__main__":
    main()
