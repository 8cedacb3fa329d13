"""What the arguments of several commands share: types, options, examples."""

import argparse
import math
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from keras_vae.runs import recipe


def number(kind: type, accepts: Callable[[Any], bool], description: str) -> Callable[[str], Any]:
    """An argparse type: a finite number of `kind` that `accepts`."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and accepts(value)):
            raise argparse.ArgumentTypeError(f"expected {description}. Received: {text!r}")
        return value

    return parse


COUNT = number(int, lambda value: value >= 1, "a whole number of at least 1")
SEED = number(int, lambda value: 0 <= value < 2**31, "a whole number from 0 to 2147483647")
POSITIVE = number(float, lambda value: value > 0, "a number above 0")
DATA_DIR = "where tensorflow-datasets keeps its data (TFDS_DATA_DIR, or ~/tensorflow_datasets)"
WEIGHT = number(float, lambda value: value >= 0, "a number of at least 0")


def images_out(text: str) -> Path:
    """An argparse type: where images are written."""
    if Path(text).suffix.lower() in ("", ".npy", ".png", ".csv"):
        return Path(text)
    raise argparse.ArgumentTypeError(
        f"images are written to a .npy file, a .png file or a directory, rows to a .csv file. Received: {text!r}"
    )


RESULTS_OUT = (
    "a .npy, .csv or .parquet file, written as results come: memory does not grow with the number of images, and the "
    "same command goes on after an interruption"
)


def results_out(text: str) -> Path:
    """An argparse type: where results of many images are written."""
    if Path(text).suffix.lower() in (".npy", ".csv", ".parquet"):
        return Path(text)
    raise argparse.ArgumentTypeError(f"results are written to a .npy, .csv or .parquet file. Received: {text!r}")


def add_imports(add: Callable) -> None:
    """The option for modules with parts of a user's own; `add` is a parser's `add_argument`."""
    help_text = recipe.FIELDS["imports"].metadata["help"]
    add("--import", dest="imports", action="append", default=[], metavar="MODULE", help=help_text)


def add_json(add: Callable) -> None:
    """The option of what programs read; `add` is a parser's `add_argument`."""
    add("--json", dest="as_json", action="store_true", help="print one JSON value")


def examples(commands: Iterable[str]) -> str:
    """The last lines of a command's help."""
    return "\n".join(["examples:", *(f"  keras-vae {command}" for command in commands)])


def subcommand(commands: Any, name: str, help: str, description: str | None = None, shown: Iterable = ()) -> Callable:
    """A command of the command; returns the `add_argument` of its parser.

    Args:
        commands: what argparse's `add_subparsers` returned.
        name: of the command.
        help: a line, for the list of commands.
        description: for its own help; None: the same, as a sentence.
        shown: examples.
    """
    return commands.add_parser(
        name,
        help=help,
        description=description or textwrap.fill(f"{help[:1].upper()}{help[1:]}.", 80),
        epilog=examples(shown),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    ).add_argument
