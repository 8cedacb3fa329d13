"""The pages: README.md, CONTRIBUTING.md and docs/. Python blocks are run, commands are run or at least parsed."""

import ast
import importlib.util
import inspect
import json
import os
import re
import shlex
from pathlib import Path

import keras
import pytest
from processes import run_python
from test_conformance import public_parts

import keras_vae as kv
from keras_vae import names
from keras_vae.cli import arguments
from keras_vae.cli import main as cli

ROOT = Path(__file__).parent.parent
GUIDES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
PAGES = ("README.md", "CONTRIBUTING.md", *GUIDES)

# Minutes of training or measuring, the home directory of the reader, or photos of theirs: these are only parsed.
SLOW = ("train binarized_mnist", "train mnist", "train photos/", "train celeb_a64", "train zoo/mnist_mlp", "prepare")
SLOW += (
    "evaluate mnist_mlp",
    "fit-prior mnist_",
    "round runs/mnist_mlp",
    "score celeba64_conv photos/",
    "encode celeba64_conv photos/",
)
# `tests/test_cli.py` runs it.
SLOW += ("train digits",)

JAX = "# KERAS_BACKEND=jax\n"
# Two processes run it in tests/test_machines.py.
MACHINES = "# on each machine\n"
# The pages are TensorFlow's, but for the block that begins with the comment above.
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the pages' code is TensorFlow's")
on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="the block is JAX's")


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


def cheap_commands(page):
    """The arguments of keras-vae of those commands that are run here."""
    return [rest for program, *rest in commands(page) if program == "keras-vae" and not " ".join(rest).startswith(SLOW)]


def with_shapes_asserted(code):
    """`code`, with an assertion after each assignment whose comment begins with a shape."""
    line = r"^(\(?)(\w+),?\)? = (.*)  # (\((?:\d+, ?)+\d*\))(.*)$"
    return re.sub(line, r"\g<0>" + "\n" + r"assert \2.shape == \4, \2.shape", code, flags=re.M)


def absent(code):
    """Those of the packages that a block's first line installs which are not installed."""
    packages = re.match(r"# pip install (.+)\n", code)
    return [name for name in packages[1].split() if importlib.util.find_spec(name) is None] if packages else []


def run(page, chosen):
    """Runs the chosen blocks in order, each line of them numbered as in the page."""
    variables = {"__name__": "__main__"}
    for line, code in chosen:
        compiled = compile("\n" * (line - 1) + with_shapes_asserted(code), ROOT / page, "exec")
        if not code.startswith(MACHINES) and not absent(code):
            exec(compiled, variables)


def anchors(page):
    """The names by which links lead to the page's headings."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


over_pages = pytest.mark.parametrize("page", PAGES)
# Those that are run each time have most of what there is.
over_python = pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if page in ("README.md", "docs/training.md", "docs/parts.md") else pytest.mark.long)
        for page in PAGES
        if blocks(page, "python")
    ],
)
over_cheap = pytest.mark.parametrize(
    "page",
    # That of contributors trains an entry.
    [
        pytest.param(page, marks=pytest.mark.long if page == "CONTRIBUTING.md" else ())
        for page in PAGES
        if cheap_commands(page)
    ],
)


def test_a_wrong_shape_in_a_comment_is_found():
    assert with_shapes_asserted("a = f(x)  # (3, 4) nats\n").endswith("assert a.shape == (3, 4), a.shape\n")
    assert "assert b.shape == (3,)" in with_shapes_asserted("(b,) = f(x)  # (3,)\n")
    assert "assert" not in with_shapes_asserted("a = f(x)  # ours\n")


def test_the_readme_can_be_read_in_one_sitting():
    # Every word counts, those of code and tables, too: `wc -w README.md`.
    assert len(text_of("README.md").split()) <= 1200
    (picture,) = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text_of("README.md"))
    assert (ROOT / picture).is_file()


def test_the_readme_has_the_table_of_models(capsys):
    (table,) = re.findall(
        r"^<!-- keras-vae list --markdown -->\n\n(.*?)\n<!-- end -->$", text_of("README.md"), re.S | re.M
    )
    assert cli.main(["list", "--markdown"]) == 0
    assert table == capsys.readouterr().out


@pytest.mark.parametrize("index", ["README.md", "docs/README.md"])
def test_an_index_has_every_guide(index):
    links = {os.path.normpath(Path(index).parent / target) for target in re.findall(r"\]\(([^)#]+)", text_of(index))}
    assert set(GUIDES) - {"docs/README.md"} <= links


@on_tensorflow
@over_python
@pytest.mark.filterwarnings("ignore")
def test_python_blocks_run_in_order(page, as_a_program):
    missing = absent("# pip install onnxruntime tf2onnx\n")
    if missing and "onnx" in "".join(code for _, code in blocks(page, "python")):
        pytest.skip(f'not installed: {", ".join(missing)}; pip install -e ".[dev]"')
    chosen = [(line, code) for line, code in blocks(page, "python") if not code.startswith(JAX)]
    assert chosen
    run(page, chosen)


@on_jax
def test_the_block_on_jax_runs_on_two_devices(tmp_path):
    ((line, code),) = [block for block in blocks("docs/devices.md", "python") if block[1].startswith(JAX)]
    code = with_shapes_asserted("\n" * (line - 1) + code) + "assert len(keras.distribution.list_devices()) == 2\n"
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    run_python(code, cwd=tmp_path, PYTHONPATH=str(ROOT), **two)


@over_pages
def test_commands_can_be_parsed(page):
    parser = arguments.parser()
    for words in commands(page):
        match words:
            case ["keras-vae", *rest]:
                parser.parse_args(rest)
            case ["pip", "install", "-e", what]:
                assert re.fullmatch(r"\.(\[\w+\])?", what) and set(re.findall(r"\w+", what)) <= extras()
            case ["python", "-m", "pytest", *rest] | ["pytest", *rest]:
                assert all((ROOT / word).exists() for word in rest if word.startswith("tests/"))
            case ["python", script, *_]:
                assert (ROOT / script).is_file()
            case ["pdoc" | "ruff", *_]:
                # `tests/test_docs.py` runs pdoc, .ci/run runs ruff.
                pass
            case [script]:
                assert os.access(ROOT / script, os.X_OK), script
            case _:
                pytest.fail(f"No test knows what this command needs. Received: {words}")


@over_pages
def test_commands_in_sentences_and_tables_can_be_parsed(page):
    parser = arguments.parser()
    (known,) = (action.choices for action in parser._actions if action.dest == "command")
    for code in re.findall(r"`keras-vae ([^`]+)`", text_of(page)):
        words = shlex.split(code)
        assert words[0] in known
        if len(words) > 1 and "--help" not in words:
            parser.parse_args(words)


def table_of_parts(page):
    """{(spec, class): arguments as they are written} of the rows `spec` | `Class(arguments)`."""
    rows = re.findall(r"^\| (?:`(\w+)` )?\| `(\w+)(?:\(([^`]*)\))?` \|", text_of(page), re.M)
    return {(spec, made): written for spec, made, written in rows}


@pytest.mark.parametrize("role", ["likelihood", "posterior", "prior", "corruption", "objective", "schedule"])
def test_the_tables_of_parts_have_every_part(role):
    rows = table_of_parts("docs/parts.md")
    ours = {name: made for name, made in names.known(role).items() if made.__module__.startswith("keras_vae.")}
    assert ours
    for name, made in ours.items():
        assert (name, made.__name__) in rows, f"docs/parts.md has no row for the {role} {name}"
        call = ast.parse(f"_({rows[name, made.__name__]})", mode="eval").body
        shown = {argument.id: inspect.Parameter.empty for argument in call.args}
        shown |= {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        assert shown == {parameter.name: parameter.default for parameter in names.arguments(made)}


def test_the_tables_of_parts_have_every_public_class():
    shown = {made for _, made in table_of_parts("docs/parts.md")}
    assert {part.__name__ for part in public_parts()} <= shown
    assert [name for name in kv.networks.__all__ if f"`kv.networks.{name}`" not in text_of("docs/networks.md")] == []


def extras():
    """The names of setup.py's extras."""
    calls = [node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())) if isinstance(node, ast.Call)]
    (value,) = [word.value for call in calls for word in call.keywords if word.arg == "extras_require"]
    return set(ast.literal_eval(value))


@on_tensorflow
@over_cheap
def test_cheap_commands_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if page == "CONTRIBUTING.md":
        ((_, config),) = blocks(page, "json")
        entry = tmp_path / "zoo" / "digits_mlp"
        entry.mkdir(parents=True)
        (entry / "config.json").write_text(config)
    for words in cheap_commands(page):
        assert cli.main(words) == 0, capsys.readouterr().err
    ran = [words[0] for words in cheap_commands(page)]
    if page == "CONTRIBUTING.md":
        assert ran == ["train", "evaluate", "card", "export", "list"]
        about = json.loads((entry / "config.json").read_text())["about"]
        assert about["name"] == "digits_mlp" and (tmp_path / "savedmodels" / "digits_mlp").is_dir()
    if page == "docs/zoo.md":
        assert {"list", "info", "sample", "reconstruct", "score", "export"} <= set(ran)
        assert len(list((tmp_path / "figures").iterdir())) == 4


@over_pages
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", text_of(page)):
        if target.startswith("http"):
            continue
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.resolve().relative_to(ROOT)), f"{target}#{anchor}"
