"""The arguments of the command keras-vae."""

import argparse
import dataclasses
import functools
import shlex
from pathlib import Path

import keras_vae
from keras_vae import names, variants
from keras_vae.cli import options, trained
from keras_vae.runs import defaults, recipe, strategies

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
        if isinstance(field.default, (str, int, float)) and bool not in kinds and field.name not in defaults.VARYING:
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


class _Parser(argparse.ArgumentParser):
    def parse_known_args(self, args=None, namespace=None):
        namespace, rest = super().parse_known_args(args, namespace)
        for option in (word.partition("=")[0] for word in rest if word.startswith("--")):
            known = [name for name, action in self._option_string_actions.items() if not isinstance(action, _Removed)]
            near = " or ".join(names.nearest(option, known))
            self.error(f"there is no option {option}{f', did you mean {near}?' if near else ''}")
        return namespace, rest

    def error(self, message):
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The parser of all its subcommands."""
    made = _Parser(
        prog="keras-vae",
        description="Variational autoencoders for Keras 3.",
        epilog=options.examples(["train digits", "list", "sample mnist_mlp -n 64 --out samples.png"]) + "\n" + _MORE,
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
    add("--minutes", type=options.POSITIVE, help="be done after so many minutes, evaluation and all; --resume goes on")
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
    trained.add_commands(commands)
    return made


def _add_parts(commands):
    add = options.subcommand(
        commands,
        "parts",
        "list the parts that models are put together from",
        "List the parts of each role, with the arguments of their specs, their defaults and sources.",
        ["parts", "parts likelihood", "parts --import my_parts.py --json"],
    )
    add("role", nargs="?", metavar="ROLE", help="posterior, prior, likelihood, objective, network ...; left out: all")
    options.add_imports(add)
    options.add_json(add)


def _add_variants(commands):
    add = options.subcommand(
        commands,
        "variants",
        "list published variants, each a composition of parts",
        "List published variants, with the parts that each puts in the place of a plain VAE's.",
        ["variants", "train mnist --variant vampprior", "variants --json"],
    )
    options.add_json(add)


def _add_prepare(commands):
    add = options.subcommand(
        commands,
        "prepare",
        "make the data set celeb_a64 of CelebA's files",
        "Make the data set celeb_a64 of CelebA's aligned images, once, for all later runs.",
        ["prepare celeb_a64 ~/Downloads/celeba"],
    )
    add("dataset", choices=("celeb_a64",), metavar="celeb_a64", help="CelebA's faces, 64x64 pixels, with attributes")
    add(
        "source",
        nargs="?",
        type=Path,
        metavar="FOLDER_OR_ZIP",
        help="the download: img_align_celeba (.zip, or unpacked) with list_eval_partition and list_attr_celeba (.txt, "
        "or Kaggle's .csv); left out: tensorflow-datasets' celeb_a, whose download is often over its quota",
    )
    add("--data-dir", help=options.DATA_DIR)
    options.add_json(add)
