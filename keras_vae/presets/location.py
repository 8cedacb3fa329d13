"""Where a preset is: an entry of the zoo, a directory, or a repository of the Hugging Face Hub."""

import contextlib
import fnmatch
from pathlib import Path

from keras_vae import names
from keras_vae.presets import hub
from keras_vae.presets.schema import CONFIG, RESULTS, WEIGHTS, PresetError

# Installed beside keras_vae.
ZOO = Path(__file__).resolve().parents[2] / "zoo"


class UnknownName(PresetError):
    """No preset has this name; the message names the nearest ones."""

    # Of the command: the arguments cannot be meant.
    exit_code = 2


def entries(pattern: str | None = None, trained: bool = True) -> list[str]:
    """The names of the zoo's entries, sorted.

    Args:
        pattern: which of them, "mnist*"; None: all.
        trained: whether they must have weights; otherwise a recipe will do.
    """
    chosen = sorted(path.name for path in ZOO.iterdir())
    chosen = chosen if pattern is None else fnmatch.filter(chosen, pattern)
    return [name for name in chosen if _is_entry(name, trained)]


def _is_entry(name, trained):
    needed = (CONFIG, WEIGHTS, RESULTS) if trained else (CONFIG,)
    return all((ZOO / name / file).is_file() for file in needed)


def find(name: str | Path, trained: bool = True) -> Path:
    """The directory of a preset.

    Args:
        name: "mnist_mlp" or "zoo/mnist_mlp", an entry of the zoo; a directory; or "hf://user/repo", if need be with
            "@revision", which is downloaded unless it is in the hub's cache.
        trained: whether an entry must have weights; otherwise a recipe will do.

    Raises:
        UnknownName: naming the nearest ones; and for the name of both an entry and a directory that is here.
        PresetError: if the repository cannot be downloaded.
    """
    if str(name).startswith(hub.SCHEME):
        return hub.download(str(name))
    entry = str(name).removeprefix("zoo/").rstrip("/")
    # Names of nobody's home, and of more characters than a file's.
    with contextlib.suppress(OSError, RuntimeError):
        # Of many entries, only the one is looked at.
        is_name = Path(entry).name == entry != ""
        if is_name and _is_entry(entry, trained):
            here = Path(name)
            if str(name) == entry and (here / CONFIG).is_file() and not here.samefile(ZOO / entry):
                raise UnknownName(
                    f"An entry of the zoo has this name, and a directory here: write ./{entry} for the directory, "
                    f"zoo/{entry} for the entry. Received: {str(name)!r}"
                )
            return ZOO / entry
        if is_name and _is_entry(entry, False):
            known = ", ".join(map(repr, entries())) or "none"
            raise UnknownName(
                f"This entry has a recipe but no weights yet: keras-vae train zoo/{entry} makes them. With weights: "
                f"{known}. Received: {str(name)!r}"
            )
        path = Path(name).expanduser()
        if path.is_dir():
            return path
    try:
        known = entries(trained=trained)
        return ZOO / names.one_of(entry, known, "preset, neither an entry of the zoo nor a directory")
    except ValueError as error:
        raise UnknownName(str(error)) from None
