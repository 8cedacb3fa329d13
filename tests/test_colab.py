"""The notebooks: each runs top to bottom in IPython, and defines nothing that the library should have."""

import ast
import os
import re
import socket
from pathlib import Path

import keras
import pytest
from processes import run_python

import zoo

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("IPython")

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="notebooks export SavedModels")

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "colab").glob("*.ipynb"))
REPOSITORY = "keras-vae/keras_vae"

over_notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def codes(path):
    return [cell.source for cell in read(path).cells if cell.cell_type == "code"]


def python(source):
    """The source without IPython's own lines, which Python cannot read."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.M)


def figures_of(path):
    """Runs a notebook's cells in IPython, in the working directory; returns how many figures they show."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from matplotlib.figure import Figure
    from traitlets.config import Config

    class Shell(InteractiveShell):
        def enable_gui(self, gui=None):
            """No window is opened: figures are shown inline."""

    InteractiveShell.clear_instance()
    # No file in the home directory.
    shell = Shell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    figures = 0
    for source in codes(path):
        with capture_output() as shown:
            result = shell.run_cell(source)
        result.raise_error()
        figures += isinstance(result.result, Figure) + sum("image/png" in output.data for output in shown.outputs)
    return figures


def needed_entries(path):
    return set(re.findall(r"zoo\.(?:load|info|attributes)\(\"(\w+)\"\)", "\n".join(codes(path))))


def has_mnist():
    """Whether tensorflow-datasets has MNIST, or could download it."""
    tfds = pytest.importorskip("tensorflow_datasets")
    if tfds.builder("mnist").is_prepared():
        return True
    try:
        return bool(socket.getaddrinfo("storage.googleapis.com", None))
    except OSError:
        return False


def test_there_are_six():
    assert [path.stem for path in NOTEBOOKS] == [
        "1_quickstart",
        "2_likelihoods",
        "3_zoo",
        "4_training",
        "5_your_own",
        "6_fine_tuning",
    ]


@pytest.mark.parametrize(
    "path",
    # By default the one that most people open.
    [pytest.param(path, marks=[] if path.stem[0] == "1" else [pytest.mark.long], id=path.stem) for path in NOTEBOOKS],
)
@pytest.mark.skipif(os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow", reason="they use TensorFlow, too")
@pytest.mark.filterwarnings("ignore")
def test_runs_top_to_bottom(path, as_a_program):
    missing = sorted(needed_entries(path) - set(zoo.list_models()))
    if missing:
        pytest.skip(f"no weights yet in the zoo: {', '.join(missing)}")
    if 'kv.data.load("mnist")' in "\n".join(codes(path)) and not has_mnist():
        pytest.skip("mnist is not prepared for tensorflow-datasets here")
    if "set_logical_device_configuration" in "\n".join(codes(path)):
        # Devices are made before TensorFlow is used for the first time.
        code = "import pathlib, sys, test_colab; print(test_colab.figures_of(pathlib.Path(sys.argv[1])))"
        here = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
        figures = int(run_python(code, path, cwd=as_a_program, PYTHONPATH=here, MPLBACKEND="Agg").split()[-1])
    else:
        figures = figures_of(path)
    assert figures >= 2
    # What a notebook writes goes to a temporary directory, and not beside it.
    assert list(as_a_program.iterdir()) == []


@over_notebooks
def test_is_valid_and_stripped(path):
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
    assert notebook.metadata.kernelspec.name == "python3"


@over_notebooks
def test_opens_and_installs_in_colab(path):
    notebook = read(path)
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# keras_vae")
    assert f"colab.research.google.com/github/{REPOSITORY}/blob/main/colab/{path.name})" in first.source
    # Nothing but a missing library is installed.
    install = codes(path)[0]
    assert (
        f'if importlib.util.find_spec("keras_vae") is None:\n    %pip install -q git+https://github.com/{REPOSITORY}'
        in install
    )
    assert not any(re.search(r"\bpip install", source) for source in codes(path)[1:])


@over_notebooks
def test_links_lead_somewhere(path):
    for cell in read(path).cells:
        for target in re.findall(r"\]\(([^)#]+\.ipynb)\)", cell.source if cell.cell_type == "markdown" else ""):
            assert target.startswith("https://") or (path.parent / target).is_file(), target


@over_notebooks
def test_defines_nothing_that_the_library_should_have(path):
    defined = [
        node.name
        for source in codes(path)
        for node in ast.walk(ast.parse(python(source)))
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    # The last one is about parts of one's own.
    assert path.stem == "5_your_own" or defined == []
