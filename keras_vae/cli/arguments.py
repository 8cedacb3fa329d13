"""The arguments of the command keras-vae."""

import argparse
import dataclasses
import functools
import math
import shlex
import textwrap
from pathlib import Path

import keras_vae
from keras_vae import names, variants
from keras_vae.runs import recipe, strategies

USAGE = 2

_EXAMPLES = """\
examples:
  keras-vae train digits
  keras-vae train binarized_mnist --epochs 50 --minutes 60
  keras-vae train binarized_mnist --resume
  keras-vae train photos/ --image-size 64 --likelihood normal:optimal --out runs/photos
  keras-vae train mnist --network mlp:500 --latent-size 20 --objective elbo:beta=4,free_bits=0.1
  keras-vae train mnist --variant beta-tc-vae:beta=3
  keras-vae train mnist --import my_parts.py --likelihood my_likelihood:scale=0.1
  keras-vae train zoo/mnist_mlp --minutes 60

A part is written NAME, NAME:VALUE or NAME:KEY=VALUE,KEY=[VALUE,VALUE]; `keras-vae parts` lists all of them. A recipe,
zoo/NAME or any directory with the config.json of a preset or run, has its own; options still replace what it says.
The run directory gets config.json, history.csv, timings.csv, results.json, model.keras, pictures, tensorboard/,
savedmodel/, and state.keras, from which --resume goes on; that of a recipe preset/, too. `sample`, `score`, `info` and
the other commands on trained models take it by its path. A first Ctrl-C stops and evaluates what there is, a second one
quits; both can be resumed.
"""

_MORE = """\

keras-vae COMMAND --help says more of each. Errors are one line; the exit code is 1 for a failure, 2 for arguments that
cannot be meant, 130 after Ctrl-C. Set KERAS_BACKEND=jax for JAX, KERAS_VAE_DEBUG=1 for tracebacks.
"""


def _number(kind, accepts, description):
    """An argparse type: a finite number of `kind` that `accepts`."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and accepts(value)):
            raise argparse.ArgumentTypeError(f"expected {description}. Received: {text!r}")
        return value

    return parse


_COUNT = _number(int, lambda value: value >= 1, "a whole number of at least 1")
_SEED = _number(int, lambda value: 0 <= value < 2**31, "a whole number from 0 to 2147483647")
_POSITIVE = _number(float, lambda value: value > 0, "a number above 0")
_DATA_DIR = "where tensorflow-datasets keeps its data (TFDS_DATA_DIR, or ~/tensorflow_datasets)"
_WEIGHT = _number(float, lambda value: value >= 0, "a number of at least 0")


def _images_out(text):
    """An argparse type: where images are written."""
    if Path(text).suffix.lower() in ("", ".npy", ".png", ".csv"):
        return Path(text)
    raise argparse.ArgumentTypeError(
        f"images are written to a .npy file, a .png file or a directory, rows to a .csv file. Received: {text!r}"
    )


_RESULTS_OUT = (
    "a .npy, .csv or .parquet file, written as results come: memory does not grow with the number of images, and the "
    "same command goes on after an interruption"
)


def _results_out(text):
    """An argparse type: where results of many images are written."""
    if Path(text).suffix.lower() in (".npy", ".csv", ".parquet"):
        return Path(text)
    raise argparse.ArgumentTypeError(f"results are written to a .npy, .csv or .parquet file. Received: {text!r}")


def _understood(read):
    """An argparse type of a function of text, whose ValueError says what cannot be meant."""

    def parse(text):
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


class _Removed(argparse.Action):
    """An option of older versions: refused, with what is written in its place."""

    def __call__(self, parser, namespace, values, option_string=None):
        network = (namespace.network or "mlp").partition(":")[0]
        field, spec = recipe.instead_of(self.dest, values, network)
        parser.error(f"{option_string} is now part of the {field}: --{field} {shlex.quote(spec)}")


def _add_recipe(add):
    """An option for each field of a recipe, which none of them sets unless it is given."""
    for field in dataclasses.fields(recipe.Recipe):
        option, rules, kinds = recipe.option(field), field.metadata, recipe.kinds_of(field)
        if field.default is dataclasses.MISSING:
            add(field.name, metavar=option, help=rules["help"])
            continue
        help = rules["help"]
        if isinstance(field.default, (str, int, float)) and bool not in kinds and field.name not in recipe.VARYING:
            help += f" ({field.default:g})" if float in kinds else f" ({field.default})"
        if bool in kinds:
            how = {"action": argparse.BooleanOptionalAction}
        elif field.name == "imports":
            how = {"action": "append", "metavar": "MODULE"}
        else:
            how = {"type": _understood(functools.partial(recipe.read, field.name)), "metavar": _metavar(rules)}
        add(option, dest=field.name, default=None, help=help, **how)
    for name in recipe.REMOVED:
        add(
            f"--{name.replace('_', '-')}",
            dest=name,
            action=_Removed,
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
        )


def _metavar(rules):
    if "choices" in rules:
        return "|".join(rules["choices"])
    return "SPEC" if "role" in rules else None


def _examples(commands):
    return "\n".join(["examples:", *(f"  keras-vae {command}" for command in commands)])


class _Parser(argparse.ArgumentParser):
    def parse_known_args(self, args=None, namespace=None):
        namespace, rest = super().parse_known_args(args, namespace)
        for option in (word.partition("=")[0] for word in rest if word.startswith("--")):
            near = " or ".join(names.nearest(option, self._option_string_actions))
            self.error(f"there is no option {option}{f', did you mean {near}?' if near else ''}")
        return namespace, rest

    def error(self, message):
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The parser of all its subcommands."""
    made = _Parser(
        prog="keras-vae",
        description="Variational autoencoders for Keras 3.",
        epilog=_examples(["train digits", "list", "sample mnist_mlp -n 64 --out samples.png"]) + "\n" + _MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"keras-vae {keras_vae.__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    train = commands.add_parser(
        "train",
        help="train a VAE, evaluate it and write a run directory",
        description="Train a VAE on a data set, evaluate it on the test split and write a run directory.\nOptions that "
        "are left out have defaults for each data set; config.json shows them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = train.add_argument
    _add_recipe(add)
    add(
        "--variant",
        type=_understood(variants.written),
        metavar="NAME",
        help="a published variant, which sets the parts that are not given: beta-tc-vae, or beta-tc-vae:beta=3",
    )
    add("--out", type=Path, help="run directory (runs/DATASET)")
    add("--resume", action="store_true", help="go on with the run in --out; its recipe is that of its config.json")
    add("--minutes", type=_POSITIVE, help="be done after so many minutes, evaluation and all; --resume goes on")
    add(
        "--strategy",
        choices=strategies.STRATEGIES,
        metavar="|".join(strategies.STRATEGIES),
        help="train on all GPUs of this machine (mirrored), or of those in TF_CONFIG (multi_worker_mirrored), by "
        "TensorFlow; or by JAX, on either (data_parallel). Each machine runs the same command (one device)",
    )
    add("--preset", type=Path, help="directory to write the model to as a preset (a recipe's: OUT/preset)")
    add("--overwrite", action="store_true", help="replace a preset that is in --preset already")
    add("--json", dest="as_json", action="store_true", help="print nothing but the results, as one JSON object")
    _add_parts(commands)
    _add_variants(commands)
    _add_prepare(commands)
    _add_pretrained(commands)
    return made


def _add_parts(commands):
    parts = commands.add_parser(
        "parts",
        help="list the parts that models are put together from",
        description="List the parts of each role, with the arguments of their specs, their defaults and sources.",
        epilog=_examples(["parts", "parts likelihood", "parts --import my_parts.py --json"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parts.add_argument
    add("role", nargs="?", metavar="ROLE", help="posterior, prior, likelihood, objective, network ...; left out: all")
    _add_imports(add)
    _add_json(add)


def _add_variants(commands):
    listed = commands.add_parser(
        "variants",
        help="list published variants, each a composition of parts",
        description="List published variants, with the parts that each puts in the place of a plain VAE's.",
        epilog=_examples(["variants", "train mnist --variant vampprior", "variants --json"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_json(listed.add_argument)


def _add_imports(add):
    help_text = recipe.FIELDS["imports"].metadata["help"]
    add("--import", dest="imports", action="append", default=[], metavar="MODULE", help=help_text)


def _add_prepare(commands):
    prepare = commands.add_parser(
        "prepare",
        help="make the data set celeb_a64 of CelebA's files",
        description="Make the data set celeb_a64 of CelebA's aligned images, once, for all later runs.",
        epilog=_examples(["prepare celeb_a64 ~/Downloads/celeba"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = prepare.add_argument
    add("dataset", choices=("celeb_a64",), metavar="celeb_a64", help="CelebA's faces, 64x64 pixels, with attributes")
    add(
        "source",
        nargs="?",
        type=Path,
        metavar="FOLDER_OR_ZIP",
        help="the download: img_align_celeba (.zip, or unpacked) with list_eval_partition and list_attr_celeba (.txt, "
        "or Kaggle's .csv); left out: tensorflow-datasets' celeb_a, whose download is often over its quota",
    )
    add("--data-dir", help=_DATA_DIR)
    _add_json(add)


def _add_json(add):
    add("--json", dest="as_json", action="store_true", help="print one JSON value")


def _add_pretrained(commands):
    """The commands on models that are trained already."""

    def command(name, description, *examples, entry=True, optional=False):
        added = commands.add_parser(
            name,
            help=description,
            description=textwrap.fill(f"{description[:1].upper()}{description[1:]}.", 80),
            epilog=_examples(f"{name} {example}".rstrip() for example in examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if entry:
            added.add_argument(
                "name",
                metavar="NAME",
                nargs="?" if optional else None,
                help="an entry of the zoo, the directory of a run or preset, or hf://USER/REPO",
            )
            _add_imports(added.add_argument)
        return added.add_argument

    def add_images(add):
        add(
            "images",
            nargs="+",
            type=Path,
            metavar="IMAGES",
            help="pictures, folders of them, files of arrays or tables, read as those of training were",
        )

    def add_label(add, help="class of all images, for a model that takes labels: 3"):
        add("--label", type=_number(int, lambda value: value >= 0, "a whole number of at least 0"), help=help)

    def add_out(add):
        add(
            "--out",
            type=_images_out,
            required=True,
            help="a .npy file, a .png file (a grid), or a directory (a .png each)",
        )
        _add_json(add)

    add = command("list", "list the zoo", "", "'mnist*' --json", entry=False)
    add("pattern", nargs="?", metavar="PATTERN", help='which entries, "mnist*"')
    add("--markdown", action="store_true", help="as a table in Markdown, that of README.md")
    _add_json(add)
    _add_json(command("info", "say what is known of a model: data, paper, licence, results", "mnist_mlp"))
    add = command("card", "print the card of a model", "mnist_mlp", "runs/mnist_mlp/preset --write")
    add("--write", action="store_true", help="write it into the preset's README.md instead")
    _add_json(add)

    def add_evaluation(add):
        add("--data-dir", help=_DATA_DIR)
        add("--eval-images", type=_COUNT, help="test images that log p(x) is estimated for (as results.json says)")
        add("--eval-samples", type=_COUNT, help="importance samples for each of them (as results.json says)")

    add = command(
        "evaluate",
        "measure a model again and say where its results.json differs (exit code 1)",
        "mnist_mlp",
        "mnist_mlp --eval-images 100 --json",
        "--all --write",
        optional=True,
    )
    add("--all", dest="every", action="store_true", help="each entry of the zoo in turn, which takes hours")
    add_evaluation(add)
    add("--write", action="store_true", help="write what was measured into results.json and README.md")
    _add_json(add)
    add = command(
        "fit-prior",
        "fit a prior to the latents of a trained model's training images, and write the model with it as a preset",
        "mnist_mlp",
        "runs/celeb_a64 normal --preset presets/faces",
    )
    add("spec", nargs="?", default="mixture:components=10", metavar="SPEC", help="of the prior (mixture:components=10)")
    add("--preset", type=Path, help="directory to write the model to as a preset (presets/NAME)")
    add("--overwrite", action="store_true", help="replace a preset that is in --preset already")
    add("--train-images", type=_COUNT, help="training images that it is fitted to (all)")
    add("--seed", type=_SEED, default=0, help="of the fit (0)")
    add_evaluation(add)
    _add_json(add)
    add = command(
        "round",
        "round the weights of a model to as few bits as its log p(x) needs, and write it as a preset of half the size",
        "mnist_mlp",
        "runs/faces/preset --within 0.1 --preset presets/faces",
    )
    add("--within", type=_POSITIVE, default=0.01, help="nats that the mean log p(x) of test images may move by (0.01)")
    add("--preset", type=Path, help="directory to write the model to as a preset (presets/NAME)")
    add("--overwrite", action="store_true", help="replace a preset that is in --preset already")
    add("--data-dir", help=_DATA_DIR)
    add("--eval-images", type=_COUNT, default=500, help="test images that log p(x) is estimated for (500)")
    _add_json(add)
    add = command(
        "sample", "write samples: the mean of p(x|z) for draws of z from the prior", "mnist_mlp -n 64 --out samples.png"
    )
    add("-n", type=_COUNT, default=16, help="how many (16)")
    add("--seed", type=_SEED, default=0, help="of the latents (0)")
    add("--temperature", type=_WEIGHT, default=1.0, help="factor on the prior's standard deviation (1)")
    add_label(add, "class of the samples, of a model that takes labels (each in turn)")
    add_out(add)
    add = command(
        "reconstruct",
        "write images by way of their latents; a picture shows each above its reconstruction",
        "mnist_mlp digits/ --out reconstructions.png",
    )
    add_images(add)
    add_label(add)
    add_out(add)
    add = command(
        "interpolate", "write the images on the way from one to another", "mnist_mlp 3.png 8.png --out path.png"
    )
    add("a", type=Path, metavar="FROM", help="a picture or .npy file")
    add("b", type=Path, metavar="TO", help="a picture or .npy file")
    add(
        "--steps",
        type=_number(int, lambda value: value >= 2, "a whole number of at least 2"),
        default=10,
        help="images, both ends among them (10)",
    )
    add("--spherical", action="store_true", help="along a great circle of the latent space, not a straight line")
    add_label(add)
    add_out(add)
    add = command(
        "move",
        "write images with an attribute moved, of a model trained on images that have attributes",
        "celeba64_conv face.png --attribute Smiling --amounts -1 0 1 2 --out smile.png",
    )
    add_images(add)
    add("--attribute", required=True, help="its name: Smiling")
    add(
        "--amounts",
        nargs="+",
        type=_number(float, lambda value: True, "a number"),
        default=[-1.0, 0.0, 1.0],
        metavar="AMOUNT",
        help="how far, 1 being the way from the mean image without to the one with it (-1 0 1)",
    )
    add_out(add)
    add = command(
        "encode", "print the posterior means of images, one a line, or write them", "mnist_mlp digits/ --out z.npy"
    )
    add_images(add)
    add_label(add)
    add("--out", type=_results_out, help=_RESULTS_OUT)
    _add_json(add)
    add = command(
        "score",
        "print log p(x) of images, in nats, by importance sampling",
        "mnist_mlp digits/ --samples 5000",
        "runs/photos photos/ --out scores.csv",
    )
    add_images(add)
    add("--samples", type=_COUNT, default=500, help="importance samples for each image (500)")
    add(
        "--proposal",
        choices=("posterior", "prior", "both"),
        default="posterior",
        help="what samples are drawn from; both: one estimate beside the other, and whether they agree (posterior)",
    )
    add("--seed", type=_SEED, default=0, help="of the samples (0)")
    add_label(add)
    add("--out", type=_results_out, help=_RESULTS_OUT)
    _add_json(add)
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
    _add_json(add)
