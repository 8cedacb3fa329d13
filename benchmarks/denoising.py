"""Digits with missing pixels, filled in, and noisy digits, denoised: errors, and the pictures of docs/incomplete.md.

    python benchmarks/denoising.py --out docs

The digits are scikit-learn's, 8x8 pixels between 0 and 1; errors are root mean squares over test images.
"""

import argparse
from pathlib import Path

import numpy as np

EPOCHS, BATCH = 100, 32


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean squared difference."""
    return float(np.sqrt(np.mean((a - b) ** 2)))


def run(out: Path) -> dict[str, float]:
    """Trains the models; returns errors, and writes `filled.png` and `denoised.png` into `out`."""
    import keras

    import keras_vae as kv

    def fitted(x, latent_size, missing=False, **parts):
        networks = kv.networks.mlp((8, 8, 1), latent_size, widths=(256,), missing=missing)
        vae = kv.VAE(*networks, missing=missing, seed=0, **parts)
        rate = keras.optimizers.schedules.CosineDecay(1e-3, EPOCHS * -(-len(x) // BATCH))
        vae.compile(keras.optimizers.Adam(rate))
        vae.fit(x, batch_size=BATCH, epochs=EPOCHS, verbose=0)
        return vae

    def save(above, below, names, file):
        figure = kv.plotting.reconstruction_grid(above[:12], below[:12], columns=12, row_names=names)
        kv.plotting.save(figure, out / file)

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    digits = kv.data.load("digits")
    train, test = (kv.data.convert(split.images, "unit interval") for split in (digits.train, digits.test))
    holed, given = (np.where(rng.random(x.shape) < 0.3, np.nan, x) for x in (train, test))
    noisy = test + rng.normal(0, 0.3, test.shape)

    filled = fitted(holed, 16, True, likelihood="normal", objective="iwae:5").impute(given, samples=200, seed=1)
    missing = np.isnan(given)
    means = np.broadcast_to(np.nanmean(holed, axis=0), test.shape)
    save(np.nan_to_num(given), filled, ("given", "filled in"), "filled.png")

    clean = fitted(train, 32, likelihood="normal:optimal", corruption="gaussian:scale=0.3").reconstruct(noisy)
    plain = fitted(train, 32, likelihood="normal:optimal").reconstruct(noisy)
    save(noisy, clean, ("noisy", "denoised"), "denoised.png")
    return {
        "error of missing pixels, filled in": rmse(filled[missing], test[missing]),
        "error of missing pixels, by the mean of each": rmse(means[missing], test[missing]),
        "error of noisy images, as they are": rmse(noisy, test),
        "error of noisy images, denoised": rmse(clean, test),
        "error of noisy images, reconstructed by a model without corruption": rmse(plain, test),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the pictures")
    for what, value in run(parser.parse_args().out).items():
        print(f"{what}: {value:.3f}")


if __name__ == "__main__":
    main()
