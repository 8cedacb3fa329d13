"""The order of the rooms: a file imports only from files above it."""

import ast
import pathlib

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "keras_vae"

ROOMS = (
    "backend",
    "names",
    "columns",
    "sources",
    "files",
    "schedules",
    "constraints",
    "parts",
    "features",
    "distributions",
    "inference",
    "draws",
    "posteriors",
    "priors",
    "likelihoods",
    "corruptions",
    "objectives",
    "networks",
    "training",
    "samplers",
    # Above the models, which have methods of these names.
    "export",
    "presets",
    "models",
    "variants",
    "metrics",
    "data",
    "plotting",
    "callbacks",
    "runs",
    "cli",
)


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path):
    """The rooms that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            package, _, rest = module.partition(".")
            if package == "keras_vae" and rest:
                yield rest.split(".")[0]


def test_every_file_has_its_room():
    files = {room_of(p) for p in PACKAGE.rglob("*.py")} - {"__init__", "__main__"}
    assert files == set(ROOMS)


def test_files_import_only_from_above():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {room}"
        for path in PACKAGE.rglob("*.py")
        if path.parent != PACKAGE or not path.name.startswith("__")
        for room in imported_rooms(path)
        if room in ROOMS and room != room_of(path) and ROOMS.index(room) > ROOMS.index(room_of(path))
    ]
    assert wrong == []


def test_probability_comes_through_the_backend_alone():
    wrong = [
        str(path)
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "backend.py" and "import tensorflow_probability" in path.read_text()
    ]
    assert wrong == []
