"""A run of an array, and what commands write of many examples as it comes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from keras_vae import files, presets
from keras_vae.cli import main as cli
from keras_vae.cli import models
from keras_vae.data import reading
from keras_vae.models.vae import VAE
from keras_vae.runs import run as experiment


@pytest.fixture(scope="module")
def run_of_arrays(tmp_path_factory):
    """A run of vectors in a .npy file, of three factors in units of their own."""
    folder, rng = tmp_path_factory.mktemp("arrays"), np.random.default_rng(0)
    x = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 6)) + 0.3 * rng.normal(size=(400, 6))
    np.save(folder / "x.npy", 40 * x + 300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "_export", lambda *_: None)
        few = {"network": "mlp:[32]", "batch_size": 8, "epochs": 12, "eval_samples": 20, "verbose": False}
        run = experiment.run(folder / "x.npy", folder / "run", **few)
    return folder, run


def test_a_run_of_arrays_is_in_their_units(run_of_arrays, capsys):
    folder, results = run_of_arrays
    metrics = results["metrics"]
    assert metrics["log_prob"]["value"] == pytest.approx(metrics["baseline_log_prob"]["value"], abs=2)
    assert "squared_error" not in metrics and "units of the data" in results["preprocessing"]
    # Of the epoch that is kept, which is the best one.
    best = max(presets.read_results(folder / "run" / "results.json")["history"]["val_elbo"])
    assert results["validation"]["elbo"] == pytest.approx(best, rel=1e-5)
    samples, x = np.load(folder / "run" / "samples.npy"), np.load(folder / "x.npy")
    assert np.abs(samples.mean(axis=0) - x.mean(axis=0)).max() < 40
    assert cli.main(["score", str(folder / "run"), str(folder / "x.npy"), "--samples", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    vae = VAE.from_preset(folder / "run")
    np.testing.assert_allclose(told["log_prob"], vae.log_prob(x, samples=5, seed=0), rtol=1e-4)
    assert cli.main(["sample", str(folder / "run"), "-n", "4", "--out", str(folder / "made.png")]) != 0
    assert "write them to a .npy file" in capsys.readouterr().err


def test_results_of_many_are_written_as_they_come(run_of_arrays, tmp_path, capsys, monkeypatch):
    folder, _ = run_of_arrays
    given = [str(folder / "run"), str(folder / "x.npy")]
    monkeypatch.setattr(reading, "_AT_ONCE", 150)
    score, calls = VAE.log_prob, []

    def interrupted(self, *arguments, **options):
        calls.append(options["keys"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return score(self, *arguments, **options)

    monkeypatch.setattr(VAE, "log_prob", interrupted)
    command = ["score", *given, "--samples", "4", "--json", "--out"]
    assert cli.main([*command, str(tmp_path / "s.csv")]) == 130
    assert "150 of 400 are done: the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "s.csv").exists()
    # Half a row more, as of a disk that was full.
    with open(tmp_path / "s.csv.partial", "ab") as file:
        file.write(b"1234")
    assert cli.main([*command, str(tmp_path / "s.csv")]) == 0
    assert [len(keys) for keys in calls] == [150, 150, 150, 100] and calls[2][0] == 150
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]
    scores = pd.read_csv(tmp_path / "s.csv", dtype=str)
    assert list(scores.columns) == ["image", "log_prob", "standard_error"] and scores["image"][7].endswith("x.npy[7]")
    vae, x = VAE.from_preset(folder / "run"), np.load(folder / "x.npy")
    np.testing.assert_array_equal(list(map(float, scores["log_prob"])), score(vae, x, samples=4, seed=0))
    assert cli.main(["encode", *given, "--out", str(tmp_path / "z.NPY")]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "z.NPY"), vae.encode(x), rtol=1e-4, atol=1e-5)


def test_two_processes_write_no_file_together(run_of_arrays, tmp_path, capsys, monkeypatch):
    folder, _ = run_of_arrays
    command = ["score", str(folder / "run"), str(folder / "x.npy"), "--samples", "1", "--out", str(tmp_path / "s.npy")]
    score, told = VAE.log_prob, []

    def meanwhile(self, *arguments, **options):
        if not told:
            told.append(None)
            told[0] = cli.main(command), capsys.readouterr().err
        return score(self, *arguments, **options)

    monkeypatch.setattr(VAE, "log_prob", meanwhile)
    assert cli.main(command) == 0
    code, said = told[0]
    assert code == 1 and "Another process writes this file" in said
    assert np.load(tmp_path / "s.npy").shape == (400,) and [path.name for path in tmp_path.iterdir()] == ["s.npy"]


def test_results_of_other_data_are_not_gone_on_with(run_of_arrays, tmp_path, monkeypatch):
    folder, _ = run_of_arrays
    monkeypatch.setattr(reading, "_AT_ONCE", 150)
    x, score, calls = np.load(folder / "x.npy"), VAE.log_prob, []

    def interrupted(self, *arguments, **options):
        calls.append(options["keys"][0])
        if len(calls) in (2, 4):
            raise KeyboardInterrupt
        return score(self, *arguments, **options)

    monkeypatch.setattr(VAE, "log_prob", interrupted)
    np.save(tmp_path / "x.npy", x)
    command = [
        "score",
        str(folder / "run"),
        str(tmp_path / "x.npy"),
        "--samples",
        "4",
        "--out",
        str(tmp_path / "s.npy"),
    ]
    assert cli.main(command) == 130
    np.save(tmp_path / "x.npy", x[::-1])
    assert cli.main(command) == 130
    monkeypatch.setattr(models, "digest", lambda model: "other weights")
    assert cli.main(command) == 0
    assert calls == [0, 150] * 2 + [0, 150, 300]
    vae = VAE.from_preset(folder / "run")
    np.testing.assert_array_equal(np.load(tmp_path / "s.npy"), score(vae, x[::-1], samples=4, seed=0))


def test_a_full_disk_is_told_by_name_and_later_gone_on_with(run_of_arrays, tmp_path, capsys, monkeypatch):
    folder, _ = run_of_arrays
    command = ["score", str(folder / "run"), str(folder / "x.npy"), "--samples", "1", "--out", str(tmp_path / "s.npy")]
    usage, appended = shutil.disk_usage(tmp_path), files.appended
    monkeypatch.setattr(files, "appended", lambda path: appended(Path("/dev/full")))
    assert cli.main(command) == 1
    assert "No space left on device: '/dev/full'" in capsys.readouterr().err
    monkeypatch.setattr(files, "appended", appended)
    # All numbers are there, with their standard errors, and no room for a file of them.
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=399 * 8))
    assert cli.main(command) == 1
    assert f"No space left on device: '{tmp_path / 's.npy'}'" in capsys.readouterr().err
    assert (tmp_path / "s.npy.partial").stat().st_size == 400 * 16 and not (tmp_path / "s.npy").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(VAE, "log_prob", lambda *_, **__: pytest.fail("all were there"))
    assert cli.main(command) == 0
    assert np.load(tmp_path / "s.npy").shape == (400,)


@pytest.mark.long_on_jax
def test_a_run_of_arrays_takes_a_prior_and_another_training(run_of_arrays, tmp_path, capsys):
    folder, _ = run_of_arrays
    few = ["--eval-samples", "2", "--json"]
    assert cli.main(["fit-prior", str(folder / "run"), "normal", "--preset", str(tmp_path / "p"), *few]) == 0
    assert VAE.from_preset(tmp_path / "p").prior.spec != "standard_normal"
    again = ["train", str(folder / "x.npy"), "--from", str(folder / "run"), "--epochs", "1", "--out"]
    assert cli.main([*again, str(tmp_path / "second"), *few]) == 0
    assert "error" not in capsys.readouterr().err
