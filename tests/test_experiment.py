"""An experiment, run in this process."""

import dataclasses
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import types
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_vae as kv
from keras_vae import data, files, likelihoods, metrics, names, presets, schedules
from keras_vae.callbacks import Deadline
from keras_vae.cli import arguments
from keras_vae.cli import main as cli
from keras_vae.files import Table
from keras_vae.models.vae import VAE
from keras_vae.runs import data as run_data
from keras_vae.runs import directory, evaluation, model, pictures, recorder
from keras_vae.runs import run as experiment
from keras_vae.runs.costs import Costs, Extent, is_cut
from keras_vae.runs.defaults import suiting
from keras_vae.runs.imports import import_parts
from keras_vae.runs.recipe import FIELDS, Recipe, UsageError, written
from keras_vae.training.averages import ValidatedAverage

# In float32, so that the model which is tested is the one that was trained, compiled functions and all.
SHORT = {"epochs": 4, "eval_samples": 20, "verbose": False, "precision": "float32"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    return out, experiment.run("digits", out, **SHORT)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Runs inside a test, unlike those of the fixtures above and below, leave out what takes most of their time."""
    monkeypatch.setattr(experiment, "_export", lambda *_: None)
    monkeypatch.setattr(pictures, "write", lambda *_: {})


STEPS = math.ceil(1297 / 32)


def results_history(out):
    """{column: numbers} of a run's history.csv."""
    rows = Table.read(out / "history.csv")
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.long_on_jax
def test_what_is_missing_is_filled_in_and_measured(tmp_path):
    recipe = {"network": "mlp:4", "latent_size": 2, "likelihood": "normal", "missing": 0.3, "corruption": "masking"}
    results = experiment.run("digits", tmp_path / "run", **SHORT | recipe | {"epochs": 1, "eval_images": 10})
    assert 0.1 < results["metrics"]["imputation_rmse"]["value"] < 1 and "psnr" not in results["metrics"]
    assert "0.3 of all pixels missing at random" in results["preprocessing"]
    vae = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert vae.missing and vae.corruption.spec == "masking" and len(vae.encoder.inputs) == 2
    # Of each split another part, the same ones in each run.
    _, train, evaluated = run_data.read(Recipe("digits", **recipe), vae.likelihood)
    assert np.isnan(train.x).mean() == pytest.approx(0.3, abs=0.01) and np.isnan(evaluated["test"]).any()
    again = run_data.read(Recipe("digits", **recipe), vae.likelihood)[2]["test"]
    np.testing.assert_array_equal(evaluated["test"], again)


def stopping_after(steps):
    """A deadline that comes once the model has made so many steps."""

    class Soon(Deadline):
        def on_train_batch_end(self, batch, logs=None):
            self._deadline = 0 if int(self.model.step) > steps else math.inf
            super().on_train_batch_end(batch, logs)

    return Soon


def same(a, b):
    """Whether two results, JSON or not, are of the same numbers."""
    return a["epochs"] == b["epochs"] and a["metrics"] == b["metrics"]


def run_killed_between_history_and_state(out, monkeypatch, **recipe):
    """A run that dies in its third epoch, when that is in the history and not yet in the state."""

    def dying_replace(path, write, keep_previous=False, real=files.replace):
        if path.name == "state.keras" and len((out / "history.csv").read_text().splitlines()) == 4:
            raise KeyboardInterrupt
        real(path, write, keep_previous)

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", dying_replace)
        with pytest.raises(KeyboardInterrupt):
            experiment.run("digits", out, **recipe)


@pytest.mark.long
def test_a_run_killed_between_history_and_state(finished, tmp_path, monkeypatch):
    uninterrupted, results = finished
    out = tmp_path / "digits"
    run_killed_between_history_and_state(out, monkeypatch, **SHORT)
    resumed = experiment.run("digits", out, resume=True, verbose=False)
    assert same(resumed, results)
    assert (out / "history.csv").read_bytes() == (uninterrupted / "history.csv").read_bytes()


@pytest.mark.long
def test_a_run_killed_during_its_evaluation(finished, tmp_path):
    uninterrupted, results = finished
    out = tmp_path / "digits"
    shutil.copytree(uninterrupted, out)
    (out / "results.json").unlink()
    assert same(experiment.run("digits", out, resume=True, verbose=False), results)
    assert (out / "history.csv").read_bytes() == (uninterrupted / "history.csv").read_bytes()


def test_what_was_measured_outlives_pictures_that_fail(tmp_path, monkeypatch):
    out, given = tmp_path / "digits", {"epochs": 1, "eval_samples": 2, "verbose": False, "precision": "float32"}

    def no_room(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(pictures, "write", no_room)
        experiment.run("digits", out, **given)
    assert not (out / "results.json").exists()
    measured = json.loads((out / "measured.json").read_text())["metrics"]
    with monkeypatch.context() as patched:
        patched.setattr(evaluation, "evaluate", lambda *_: pytest.fail("measured again"))
        results = experiment.run("digits", out, resume=True, verbose=False)
    assert results["metrics"] == measured and not (out / "measured.json").exists()
    # Other samples, or a damaged file, are another matter.
    monkeypatch.setattr(evaluation, "evaluate", lambda *_: {"measured": "again"})
    vae = types.SimpleNamespace(steps=41)
    for content in (json.dumps({"what": {"step": 41, "extent": [3, 300, 2]}, "metrics": {}}), "{"):
        (out / "measured.json").write_text(content)
        found = experiment._measured(vae, None, None, None, False, Extent(3, 300, 4), out)
        assert found == {"measured": "again"} == json.loads((out / "measured.json").read_text())["metrics"]


@pytest.mark.long
def test_a_run_out_of_time_in_the_midst_of_an_epoch(finished, tmp_path, monkeypatch):
    uninterrupted, results = finished
    out = tmp_path / "digits"

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "Deadline", stopping_after(2 * STEPS + 10))
        stopped = experiment.run("digits", out, minutes=60, **SHORT)
    assert (stopped["epochs"], stopped["epochs_planned"]) == (2, 4)
    assert json.loads((out / "results.json").read_text()) == stopped
    assert 0 < int(keras.saving.load_model(out / "state.keras").step) % STEPS < STEPS
    resumed = experiment.run("digits", out, resume=True, verbose=False)
    assert same(resumed, results)
    assert (out / "history.csv").read_bytes() == (uninterrupted / "history.csv").read_bytes()
    for here, there in zip(
        *(keras.saving.load_model(d / "state.keras").get_weights() for d in (out, uninterrupted)), strict=True
    ):
        np.testing.assert_array_equal(here, there)


def test_a_minute_that_is_too_short_leaves_a_model_and_results(tmp_path):
    out = tmp_path / "digits"
    stopped = experiment.run("digits", out, minutes=1e-6, **SHORT)
    assert stopped["epochs"] == 0 and "seconds_per_epoch" not in stopped
    log_prob = stopped["metrics"]["log_prob"]
    # Not even these fitted; a SavedModel and pictures take their time, too.
    assert (log_prob["images"], log_prob["samples"]) == (100, 10) and "cut to the time" in log_prob["protocol"]
    assert stopped["metrics"]["elbo"]["images"] == 16
    assert is_cut(stopped)
    VAE.from_preset(out)


def test_an_evaluation_is_cut_to_the_time_that_is_left():
    costs, wanted = Costs(image=0.001, sample=1e-5), Extent(10_000, 5000, 500)
    assert costs.seconds(wanted) == pytest.approx(15 + 40 + 25)
    assert costs.extent(wanted, 80.1) == wanted
    for seconds in (70, 40, 25):
        extent = costs.extent(wanted, seconds)
        assert extent.cut and 0.9 * seconds < costs.seconds(extent) <= seconds
    assert costs.extent(wanted, 0) == Extent(16, 100, 10, cut=True)


def test_ctrl_c_stops_at_a_step_and_evaluates(tmp_path, monkeypatch):
    out = tmp_path / "digits"

    class Pressed(Deadline):
        def on_train_batch_end(self, batch, logs=None):
            signal.raise_signal(signal.SIGINT)
            super().on_train_batch_end(batch, logs)

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(experiment, "Deadline", Pressed)
            with pytest.raises(experiment.Interrupted) as stopped:
                experiment.run("digits", out, **SHORT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, previous)
    assert stopped.value.results["epochs"] == 0 and not is_cut(stopped.value.results)
    assert directory.read(out)[1] == stopped.value.results


@pytest.mark.long
def test_more_epochs_for_a_complete_run(finished, tmp_path):
    uninterrupted, results = finished
    out = tmp_path / "digits"
    experiment.run("digits", out, **SHORT | {"epochs": 2})
    grown = experiment.run("digits", out, resume=True, epochs=4, verbose=False)
    assert same(grown, results)
    assert (out / "history.csv").read_bytes() == (uninterrupted / "history.csv").read_bytes()
    assert json.loads((out / "config.json").read_text())["recipe"]["epochs"] == 4


FULL = SHORT | {
    "objective": "iwae:3",
    "ema": 0.9,
    "keep": "iwae",
    "learning_rate_schedule": "cosine",
    "network": "mlp:widths=[32]",
    "output_bias": True,
    "flip": True,
}


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A run with averaged weights, a falling learning rate and the best epoch kept, written as a preset."""
    out = tmp_path_factory.mktemp("runs") / "full"
    return out, experiment.run("digits", out, preset=out / "preset", about={"title": "t"}, **FULL)


@pytest.mark.long
def test_a_killed_run_with_averages_goes_on_to_the_bit(full, tmp_path, monkeypatch):
    uninterrupted, results = full
    out = tmp_path / "full"
    run_killed_between_history_and_state(out, monkeypatch, **FULL)
    resumed = experiment.run("digits", out, resume=True, preset=out / "preset", verbose=False)
    assert same(resumed, results) and resumed["epoch_kept"] == results["epoch_kept"]
    assert (out / "history.csv").read_bytes() == (uninterrupted / "history.csv").read_bytes()
    for here, there in zip(*(VAE.from_preset(d / "preset").get_weights() for d in (out, uninterrupted)), strict=True):
        np.testing.assert_array_equal(here, there)


@pytest.mark.long
def test_a_complete_run_still_writes_the_preset_that_it_lacks(full, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(full[0], out)
    shutil.rmtree(out / "preset")
    experiment.run("digits", out, resume=True, preset=out / "preset", verbose=False)
    for here, there in zip(*(VAE.from_preset(d / "preset").get_weights() for d in (out, full[0])), strict=True):
        np.testing.assert_array_equal(here, there)


def test_reconstructions_and_latents_are_measured(finished):
    out, results = finished
    vae = keras.saving.load_model(out / "model.keras")
    x = data.convert(data.load("digits").test.images, "binary", run_data.BINARISATION_SEED)
    error = np.square(x - vae.reconstruct(x)).sum(axis=(1, 2, 3))
    measured = results["metrics"]
    assert measured["squared_error"]["value"] == pytest.approx(error.mean(), rel=1e-5)
    assert measured["squared_error"]["standard_error"] == pytest.approx(error.std(ddof=1) / 300**0.5, rel=1e-5)
    assert measured["active_units"]["value"] == (vae.encode(x).var(axis=0) > 0.01).sum() > 0
    # Of bits there is no PSNR worth the name.
    assert "psnr" not in measured and "ssim" not in measured


@pytest.mark.long
def test_the_quality_of_reconstructions_can_be_followed(tmp_path):
    recipe = {"epochs": 2, "likelihood": "normal", "keep": "elbo", "eval_images": 2, "eval_samples": 2}
    # The model that is tested is in float32, whatever was trained in.
    recipe["precision"] = "float32"
    out = tmp_path / "run"
    results = experiment.run("digits", out, monitor_images=True, verbose=False, **recipe)
    history = results_history(out)
    vae = keras.saving.load_model(out / "model.keras")
    x = data.convert(data.load("digits").validation.images, "real")
    error, psnr = (f(x, vae.reconstruct(x)).mean() for f in (metrics.squared_error, metrics.psnr))
    assert history["val_squared_error"][1] == pytest.approx(error, rel=1e-5)
    assert history["val_psnr"][1] == pytest.approx(psnr, rel=1e-5)
    assert results["metrics"]["psnr"]["unit"] == "dB" and "not dequantised" in results["preprocessing"]


def test_reconstructions_out_of_range_end_no_training():
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 2, widths=(4,)), likelihood="normal:per_pixel", seed=0)
    vae.likelihood.head.dense.bias.assign(np.full(128, 300.0))
    x = data.convert(data.load("digits").test.images[:5], "real")
    quality = evaluation.reconstruction_quality(vae, x)
    np.testing.assert_allclose(quality["squared_error"], ((x - 2) ** 2).sum(axis=(1, 2, 3)), rtol=1e-5)
    assert np.isfinite(quality["psnr"]).all()


def test_a_preset_shows_the_pictures_of_its_run(full):
    out, _ = full
    _, stored = presets.read(out / "preset")
    shown = {"samples.png", "interpolations.png", "traversals.png", "latent.png", "curves.png"}
    assert set(stored["pictures"]) == shown
    card = (out / "preset" / presets.CARD).read_text()
    for name, caption in stored["pictures"].items():
        # A preset's picture is packed anew: grids of grey images to the pixel, charts in 256 colours.
        packed, drawn = (np.asarray(Image.open(folder / name).convert("RGB")) for folder in (out / "preset", out))
        apart = np.abs(packed.astype(int) - drawn)
        assert apart.max() == 0 or (name in ("latent.png", "curves.png") and apart.mean() < 1)
        assert f"![{caption}]({name})" in card
    # It holds no image of the data set.
    assert not (out / "preset" / "reconstructions.png").exists()


def test_a_conditional_model_has_no_pictures_without_labels(tmp_path, monkeypatch):
    monkeypatch.undo()
    x, y, z = keras.Input((8, 8, 1)), keras.Input((10,)), keras.Input((2,))
    flat = keras.layers.Flatten()(x)
    encoder = keras.Model([x, y], keras.layers.Dense(4)(keras.layers.Concatenate()([flat, y])))
    decoder = keras.Model([z, y], keras.layers.Dense(4)(keras.layers.Concatenate()([z, y])))
    vae = VAE(encoder, decoder, seed=0)
    (tmp_path / "history.csv").write_text("epoch,loss\n1,3.0\n2,2.0\n")
    test = data.load("digits").test
    x = data.convert(test.images, "binary")
    assert [path.name for path in pictures.write(vae, tmp_path, x, None, 0, {})] == ["curves.png"]
    shown = pictures.write(vae, tmp_path, x, test.labels, 0, {})
    assert [path.name for path in shown] == ["samples.png", "curves.png"]
    marked = dataclasses.replace(test, attributes={"odd": test.labels % 2 == 1}, attributes_known=test.labels >= 0)
    assert pictures.attribute_directions(vae, marked) == {}


def test_the_best_epoch_is_the_one_that_is_kept(full):
    out, results = full
    bounds = results_history(out)["val_iwae"]
    assert results["epoch_kept"] == 1 + int(np.argmax(bounds))
    vae = VAE.from_preset(out / "preset")
    assert int(vae.step) == results["epoch_kept"] * math.ceil(1297 / 32)
    x = data.convert(data.load("digits").validation.images, "binary", run_data.BINARISATION_SEED)
    # What was validated are the weights that were kept: 200 images, three samples of z each.
    assert vae.log_prob(x, samples=3, seed=0).mean() == pytest.approx(max(bounds), abs=0.3)


@pytest.mark.parametrize(("keep", "sign"), [("loss", 1), ("reconstruction_loss", 1), ("iwae", -1), ("elbo", -1)])
def test_a_worse_epoch_is_not_kept(keep, sign, tmp_path):
    kept = []
    recording = recorder.Recorder(tmp_path, {"history": [], "timings": []}, {}, 1, keep=keep)
    for epoch, loss in enumerate((3.0, 2.0, 2.5, 2.0, 1.0)):
        recording._history.append({"epoch": epoch, f"val_{keep}": sign * loss})
        kept.append(recording._is_best())
    assert kept == [True, True, False, False, True]


def test_validation_sees_the_averaged_weights_and_training_does_not():
    recipe = Recipe("digits", network="mlp:4", latent_size=2, ema=0.9, learning_rate=1e-2)
    vae = model.build(recipe, (8, 8, 1), steps=3, mean=None)
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
    for update, weights in enumerate(seen["train"][1:], start=1):
        momentum = min(0.9, (1 + update) / (10 + update))
        average = momentum * average + (1 - momentum) * weights
        averages.append(average)
    np.testing.assert_allclose(seen["test"][0], averages[2], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(seen["test"][-1], averages[5], rtol=1e-4, atol=1e-6)
    assert np.abs(averages[5] - seen["train"][5]).max() > 1e-3


def test_a_model_with_averaged_weights_goes_on():
    recipe = Recipe("digits", network="mlp:4", latent_size=2, ema=0.9)
    vae = model.build(recipe, (8, 8, 1), steps=3, mean=None)
    x = np.round(np.random.default_rng(0).random((48, 8, 8, 1))).astype("float32")
    # On JAX the averages were the very arrays that each of these deletes.
    for _ in range(2):
        vae.fit(x, verbose=0)
        assert [np.isfinite(vae.evaluate(x, verbose=0, return_dict=True)["elbo"]) for _ in range(2)] == [True, True]


def test_the_output_starts_at_the_mean_of_the_images():
    mean = np.random.default_rng(0).uniform(0.1, 0.9, (8, 8, 1))
    recipe = Recipe("digits", network="mlp", latent_size=2, output_bias=True)
    for network, expected in (("mlp", mean), ("conv", np.full_like(mean, mean.mean()))):
        vae = model.build(dataclasses.replace(recipe, network=network), (8, 8, 1), steps=1, mean=mean)
        features = np.zeros((1, *vae.likelihood.head.features_shape), "float32")
        shown = np.array(vae.likelihood.image(vae.likelihood.distribution(features)))[0]
        np.testing.assert_allclose(shown, expected, atol=1e-5)


def test_learning_rates_fall_by_the_epoch():
    recipe = Recipe("digits", epochs=4, learning_rate=0.1, learning_rate_schedule="exponential:0.5")
    assert [float(model.learning_rate(recipe, 10)(step)) for step in (0, 9, 10, 25)] == pytest.approx(
        [0.1, 0.1, 0.05, 0.025]
    )
    cosine = model.learning_rate(dataclasses.replace(recipe, learning_rate_schedule="cosine"), 10)
    assert [float(cosine(step)) for step in (0, 20, 40)] == pytest.approx([0.1, 0.05, 0.0])


def test_the_objective_of_a_recipe():
    # Whether the beta is given by its place or by its name.
    for spec in ("elbo:samples=2,beta=4.0,free_bits=0.25", "elbo:2,4.0,0.25"):
        objective = model.objective(Recipe("digits", objective=spec, warmup_epochs=1.5), steps=10)
        assert objective.samples == 2 and objective.free_bits == 0.25
        assert objective.beta == schedules.LinearWarmup(15, end=4.0)
    objective = model.objective(Recipe("digits", objective="elbo:beta=linear_warmup(7,end=2)"), steps=10)
    assert objective.beta == schedules.LinearWarmup(7, end=2)
    assert model.objective(Recipe("digits", objective="iwae:7"), steps=1).samples == 7


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"objective": "iwae", "warmup_epochs": 2.0}, "Only an objective with a beta"),
        ({"objective": "elbo:beta=linear_warmup(9)", "warmup_epochs": 2.0}, "schedule already"),
        ({"objective": "iwea"}, "'iwae'"),
        ({"objective": "elbo:bta=4"}, "Did you mean 'beta'"),
        ({"objective": "elbo:beta=linear_warmpu(9)"}, "'linear_warmup'"),
        ({"posterior": "diagonal_norml"}, "'diagonal_normal'"),
        ({"posterior": "diagonal_normal:floor=small"}, "`floor` must be a finite number"),
        ({"prior": "standard_normal:3"}, "takes no arguments"),
        ({"likelihood": "bernoulli:yes"}, "`soft` must be true or false"),
        ({"likelihood": "bernouli"}, "'bernoulli'"),
        ({"network": "mlpp"}, "'mlp'"),
        ({"network": "mlp:width=3"}, "Did you mean 'widths'"),
        ({"network": "mlp:widths=wide"}, "`widths` must be"),
        ({"network": "mlp", "latent_size": (2, 2, 1)}, "`latent_size` must be a whole number"),
        ({"keep": "iwae"}, "Known: 'last', 'loss', 'elbo'"),
        ({"learning_rate_schedule": "exponential"}, "needs factor"),
        ({"learning_rate_schedule": "exponential:abc"}, "`factor` must be a finite number"),
        ({"learning_rate_schedule": "exponential:0"}, "above 0"),
        ({"learning_rate_schedule": "cosin"}, "'cosine'"),
        ({"ema": 1.0}, "below 1"),
        ({"batch_size": 0}, "`batch_size` must be a whole number of at least 1"),
        ({"epochs": 2.5}, "`epochs` must be a whole number"),
        ({"epochs": True}, "`epochs` must be a whole number"),
        ({"latent_size": ()}, "`latent_size` must be"),
        ({"learning_rate": math.nan}, "finite"),
        ({"optimizer": "adamm"}, "'adam'"),
        ({"precision": "float8"}, "'float32'"),
        ({"flip": "no"}, "`flip` must be true or false"),
        ({"data_dri": "x"}, "Did you mean 'data_dir'"),
        ({"beta": 4.0}, "objective='elbo:beta=4.0'"),
        ({"network": "conv", "network_arguments": {"dense": None}}, "network='conv:dense=none'"),
        ({"imports": ["no_such_module"]}, "--import"),
        ({"imports": ["no_such_file.py"]}, "--import"),
    ],
)
def test_recipes_that_cannot_be_meant(tmp_path, monkeypatch, given, said):
    # Nothing is read for it, and a file is no better than an argument.
    monkeypatch.setattr(data, "load", None)
    for where in (given, {"defaults": given}):
        with pytest.raises(UsageError, match=f"(?s){said}.*Received") as error:
            experiment.run("digits", tmp_path / "run", verbose=False, **where)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "run").exists()


def test_an_output_bias_is_bernoullis(tmp_path):
    with pytest.raises(ValueError, match=r"Bernoulli.*Received"):
        experiment.run("digits", tmp_path / "run", verbose=False, output_bias=True, likelihood="normal")
    assert not (tmp_path / "run").exists()


def test_a_recipe_has_one_form():
    recipe = Recipe("digits", likelihood="Normal: scale = learned", latent_size=[4, 4, 8], clip=1)
    assert recipe == Recipe("digits", likelihood="normal:scale=learned", latent_size=(4, 4, 8), clip=1.0)
    assert Recipe.of(json.loads(json.dumps(recipe.entries()))) == recipe
    assert Recipe("digits", epochs=np.int64(3), clip=np.float32(2)).entries()["epochs"] == 3
    with pytest.raises(UsageError, match="needs a `dataset`"):
        Recipe.of({"epochs": 3})


def test_every_field_is_an_option_that_its_run_can_be_written_with():
    recipe = Recipe(
        "digits",
        latent_size=(4, 4, 8),
        output_bias=True,
        objective="elbo:beta=linear_warmup(9,end=0.5),free_bits=0.1",
        network="resnet:widths=[8,8],blocks=[0,1]",
        clip=2.5,
        ema=0.9,
        data_dir="there",
        image_size=8,
        eval_images=7,
        model="m2:alpha=0.5",
        labels=100,
    )
    given = {name: getattr(recipe, name) for name in FIELDS if name not in ("dataset", "imports")}
    # What is None by default has no option that says so.
    given = {name: value for name, value in given.items() if value is not None}
    words = [word for name, value in given.items() for word in written(name, value).split()]
    options = vars(arguments.parser().parse_args(["train", "digits", *words, "--import", "a", "--import", "b.py"]))
    more = vars(arguments.parser().parse_args(["train", "digits", "--baseline", "pca", "--from", "mnist_mlp"]))
    assert (more["baseline"], more["start"]) == ("pca", "mnist_mlp")
    assert {name: options[name] for name in given} == given
    assert options["imports"] == ["a", "b.py"]
    absent = vars(arguments.parser().parse_args(["train", "digits"]))
    assert all(absent[name] is None for name in FIELDS if name != "dataset")


PARTS = """
import keras_vae as kv

@kv.register(package="mine")
class Halved(kv.objectives.ELBO):
    \"\"\"The ELBO, half of it.

    Reference: nobody 2026.
    \"\"\"
    def __init__(self, share: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.share = share
    def terms(self, inference):
        return {"loss": -self.share * inference.elbo}
"""


@pytest.mark.long
def test_parts_of_a_users_own(tmp_path, capsys, monkeypatch):
    path = tmp_path / "parts_of_mine.py"
    path.write_text(PARTS)
    train = ["train", "digits", "--out", str(tmp_path / "run"), "--json", "--eval-samples", "2"]
    own = ["--import", str(path), "--epochs", "1", "--objective", "halved:share=0.25"]
    assert cli.main([*train, *own]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["recipe"]["imports"] == [str(path)]
    # What the recipe names is known again to those who go on with it.
    names.registry._REGISTRY["objective"].pop("halved")
    del sys.modules["parts_of_mine"]
    assert cli.main([*train, "--resume", "--epochs", "2"]) == 0
    capsys.readouterr()
    assert cli.main(["parts", "objective", "--import", str(path), "--json"]) == 0
    (part,) = [part for part in json.loads(capsys.readouterr().out) if part["name"] == "halved"]
    # Its own argument, and those behind its **kwargs.
    own, *inherited = part.pop("arguments")
    assert own == {"name": "share", "type": "float", "default": "0.5"}
    assert [argument["name"] for argument in inherited] == ["samples", "beta", "free_bits"]
    assert part == {
        "role": "objective",
        "name": "halved",
        "description": "The ELBO, half of it.",
        "source": "nobody 2026.",
    }
    names.registry._REGISTRY["objective"].pop("halved")
    (tmp_path / "json.py").touch()
    with pytest.raises(UsageError, match="rename the file"):
        import_parts((str(tmp_path / "json.py"),))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "found_here.py").touch()
    import_parts(("found_here",))
    assert "found_here" in sys.modules


def test_a_falling_learning_rate_fixes_the_epochs(full):
    with pytest.raises(UsageError, match=r"falls to 0 at epoch 4.*Received: --epochs 5"):
        experiment.run("digits", full[0], resume=True, epochs=5)


def test_a_preset_of_a_run_says_what_was_measured(full):
    out, results = full
    config, stored = presets.read(out / "preset")
    assert stored["metrics"] == results["metrics"] and "equation 8" in results["metrics"]["log_prob"]["protocol"]
    assert stored["epoch_kept"] == results["epoch_kept"] and len(stored["history"]["val_iwae"]) == 4
    assert config["recipe"]["objective"] == "iwae:3" and config["data"]["dataset"] == "digits"
    assert "iwae" in stored["history"] and "log p(x)" in (out / "preset" / "README.md").read_text()


def test_a_complete_run_is_left_alone(finished):
    out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert experiment.run("digits", out, resume=True, verbose=False) == json.loads((out / "results.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize("name", ["model.keras", presets.WEIGHTS])
def test_a_complete_run_whose_model_is_damaged_is_not_complete(finished, tmp_path, monkeypatch, name):
    out = tmp_path / "digits"
    shutil.copytree(finished[0], out)
    (out / name).write_bytes((out / name).read_bytes()[:-100])
    monkeypatch.setattr(experiment, "_run", lambda *_: "again")
    assert experiment.run("digits", out, resume=True, verbose=False) == "again"


def test_a_run_of_before_there_were_flips_is_complete_and_has_none(finished, tmp_path):
    out = tmp_path / "digits"
    shutil.copytree(finished[0], out)
    config, results = (json.loads((out / name).read_text()) for name in ("config.json", "results.json"))
    del config["recipe"]["flip"]
    (out / "config.json").write_text(json.dumps(config))
    assert experiment.run("digits", out, resume=True, verbose=False) == results
    with pytest.raises(UsageError, match=r"has --no-flip and goes on with it\. Received: --flip$"):
        experiment.run("digits", out, resume=True, flip=True, verbose=False)


def test_only_training_images_are_flipped():
    recipe = Recipe("digits", flip=True)
    images, train, evaluated = run_data.read(recipe, likelihoods.get("normal"))
    assert train.flip and not run_data.read(Recipe("digits"), likelihoods.get("normal"))[1].flip
    np.testing.assert_array_equal(evaluated["test"], data.convert(images.test.images, "real"))
    np.testing.assert_array_equal(evaluated["validation"], data.convert(images.validation.images, "real"))


def test_a_loss_that_is_not_finite_leaves_no_model(tmp_path, capsys):
    code = cli.main(["train", "digits", "--out", str(tmp_path / "run"), "--learning-rate", "1e9", "--json"])
    said = capsys.readouterr()
    assert code == 1 and said.out == ""
    assert "--learning-rate" in said.err and len(said.err.splitlines()) == 1
    assert not (tmp_path / "run" / "model.keras").exists()


@pytest.mark.long
def test_half_precision_tracks_single_precision(finished, tmp_path):
    results = experiment.run("digits", tmp_path / "half", **SHORT | {"precision": "mixed_float16"})
    # The noise is the same; of about 25 nats, weights that round differently move little in four epochs.
    assert results["metrics"]["elbo"]["value"] == pytest.approx(finished[1]["metrics"]["elbo"]["value"], abs=0.3)
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
        (["digits", "--out", "new", "--likelihood", "discretized_logistic:3"], 2, "takes no arguments"),
        (["digits", "--out", "new", "--freeze", "encoder"], 2, "--from NAME"),
        (["digits", "--out", "new", "--model", "m2", "--labels", "5"], 2, "Some of 10 classes"),
        (["digits", "--out", "new", "--objective", "mmd", "--keep", "mmd"], 2, "keep the best epoch by"),
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
    [
        "--epochs=0",
        "--learning-rate=0",
        "--seed=-1",
        "--network=mlp:",
        "--objective=elbo:beta=1)(2",
        "--latent-size=8x",
        "--precision=float8",
        "--epoch=3",
        "--beta=nan",
    ],
)
def test_options_that_cannot_be_meant(option, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["train", "digits", option])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert option.split("=")[0] in error and len(error.splitlines()) == 1


def test_no_option_is_proposed_that_is_no_more(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "digits", "--networ", "mlp"])
    said = capsys.readouterr().err
    assert "did you mean --network" in said and "--network-arguments" not in said and "--beta" not in said


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        (["--beta", "4"], "--objective elbo:beta=4"),
        (["--free-bits=0.1"], "--objective elbo:free_bits=0.1"),
        (["--network", "conv", "--network-arguments", '{"widths": [8, 4]}'], "--network 'conv:widths=[8,4]'"),
    ],
)
def test_an_option_of_older_versions_says_how_it_is_written_now(removed, said, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["train", "digits", *removed])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.endswith(f": {said}\n") and error.count("\n") == 1


def test_parts_are_those_of_the_registry(capsys):
    assert cli.main(["parts", "--json"]) == 0
    parts = json.loads(capsys.readouterr().out)
    assert {(part["role"], part["name"]) for part in parts} == {
        (role, name) for role in names.roles() for name in names.known(role)
    }
    assert all(part["description"].endswith(".") and "\n" not in part["description"] for part in parts)
    by_name = {part["name"]: part for part in parts}
    assert by_name["iwae"]["arguments"] == [{"name": "samples", "type": "int", "default": "50"}]
    assert by_name["iwae"]["source"] == "Burda, Grosse and Salakhutdinov 2016, equation 8."
    # What a model gives to a part is no argument of its spec.
    assert [argument["name"] for argument in by_name["mlp"]["arguments"]] == ["widths", "activation", "missing"]
    assert by_name["standard_normal"]["arguments"] == []
    assert cli.main(["parts", "likelihood"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("likelihood\n") and "bernoulli" in text and "iwae" not in text
    assert "soft: bool = false" in text and "Reference: Kingma and Welling 2014" in text
    assert cli.main(["parts", "likelyhood"]) == 2
    assert "Did you mean 'likelihood'" in capsys.readouterr().err


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


@pytest.mark.long
def test_averages_go_with_batch_normalisation_and_a_fitted_scale(tmp_path):
    recipe = {"network": "conv:4,batch_norm=true", "ema": 0.9, "likelihood": "normal:optimal", "precision": "float32"}
    results = experiment.run("digits", tmp_path / "run", **SHORT | {"epochs": 3} | recipe)
    # Validated and tested with the same weights and statistics.
    validated = results_history(tmp_path / "run")["val_elbo"][-1]
    assert results["metrics"]["elbo"]["value"] == pytest.approx(validated, abs=2.0)


def test_binary_data_is_not_binarised_again(monkeypatch):
    ones = data.Split(np.ones((4, 8, 8, 1), dtype=np.uint8))
    monkeypatch.setattr(data, "load", lambda *_: data.DataSet("ones", True, ones, ones, ones))
    recipe = Recipe("ones", batch_size=2)
    _, train, evaluated = run_data.read(recipe, likelihoods.Bernoulli())
    assert not train.binarize
    # A level of 1 would be a pixel that is nearly always off.
    assert train.x.min() == evaluated["test"].min() == 1


# Nothing lost


def test_a_state_without_the_whole_optimizer_is_refused(finished, tmp_path):
    state = finished[0] / "state.keras"
    model = keras.saving.load_model(state)
    model.encoder.trainable = False
    model.compile("adam")
    model.save(tmp_path / "state.keras")
    # Its moving averages, say, would all be 0.
    with (
        pytest.raises(UsageError, match=r"optimizer of a model with other weights.*14 variables"),
        recorder._whole(state),
    ):
        keras.saving.load_model(state).load_weights(tmp_path / "state.keras")
    with pytest.raises(UsageError, match=r"start another run. Received: 'adam'"), recorder._whole(state):
        warnings.warn("Skipping variable loading for optimizer 'adam'", UserWarning, stacklevel=1)
    with pytest.raises(ValueError, match="another"), recorder._whole(state):
        raise ValueError("another")


@pytest.fixture
def killed(finished, tmp_path):
    """A copy of a run of four epochs whose results were not written yet."""
    out = tmp_path / "killed"
    shutil.copytree(finished[0], out)
    for name in ("results.json", "model.keras", presets.WEIGHTS):
        (out / name).unlink()
    return out


def is_as_before(out, finished):
    """Whether a resumed run has what the uninterrupted one has."""
    resumed = experiment.run("digits", out, resume=True, verbose=False)
    same_files = all((out / name).read_bytes() == (finished[0] / name).read_bytes() for name in ("history.csv",))
    return same(resumed, finished[1]) and same_files and len(Table.read(out / "timings.csv")) == 4


@pytest.mark.parametrize(("field", "value"), [("learning_rate", 0.5), ("likelihood", "normal"), ("latent_size", 3)])
def test_a_run_goes_on_by_the_recipe_that_it_was_trained_by(killed, field, value):
    path = killed / "config.json"
    config = json.loads(path.read_text())
    config["recipe"][field] = value
    path.write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"was trained with --.*put it back into config\.json.*Received: .* there"):
        experiment.run("digits", killed, resume=True, verbose=False)


def test_a_damaged_state_falls_back_to_the_one_before(killed, finished):
    state = killed / "state.keras"
    content = bytearray(state.read_bytes())
    # A bit of the weights.
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    # The history has a line more than the state before.
    with pytest.warns(RuntimeWarning, match=r"state\.keras is damaged.*previous\.state\.keras"):
        assert is_as_before(killed, finished)


def test_a_run_without_a_whole_state_says_so(killed):
    for name in ("state.keras", "previous.state.keras"):
        (killed / name).write_bytes(b"")
    with pytest.raises(UsageError, match=r"damaged.*Received: .*state\.keras and .*previous"):
        experiment.run("digits", killed, resume=True, verbose=False)


@pytest.mark.parametrize("content", [None, b"", b"{", b"\0\0\0"])
def test_lost_and_torn_files_are_written_anew(finished, tmp_path, content):
    out = tmp_path / "run"
    shutil.copytree(finished[0], out)
    names = ("history.csv", "timings.csv")
    for name in (*names, "results.json"):
        _spoil(out / name, content)
    assert directory.read(out)[1] is None
    recorder.Recorder(out, directory.state(out)[1], {}, STEPS)
    for name in names:
        assert (out / name).read_bytes() == (finished[0] / name).read_bytes()


def _spoil(path, content):
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_a_lost_config_is_that_of_the_state(killed, finished, content):
    before = directory.read(killed)[0]
    _spoil(killed / "config.json", content)
    with pytest.warns(RuntimeWarning, match=r"config\.json"):
        assert directory.read(killed)[0]["recipe"] == before["recipe"]
    _spoil(killed / "config.json", b'{"format_version": 99}')
    with pytest.raises(presets.PresetError, match=r"config\.json was written by a newer"):
        directory.read(killed)


def test_a_run_of_an_older_version_goes_on(full, tmp_path):
    uninterrupted, results = full
    out = tmp_path / "older"
    shutil.copytree(uninterrupted, out)
    for name in ("results.json", presets.WEIGHTS, "previous.state.keras"):
        (out / name).unlink()
    # Its model was its state, and had no history with it.
    keras.saving.load_model(out / "state.keras").save(out / "model.keras")
    (out / "state.keras").unlink()
    resumed = experiment.run("digits", out, resume=True, verbose=False)
    assert same(resumed, results) and resumed["epoch_kept"] == results["epoch_kept"]
    assert (out / "history.csv").read_bytes() == (uninterrupted / "history.csv").read_bytes()
    # What was tested is no state.
    for path in out.glob("*state.keras"):
        path.unlink()
    (out / "results.json").unlink()
    with pytest.raises(UsageError, match=r"model\.keras is the model that was tested"):
        experiment.run("digits", out, resume=True, verbose=False)


def test_the_model_of_a_run_has_the_weights_that_were_tested(full):
    out, results = full
    vae = keras.saving.load_model(out / "model.keras")
    x = data.convert(data.load("digits").test.images, "binary", run_data.BINARISATION_SEED)
    measured = vae.evaluate(x, batch_size=256, verbose=0, return_dict=True)["elbo"]
    assert measured == pytest.approx(results["metrics"]["elbo"]["value"], rel=1e-5)
    assert int(vae.step) == results["epoch_kept"] * STEPS
    for here, there in zip(vae.get_weights(), VAE.from_preset(out).get_weights(), strict=True):
        np.testing.assert_array_equal(here, there)
    # A run that was killed has them, too.
    for here, there in zip(vae.get_weights(), recorder.unfinished(out).get_weights(), strict=True):
        np.testing.assert_array_equal(here, there)


def test_damaged_weights_of_the_best_epoch_fall_back_to_those_before(full, tmp_path):
    out = tmp_path / "full"
    shutil.copytree(full[0], out)
    (out / "best.weights.h5").write_bytes(b"")
    with pytest.warns(RuntimeWarning, match=r"best\.weights\.h5 is damaged"):
        assert int(recorder.unfinished(out).step) < full[1]["epoch_kept"] * STEPS
    (out / "previous.best.weights.h5").write_bytes(b"")
    with (
        pytest.warns(RuntimeWarning, match="damaged"),
        pytest.raises(UsageError, match=r"Received: .*best\.weights\.h5"),
    ):
        recorder.unfinished(out)


def test_a_run_that_was_killed_before_it_began_begins(tmp_path, monkeypatch):
    out = tmp_path / "run"

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "_run", dies)
    with pytest.raises(KeyboardInterrupt):
        experiment.run("digits", out, **SHORT)
    # Nothing of it is there.
    assert not out.exists()
    out.mkdir()
    for name in (".lock", ".lock.json", "partial.config.json"):
        (out / name).write_text("{")
    with pytest.raises(KeyboardInterrupt):
        experiment.run("digits", out, **SHORT)
    assert [path.name for path in out.iterdir()] == [".lock"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "of_mine.png").touch()
    with pytest.raises(UsageError, match="exists"):
        experiment.run("digits", tmp_path / "photos", verbose=False)


def test_a_second_process_is_told_who_has_the_run(finished):
    out, _ = finished
    code = "import sys, pathlib; from keras_vae.runs import directory; directory.check_free(pathlib.Path(sys.argv[1]))"
    process = [sys.executable, "-c", code, out]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    with directory.locked(out):
        told = subprocess.run(process, capture_output=True, text=True, check=False, env=environment)
        said = json.loads((out / ".lock.json").read_text())
    assert told.returncode == 1
    assert f"written by process {os.getpid()}, since {said['since']}" in told.stderr.splitlines()[-1]
    assert subprocess.run(process, check=False, env=environment).returncode == 0


def test_a_preset_is_replaced_only_if_told(full, tmp_path):
    preset = tmp_path / "preset"
    shutil.copytree(full[0] / "preset", preset)
    with pytest.raises(UsageError, match=r"--overwrite.*Received"):
        experiment.run("digits", tmp_path / "run", preset=preset, **SHORT)
    assert not (tmp_path / "run").exists()
    recipe = Recipe.of(directory.read(full[0])[0]["recipe"])
    directory.check_preset(preset, dataclasses.replace(recipe, epochs=9, data_dir="elsewhere"))
    with pytest.raises(UsageError):
        directory.check_preset(preset, dataclasses.replace(recipe, seed=1))


def test_what_suits_data_follows_from_how_much_there_is():
    few, many = (suiting("photos", ("pictures", count)) for count in (10, 100_000))
    assert few["batch_size"] == 8 and few["epochs"] == 500
    assert many["batch_size"] == 128 and many["epochs"] == 30
    some = suiting("photos", ("pictures", 300))
    assert 3000 <= some["epochs"] * -(-300 // some["batch_size"]) < 3300


@pytest.mark.long
def test_a_folder_of_few_pictures_trains(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(12):
        (tmp_path / "photos" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 255, (20, 30, 3), "uint8"))
        image.save(tmp_path / "photos" / "ab"[number % 2] / f"{number}.png")
    given = {"image_size": 16, "network": "mlp:[8]", "epochs": 1, "eval_samples": 2, "verbose": False}
    results = experiment.run(tmp_path / "photos", tmp_path / "run", **given)
    assert np.isfinite(results["metrics"]["log_prob"]["value"]) and results["training_images"] == 10
