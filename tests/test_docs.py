"""The API reference, which pdoc makes of the docstrings; the changelog; what checks a commit and a push."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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
    """The pages, by the command of docs/README.md, with every warning of pdoc's an error."""
    if importlib.util.find_spec("pdoc") is None:
        pytest.skip('pdoc is not installed: pip install -e ".[docs]"')
    page = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^PDOC_ALLOW_EXEC=1 pdoc (.*)$", page, re.M)
    out = tmp_path_factory.mktemp("docs")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PDOC_ALLOW_EXEC": "1"}
    arguments = [sys.executable, "-c", BUILD, *command.split()]
    done = subprocess.run(arguments, cwd=out, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out / "site"


@pytest.mark.long
def test_every_public_module_has_a_page(site):
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    modules = [name for name in kv.__all__ if (ROOT / "keras_vae" / name).exists()]
    modules += [name for name in kv.__all__ if (ROOT / "keras_vae" / f"{name}.py").exists()]
    assert len(modules) > 10
    assert {"keras_vae.html", "zoo.html"} | {f"keras_vae/{name}.html" for name in modules} <= pages


@pytest.mark.long
def test_docstrings_become_lists_of_arguments(site):
    page = (site / "keras_vae.html").read_text(encoding="utf-8")
    assert "Arguments:</h6>" in page and "Raises:</h6>" in page
    assert "<strong>posterior:</strong>" in page


@pytest.mark.long
def test_no_property_has_the_docstring_of_its_value(site):
    # What pdoc shows of a property without one.
    found = [path.name for path in site.rglob("*.html") if "str(object=" in path.read_text(encoding="utf-8")]
    assert found == []


def test_the_changelog_keeps_its_format():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *versions = re.findall(r"^## (.*)$", text, re.M)
    assert first == "[Unreleased]"
    assert versions[0].startswith(f"[{kv.__version__}] - ")
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version) for version in versions)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.M)) <= kinds


def checks_in(lines):
    """The tests and linters among shell commands, without settings of the environment: {"pytest", "ruff check ."}."""
    commands = (re.sub(r"^(\w+=\S+ )*(python3? -m )?", "", line.strip()) for line in lines)
    return {command for command in commands if command.startswith(("pytest", "ruff"))}


@pytest.fixture(scope="module")
def checks():
    """What a push is judged by."""
    found = checks_in((ROOT / ".ci" / "run").read_text().splitlines())
    assert {command.split()[0] for command in found} == {"pytest", "ruff"}
    return found


def test_the_workflow_runs_the_checks_once_a_backend(checks):
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    lines = [line for step in job["steps"] for line in step.get("run", "").splitlines()]
    assert 'pip install -e ".[dev]"' in lines
    assert checks_in(lines) == checks
    assert job["strategy"]["matrix"] == {"backend": ["tensorflow", "jax"]}
    assert job["env"]["KERAS_BACKEND"] == "${{ matrix.backend }}"
    assert [step["with"]["python-version"] for step in job["steps"] if "python-version" in step.get("with", {})] == [
        "3.11"
    ]


def test_pre_commit_runs_the_checks(checks):
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = {hook["id"]: hook for repo in config["repos"] for hook in repo["hooks"]}
    # The public hook formats where `ruff format --check` complains.
    public = {"ruff-check": "ruff check .", "ruff-format": "ruff format --check ."}
    local = checks_in(hook["entry"] for hook in hooks.values() if "entry" in hook)
    assert checks <= {command for name, command in public.items() if name in hooks} | local
    for command in local:
        assert all((ROOT / word).exists() for word in command.split() if word.startswith("tests/"))
    for repo in config["repos"]:
        assert repo["repo"] == "local" or re.fullmatch(r"v\d+\.\d+\.\d+", repo["rev"])
