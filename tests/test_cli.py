"""The command, run as users run it: in processes of its own, on real data."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_vae  # noqa: F401 (registers what a saved model is made of)

# One test starts the command on JAX itself.
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the command's processes run on TensorFlow"
)

ROOT = Path(__file__).parent.parent
FILES = {"config.json", "history.csv", "timings.csv", "results.json", "model.keras", "model.weights.h5", "README.md"}
FILES |= {"state.keras", "previous.state.keras", ".lock"}
PICTURES = {
    *("samples.png", "interpolations.png", "traversals.png", "reconstructions.png", "latent.png", "curves.png"),
}
SHORT = ("--epochs", "4", "--eval-samples", "20")


def environment():
    """Of processes that import this keras_vae, and whose output is text."""
    return {"env": os.environ | {"PYTHONPATH": str(ROOT)}, "text": True}


def command(*arguments):
    """The arguments and the environment of a process that runs keras-vae."""
    return {"args": [sys.executable, "-m", "keras_vae", *map(str, arguments)], **environment()}


def run(*arguments, code=0):
    """Runs keras-vae to its end."""
    done = subprocess.run(**command(*arguments), capture_output=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done


def refused(*arguments, code):
    """The one line that keras-vae says when it fails."""
    done = run(*arguments, code=code)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("keras-vae")]
    assert "Traceback" not in done.stderr
    return line


def history(out):
    with open(out / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def results(out):
    return json.loads((out / "results.json").read_text())


def variables(out):
    """All that a run goes on from, the optimiser and the seeds included."""
    model = keras.saving.load_model(out / "state.keras")
    return [keras.ops.convert_to_numpy(v) for v in (*model.variables, *model.optimizer.variables)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run directory that nothing has interrupted, and what was printed."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    return out, run("train", "digits", "--out", out, *SHORT).stdout


def test_a_run_leaves_a_complete_directory(finished):
    out, _ = finished
    names = {path.name for path in out.iterdir()}
    assert names == FILES | PICTURES | {"savedmodel", "tensorboard"}
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in page and f"`{name}/`" not in page] == []
    assert [row["epoch"] for row in history(out)] == ["1", "2", "3", "4"]
    assert (out / "savedmodel" / "saved_model.pb").exists()
    assert list(out.glob("tensorboard/train/*tfevents*")) and list(out.glob("tensorboard/validation/*tfevents*"))
    for picture in PICTURES:
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    recipe = json.loads((out / "config.json").read_text())["recipe"]
    assert recipe["epochs"] == 4 and recipe["dataset"] == "digits" and recipe["network"] == "mlp"


def test_results_are_of_the_test_split_in_nats(finished):
    out, printed = finished
    measured = results(out)["metrics"]
    for name in ("elbo", "log_likelihood", "kl", "log_prob"):
        assert (measured[name]["unit"], measured[name]["split"], measured[name]["images"]) == ("nats", "test", 300)
        assert f"{measured[name]['value']:.2f}" in printed
    assert (measured["elbo"]["samples"], measured["log_prob"]["samples"]) == (1, 20)
    value = {name: measured[name]["value"] for name in ("elbo", "log_likelihood", "kl", "log_prob")}
    # Sums over 64 pixels in float32.
    assert value["elbo"] == pytest.approx(value["log_likelihood"] - value["kl"], abs=1e-3)
    # Twenty samples tighten the bound by more than the noise of 300 images.
    assert value["elbo"] + 0.1 < value["log_prob"] < -15
    assert 0 < measured["log_prob"]["standard_error"] < 1
    # 64 fair coins: a model that has learned nothing.
    assert value["elbo"] > 64 * np.log(0.5)
    assert "bits_per_dim" not in measured
    assert "anew in each epoch" in results(out)["preprocessing"]


@pytest.mark.long
def test_a_killed_run_goes_on_as_if_it_had_not_been(finished, tmp_path):
    uninterrupted, _ = finished
    out = tmp_path / "digits"
    process = subprocess.Popen(**command("train", "digits", "--out", out, *SHORT), stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (out / "history.csv").exists() or len((out / "history.csv").read_text().splitlines()) < 3:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "results.json").exists()
    run("train", "digits", "--out", out, "--resume")
    assert (out / "history.csv").read_bytes() == (uninterrupted / "history.csv").read_bytes()
    assert results(out)["metrics"] == results(uninterrupted)["metrics"]
    for here, there in zip(variables(out), variables(uninterrupted), strict=True):
        np.testing.assert_array_equal(here, there)


@pytest.mark.long
def test_minutes_end_a_run_in_time(finished, tmp_path):
    out = tmp_path / "digits"
    begin = time.monotonic()
    done = run("train", "digits", "--out", out, "--epochs", 100_000, "--minutes", 0.6, "--json")
    assert time.monotonic() - begin < 100  # What a loaded machine may add.
    measured = json.loads(done.stdout)
    assert measured == results(out)
    assert 0 < measured["epochs"] < measured["epochs_planned"] == 100_000
    assert f"the end of epoch {measured['epochs'] + 1} of 100000" in done.stderr and "--resume" in done.stderr
    rows = history(out)
    assert len(rows) == measured["epochs"]
    common = min(len(rows), 4)
    assert rows[:common] == history(finished[0])[:common]


@pytest.mark.long
def test_ctrl_c_says_how_to_go_on(tmp_path):
    out = tmp_path / "digits"
    process = subprocess.Popen(
        **command("train", "digits", "--out", out, "--epochs", 100_000),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # Shells that start the tests in the background have it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    until = time.monotonic() + 120
    while not (out / "state.keras").exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.splitlines()[-1].endswith(f"go on with: keras-vae train digits --out {out} --resume")
    assert "Traceback" not in said
    # What there was was evaluated.
    assert results(out)["metrics"]["log_prob"]["images"] == 300 and (out / "samples.png").exists()


@pytest.mark.long
def test_a_folder_of_images_as_json(tmp_path):
    from PIL import Image

    levels = np.random.default_rng(0).integers(0, 256, (30, 12, 12, 3), dtype=np.uint8)
    for index, image in enumerate(levels):
        (tmp_path / "photos" / "ab"[index % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "photos" / "ab"[index % 2] / f"{index}.png")
    arguments = ("--image-size", 12, "--epochs", 1, "--latent-size", 1, "--eval-samples", 5, "--eval-images", 2)
    done = run("train", tmp_path / "photos", "--out", tmp_path / "run", *arguments, "--json")
    measured = json.loads(done.stdout)
    assert measured == results(tmp_path / "run") and measured["preprocessing"] is None
    measured = measured["metrics"]
    assert measured["log_prob"]["images"] == 2 and measured["elbo"]["images"] == 3
    # Levels are discrete, so that bits per dimension need no dequantisation.
    dims = 12 * 12 * 3
    assert measured["bits_per_dim"]["value"] == pytest.approx(-measured["log_prob"]["value"] / dims / np.log(2))
    assert measured["bits_per_dim"]["unit"] == "bits/dim"
    assert {path.name for path in (tmp_path / "run").iterdir()} >= PICTURES


@pytest.mark.long
def test_jax_says_how_to_export(tmp_path, monkeypatch):
    pytest.importorskip("jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    out = tmp_path / "digits"
    printed = run("train", "digits", "--out", out, "--epochs", 1, "--eval-samples", 5).stdout
    assert results(out)["backend"] == "jax" and len(history(out)) == 1
    assert not (out / "savedmodel").exists() and "KERAS_BACKEND=tensorflow" in printed


def test_failures_are_one_line(tmp_path):
    assert "did you mean 'mnist'" in refused("train", "minst", "--out", tmp_path / "x", code=2)
    assert not (tmp_path / "x").exists()
    for arguments in (["info", "mnist_mpl"], ["train", "zoo/mnist_mpl"], ["sample", "mnist_mpl", "--out", "x.png"]):
        assert "Did you mean 'mnist_mlp'" in refused(*arguments, code=2)


def test_help_and_slips_wait_for_no_framework(tmp_path):
    code = """
import sys
from keras_vae.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert end.code in (0, 2)
print(*({"keras", "tensorflow", "jax", "numpy"} & set(sys.modules)))
"""

    def imported(*arguments):
        start = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(start, check=True, **environment(), capture_output=True)
        return set(done.stdout.splitlines()[-1].split()), done.stderr

    for arguments in (["--help"], ["train", "--help"], ["parts", "--help"], ["train", "digits", "--epochs", "0"]):
        assert imported(*arguments)[0] == set()
    assert "no option --epoch, did you mean --epochs" in imported("train", "digits", "--epoch", "3")[1]
    # Nor do failures that can be told without; runs/digits may be there.
    out = "--out", tmp_path / "new"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").touch()
    for *arguments, said in (
        ("train", "minst", "did you mean 'mnist'"),
        ("train", "digits", *out, "--import", "gone.py", "gone.py"),
        ("train", "digits", *out, "--likelihood", "bernouli", "Did you mean 'bernoulli'"),
        ("train", "digits", *out, "--posterior", "diagonal_normal:flor=1", "Did you mean 'floor'"),
        ("train", "digits", "--out", tmp_path / "run", "--resume"),
        ("train", "digits", "--out", tmp_path / "new", "--preset", ROOT / "zoo" / "mnist_mlp", "--overwrite"),
        ("sample", "mnist_mpl", "--out", "x.png", "Did you mean 'mnist_mlp'"),
        ("sample", tmp_path / "run", "--out", "x.png", "config.json"),
        ("score", "mnist_mlp", "gone.png", "'gone.png'"),
        ("export", "mnist_mlp", "--out", tmp_path / "run", "--overwrite"),
    ):
        found, error = imported(*arguments)
        assert found <= {"numpy"} and said in error and len(error.splitlines()) == 1


REGISTERED = """
import runpy, sys
sys.argv = ["keras-vae", "parts", "--json"]
try:
    {start}
except SystemExit as end:
    assert not end.code
import keras, keras_vae
classes = list(keras.saving.get_custom_objects().values())
names = [(made.__module__, made.__qualname__) for made in classes]
assert len(set(names)) == len(set(classes)) == len(classes) and "__main__" not in dict(names)
assert keras_vae.VAE is keras.saving.get_registered_object("keras_vae>VAE") is keras_vae.models.vae.VAE
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "start",
    [
        "runpy.run_module('keras_vae', run_name='__main__', alter_sys=True)",
        pytest.param("runpy.run_module('keras_vae.cli', run_name='__main__', alter_sys=True)", marks=pytest.mark.long),
        # What the console script does.
        pytest.param("from keras_vae.cli.main import main; sys.exit(main())", marks=pytest.mark.long),
    ],
)
def test_every_way_to_the_command_registers_each_class_once(start):
    code = REGISTERED.format(start=start)
    done = subprocess.run([sys.executable, "-c", code], **environment(), capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert {part["role"] for part in json.loads(done.stdout)} >= {"posterior", "prior", "likelihood", "objective"}


def test_a_reader_that_has_had_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:
        done = subprocess.run(**command("variants"), stdout=pipe, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (141, "")
