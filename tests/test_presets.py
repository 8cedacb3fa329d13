"""Presets: a directory that gives back the same model, or says why it does not."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from compositions import COMPOSITIONS
from PIL import Image
from scipy.ndimage import gaussian_filter

import keras_vae as kv
from keras_vae import presets
from keras_vae.parts import policy_scope
from keras_vae.presets import cards

ROOT = Path(__file__).parent.parent
RESULTS = {
    "metrics": {
        "log_prob": {
            "value": -21.5,
            "standard_error": 0.25,
            "unit": "nats",
            "split": "test",
            "images": 300,
            "samples": 50,
            "protocol": "importance sampling | from q",
        }
    },
    "command": "keras-vae train digits",
    "versions": {"keras": keras.__version__},
}
ABOUT = {"title": "A small one", "description": 'It "quotes": this.', "paper": "AEVB", "license": "MIT"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A trained model and its preset, which tests copy before they damage it."""
    vae = COMPOSITIONS[0].model()
    vae.fit(COMPOSITIONS[0].images(), verbose=0)
    directory = tmp_path_factory.mktemp("presets") / "small"
    history = {"epoch": [1], "loss": [30.5]}
    data = {"dataset": "digits", "preprocessing": "binarised"}
    vae.save_to_preset(directory, about=ABOUT, data=data, recipe={"epochs": 1}, results=RESULTS, history=history)
    return vae, directory


def test_pictures_are_packed_and_keep_what_they_show(saved, tmp_path):
    vae, _ = saved
    rng = np.random.default_rng(0)
    faces = np.kron(rng.uniform(0, 255, (32, 32, 3)), np.ones((8, 8, 1)))
    faces = gaussian_filter(faces, (6, 6, 0)).clip(0, 255).astype("uint8")
    chart = np.full((64, 64, 3), 255, "uint8")
    chart[10:30, 10:30] = rng.integers(0, 255, (20, 20, 3))
    drawn = {"faces": faces, "chart": chart, "grey": np.repeat(faces[..., :1], 3, axis=-1), "few": faces // 128 * 128}
    for name, pixels in drawn.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    folder = tmp_path / "preset"
    folder.mkdir()
    (folder / "faces.png").write_bytes(b"of an earlier version")
    vae.save_to_preset(folder, pictures={tmp_path / f"{name}.png": name for name in drawn})
    names = presets.read(folder)[1]["pictures"]
    assert names == {"faces.jpg": "faces", "chart.png": "chart", "grey.png": "grey", "few.png": "few"}
    assert {path.name for path in folder.glob("*.[jp][pn]g")} == set(names)
    for file, name in names.items():
        apart = np.abs(np.asarray(Image.open(folder / file).convert("RGB")).astype(int) - drawn[name])
        assert apart.mean() < {"faces": 3, "chart": 1}.get(name, 1e-9), name
        assert (folder / file).stat().st_size <= (tmp_path / f"{name}.png").stat().st_size
        assert f"![{name}]({file})" in presets.card(folder)
    # Written again as they lie there, and with another of the same name.
    before = (folder / "chart.png").read_bytes()
    vae.save_to_preset(folder, pictures={folder / file: name for file, name in names.items()})
    assert presets.read(folder)[1]["pictures"] == names and (folder / "chart.png").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"about": {"title": 5}}, "about.title"),
        ({"about": {"license": None}}, "about.license"),
        ({"about": {"description": ["x"]}}, "about.description"),
        ({"data": {"dataset": 3}}, "data.dataset"),
    ],
)
def test_what_no_card_can_show_replaces_no_preset(copy, given, said):
    before = (copy / presets.RESULTS).read_bytes()
    with pytest.raises(presets.PresetError, match=said):
        presets.load(copy).save_to_preset(copy, **given)
    assert (copy / presets.RESULTS).read_bytes() == before


def test_numbers_of_numpy_are_numbers(saved, tmp_path):
    metric = {"value": np.float32(-3), "unit": "nats", "split": "test", "images": np.int64(5), "samples": 1}
    history = keras.callbacks.History()
    history.history = {"loss": [np.float32(1.5)]}
    given = {"results": {"metrics": {"elbo": metric | {"protocol": "x"}}}, "history": history}
    saved[0].save_to_preset(tmp_path / "numbers", **given)
    results = presets.read(tmp_path / "numbers")[1]
    assert results["metrics"]["elbo"]["value"] == -3 and results["history"] == {"loss": [1.5]}


@pytest.mark.parametrize("names", [("a/p.png", "b/p.png"), ("a/model.weights.h5",)])
def test_pictures_take_no_place_of_others(saved, tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir()
        Image.fromarray(np.zeros((4, 4), "uint8")).save(tmp_path / name, format="PNG")
    with pytest.raises(presets.PresetError, match="cannot have one name"):
        saved[0].save_to_preset(tmp_path / "m", pictures={tmp_path / name: name for name in names})
    assert not (tmp_path / "m").exists()


def test_a_run_is_not_replaced_by_a_preset(saved, tmp_path):
    (tmp_path / "state.keras").touch()
    with pytest.raises(presets.PresetError, match="is a run"):
        saved[0].save_to_preset(tmp_path)


def test_a_name_of_an_entry_and_of_a_directory_is_neither(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved[0].save_to_preset("mnist_mlp")
    with pytest.raises(presets.UnknownName, match=r"write \./mnist_mlp .* zoo/mnist_mlp"):
        presets.find("mnist_mlp")
    assert presets.find("./mnist_mlp").resolve() == tmp_path / "mnist_mlp"
    assert presets.find("zoo/mnist_mlp").parent.name == "zoo"


def test_weights_that_have_no_place_are_refused(tmp_path):
    learned, fixed = (kv.VAE(*kv.networks.mlp((8, 8, 1), 2), likelihood=f"normal:{v}") for v in ("learned", "0.5"))
    learned.save_weights(tmp_path / "learned.weights.h5")
    with pytest.raises(ValueError, match=r"has no place.*Received: 9 arrays, of decoder, .*normal"):
        fixed.load_weights(tmp_path / "learned.weights.h5")
    fixed.load_weights(tmp_path / "learned.weights.h5", skip_mismatch=True)
    with pytest.raises(ValueError, match=r"\.keras.*Received: .*m\.h5"):
        fixed.save(tmp_path / "m.h5")


@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_what_is_quantised_is_written_as_it_is(mode, tmp_path):
    x = kv.data.convert(np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1)), "binary")
    with policy_scope("mixed_bfloat16"):
        vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 2, widths=(16,)), seed=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Layer .* does not have a `quantize` method")
        vae.quantize(mode)
    vae.save_to_preset(tmp_path / "m")
    np.testing.assert_array_equal(kv.VAE.from_preset(tmp_path / "m").encode(x), vae.encode(x))
    single = vae.in_float32()
    assert {layer.compute_dtype for layer in single._flatten_layers()} == {"float32"}
    np.testing.assert_allclose(single.encode(x), vae.encode(x), atol=0.05)


def test_directions_of_attributes_come_back(saved, tmp_path):
    vae, directory = saved
    assert presets.attributes(directory) == {}
    direction = np.float32([1.5, -0.123456789, 1e-9])
    vae.save_to_preset(tmp_path / "labelled", attributes={"Smiling": direction})
    np.testing.assert_allclose(presets.attributes(tmp_path / "labelled")["Smiling"], direction, rtol=1e-5)
    (tmp_path / "labelled" / presets.ATTRIBUTES).write_text('{"format_version": 99}')
    with pytest.raises(presets.PresetError, match="newer"):
        presets.attributes(tmp_path / "labelled")
    # Another model in its place has none.
    vae.save_to_preset(tmp_path / "labelled")
    assert presets.attributes(tmp_path / "labelled") == {}


@pytest.fixture
def copy(saved, tmp_path):
    return Path(shutil.copytree(saved[1], tmp_path / "small"))


def test_the_directory_is_complete(saved):
    _, directory = saved
    assert {path.name for path in directory.iterdir()} == set(presets.FILES)
    config, results = presets.read(directory)
    assert config["data"]["dataset"] == "digits" and config["recipe"] == {"epochs": 1} and config["seed"] == 0
    assert config["model"]["config"]["likelihood"]["class_name"] == "Bernoulli"
    assert results["history"]["loss"] == [30.5] and results["metrics"] == RESULTS["metrics"]
    assert results["weights"]["parameters"] == saved[0].count_params() - 1  # Its step.


LOAD = """
import sys
import numpy as np
import keras_vae as kv
vae = kv.VAE.from_preset(sys.argv[1])
np.savez(sys.argv[2], score=kv.presets.fixed_batch_score(vae), step=int(vae.step))
"""


# On JAX the suite loads the zoo, which TensorFlow wrote.
@pytest.mark.long
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_loads_in_a_fresh_process_on_both_backends(saved, tmp_path, backend):
    pytest.importorskip(backend)
    vae, directory = saved
    environment = os.environ | {"PYTHONPATH": str(ROOT), "KERAS_BACKEND": backend}
    out = tmp_path / "out.npz"
    subprocess.run([sys.executable, "-c", LOAD, str(directory), str(out)], check=True, env=environment, cwd=tmp_path)
    loaded, (_, results) = np.load(out), presets.read(directory)
    # Of about 60 nats, summed over 64 pixels in float32 in another order.
    np.testing.assert_allclose(loaded["score"], results["fixed_batch"]["score"], rtol=1e-5)
    np.testing.assert_allclose(presets.fixed_batch_score(vae), results["fixed_batch"]["score"], rtol=1e-6)
    assert loaded["step"] == int(vae.step)


def test_a_conditional_model_comes_back(tmp_path):
    def network(shape):
        z, y = keras.Input(shape), keras.Input((10,))
        joined = keras.layers.Concatenate()([keras.layers.Flatten()(z), y])
        return keras.Model([z, y], keras.layers.Dense(16, activation="relu")(joined))

    vae = kv.VAE(network((8, 8, 1)), network((3,)), seed=0)
    vae.save_to_preset(tmp_path / "preset")
    score = presets.fixed_batch_score(kv.VAE.from_preset(tmp_path / "preset"))
    np.testing.assert_allclose(score, presets.read(tmp_path / "preset")[1]["fixed_batch"]["score"], rtol=1e-6)
    # The labels count, the first class for all.
    x = keras.ops.convert_to_tensor(presets.fixed_batch(vae))
    labels = keras.ops.one_hot(keras.ops.zeros(8, "int32"), 10)
    latent = vae.infer(x, labels).latents[0]
    z = latent.posterior.mean()[None]
    expected = vae.infer(x, labels).decode(z).log_prob(x) + latent.prior.log_prob(z)
    np.testing.assert_allclose(score, keras.ops.convert_to_numpy(expected)[0], rtol=1e-5)


def test_the_weights_hold_no_optimiser(saved):
    import h5py

    names = []
    with h5py.File(saved[1] / presets.WEIGHTS) as file:
        file.visit(names.append)
    assert names and not [name for name in names if "optimizer" in name]


def test_a_flipped_byte_is_named_with_the_expected_hash(copy):
    path = copy / presets.WEIGHTS
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    expected = presets.read(copy)[1]["weights"]["sha256"]
    with pytest.raises(presets.PresetError, match=rf"model\.weights\.h5 .*{expected}.*Received: sha256 "):
        kv.VAE.from_preset(copy)


@pytest.mark.parametrize("name", [presets.CONFIG, presets.WEIGHTS, presets.RESULTS])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(presets.PresetError, match=f"{name}.*Received: {copy}"):
        kv.VAE.from_preset(copy)


@pytest.mark.parametrize("name", [presets.CONFIG, presets.RESULTS])
def test_damaged_and_newer_json_is_named(copy, name):
    good = json.loads((copy / name).read_text())
    for text, said in (
        ("{", "not JSON"),
        ("[]", "format_version"),
        (json.dumps(good | {"format_version": 3}), r"newer.*Received: format_version=3"),
    ):
        (copy / name).write_text(text)
        with pytest.raises(presets.PresetError, match=f"{name}.*{said}"):
            kv.VAE.from_preset(copy)


def test_a_recipe_alone_is_no_preset(copy):
    config = json.loads((copy / presets.CONFIG).read_text())
    del config["model"]
    (copy / presets.CONFIG).write_text(json.dumps(config))
    with pytest.raises(presets.PresetError, match=r"never finished.*Received"):
        kv.VAE.from_preset(copy)
    for name in ("nowhere", "x" * 5000, "~nobody_of_this_name/preset", "a\0b", "a\nb"):
        with pytest.raises(
            presets.UnknownName, match=r"neither an entry of the zoo nor a directory.*Received"
        ) as caught:
            kv.VAE.from_preset(name)
        assert str(caught.value).isprintable()
    with pytest.raises(presets.PresetError, match=r"directory with config\.json.*Received: .*config\.json"):
        presets.read(copy / presets.CONFIG)


LOG_PROB = RESULTS["metrics"]["log_prob"]


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (presets.CONFIG, {"receipe": {}}, r"Unknown key in .*Did you mean 'recipe'.*Received: 'receipe'"),
        (presets.CONFIG, {"seed": "0"}, "`seed` must be a whole number. Received: seed='0'"),
        (presets.CONFIG, {"recipe": None}, "`recipe` must be an object"),
        (presets.RESULTS, {"metrics": {"elbo": {"value": 1.0}}}, "`metrics.elbo` of .* has no key 'unit'"),
        (presets.RESULTS, {"metrics": {"elbo": LOG_PROB | {"images": 1.5}}}, "`metrics.elbo.images` must be a whole"),
        (presets.RESULTS, {"history": {"loss": 3}}, "`history.loss` must be"),
        (presets.RESULTS, {"versions": {"keras": 3}}, "`versions.keras` must be a word or none"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(copy, name, change, said):
    path = copy / name
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(presets.PresetError, match=said) as caught:
        kv.VAE.from_preset(copy)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value) and "Received: " in str(caught.value)


def test_results_that_are_not_as_the_schema_says_are_not_written(saved, tmp_path):
    for results in ({"metrics": {"elbo": {"value": -1.0}}}, {"seconds": 3}):
        with pytest.raises(presets.PresetError, match=r"results\.json.*Received"):
            saved[0].save_to_preset(tmp_path / "preset", results=results)
    assert not (tmp_path / "preset").exists()


OLD_RECIPE = {
    "dataset": "digits",
    "epochs": 3,
    "network": "conv",
    "network_arguments": {"widths": [32, 64], "dense": None, "batch_norm": True, "activation": "relu"},
    "latent_size": [4, 4, 2],
    "likelihood": "normal:optimal",
    "objective": "elbo",
    "beta": 4.0,
    "warmup_epochs": 1.0,
    "free_bits": 0.1,
    "seed": 7,
}
NEW_RECIPE = {
    "dataset": "digits",
    "network": "conv:widths=[32,64],dense=none,batch_norm=true,activation=relu",
    "posterior": "diagonal_normal",
    "prior": "standard_normal",
    "likelihood": "normal:optimal",
    "objective": "elbo:beta=4.0,free_bits=0.1",
    "epochs": 3,
    "latent_size": [4, 4, 2],
    "warmup_epochs": 1.0,
    "seed": 7,
}


def test_a_recipe_of_version_1_gets_specs(tmp_path):
    def upgraded(recipe):
        (tmp_path / "config.json").write_text(json.dumps({"format_version": 1, "about": {"x": 1}, "recipe": recipe}))
        config = presets.read_config(tmp_path / "config.json")
        assert config["format_version"] == 2 and config["about"] == {"x": 1} and config["data"] == {}
        return config["recipe"]

    assert upgraded(OLD_RECIPE) == NEW_RECIPE and list(upgraded(OLD_RECIPE)) == list(NEW_RECIPE)
    assert upgraded({}) == {}
    short = upgraded({"objective": "iwae:50", "beta": 1, "free_bits": 0, "network": "mlp"})
    assert (short["network"], short["objective"], short["likelihood"]) == ("mlp", "iwae:50", "bernoulli")
    for role in ("network", "likelihood", "objective"):
        assert str(kv.names.Spec.parse(NEW_RECIPE[role])) == NEW_RECIPE[role]


def test_the_files_of_a_run_before_version_2_are_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(OLD_RECIPE))
    config = presets.read_config(tmp_path / "config.json")
    assert config["recipe"] == NEW_RECIPE and config["seed"] == 7 and config["data"] == {"dataset": "digits"}
    flat = {"log_prob": LOG_PROB, "epochs": 3, "binarisation": "fixed", "settings": OLD_RECIPE}
    (tmp_path / "results.json").write_text(json.dumps(flat))
    results = presets.read_results(tmp_path / "results.json")
    assert results == {"format_version": 2, "metrics": RESULTS["metrics"], "epochs": 3, "preprocessing": "fixed"}
    with pytest.raises(presets.PresetError, match=r"There is no config\.json. Received: "):
        presets.read_config(tmp_path / "none" / "config.json")


def test_weights_of_another_model_and_unknown_parts_are_refused(copy):
    config = json.loads((copy / presets.CONFIG).read_text())
    text = json.dumps(config)
    (copy / presets.CONFIG).write_text(text.replace('"Bernoulli"', '"Strange"').replace(">Bernoulli", ">Strange"))
    with pytest.raises(presets.PresetError, match=r"config\.json.*registered.*Received"):
        kv.VAE.from_preset(copy)
    kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(7,)), seed=0).save_to_preset(copy.parent / "other")
    other = json.loads((copy.parent / "other" / presets.CONFIG).read_text())
    (copy / presets.CONFIG).write_text(json.dumps(config | {"model": other["model"]}))
    with pytest.raises(presets.PresetError, match=r"does not fit.*Received"):
        kv.VAE.from_preset(copy)


def test_code_in_a_config_is_not_run(copy):
    config = json.loads((copy / presets.CONFIG).read_text())
    config["model"] = {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"}
    (copy / presets.CONFIG).write_text(json.dumps(config))
    with pytest.raises(ValueError, match="Received"):
        kv.VAE.from_preset(copy)


def test_a_directory_that_cannot_be_written(saved, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(presets.PresetError, match=r"cannot be written.*Received: .*file/preset"):
        saved[0].save_to_preset(tmp_path / "file" / "preset")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory(saved, copy):
    copy.chmod(0o555)
    with pytest.raises(presets.PresetError, match=r"cannot be written \(Permission denied\).*Received"):
        saved[0].save_to_preset(copy)
    kv.VAE.from_preset(copy)


def test_a_failed_save_leaves_the_old_preset(saved, copy, monkeypatch):
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    monkeypatch.setattr(cards, "text", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        COMPOSITIONS[0].model(seed=5).save_to_preset(copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_another_class_is_refused(saved):
    class Other(kv.VAE):
        pass

    with pytest.raises(ValueError, match=r"no Other.*VAE\.from_preset.*Received"):
        Other.from_preset(saved[1])
    assert isinstance(kv.LatentVariableModel.from_preset(saved[1]), kv.VAE)


def test_the_card_is_that_of_the_other_files(saved, copy):
    text = (copy / presets.CARD).read_text()
    assert presets.card(copy) == text
    assert (
        r"importance sampling \| from q" in text
        and "# A small one" in text
        and "-21.5 ± 0.25" in text
        and presets.read(copy)[1]["weights"]["sha256"] in text
    )
    (copy / presets.CARD).unlink()
    presets.write_card(copy)
    assert (copy / presets.CARD).read_text() == text


def test_the_front_matter_is_that_of_model_card_data(saved):
    hub = pytest.importorskip("huggingface_hub")
    config, results = presets.read(saved[1])
    small = LOG_PROB | {"value": 1e-7, "split": "validation"}
    results["metrics"]["squared_error"] = small
    titles = {"log_prob": "log p(x) (nats)", "squared_error": "squared error (nats)"}
    expected = hub.ModelCardData(
        library_name="keras",
        license="mit",
        pipeline_tag="unconditional-image-generation",
        tags=["keras", "keras_vae", "variational-autoencoder"],
        datasets=["digits"],
        model_name="small",
        eval_results=[
            hub.EvalResult(
                task_type="unconditional-image-generation",
                dataset_type="digits",
                dataset_name="digits",
                dataset_split=result["split"],
                metric_type=name,
                metric_name=titles[name],
                metric_value=result["value"],
            )
            for name, result in results["metrics"].items()
        ],
    )
    written = hub.ModelCard(cards.text(config, results)).data
    assert written.to_dict() == expected.to_dict() == cards.metadata(config, results)


CARD_WITHOUT_HUB = """
import sys
sys.modules["huggingface_hub"] = None
from keras_vae.presets import cards, read
sys.stdout.reconfigure(encoding="utf-8")
print(cards.text(*read(sys.argv[1])), end="")
"""


def test_a_card_is_the_same_without_huggingface_hub(saved):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CARD_WITHOUT_HUB, str(saved[1])]
    said = subprocess.run(command, check=True, env=environment, capture_output=True).stdout
    assert said.decode() == (saved[1] / presets.CARD).read_text(encoding="utf-8")


def test_a_density_of_levels_that_were_not_dequantised_is_marked(saved):
    config, results = presets.read(saved[1])
    assert "†" not in cards.text(config, results)
    grey = LOG_PROB | {"protocol": "importance sampling; test images: 8-bit levels / 255, not dequantised"}
    metrics = {"log_prob": grey, "kl": grey, "ssim": grey | {"value": 0.5}}
    text = cards.text(config, results | {"metrics": metrics})
    assert "| -21.5 ± 0.25 † |" in text and text.count("†") == 2 and "comparable with nothing, neither" in text
    entry = {"name": "a", "about": {"title": "A | B"}, "data": {"dataset": "digits"}, "parameters": 1234}
    table = cards.table([entry | {"metrics": metrics}, entry | {"metrics": {"log_prob": LOG_PROB}}])
    heading, rule, marked, plain, *rest = table.splitlines()
    assert heading.count("|") == rule.count("|") == plain.count("|") - 1 == 6 and "<br>" not in table
    assert marked == r"| `a` | A \| B | 1,234 | -21.50 ± 0.25 nats, K=50 † | 0.500 |"
    assert "K=50 |" in plain and rest[-1].startswith("† ")


def test_the_card_loads_the_class_of_the_model(saved):
    config, results = presets.read(saved[1])
    assert 'vae = kv.VAE.from_preset("small")' in cards.text(config, results)
    config["model"]["registered_name"] = "my_project>Mine"
    assert 'vae = kv.LatentVariableModel.from_preset("small")' in cards.text(config, results)


def test_a_full_disk_is_told_before_it_crashes_hdf5(tmp_path, monkeypatch):
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 2, widths=(4,)))
    vae.compile("adam")
    path, usage = tmp_path / "m.weights.h5", shutil.disk_usage(tmp_path)
    vae.save_weights(path)
    needed = path.stat().st_size
    path.unlink()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed - 1))
    with pytest.raises(OSError, match=r"No space left on device.*m\.weights\.h5"):
        vae.save_weights(path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(presets.PresetError, match=r"No space left on device.*preset"):
        vae.save_to_preset(tmp_path / "preset")
    assert not list(tmp_path.rglob("*.*"))
    # Twice as much is more than enough.
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2 * needed))
    vae.save_weights(path)
