"""An experiment, run in this process."""

import ast
import dataclasses
import json
import math
import shlex
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_vae import data, metrics, presets, schedules
from keras_vae.callbacks import Deadline, OutOfTime
from keras_vae.cli import arguments
from keras_vae.cli import main as cli
from keras_vae.files import Table
from keras_vae.models.vae import VAE
from keras_vae.runs import directory, recipe
from keras_vae.runs import evaluation as measuring
from keras_vae.runs import run as experiment
from keras_vae.training.averages import ValidatedAverage

SHORT = {"epochs": 4, "eval_samples": 20, "verbose": False}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    return out, experiment.run("digits", out, **SHORT)


def same(a, b):
    """Whether two results, JSON or not, are of the same numbers."""
    return all(a[name] == b[name] for name in ("elbo", "log_likelihood", "kl", "log_prob", "epochs"))


def run_killed_between_history_and_model(out, monkeypatch, **settings):
    """A run that dies in its third epoch, when that is in the history and not yet in the model."""

    def dying_replace(path, write, real=directory.replace):
        if path.name == "model.keras" and len((out / "history.csv").read_text().splitlines()) == 4:
            raise KeyboardInterrupt
        real(path, write)

    with monkeypatch.context() as patch:
        patch.setattr(directory, "replace", dying_replace)
        with pytest.raises(KeyboardInterrupt):
            experiment.run("digits", out, **settings)


def test_a_run_killed_between_history_and_model(finished, tmp_path, monkeypatch):
    uninterrupted, results = finished
    out = tmp_path / "digits"
    run_killed_between_history_and_model(out, monkeypatch, **SHORT)
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

    class Soon(Deadline):
        def on_train_batch_end(self, batch, logs=None):
            if len(self._begun) == 3 and batch > 20:
                raise OutOfTime

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "Deadline", Soon)
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


FULL = SHORT | {
    "objective": "iwae:3",
    "ema": 0.9,
    "keep": "iwae",
    "learning_rate_schedule": "cosine",
    "network_arguments": {"widths": [32]},
    "output_bias": True,
    "flip": True,
}


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A run with averaged weights, a falling learning rate and the best epoch kept, written as a preset."""
    out = tmp_path_factory.mktemp("runs") / "full"
    return out, experiment.run("digits", out, preset=out / "preset", about={"title": "t"}, **FULL)


def test_a_killed_run_with_averages_goes_on_to_the_bit(full, tmp_path, monkeypatch):
    uninterrupted, results = full
    out = tmp_path / "full"
    run_killed_between_history_and_model(out, monkeypatch, **FULL)
    resumed = experiment.run("digits", out, resume=True, preset=out / "preset", verbose=False)
    assert same(resumed, results) and resumed["epoch_kept"] == results["epoch_kept"]
    assert (out / "history.csv").read_bytes() == (uninterrupted / "history.csv").read_bytes()
    for here, there in zip(*(VAE.from_preset(d / "preset").get_weights() for d in (out, uninterrupted)), strict=True):
        np.testing.assert_array_equal(here, there)


def test_a_complete_run_still_writes_the_preset_that_it_lacks(full, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(full[0], out)
    shutil.rmtree(out / "preset")
    experiment.run("digits", out, resume=True, preset=out / "preset", verbose=False)
    for here, there in zip(*(VAE.from_preset(d / "preset").get_weights() for d in (out, full[0])), strict=True):
        np.testing.assert_array_equal(here, there)


def test_reconstructions_and_latents_are_measured(full):
    out, results = full
    vae = VAE.from_preset(out / "preset")
    x = data.convert(data.load("digits").test.images, "binary", measuring.BINARISATION_SEED)
    error = np.square(x - vae.reconstruct(x)).sum(axis=(1, 2, 3))
    assert results["squared_error"]["value"] == pytest.approx(error.mean(), rel=1e-5)
    assert results["squared_error"]["standard_error"] == pytest.approx(error.std(ddof=1) / 300**0.5, rel=1e-5)
    assert results["active_units"]["value"] == (vae.encode(x).var(axis=0) > 0.01).sum() > 0
    # Of bits there is no PSNR worth the name.
    assert "psnr" not in results and "ssim" not in results


def test_the_quality_of_reconstructions_can_be_followed(tmp_path):
    settings = {"epochs": 2, "likelihood": "normal", "keep": "elbo", "eval_images": 2, "eval_samples": 2}
    out = tmp_path / "run"
    results = experiment.run("digits", out, monitor_images=True, verbose=False, **settings)
    table = Table(out / "history.csv", 2)
    vae = keras.saving.load_model(out / "model.keras")
    x = data.convert(data.load("digits").validation.images, "real")
    error, psnr = (f(x, vae.reconstruct(x)).mean() for f in (metrics.squared_error, metrics.psnr))
    assert table.column("val_squared_error")[1] == pytest.approx(error, rel=1e-5)
    assert table.column("val_psnr")[1] == pytest.approx(psnr, rel=1e-5)
    assert results["psnr"]["unit"] == "dB" and "not dequantised" in results["preprocessing"]


def test_a_preset_shows_the_pictures_of_its_run(full):
    out, _ = full
    _, stored = presets.read(out / "preset")
    assert set(stored["pictures"]) == {"samples.png", "interpolations.png", "latent.png", "curves.png"}
    card = (out / "preset" / presets.CARD).read_text()
    for name, caption in stored["pictures"].items():
        assert (out / "preset" / name).read_bytes() == (out / name).read_bytes()
        assert f"![{caption}]({name})" in card
    # It holds no image of the data set.
    assert not (out / "preset" / "reconstructions.png").exists()


def test_the_best_epoch_is_the_one_that_is_kept(full):
    out, results = full
    bounds = Table(out / "history.csv", 4).column("val_iwae")
    assert results["epoch_kept"] == 1 + int(np.argmax(bounds))
    vae = VAE.from_preset(out / "preset")
    assert int(vae.step) == results["epoch_kept"] * math.ceil(1297 / 32)
    x = data.convert(data.load("digits").validation.images, "binary", measuring.BINARISATION_SEED)
    # What was validated are the weights that were kept: 200 images, three samples of z each.
    assert vae.log_prob(x, samples=3, seed=0).mean() == pytest.approx(max(bounds), abs=0.3)


def test_a_worse_epoch_is_not_kept(tmp_path, monkeypatch):
    kept = []
    recorder = directory.Recorder(tmp_path, 0, keep="loss")
    for epoch, loss in enumerate((3.0, 2.0, 2.5, 2.0, 1.0)):
        recorder._history.append({"epoch": epoch, "val_loss": loss})
        kept.append(recorder._is_best())
    assert kept == [True, True, False, False, True]


def test_validation_sees_the_averaged_weights_and_training_does_not():
    settings = experiment.Settings("digits", network="mlp", latent_size=2, network_arguments={"widths": [4]}, ema=0.9)
    vae = recipe.model(settings, (8, 8, 1), steps=3, mean=None)
    vae.compile(vae.optimizer)
    x = np.round(np.random.default_rng(0).random((48, 8, 8, 1))).astype("float32")
    seen = {"train": [], "test": []}

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen["train"].append(np.array(self.model.trainable_variables[0].numpy()))

        def on_test_batch_end(self, batch, logs=None):
            seen["test"].append(np.array(self.model.trainable_variables[0].numpy()))

        def on_epoch_end(self, epoch, logs=None):
            np.testing.assert_array_equal(self.model.trainable_variables[0].numpy(), seen["train"][-1])

    callbacks = [ValidatedAverage(), Look()]
    vae.fit(x, batch_size=16, epochs=2, validation_data=x, callbacks=callbacks, verbose=0)
    average = seen["train"][0].astype("float64")
    averages = [average]
    for weights in seen["train"][1:]:
        average = 0.9 * average + 0.1 * weights
        averages.append(average)
    np.testing.assert_allclose(seen["test"][0], averages[2], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(seen["test"][-1], averages[5], rtol=1e-4, atol=1e-6)
    assert np.abs(averages[5] - seen["train"][5]).max() > 1e-3


def test_a_model_with_averaged_weights_goes_on():
    settings = experiment.Settings("digits", network="mlp", latent_size=2, network_arguments={"widths": [4]}, ema=0.9)
    vae = recipe.model(settings, (8, 8, 1), steps=3, mean=None)
    x = np.round(np.random.default_rng(0).random((48, 8, 8, 1))).astype("float32")
    # On JAX the averages were the very arrays that each of these deletes.
    for _ in range(2):
        vae.fit(x, verbose=0)
        assert [np.isfinite(vae.evaluate(x, verbose=0, return_dict=True)["elbo"]) for _ in range(2)] == [True, True]


def test_the_output_starts_at_the_mean_of_the_images():
    mean = np.random.default_rng(0).uniform(0.1, 0.9, (8, 8, 1))
    settings = experiment.Settings("digits", network="mlp", latent_size=2, output_bias=True)
    for network, expected in (("mlp", mean), ("conv", np.full_like(mean, mean.mean()))):
        vae = recipe.model(dataclasses.replace(settings, network=network), (8, 8, 1), steps=1, mean=mean)
        features = np.zeros((1, *vae.likelihood.head.features_shape), "float32")
        shown = np.array(vae.likelihood.image(vae.likelihood.distribution(features)))[0]
        np.testing.assert_allclose(shown, expected, atol=1e-5)


def test_learning_rates_fall_by_the_epoch():
    settings = experiment.Settings("digits", epochs=4, learning_rate=0.1, learning_rate_schedule="exponential:0.5")
    assert [float(recipe.learning_rate(settings, 10)(step)) for step in (0, 9, 10, 25)] == pytest.approx(
        [0.1, 0.1, 0.05, 0.025]
    )
    cosine = recipe.learning_rate(dataclasses.replace(settings, learning_rate_schedule="cosine"), 10)
    assert [float(cosine(step)) for step in (0, 20, 40)] == pytest.approx([0.1, 0.05, 0.0])


def test_the_objective_of_a_recipe():
    settings = experiment.Settings("digits", objective="elbo:2", beta=4.0, warmup_epochs=1.5, free_bits=0.25)
    objective = recipe.objective(settings, steps=10)
    assert objective.samples == 2 and objective.free_bits == 0.25
    assert objective.beta == schedules.LinearWarmup(15, end=4.0)
    assert recipe.objective(experiment.Settings("digits", objective="iwae:7"), steps=1).samples == 7


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"objective": "iwae", "beta": 2.0}, "Only the ELBO"),
        ({"objective": "iwea"}, "'iwae'"),
        ({"keep": "iwae"}, "Known: 'last', 'loss', 'elbo'"),
        ({"learning_rate_schedule": "exponential"}, "exponential:0.95"),
        ({"learning_rate_schedule": "cosin"}, "'cosine'"),
        ({"ema": 1.0}, "below 1"),
        ({"network_arguments": {"width": 3}}, "width"),
        ({"output_bias": True, "likelihood": "normal"}, "Bernoulli"),
    ],
)
def test_recipes_that_cannot_be_meant(tmp_path, given, said):
    with pytest.raises(ValueError, match=f"{said}.*Received|Received.*{said}"):
        experiment.run("digits", tmp_path / "run", verbose=False, **given)
    assert not (tmp_path / "run").exists()


def test_a_falling_learning_rate_fixes_the_epochs(full):
    with pytest.raises(experiment.UsageError, match=r"falls to 0 at epoch 4.*Received: --epochs 5"):
        experiment.run("digits", full[0], resume=True, epochs=5)


def test_a_preset_of_a_run_says_what_was_measured(full):
    out, results = full
    config, written = presets.read(out / "preset")
    assert written["metrics"]["log_prob"] == results["log_prob"] and "equation 8" in results["log_prob"]["protocol"]
    assert written["epoch_kept"] == results["epoch_kept"] and len(written["history"]["val_iwae"]) == 4
    assert config["recipe"]["objective"] == "iwae:3" and config["data"]["dataset"] == "digits"
    assert "iwae" in written["history"] and "log p(x)" in (out / "preset" / "README.md").read_text()


def test_a_complete_run_is_left_alone(finished):
    out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert experiment.run("digits", out, resume=True, verbose=False) == json.loads((out / "results.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_run_of_before_there_were_flips_is_complete_and_has_none(finished, tmp_path):
    out = tmp_path / "digits"
    shutil.copytree(finished[0], out)
    config, results = (json.loads((out / name).read_text()) for name in ("config.json", "results.json"))
    del config["flip"], results["settings"]["flip"]
    (out / "config.json").write_text(json.dumps(config))
    (out / "results.json").write_text(json.dumps(results))
    assert experiment.run("digits", out, resume=True, verbose=False) == results
    with pytest.raises(recipe.UsageError, match=r"has --flip False.*Received: --flip True"):
        experiment.run("digits", out, resume=True, flip=True, verbose=False)


def test_only_training_images_are_flipped():
    settings = experiment.Settings("digits", flip=True)
    images, train, evaluated = measuring.read_data(settings, recipe.likelihood("normal"))
    assert train.flip and not measuring.read_data(experiment.Settings("digits"), recipe.likelihood("normal"))[1].flip
    np.testing.assert_array_equal(evaluated["test"], data.convert(images.test.images, "real"))
    np.testing.assert_array_equal(evaluated["validation"], data.convert(images.validation.images, "real"))


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


COMMANDS = next(action.choices for action in arguments.parser()._actions if action.dest == "command")


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_has_examples_that_can_be_parsed(name, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([*name.split(), "--help"])
    assert end.value.code == 0
    _, _, examples = capsys.readouterr().out.partition("\nexamples:\n")
    lines = [line.strip() for line in examples.splitlines() if line.startswith(f"  keras-vae {name}")]
    assert lines
    for line in lines:
        arguments.parser().parse_args(shlex.split(line)[1:])


def test_help_waits_for_no_framework():
    trees = [ast.parse(Path(module.__file__).read_text()) for module in (cli, arguments)]
    imports = [node for tree in trees for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in imports for alias in node.names} | {getattr(node, "module", "") for node in imports}
    assert not names & {"keras", "tensorflow", "jax", "keras_vae.runs.run"}


def test_a_likelihood_with_its_argument():
    assert recipe.likelihood("normal:optimal").scale == "optimal"
    assert recipe.likelihood("laplace:0.25").scale == 0.25
    assert recipe.likelihood("discretized_logistic_mixture:3").components == 3


def test_averages_do_not_go_with_batch_normalisation(tmp_path):
    settings = {"network": "conv", "network_arguments": {"batch_norm": True, "widths": [4]}, "ema": 0.9}
    with pytest.raises(recipe.UsageError, match=r"statistics.*Received: ema=0\.9"):
        experiment.run("digits", tmp_path / "run", verbose=False, **settings)
    assert not (tmp_path / "run").exists()


def test_binary_data_is_not_binarised_again(monkeypatch):
    from keras_vae import likelihoods

    ones = data.Split(np.ones((4, 8, 8, 1), dtype=np.uint8))
    monkeypatch.setattr(data, "load", lambda *_: data.DataSet("ones", True, ones, ones, ones))
    settings = experiment.Settings("ones", batch_size=2)
    _, train, evaluated = measuring.read_data(settings, likelihoods.Bernoulli())
    assert not train.binarize
    # A level of 1 would be a pixel that is nearly always off.
    assert train.x.min() == evaluated["test"].min() == 1


def test_a_table_is_cut_to_what_counts(tmp_path):
    path = tmp_path / "history.csv"
    table = Table(path, 0)
    for epoch in range(3):
        table.append({"epoch": epoch, "loss": 0.1 + epoch})
    with open(path, "a") as file:
        file.write("3,3.")
    table = Table(path, 2)
    table.append({"epoch": 2, "loss": 1 / 3})
    assert path.read_text() == "epoch,loss\n0,0.1\n1,1.1\n2,0.3333333333333333\n"
    assert table.column("loss") == [0.1, 1.1, 1 / 3]
