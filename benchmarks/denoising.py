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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the pictures")
    out = parser.parse_args().out

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
    print(f"missing pixels: filled in {rmse(filled[missing], test[missing]):.3f}", end=", ")
    print(f"by the mean of each pixel {rmse(means[missing], test[missing]):.3f}")
    save(np.nan_to_num(given), filled, ("given", "filled in"), "filled.png")

    clean = fitted(train, 32, likelihood="normal:optimal", corruption="gaussian:scale=0.3").reconstruct(noisy)
    plain = fitted(train, 32, likelihood="normal:optimal").reconstruct(noisy)
    print(f"noisy images: as they are {rmse(noisy, test):.3f}, denoised {rmse(clean, test):.3f}", end=", ")
    print(f"reconstructed by a model without corruption {rmse(plain, test):.3f}")
    save(noisy, clean, ("noisy", "denoised"), "denoised.png")


if __name__ == "__main__":
    main()
