"""The notebooks: each runs top to bottom in a kernel of its own, and defines nothing that the library should have."""

import ast
import os
import re
import socket
import sys
from pathlib import Path

import keras
import pytest

import zoo

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

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


def test_there_are_five():
    assert [path.stem for path in NOTEBOOKS] == [
        "1_quickstart",
        "2_likelihoods",
        "3_zoo",
        "4_training",
        "5_your_own",
    ]


@over_notebooks
@pytest.mark.skipif(os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow", reason="they use TensorFlow, too")
def test_runs_top_to_bottom(path, tmp_path, monkeypatch):
    missing = sorted(needed_entries(path) - set(zoo.list_models()))
    if missing:
        pytest.skip(f"no weights yet in the zoo: {', '.join(missing)}")
    if 'kv.data.load("mnist")' in "\n".join(codes(path)) and not has_mnist():
        pytest.skip("mnist is not prepared for tensorflow-datasets here")
    # The kernel of this Python, whatever kernels are installed, with this keras_vae, whatever its directory.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    notebook = read(path)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.create_kernel_manager()
    client.km.kernel_spec.argv[0] = sys.executable
    client.execute()
    figures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(figures) >= 2
    # What a notebook writes goes to a temporary directory, and not beside it.
    assert list(tmp_path.iterdir()) == []


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
