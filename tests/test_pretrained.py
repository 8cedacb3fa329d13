"""What the command does with models that are trained already, on small ones."""

import json
import shutil
import sys
import warnings

import numpy as np
import pytest
from compositions import COMPOSITIONS
from PIL import Image

import keras_vae as kv
import zoo
from keras_vae import presets
from keras_vae.cli import arguments, export
from keras_vae.cli import main as cli
from keras_vae.presets import location
from keras_vae.runs import run as experiment


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The preset of a short experiment on digits."""
    out = tmp_path_factory.mktemp("runs") / "run"
    experiment.run("digits", out, epochs=2, eval_samples=10, ema=0.9, keep="elbo", preset=out / "toy", verbose=False)
    return out / "toy"


@pytest.fixture
def pictures(tmp_path):
    """Three digits as pictures, and their levels."""
    levels = kv.data.load("digits").test.images[:3]
    (tmp_path / "pictures").mkdir()
    for index, image in enumerate(levels):
        Image.fromarray(image[..., 0]).save(tmp_path / "pictures" / f"{index}.png")
    return tmp_path / "pictures", levels


def bits(levels):
    """Images as a binary model is given them, each by itself."""
    return np.concatenate([kv.data.convert(image[None], "binary", seed=0) for image in levels])


def run(capsys, *arguments, code=0):
    """What keras-vae prints."""
    assert cli.main(list(map(str, arguments))) == code
    said = capsys.readouterr()
    return said.err if code else said.out


@pytest.mark.long_on_jax
def test_a_run_is_a_model(trained, pictures, tmp_path, capsys):
    complete, killed = trained.parent, tmp_path / "killed"
    shutil.copytree(complete, killed)
    for name in (presets.RESULTS, presets.WEIGHTS, "model.keras"):
        (killed / name).unlink()
    expected = zoo.load(trained).sample(3, seed=0)
    for out in (complete, killed):
        run(capsys, "sample", out, "-n", 3, "--out", tmp_path / "s.npy")
        np.testing.assert_allclose(np.load(tmp_path / "s.npy"), expected, rtol=1e-6)
    assert "3 images" in run(capsys, "score", killed, pictures[0], "--samples", 2)
    assert json.loads(run(capsys, "info", killed, "--json"))["epochs"] == 2
    assert json.loads(run(capsys, "info", complete, "--json"))["metrics"] == presets.read(trained)[1]["metrics"]
    assert run(capsys, "evaluate", complete).count("agrees") == 7
    assert "log p(x)" in run(capsys, "card", complete)
    for command in ("card", "evaluate"):
        assert f"--out {killed} --resume" in run(capsys, command, killed, code=2)
    (killed / "state.keras").write_bytes(b"")
    (killed / "previous.state.keras").unlink()
    assert "state.keras" in run(capsys, "sample", killed, "--out", tmp_path / "s.npy", code=2)


def test_warnings_are_shown_as_before(capsys):
    shown = warnings.showwarning
    run(capsys, "list")
    run(capsys, "info", "no such model", code=2)
    assert warnings.showwarning is shown


def test_list_and_info(trained, monkeypatch, capsys):
    assert "mnist" in run(capsys, "list") or zoo.list_models() == []
    monkeypatch.setattr(location, "ZOO", trained.parent)
    assert run(capsys, "list").split()[:3] == ["toy", "digits", "log_prob"]
    (entry,) = json.loads(run(capsys, "list", "t*", "--json"))
    assert entry == json.loads(run(capsys, "info", "toy", "--json")) and run(capsys, "list", "x*") == ""
    said = run(capsys, "info", "toy")
    assert entry["sha256"] in said and "digits" in said and "images 300, samples 10" in said


OF_A_NAME = {
    "info": (),
    "card": (),
    "evaluate": (),
    "fit-prior": (),
    "round": (),
    "sample": ("--out", "x.png"),
    "reconstruct": ("x.png", "--out", "y.png"),
    "impute": ("x.npy", "--out", "y.npy"),
    "interpolate": ("a.png", "b.png", "--out", "y.png"),
    "move": ("x.png", "--attribute", "Smiling", "--out", "y.png"),
    "encode": ("x.png",),
    "score": ("x.png",),
    "export": (),
}


def test_every_command_that_takes_a_name_is_in_the_list():
    (commands,) = (action.choices for action in arguments.parser()._actions if action.dest == "command")
    assert set(OF_A_NAME) == {
        name for name, parser in commands.items() if {"NAME", "[NAME]"} & set(parser.format_usage().split())
    }


@pytest.mark.parametrize("command", OF_A_NAME)
def test_an_unknown_name_is_one_line_and_exit_code_2(trained, monkeypatch, capsys, command):
    monkeypatch.setattr(location, "ZOO", trained.parent)
    said = run(capsys, command, "tyo", *OF_A_NAME[command], code=2)
    assert said.startswith("keras-vae: error: ") and said.count("\n") == 1 and "Did you mean 'toy'" in said


def test_a_recipe_without_weights_is_exit_code_2(tmp_path, monkeypatch, capsys):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "config.json").write_text('{"format_version": 1, "recipe": {}}')
    monkeypatch.setattr(location, "ZOO", tmp_path)
    assert "keras-vae train zoo/toy" in run(capsys, "sample", "toy", "--out", tmp_path / "s.png", code=2)


def test_json_says_what_was_written(trained, pictures, tmp_path, capsys):
    folder, _ = pictures
    written = {
        "sample": (["-n", 5], [5, 8, 8, 1]),
        "reconstruct": ([folder], [3, 8, 8, 1]),
        "interpolate": ([folder / "0.png", folder / "1.png", "--steps", 4], [4, 8, 8, 1]),
        "encode": ([folder], [3, 16]),
    }
    for command, (given, shape) in written.items():
        out = tmp_path / f"{command}.npy"
        said = json.loads(run(capsys, command, trained, *given, "--out", out, "--json"))
        assert said["out"] == str(out) and said["shape"] == shape == list(np.load(out).shape)
    latents = json.loads(run(capsys, "encode", trained, folder, "--json"))["latents"]
    np.testing.assert_allclose(latents, np.load(tmp_path / "encode.npy"), rtol=1e-6)
    assert json.loads(run(capsys, "card", trained, "--json"))["card"] == (trained / presets.CARD).read_text()
    copy = shutil.copytree(trained, tmp_path / "toy")
    assert json.loads(run(capsys, "card", copy, "--write", "--json")) == {"out": str(copy / presets.CARD)}


def test_all_entries_are_measured_again(trained, tmp_path, monkeypatch, capsys):
    shutil.copytree(trained, tmp_path / "a")
    shutil.copytree(trained, tmp_path / "b")
    results = json.loads((tmp_path / "b" / "results.json").read_text())
    results["metrics"]["kl"]["value"] += 1
    (tmp_path / "b" / "results.json").write_text(json.dumps(results))
    monkeypatch.setattr(location, "ZOO", tmp_path)
    assert cli.main(["evaluate", "--all", "--eval-samples", "2", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    verdicts = {name: {row["metric"]: row["verdict"] for row in found} for name, found in rows.items()}
    assert verdicts["a"]["kl"] == "agrees" and verdicts["b"]["kl"].startswith("differs")
    assert verdicts["a"]["log_prob"] == "another protocol"
    for given in ((), ("a", "--all")):
        assert "NAME of a model, or --all" in run(capsys, "evaluate", *given, code=2)


def test_evaluate_agrees_and_finds_what_differs(trained, tmp_path, capsys):
    assert "differs" not in (said := run(capsys, "evaluate", trained)) and said.count("agrees") == 7
    copy = shutil.copytree(trained, tmp_path / "toy")
    results = json.loads((copy / presets.RESULTS).read_text())
    results["metrics"]["elbo"]["value"] += 0.5
    results["metrics"]["fid"] = results["metrics"]["elbo"]
    (copy / presets.RESULTS).write_text(json.dumps(results))
    assert cli.main(["evaluate", str(copy), "--eval-samples", "5", "--json"]) == 1
    rows = {row["metric"]: row["verdict"] for row in json.loads(capsys.readouterr().out)}
    assert rows["elbo"] == "differs by -0.5" and rows["kl"] == rows["fixed_batch"] == "agrees"
    assert rows["log_prob"] == "another protocol" and rows["fid"] == "is not measured by this command"
    assert cli.main(["evaluate", str(copy), "--write"]) == 1
    assert "differs" not in run(capsys, "evaluate", copy).split("metric")[-1]
    assert run(capsys, "card", copy) == (copy / presets.CARD).read_text()
    # Measured by fewer images, it says so, and is measured by as many from then on.
    run(capsys, "evaluate", copy, "--eval-images", 20, "--write")
    assert presets.read(copy)[1]["metrics"]["log_prob"]["images"] == 20
    said = run(capsys, "evaluate", copy)
    assert "differs" not in said and "another protocol" not in said
    # It was trained as before.
    assert presets.read(copy)[1]["command"] == presets.read(trained)[1]["command"] != ""
    kv.VAE.from_preset(copy)


@pytest.mark.long_on_jax
def test_a_prior_is_fitted(trained, tmp_path, capsys):
    out, stored = tmp_path / "fitted", presets.read(trained)
    options = ("fit-prior", trained, "normal", "--preset", out)
    said = run(capsys, *options)
    assert said.split()[-1] == str(out) and "log_prob" in said and "elbo" in said
    config, results = presets.read(out)
    metrics = results["metrics"]
    for name in ("elbo", "log_prob"):
        assert metrics[f"{name}_before"]["value"] == stored[1]["metrics"][name]["value"]
        assert metrics[f"{name}_before"]["protocol"].endswith("with the former prior, standard_normal")
        assert f"{metrics[name]['value']:.3f} nats" in said
    assert {"samples.png", "samples_before.png", "curves.png"} <= {path.name for path in out.iterdir()}
    assert list(results["pictures"])[:2] == ["samples.png", "samples_before.png"]
    card = (out / presets.CARD).read_text()
    assert "fitted to 1,297 training images, by `keras-vae fit-prior" in card
    assert "| log p(x) with the former prior (nats) |" in card
    assert config["recipe"] == stored[0]["recipe"] and isinstance(zoo.load(out).prior, kv.priors.FittedMixture)
    assert "--overwrite" in run(capsys, *options, code=2)
    assert "choose another directory" in run(capsys, "fit-prior", trained, "--preset", trained.parent, code=2)


@pytest.mark.long
# Of so few images.
@pytest.mark.filterwarnings("ignore:At latents that it was not fitted to")
def test_a_prior_of_classes_is_fitted_with_few_labels(trained, tmp_path, capsys):
    out, spec = tmp_path / "labelled", "m2:widths=[32],samples=2,alpha=5"
    given = ("--labels", 100, "--epochs", 20, "--learning-rate", 0.01, "--eval-images", 40)
    run(capsys, "fit-prior", trained, spec, *given, "--preset", out)
    config, results = presets.read(out)
    accuracy = results["metrics"]["accuracy"]
    assert config["recipe"]["labels"] == 100 and accuracy["unit"] == "%" and accuracy["value"] > 25
    assert "q(y|z)" in accuracy["protocol"] and "100 labels" in accuracy["protocol"]
    assert zoo.load(out).classify(np.zeros((2, 8, 8, 1), "float32")).shape == (2, 10)
    said = run(capsys, "evaluate", out)
    assert "agrees" in said and "another protocol" not in said and results["metrics"]["log_prob"]["images"] == 40
    said = run(capsys, "fit-prior", trained, "normal", "--labels", 50, "--preset", tmp_path / "x", code=2)
    assert "learns from no labels: leave out --labels" in said


def test_an_attribute_is_moved(trained, pictures, tmp_path, capsys):
    vae = zoo.load(trained)
    (direction,) = np.random.default_rng(0).normal(size=(1, *vae.latent_shape)).astype("float32")
    vae.save_to_preset(tmp_path / "labelled", attributes={"Slanted": direction})
    given = ["move", tmp_path / "labelled", pictures[0], "--attribute", "Slanted", "--amounts", -2, 0.5]
    said = json.loads(run(capsys, *given, "--out", tmp_path / "m.npy", "--json"))
    assert said["shape"] == [6, 8, 8, 1] and said["amounts"] == [-2, 0.5]
    z = vae.encode(bits(pictures[1]))
    moved = np.load(tmp_path / "m.npy").reshape(3, 2, 8, 8, 1)
    for column, amount in enumerate((-2, 0.5)):
        np.testing.assert_allclose(moved[:, column], vae.decode(z + amount * direction), atol=1e-5)
    run(capsys, *given, "--out", tmp_path / "m.png")
    assert Image.open(tmp_path / "m.png").size == (2 * 8, 3 * 8)
    given[4] = "Slant"
    assert "Did you mean 'Slanted'" in run(capsys, *given, "--out", tmp_path / "x.npy", code=2)
    given[1] = trained
    assert "no attributes" in run(capsys, *given, "--out", tmp_path / "x.npy", code=2)


def test_card(trained, tmp_path, capsys):
    copy = shutil.copytree(trained, tmp_path / "toy")
    (copy / presets.CARD).unlink()
    run(capsys, "card", copy, "--write")
    assert (copy / presets.CARD).read_text() == run(capsys, "card", trained)


def test_samples_as_arrays_and_pictures(trained, tmp_path, capsys):
    vae = zoo.load(trained)
    expected = vae.sample(5, seed=3)
    for out in ("s.npy", "s.png", "s"):
        run(capsys, "sample", trained, "-n", 5, "--seed", 3, "--out", tmp_path / out)
    np.testing.assert_allclose(np.load(tmp_path / "s.npy"), expected, rtol=1e-6)
    levels = np.rint(expected * 255)[..., 0]
    grid = np.asarray(Image.open(tmp_path / "s.png"))
    assert grid.shape == (16, 24)
    # A level of rounding.
    np.testing.assert_allclose(grid[8:, 8:16], levels[4], atol=1)
    assert not grid[8:, 16:].any()
    files = sorted((tmp_path / "s").iterdir())
    assert len(files) == 5
    np.testing.assert_allclose(np.asarray(Image.open(files[2])), levels[2], atol=1)
    with pytest.raises(SystemExit) as end:
        cli.main(["sample", str(trained), "--out", "s.gif"])
    assert end.value.code == 2 and "or a directory" in capsys.readouterr().err


def test_pictures_and_arrays_are_the_same_images(trained, pictures, tmp_path, capsys):
    folder, levels = pictures
    vae = zoo.load(trained)
    x = bits(levels)
    np.save(tmp_path / "levels.npy", levels)
    np.save(tmp_path / "seen.npy", x)
    for source in (folder, tmp_path / "levels.npy", tmp_path / "seen.npy"):
        run(capsys, "encode", trained, source, "--out", tmp_path / "z.npy")
        np.testing.assert_allclose(np.load(tmp_path / "z.npy"), vae.encode(x), rtol=1e-5, atol=1e-6)
    printed = np.array([line.split() for line in run(capsys, "encode", trained, folder).splitlines()], "float64")
    np.testing.assert_allclose(printed, vae.encode(x), rtol=1e-4, atol=1e-5)
    measured = json.loads(run(capsys, "score", trained, folder, "--samples", 7, "--json"))
    np.testing.assert_allclose(measured["log_prob"], vae.log_prob(x, samples=7, seed=0), rtol=1e-6)
    assert measured["bits_per_dim"] is None
    assert "3 images, 7 samples" in run(capsys, "score", trained, folder, "--samples", 7)


def test_reconstruct_and_interpolate(trained, pictures, tmp_path, capsys):
    folder, levels = pictures
    vae = zoo.load(trained)
    x = bits(levels)
    for out in ("r.npy", "r.png"):
        run(capsys, "reconstruct", trained, folder, "--out", tmp_path / out)
    np.testing.assert_allclose(np.load(tmp_path / "r.npy"), vae.reconstruct(x), rtol=1e-5, atol=1e-6)
    # Two columns of pairs, each image above its reconstruction.
    grid = np.asarray(Image.open(tmp_path / "r.png"))
    assert grid.shape == (32, 16)
    np.testing.assert_array_equal(grid[:8, :8], 255 * x[0, ..., 0])
    ends = [kv.data.convert(levels[i : i + 1], "binary", 0)[0] for i in (0, 1)]
    for out in ("i.npy", "i.png"):
        run(capsys, "interpolate", trained, folder / "0.png", folder / "1.png", "--steps", 4, "--out", tmp_path / out)
    np.testing.assert_allclose(np.load(tmp_path / "i.npy"), vae.interpolate(*ends, steps=4), rtol=1e-5, atol=1e-6)
    assert np.asarray(Image.open(tmp_path / "i.png")).shape == (8, 32)
    assert "One image" in run(capsys, "interpolate", trained, folder, folder, "--out", tmp_path / "i.npy", code=1)


def test_levels_stay_levels(tmp_path, capsys):
    (composition,) = (c for c in COMPOSITIONS if c.name == "colour_mixture")
    composition.model().save_to_preset(tmp_path / "toy")
    levels = composition.images(2)
    np.save(tmp_path / "x.npy", levels)
    run(capsys, "reconstruct", tmp_path / "toy", tmp_path / "x.npy", "--out", tmp_path / "r")
    first = np.asarray(Image.open(tmp_path / "r" / "00000.png"))
    assert first.shape == (16, 8, 3)
    np.testing.assert_array_equal(first[:8], levels[0])
    measured = json.loads(run(capsys, "score", tmp_path / "toy", tmp_path / "x.npy", "--samples", 2, "--json"))
    expected = -np.array(measured["log_prob"]) / (8 * 8 * 3 * np.log(2))
    np.testing.assert_allclose(measured["bits_per_dim"], expected)
    assert "no recipe" in run(capsys, "evaluate", tmp_path / "toy", code=2)


def test_what_is_no_image(trained, tmp_path, capsys):
    (tmp_path / "text.png").write_text("not a picture")
    Image.effect_noise((64, 64), 50).save(tmp_path / "cut.png")
    # What Pillow finds wrong with a chunk is a SyntaxError.
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:100] + b"0" * 100)
    (tmp_path / "empty").mkdir()
    for path, said in (
        ("text.png", "neither a picture"),
        ("cut.png", "damaged"),
        ("empty", "no images"),
        ("gone.png", "No such file"),
    ):
        assert said in run(capsys, "score", trained, tmp_path / path, code=1)
    np.save(tmp_path / "nan.npy", np.full((1, 8, 8, 1), np.nan))
    assert "NaN" in run(capsys, "score", trained, tmp_path / "nan.npy", code=1)
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    assert "no arrays of numbers" in run(capsys, "score", trained, tmp_path / "object.npy", code=1)


@pytest.mark.skipif(kv.backend.NAME != "tensorflow", reason="SavedModels are written by TensorFlow")
def test_export(trained, tmp_path, capsys):
    import tensorflow as tf

    said = json.loads(run(capsys, "export", trained, "--out", tmp_path / "saved", "--json"))
    note = json.loads((tmp_path / "saved" / export.NOTE).read_text())
    assert said == {"out": str(tmp_path / "saved"), **note}
    assert note["weights_sha256"] == presets.sha256(trained / presets.WEIGHTS)
    assert note["images"] == {"shape": [8, 8, 1], "values": "binary"} and note["command"].startswith("keras-vae export")
    x = kv.data.convert(kv.data.load("digits").test.images[:3], "binary")
    served = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(served.encode(x).numpy(), zoo.load(trained).encode(x), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(kv.backend.NAME != "tensorflow", reason="ONNX files are written by TensorFlow")
def test_export_to_onnx(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / run(capsys, "export", trained, "--format", "onnx").strip()
    assert out == tmp_path / "onnxmodels" / "toy"
    assert sorted(path.name for path in out.iterdir()) == ["decode.onnx", "encode.onnx", "serve.onnx", export.NOTE]
    note = json.loads((out / export.NOTE).read_text())
    assert note["format"] == "onnx" and note["weights_sha256"] == presets.sha256(trained / presets.WEIGHTS)
    again = ("export", trained, "--format", "onnx")
    assert "--overwrite" in run(capsys, *again, code=2)
    run(capsys, *again, "--overwrite")
    # A failure leaves what was there, as it was.
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    assert "keras_vae[onnx]" in run(capsys, *again, "--overwrite", code=1)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    # A directory of something else is nobody's to replace.
    assert "Only what" in run(capsys, *again, "--out", tmp_path, "--overwrite", code=2)


def test_a_directory_that_cannot_be_written_is_one_line(trained, tmp_path, capsys):
    (tmp_path / "file").touch()
    for format in ("tf_saved_model", "onnx"):
        said = run(capsys, "export", trained, "--format", format, "--out", tmp_path / "file" / "m", code=1)
        assert said.startswith("keras-vae: error: ") and said.count("\n") == 1


@pytest.mark.long
def test_a_recipe_makes_the_preset_of_its_name(tmp_path, monkeypatch, capsys):
    recipe = {"dataset": "digits", "epochs": 9, "network": "mlp", "latent_size": 3, "eval_samples": 5, "keep": "elbo"}
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "config.json").write_text(
        json.dumps({"format_version": 1, "about": {"title": "A toy"}, "recipe": recipe})
    )
    monkeypatch.setattr(location, "ZOO", tmp_path)
    out = tmp_path / "runs" / "run"
    run(capsys, "train", "zoo/toy", "--epochs", 1, "--out", out)
    config, results = presets.read(out / "preset")
    assert config["about"] == {"name": "toy", "title": "A toy"}
    assert config["recipe"]["latent_size"] == 3 and config["recipe"]["epochs"] == results["epochs"] == 1
    assert results["command"] == f"keras-vae train zoo/toy --epochs 1 --out {out}"
    assert "agrees" in run(capsys, "evaluate", out / "preset")
    run(capsys, "train", "zoo/toy", "--resume", "--epochs", 2, "--out", out, "--preset", tmp_path / "toy")
    assert zoo.list_models() == ["toy"] and presets.read(tmp_path / "toy")[1]["epochs"] == 2
    assert "Did you mean 'toy'" in run(capsys, "train", "zoo/tyo", code=2)
