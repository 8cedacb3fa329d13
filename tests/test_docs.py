"""The API reference, which pdoc makes of the docstrings."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_vae as kv

ROOT = Path(__file__).parent.parent

# What Keras, TensorFlow and others warn of while they are imported is not pdoc's.
BUILD = """
import sys, warnings
warnings.filterwarnings("error", module=r"pdoc(\\.|$)")
from pdoc.__main__ import cli
cli(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages, by the command of the README with every warning of pdoc's an error."""
    if importlib.util.find_spec("pdoc") is None:
        pytest.skip('pdoc is not installed: pip install -e ".[docs]"')
    (command,) = re.findall(r"^PDOC_ALLOW_EXEC=1 pdoc (.*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    out = tmp_path_factory.mktemp("docs")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PDOC_ALLOW_EXEC": "1"}
    arguments = [sys.executable, "-c", BUILD, *command.split()]
    done = subprocess.run(arguments, cwd=out, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out / "site"


def test_every_public_module_has_a_page(site):
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    modules = [name for name in kv.__all__ if (ROOT / "keras_vae" / name).exists()]
    modules += [name for name in kv.__all__ if (ROOT / "keras_vae" / f"{name}.py").exists()]
    assert len(modules) > 10
    assert {"keras_vae.html", "zoo.html"} | {f"keras_vae/{name}.html" for name in modules} <= pages


def test_docstrings_become_lists_of_arguments(site):
    page = (site / "keras_vae.html").read_text(encoding="utf-8")
    assert "Arguments:</h6>" in page and "Raises:</h6>" in page
    assert "<strong>posterior:</strong>" in page


def test_no_property_has_the_docstring_of_its_value(site):
    # What pdoc shows of a property without one.
    found = [path.name for path in site.rglob("*.html") if "str(object=" in path.read_text(encoding="utf-8")]
    assert found == []
