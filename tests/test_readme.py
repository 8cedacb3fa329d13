"""The code of README.md and CONTRIBUTING.md: Python blocks are run, commands are run or at least parsed."""

import ast
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from test_conformance import public_parts

import keras_vae as kv
import zoo
from keras_vae.cli import arguments
from keras_vae.cli import main as cli

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md")

# Minutes of training or measuring, the home directory of the reader, or photos of theirs: these are only parsed.
SLOW = ("train binarized_mnist", "train mnist", "train photos/", "train celeb_a64", "train zoo/mnist_mlp", "prepare")
SLOW += ("evaluate mnist_mlp",)
# `tests/test_cli.py` runs it.
SLOW += ("train digits",)

JAX = "# KERAS_BACKEND=jax\n"

over_pages = pytest.mark.parametrize("page", PAGES)


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page, language):
    """[(number of its first line, code)] of the page's blocks in a language."""
    text = text_of(page)
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)
    return [(text[: match.start(1)].count("\n") + 1, match[1]) for match in found]


def commands(page):
    """[words] of each command in the page's shell blocks, without comments and settings of the environment."""
    found = []
    for _, code in blocks(page, "sh"):
        for line in code.splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                found.append([word for word in words[:end] if not re.fullmatch("[A-Z_]+=.*", word)])
                words = words[end + 1 :]
    return found


def untrained(code):
    """The entries that a block loads and that nobody has trained yet."""
    return [name for name in re.findall(r'zoo\.load\("(\w+)"\)', code) if name not in zoo.list_models()]


def with_shapes_asserted(code):
    """`code`, with an assertion after each assignment whose comment begins with a shape."""
    line = r"^(\(?)(\w+),?\)? = (.*)  # (\((?:\d+, ?)+\d*\))(.*)$"
    return re.sub(line, r"\g<0>" + "\n" + r"assert \2.shape == \4, \2.shape", code, flags=re.M)


def run(code, cwd, **environment):
    environment = (
        os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "KERAS_BACKEND": "tensorflow"} | environment
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def program(page, chosen):
    """A program that runs the chosen blocks in order, as if each stood in the page's place."""
    sources = [(f"{page}, line {line}", "\n" * (line - 1) + with_shapes_asserted(code)) for line, code in chosen]
    return f"for name, code in {sources!r}:\n    exec(compile(code, name, 'exec'))\nprint('all', {len(chosen)})"


def test_a_wrong_shape_in_a_comment_is_found():
    assert with_shapes_asserted("a = f(x)  # (3, 4) nats\n").endswith("assert a.shape == (3, 4), a.shape\n")
    assert "assert b.shape == (3,)" in with_shapes_asserted("(b,) = f(x)  # (3,)\n")
    assert "assert" not in with_shapes_asserted("a = f(x)  # ours\n")


@over_pages
def test_python_blocks_run_in_order(page, tmp_path):
    absent = [name for name in ("onnxruntime", "tf2onnx") if importlib.util.find_spec(name) is None]
    if absent:
        pytest.skip(f'not installed: {", ".join(absent)}; pip install -e ".[dev]"')
    chosen = [(line, code) for line, code in blocks(page, "python") if not code.startswith(JAX) and not untrained(code)]
    assert chosen
    assert run(program(page, chosen), tmp_path).splitlines()[-1] == f"all {len(chosen)}"


@pytest.mark.parametrize(
    ("page", "line", "code"),
    [(page, line, code) for page in PAGES for line, code in blocks(page, "python") if untrained(code)],
)
def test_blocks_of_untrained_entries_can_be_compiled(page, line, code):
    compile(code, f"{page}, line {line}", "exec")
    pytest.skip(f"nobody has trained {', '.join(untrained(code))} yet: the block was compiled and not run")


def test_the_block_on_jax_runs_on_two_devices(tmp_path):
    pytest.importorskip("jax")
    ((line, code),) = [block for block in blocks("README.md", "python") if block[1].startswith(JAX)]
    code += "\nassert len(keras.distribution.list_devices()) == 2\n"
    two = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    run(program("README.md", [(line, code)]), tmp_path, **two)


@over_pages
def test_commands_can_be_meant(page):
    parser = arguments.parser()
    for words in commands(page):
        match words:
            case ["keras-vae", *rest]:
                parser.parse_args(rest)
            case ["pip", "install", "-e", what]:
                assert re.fullmatch(r"\.(\[\w+\])?", what) and set(re.findall(r"\w+", what)) <= extras()
            case ["python", script, *_]:
                assert (ROOT / script).is_file()
            case ["pytest", *rest]:
                assert all((ROOT / word).exists() for word in rest if word.startswith("tests/"))
            case ["pdoc" | "ruff", *_]:
                # `tests/test_docs.py` runs pdoc, .ci/run runs ruff.
                pass
            case [script]:
                assert os.access(ROOT / script, os.X_OK), script
            case _:
                pytest.fail(f"No test knows what this command needs. Received: {words}")


@over_pages
def test_commands_in_sentences_and_tables_can_be_meant(page):
    parser = arguments.parser()
    (known,) = (action.choices for action in parser._actions if action.dest == "command")
    for code in re.findall(r"`keras-vae ([^`]+)`", text_of(page)):
        words = shlex.split(code)
        assert words[0] in known
        if len(words) > 1 and "--help" not in words:
            parser.parse_args(words)


def test_the_table_of_parts_has_every_part():
    (table,) = re.findall(r"^## Swap a part$(.*?)^```", text_of("README.md"), re.S | re.M)
    names = [part.__name__ for part in public_parts()] + kv.networks.__all__
    assert sorted(name for name in names if f"`{name}" not in table) == []


def extras():
    """The names of setup.py's extras."""
    calls = [node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())) if isinstance(node, ast.Call)]
    (value,) = [word.value for call in calls for word in call.keywords if word.arg == "extras_require"]
    return set(ast.literal_eval(value))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="SavedModels are written by TensorFlow")
@over_pages
def test_cheap_commands_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if page == "CONTRIBUTING.md":
        ((_, config),) = blocks(page, "json")
        entry = tmp_path / "zoo" / "digits_mlp"
        entry.mkdir(parents=True)
        (entry / "config.json").write_text(config)
    ran = []
    for program, *rest in commands(page):
        if program == "keras-vae" and not " ".join(rest).startswith(SLOW):
            assert cli.main(rest) == 0, capsys.readouterr().err
            ran.append(rest[0])
    if page == "CONTRIBUTING.md":
        assert ran == ["train", "evaluate", "card", "export", "list"]
        about = json.loads((entry / "config.json").read_text())["about"]
        assert about["name"] == "digits_mlp" and (tmp_path / "savedmodels" / "digits_mlp").is_dir()
    else:
        assert {"list", "info", "sample", "reconstruct", "score", "export"} <= set(ran)
        assert len(list((tmp_path / "figures").iterdir())) == 4


@over_pages
def test_links_to_files_and_headings_lead_somewhere(page):
    text = text_of(page)
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        if not target.startswith("http") and not target.endswith("samples.png"):
            assert (ROOT / target).exists(), target
    # Those of entries without weights have no samples yet.
    for name in re.findall(r"\]\(zoo/(\w+)/samples\.png\)", text):
        assert name in zoo.list_recipes()
        assert name not in zoo.list_models() or (ROOT / "zoo" / name / "samples.png").is_file()
    headings = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings
