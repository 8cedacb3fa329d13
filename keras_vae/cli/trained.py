"""The arguments of the commands on models that are trained already."""

from pathlib import Path
from typing import Any

from keras_vae.cli import options


def add_commands(commands: Any) -> None:
    """Adds them to what argparse's `add_subparsers` returned."""

    def command(name, help, *shown, entry=True, optional=False):
        add = options.subcommand(commands, name, help, shown=[f"{name} {example}".rstrip() for example in shown])
        if entry:
            add(
                "name",
                metavar="NAME",
                nargs="?" if optional else None,
                help="an entry of the zoo, the directory of a run or preset, or hf://USER/REPO",
            )
            options.add_imports(add)
        return add

    _add_descriptions(command)
    _add_measuring(command)
    _add_fitting(command)
    _add_images_made(command)
    _add_numbers(command)
    _add_export(command)


def _add_descriptions(command):
    add = command("list", "list the zoo", "", "'mnist*' --json", entry=False)
    add("pattern", nargs="?", metavar="PATTERN", help='which entries, "mnist*"')
    add("--markdown", action="store_true", help="as a table in Markdown, that of README.md")
    options.add_json(add)
    add = command("info", "say what is known of a model: data, paper, licence, results", "mnist_mlp")
    options.add_json(add)
    add = command("card", "print the card of a model", "mnist_mlp", "runs/mnist_mlp/preset --write")
    add("--write", action="store_true", help="write it into the preset's README.md instead")
    options.add_json(add)


def _add_evaluation(add):
    add("--data-dir", help=options.DATA_DIR)
    said = "(as results.json says)"
    add("--eval-images", type=options.COUNT, help=f"test images that log p(x) is estimated for {said}")
    add("--eval-samples", type=options.COUNT, help=f"importance samples for each of them {said}")


def _add_measuring(command):
    add = command(
        "evaluate",
        "measure a model again and say where its results.json differs (exit code 1)",
        "mnist_mlp",
        "mnist_mlp --eval-images 100 --json",
        "--all --write",
        optional=True,
    )
    add("--all", dest="every", action="store_true", help="each entry of the zoo in turn, which takes hours")
    _add_evaluation(add)
    add("--write", action="store_true", help="write what was measured into results.json and README.md")
    options.add_json(add)


def _add_preset(add):
    add("--preset", type=Path, help="directory to write the model to as a preset (presets/NAME)")
    add("--overwrite", action="store_true", help="replace a preset that is in --preset already")


def _add_fitting(command):
    add = command(
        "fit-prior",
        "fit a prior to the latents of a trained model's training images, and write the model with it as a preset",
        "mnist_mlp",
        "runs/celeb_a64 normal --preset presets/faces",
        "mnist_conv m2 --labels 100 --preset presets/labelled",
    )
    add("spec", nargs="?", default="mixture:components=10", metavar="SPEC", help="of the prior (mixture:components=10)")
    _add_preset(add)
    add("--train-images", type=options.COUNT, help="training images that it is fitted to (all)")
    add("--labels", type=options.COUNT, help="of a prior of classes, m2: images whose labels are known (all)")
    add("--epochs", type=options.COUNT, help="of a prior that is trained (20)")
    add("--learning-rate", type=options.POSITIVE, help="of a prior that is trained (0.001)")
    add("--seed", type=options.SEED, default=0, help="of the fit (0)")
    _add_evaluation(add)
    options.add_json(add)
    add = command(
        "round",
        "round the weights of a model to as few bits as its log p(x) needs, and write it as a preset of half the size",
        "mnist_mlp",
        "runs/faces/preset --within 0.1 --preset presets/faces",
    )
    add(
        "--within",
        type=options.POSITIVE,
        default=0.01,
        help="nats that the mean log p(x) of test images may move by (0.01)",
    )
    _add_preset(add)
    add("--data-dir", help=options.DATA_DIR)
    add("--eval-images", type=options.COUNT, default=500, help="test images that log p(x) is estimated for (500)")
    options.add_json(add)


def _add_images(add):
    add(
        "images",
        nargs="+",
        type=Path,
        metavar="IMAGES",
        help="pictures, folders of them, files of arrays or tables, read as those of training were",
    )


def _add_label(add, help="class of all images, for a model that takes labels: 3"):
    least = "a whole number of at least 0"
    add("--label", type=options.number(int, lambda value: value >= 0, least), help=help)


def _add_out(add):
    add(
        "--out",
        type=options.images_out,
        required=True,
        help="a .npy file, a .png file (a grid), or a directory (a .png each); of a table, a .csv file",
    )
    options.add_json(add)


def _add_images_made(command):
    add = command(
        "sample", "write samples: the mean of p(x|z) for draws of z from the prior", "mnist_mlp -n 64 --out samples.png"
    )
    add("-n", type=options.COUNT, default=16, help="how many (16)")
    add("--seed", type=options.SEED, default=0, help="of the latents (0)")
    add("--temperature", type=options.WEIGHT, default=1.0, help="factor on the prior's standard deviation (1)")
    _add_label(add, "class of the samples, of a model that takes labels (each in turn)")
    _add_out(add)
    add = command(
        "reconstruct",
        "write images by way of their latents; a picture shows each above its reconstruction",
        "mnist_mlp digits/ --out reconstructions.png",
    )
    _add_images(add)
    _add_label(add)
    _add_out(add)
    add = command(
        "impute",
        "write images or rows with what is missing of them filled in, by a model that was trained with missing values",
        "runs/table holes.csv --out filled.csv",
        "runs/digits holes.npy --samples 500 --out filled.npy",
    )
    _add_images(add)
    add("--samples", type=options.COUNT, default=100, help="importance samples for each (100)")
    add("--seed", type=options.SEED, default=0, help="of the samples (0)")
    _add_label(add)
    _add_out(add)
    add = command(
        "interpolate", "write the images on the way from one to another", "mnist_mlp 3.png 8.png --out path.png"
    )
    add("a", type=Path, metavar="FROM", help="a picture or .npy file")
    add("b", type=Path, metavar="TO", help="a picture or .npy file")
    steps = options.number(int, lambda value: value >= 2, "a whole number of at least 2")
    add("--steps", type=steps, default=10, help="images, both ends among them (10)")
    add("--spherical", action="store_true", help="along a great circle of the latent space, not a straight line")
    _add_label(add)
    _add_out(add)
    add = command(
        "move",
        "write images with an attribute moved, of a model trained on images that have attributes",
        "celeba64_conv face.png --attribute Smiling --amounts -1 0 1 2 --out smile.png",
    )
    _add_images(add)
    add("--attribute", required=True, help="its name: Smiling")
    add(
        "--amounts",
        nargs="+",
        type=options.number(float, lambda value: True, "a number"),
        default=[-1.0, 0.0, 1.0],
        metavar="AMOUNT",
        help="how far, 1 being the way from the mean image without to the one with it (-1 0 1)",
    )
    _add_out(add)


def _add_numbers(command):
    add = command(
        "encode", "print the posterior means of images, one a line, or write them", "mnist_mlp digits/ --out z.npy"
    )
    _add_images(add)
    _add_label(add)
    add("--out", type=options.results_out, help=options.RESULTS_OUT)
    options.add_json(add)
    add = command(
        "score",
        "print log p(x) of images, in nats, by importance sampling",
        "mnist_mlp digits/ --samples 5000",
        "runs/photos photos/ --out scores.csv",
    )
    _add_images(add)
    add("--samples", type=options.COUNT, default=500, help="importance samples for each image (500)")
    add(
        "--proposal",
        choices=("posterior", "prior", "both"),
        default="posterior",
        help="what samples are drawn from; both: one estimate beside the other, and whether they agree (posterior)",
    )
    add("--seed", type=options.SEED, default=0, help="of the samples (0)")
    _add_label(add)
    add("--out", type=options.results_out, help=options.RESULTS_OUT)
    options.add_json(add)


def _add_export(command):
    add = command(
        "export",
        "write a SavedModel, or ONNX files, for serving where keras_vae is not installed",
        "mnist_mlp",
        "mnist_mlp --format onnx --out served",
    )
    add(
        "--format",
        choices=("tf_saved_model", "onnx"),
        default="tf_saved_model",
        help="a SavedModel, or encode.onnx, decode.onnx and serve.onnx (tf_saved_model)",
    )
    add("--out", type=Path, help="directory (savedmodels/NAME, or onnxmodels/NAME)")
    add("--overwrite", action="store_true", help="replace an export that is there already")
    options.add_json(add)
