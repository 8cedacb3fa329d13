"""An experiment, run in this process."""

import ast
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_vae import cli, experiment, records

SHORT = {"epochs": 4, "eval_samples": 20, "verbose": False}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    return out, experiment.run("digits", out, **SHORT)


def same(a, b):
    """Whether two results, JSON or not, are of the same numbers."""
    return all(a[name] == b[name] for name in ("elbo", "log_likelihood", "kl", "log_prob", "epochs"))


def test_a_run_killed_between_history_and_model(finished, tmp_path, monkeypatch):
    uninterrupted, results = finished
    out = tmp_path / "digits"

    def dying_replace(path, write, real=records.replace):
        if path.name == "model.keras" and len((out / "history.csv").read_text().splitlines()) == 4:
            raise KeyboardInterrupt
        real(path, write)

    with monkeypatch.context() as patch:
        patch.setattr(records, "replace", dying_replace)
        with pytest.raises(KeyboardInterrupt):
            experiment.run("digits", out, **SHORT)
    resumed = experiment.run("digits", out, resume=True, verbose=False)
    assert same(resumed, results)
    assert (out / "history.csv").read_bytes() == (uninterrupted / "history.csv").read_bytes()


def test_a_run_killed_during_its_evaluation(finished, tmp_path):
    uninterrupted, results = finished
    out = tmp_path / "digits"
    shutil.copytree(uninterrupted, out)
    (out / "results.json").unlink()
    assert same(experiment.run("digits", out, resume=True, verbose=False), results)
    assert (out / "history.csv").read_bytes() == (uninterrupted / "history.csv").read_bytes()


def test_a_run_out_of_time_in_the_midst_of_an_epoch(finished, tmp_path, monkeypatch):
    uninterrupted, results = finished
    out = tmp_path / "digits"

    class Soon(records.Deadline):
        def on_train_batch_end(self, batch, logs=None):
            if len(self._begun) == 3 and batch > 20:
                raise records.OutOfTime

    with monkeypatch.context() as patch:
        patch.setattr(records, "Deadline", Soon)
        stopped = experiment.run("digits", out, minutes=60, **SHORT)
    assert (stopped["epochs"], stopped["epochs_planned"]) == (2, 4)
    assert json.loads((out / "results.json").read_text()) == stopped
    resumed = experiment.run("digits", out, resume=True, verbose=False)
    assert same(resumed, results)
    assert (out / "history.csv").read_bytes() == (uninterrupted / "history.csv").read_bytes()


def test_too_few_minutes_for_an_epoch_leave_a_run_that_can_begin(finished, tmp_path):
    out = tmp_path / "digits"
    assert experiment.run("digits", out, minutes=1e-6, **SHORT) is None
    assert not (out / "results.json").exists()
    resumed = experiment.run("digits", out, resume=True, verbose=False)
    assert same(resumed, finished[1])


def test_more_epochs_for_a_complete_run(finished, tmp_path):
    uninterrupted, results = finished
    out = tmp_path / "digits"
    experiment.run("digits", out, **SHORT | {"epochs": 2})
    grown = experiment.run("digits", out, resume=True, epochs=4, verbose=False)
    assert same(grown, results)
    assert (out / "history.csv").read_bytes() == (uninterrupted / "history.csv").read_bytes()
    assert json.loads((out / "config.json").read_text())["epochs"] == 4


def test_a_complete_run_is_left_alone(finished):
    out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert experiment.run("digits", out, resume=True, verbose=False) == json.loads((out / "results.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_loss_that_is_not_finite_leaves_no_model(tmp_path, capsys):
    code = cli.main(["train", "digits", "--out", str(tmp_path / "run"), "--learning-rate", "1e9", "--json"])
    said = capsys.readouterr()
    assert code == 1 and said.out == ""
    assert "--learning-rate" in said.err and len(said.err.splitlines()) == 1
    assert not (tmp_path / "run" / "model.keras").exists()


def test_half_precision_tracks_single_precision(finished, tmp_path):
    results = experiment.run("digits", tmp_path / "half", precision="mixed_float16", **SHORT)
    # The noise is the same; of about 25 nats, weights that round differently move little in four epochs.
    assert results["elbo"]["value"] == pytest.approx(finished[1]["elbo"]["value"], abs=0.3)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["digits"], 2, "--resume"),
        (["digits", "--resume", "--latent-size", "3"], 2, "--latent-size 16"),
        (["mnist", "--resume"], 2, "DATASET digits"),
        (["digits", "--resume", "--epochs", "3"], 2, "only grow"),
        (["digits", "--resume", "--out", "nowhere"], 2, "without --resume"),
        (["digits", "--out", "new", "--likelihood", "bernouli"], 2, "'bernoulli'"),
        (["digits", "--out", "new", "--likelihood", "discretized_logistic:3"], 2, "colon"),
        (["binarized_mnist", "--out", "new", "--data-dir", "nowhere"], 1, "--data-dir"),
        (["digits", "--out", "file/x"], 1, "Not a directory"),
    ],
)
def test_refusals(finished, tmp_path, monkeypatch, capsys, arguments, code, said):
    out, _ = finished
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    if "--out" not in arguments:
        arguments = [*arguments, "--out", str(out)]
    assert cli.main(["train", *arguments]) == code
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1
    assert not Path("new").exists()


@pytest.mark.parametrize(
    "option",
    ["--epochs=0", "--beta=nan", "--learning-rate=0", "--seed=-1", "--network=vgg", "--precision=float8", "--epoch=3"],
)
def test_options_that_cannot_be_meant(option, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["train", "digits", option])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert option.split("=")[0] in error and len(error.splitlines()) == 1


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["train", "--help"])
    assert end.value.code == 0
    assert "keras-vae train digits\n" in capsys.readouterr().out


def test_help_waits_for_no_framework():
    tree = ast.parse(Path(cli.__file__).read_text())
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in imports for alias in node.names} | {getattr(node, "module", "") for node in imports}
    assert not names & {"keras", "tensorflow", "jax", "keras_vae.experiment", "experiment"}


def test_a_likelihood_with_its_argument():
    assert experiment._likelihood("normal:optimal").scale == "optimal"
    assert experiment._likelihood("laplace:0.25").scale == 0.25
    assert experiment._likelihood("discretized_logistic_mixture:3").components == 3


def test_binary_data_is_not_binarised_again(monkeypatch):
    from keras_vae import data, likelihoods

    ones = data.Split(np.ones((4, 8, 8, 1), dtype=np.uint8))
    monkeypatch.setattr(data, "load", lambda *_: data.DataSet("ones", True, ones, ones, ones))
    settings = experiment.Settings("ones", batch_size=2)
    _, train, evaluated = experiment._data(settings, likelihoods.Bernoulli())
    assert not train.binarize
    # A level of 1 would be a pixel that is nearly always off.
    assert train.x.min() == evaluated["test"].min() == 1


def test_a_table_is_cut_to_what_counts(tmp_path):
    path = tmp_path / "history.csv"
    table = records.Table(path, 0)
    for epoch in range(3):
        table.append({"epoch": epoch, "loss": 0.1 + epoch})
    with open(path, "a") as file:
        file.write("3,3.")
    table = records.Table(path, 2)
    table.append({"epoch": 2, "loss": 1 / 3})
    assert path.read_text() == "epoch,loss\n0,0.1\n1,1.1\n2,0.3333333333333333\n"
    assert table.column("loss") == [0.1, 1.1, 1 / 3]
