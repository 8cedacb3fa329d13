"""How near samples of faces come to photographs, in the features of a network that no model is trained with.

    python benchmarks/faces.py celeba64_conv celeba64_sharp runs/faces

For each zoo entry, preset or run: the Fréchet distance of 1,000 samples to 2,500 test images in the 128 numbers before
the last layer of a small classifier of CelebA's attributes, that of 1,000 reconstructions, and the sharpness of both:
the root mean square of the Laplacian of grey levels, over that of test images. The last row has 1,000 training images,
the least that can be reached.

Numbers compare with those of the same classifier alone: it is kept beside this file, in `faces.weights.h5`, for
non-commercial research only, as CelebA is. With --judge FILE another one, which is trained where the file is missing.
"""

import argparse
from pathlib import Path

import keras
import numpy as np

import keras_vae as kv
from keras_vae import files
from keras_vae.presets import weights
from keras_vae.runs import evaluation, recorder

SAMPLES, REFERENCE = 1000, 2500
KEPT = Path(__file__).with_name("faces.weights.h5")
# Of the mantissa of the kernels.
_BITS = 5


def judge(path: Path, train: kv.data.Split, epochs: int) -> tuple[keras.Model, float]:
    """The classifier, trained or read, and its accuracy on a tenth of the labelled images, which it has not seen."""
    known = np.flatnonzero(train.attributes_known)
    labels = np.stack([has[known] for has in train.attributes.values()], axis=1).astype("float32")
    images, held_out = (train.images[known] / 255).astype("float32"), len(known) // 10
    keras.utils.set_random_seed(0)
    layers = [keras.Input(images.shape[1:]), keras.layers.RandomFlip("horizontal")]
    for width in (32, 64, 128, 128):
        layers += [keras.layers.Conv2D(width, 3, 2, "same", use_bias=False)]
        layers += [keras.layers.BatchNormalization(), keras.layers.Activation("relu")]
    layers += [keras.layers.GlobalAveragePooling2D(name="features"), keras.layers.Dense(labels.shape[1])]
    trained = keras.Sequential(layers)
    # It shares the weights, and has no optimizer that would be written, too.
    network = keras.Model(trained.inputs, trained.outputs)
    if path.exists():
        network.load_weights(path)
    else:
        trained.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
        trained.fit(images[held_out:], labels[held_out:], batch_size=64, epochs=epochs, verbose=2)
        weights.round_weights(network, _BITS)
        files.make_directory(path.parent)
        files.replace(path, lambda partial: weights.write(network, partial))
    accuracy = np.mean((network.predict(images[:held_out], verbose=0) > 0) == (labels[:held_out] > 0))
    return keras.Model(network.inputs, trained.get_layer("features").output), float(accuracy)


def in_unit(vae: kv.VAE, images: np.ndarray) -> np.ndarray:
    """Images that a model made, between 0 and 1."""
    return np.clip(images / evaluation.scale(vae), 0, 1)


def sharpness(images: np.ndarray) -> float:
    """The root mean square of the Laplacian of grey levels."""
    grey = images.mean(axis=-1)
    middle = grey[:, 1:-1, 1:-1]
    sides = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return float(np.sqrt(np.mean((sides - 4 * middle) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="zoo entries, presets or runs")
    parser.add_argument("--judge", type=Path, default=KEPT, help="weights of the classifier")
    parser.add_argument("--epochs", type=int, default=5, help="of a new classifier")
    options = parser.parse_args()
    data = kv.data.load("celeb_a64")
    network, accuracy = judge(options.judge, data.train, options.epochs)
    test = (data.test.images[:REFERENCE] / 255).astype("float32")
    real, sharp = network.predict(test, verbose=0), sharpness(test)

    def row(name, *sets):
        distances = [kv.metrics.frechet_distance(network.predict(images, verbose=0), real) for images in sets]
        cells = [f"{value:.2f}" for value in distances] + [f"{sharpness(images) / sharp:.3f}" for images in sets]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)

    print(f"Accuracy of the classifier: {accuracy:.3f}\n")
    print("| model | samples | reconstructions | sharpness of samples | of reconstructions |\n|---|---|---|---|---|")
    for name in options.models:
        vae, _ = recorder.trained(name)
        x = kv.data.convert(data.test.images[:SAMPLES], vae.likelihood.data)
        row(name, *(in_unit(vae, images) for images in (vae.sample(SAMPLES, seed=0), vae.reconstruct(x))))
    photographs = (data.train.images[:SAMPLES] / 255).astype("float32")
    row("photographs", photographs, photographs)


if __name__ == "__main__":
    main()
