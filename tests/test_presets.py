"""Presets: a directory that gives back the same model, or says why it does not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from compositions import COMPOSITIONS

import keras_vae as kv
from keras_vae import presets
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


def test_directions_of_attributes_come_back(saved, tmp_path):
    vae, directory = saved
    assert presets.attributes(directory) == {}
    direction = np.float32([1.5, -0.123456789, 1e-9])
    vae.save_to_preset(tmp_path / "labelled", attributes={"Smiling": direction})
    np.testing.assert_allclose(presets.attributes(tmp_path / "labelled")["Smiling"], direction, rtol=1e-5)
    (tmp_path / "labelled" / presets.ATTRIBUTES).write_text('{"format_version": 99}')
    with pytest.raises(presets.PresetError, match="newer"):
        presets.attributes(tmp_path / "labelled")


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


@pytest.mark.parametrize("composition", COMPOSITIONS, ids=lambda c: c.name)
def test_every_composition_comes_back_bit_equal(composition, tmp_path):
    vae = composition.model()
    vae.save_to_preset(tmp_path / "preset")
    loaded = kv.VAE.from_preset(tmp_path / "preset")
    for here, there in zip(vae.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(here, there)
    x = composition.images(4)
    np.testing.assert_array_equal(vae.log_prob(x, 3, seed=1), loaded.log_prob(x, 3, seed=1))


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
        (json.dumps(good | {"format_version": 2}), r"newer.*Received: format_version=2"),
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
    with pytest.raises(presets.PresetError, match=r"directory with config\.json.*Received: nowhere"):
        kv.VAE.from_preset("nowhere")


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


def test_the_front_matter_is_yaml(saved):
    yaml = pytest.importorskip("yaml")
    front = yaml.safe_load(presets.card(saved[1]).split("---\n")[1])
    assert front["license"] == "mit" and front["datasets"] == ["digits"]
    (result,) = front["model-index"][0]["results"]
    assert front["model-index"][0]["name"] == "small"
    assert result["dataset"]["split"] == "test"
    assert result["metrics"] == [{"type": "log_prob", "name": "log p(x) (nats)", "value": -21.5}]
