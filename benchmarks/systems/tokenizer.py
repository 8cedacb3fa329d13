"""What VAEs are used for most today: a tokenizer of images, and a flow that makes its latents.

Faces of 64x64 pixels become maps of 8x8x4 numbers, by a residual VAE that is scored in features of random filters as
well as in pixels, with a small weight of the KL; a transformer then learns a flow from noise to such maps.

Reference: Rombach, Blattmann, Lorenz, Esser and Ommer 2022, arXiv:2112.10752.
"""

from pathlib import Path

import keras
import numpy as np

import keras_vae as kv

SHAPE, LATENT_SHAPE = (64, 64, 3), (8, 8, 4)
# Of the KL, beside the sum over all features.
BETA = 5.0


def features() -> keras.Model:
    """Pixels, and random filters of two sizes."""
    inputs = keras.Input(SHAPE)
    outputs, x = [inputs], inputs
    for number, width in enumerate((16, 32)):
        x = keras.layers.Conv2D(
            width,
            3,
            strides=1 + number,
            padding="same",
            activation="relu",
            kernel_initializer=keras.initializers.HeNormal(seed=number),
        )(x)
        outputs.append(x)
    return keras.Model(inputs, outputs)


def run(out: Path, epochs: int = 12, flow_epochs: int = 16, samples: int = 2000) -> dict:
    """Trains both; returns numbers, and writes `tokenizer.png` into `out`.

    Its rows: images, their reconstructions, samples of N(0, I), samples of the flow.
    """
    faces = kv.data.load("celeb_a64")
    train, test = (split.images.astype("float32") / 255 for split in (faces.train, faces.test))
    keras.utils.set_random_seed(0)
    encoder, decoder = kv.networks.resnet(SHAPE, LATENT_SHAPE, widths=(32, 64, 128), blocks=1, activation="relu")
    likelihood = kv.likelihoods.Perceptual(features())
    vae = kv.VAE(encoder, decoder, likelihood=likelihood, objective=f"elbo:beta={BETA}", seed=0)
    steps = epochs * -(-len(train) // 64)
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps), clipnorm=100.0))

    def backup(name):
        return keras.callbacks.BackupAndRestore(out / name, delete_checkpoint=False)

    vae.fit(train, batch_size=64, epochs=epochs, callbacks=[backup("autoencoder")], verbose=2)
    sampler = kv.samplers.flow_matching(
        vae, train, epochs=flow_epochs, width=192, blocks=6, callbacks=[backup("flow")], verbose=2
    )
    sampler.save(out / "flow.keras")
    vae.save(out / "autoencoder.keras")

    made = vae.reconstruct(test[:1000])
    # Draws, which the flow learns, and not means, which have less variance.
    draws = np.concatenate([drawn for drawn, _ in vae._draws(test[: 2 * samples], None, seed=0)])
    seen, others = np.split(draws.reshape(2 * samples, -1), 2)
    z, _ = sampler.draw(vae, samples, seed=0)
    noise = np.random.default_rng(0).standard_normal(z.shape)
    rows = [test[:8], made[:8], vae.sample(8, seed=0), vae.sample(8, sampler=sampler, seed=0)]
    figure = kv.plotting.image_grid(np.clip(np.concatenate(rows), 0, 1), columns=8)
    kv.plotting.save(figure, out / "tokenizer.png")
    return {
        "PSNR of reconstructions, dB": float(kv.metrics.psnr(test[:1000], made).mean()),
        "SSIM of reconstructions": float(kv.metrics.ssim(test[:300], made[:300]).mean()),
        "Fréchet distance of latents, N(0, I)": kv.metrics.frechet_distance(noise.reshape(samples, -1), seen),
        "Fréchet distance of latents, other images": kv.metrics.frechet_distance(others, seen),
        "Fréchet distance of latents, flow": kv.metrics.frechet_distance(z.reshape(samples, -1), seen),
    }
