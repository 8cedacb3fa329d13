"""Weights of fewer bits: rounding against numpy's and ml_dtypes' casts, files without loss, and the command."""

import json

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest

import keras_vae as kv
from keras_vae import presets
from keras_vae.cli import main as cli
from keras_vae.presets import weights
from keras_vae.runs import rounding
from keras_vae.runs import run as experiment
from keras_vae.training.stream import evenly

NUMBERS = np.random.default_rng(0).normal(size=5000).astype("float32")


@pytest.mark.parametrize(("bits", "dtype"), [(10, np.float16), (7, ml_dtypes.bfloat16)])
def test_numbers_are_rounded_as_a_cast_rounds_them(bits, dtype):
    # In float16, small ones have fewer bits.
    x = NUMBERS[np.abs(NUMBERS) > 1e-3]
    np.testing.assert_array_equal(weights.rounded(x, bits), x.astype(dtype).astype("float32"))
    halfway = np.float32([1 + 2.0 ** -(bits + 1), 1 + 3 * 2.0 ** -(bits + 1), -(1 + 2.0 ** -(bits + 1))])
    np.testing.assert_array_equal(weights.rounded(halfway, bits), halfway.astype(dtype).astype("float32"))


def test_all_bits_are_all():
    np.testing.assert_array_equal(weights.rounded(NUMBERS, 23), NUMBERS)
    assert weights.rounded(NUMBERS.reshape(50, 100), 12).shape == (50, 100)


@pytest.mark.parametrize("bits", [0, 24])
def test_bits_that_there_are_not_are_refused(bits):
    with pytest.raises(ValueError, match=f"1 to 23.*bits={bits}"):
        weights.round_weights(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]), bits)


def model(width=80):
    return kv.VAE(*kv.networks.mlp((8, 8, 1), 4, widths=(width,)), likelihood="bernoulli", seed=0)


def test_a_file_has_the_same_numbers_in_less_room(tmp_path):
    vae = model(300)
    vae.save_weights(tmp_path / "keras.weights.h5")
    weights.write(vae, tmp_path / "ours.weights.h5")
    weights.round_weights(vae, 10)
    rounded = [np.array(value) for value in vae.get_weights()]
    weights.write(vae, tmp_path / "rounded.weights.h5")
    sizes = [(tmp_path / f"{name}.weights.h5").stat().st_size for name in ("keras", "ours", "rounded")]
    assert sizes[0] > sizes[1] > 1.3 * sizes[2]
    again = model(300)
    again.load_weights(tmp_path / "rounded.weights.h5")
    for value, expected in zip(again.get_weights(), rounded, strict=True):
        np.testing.assert_array_equal(value, expected)
    with h5py.File(tmp_path / "keras.weights.h5") as a, h5py.File(tmp_path / "ours.weights.h5") as b:
        names = []
        a.visit(names.append)
        for name in names:
            assert dict(a[name].attrs) == dict(b[name].attrs)
            if isinstance(a[name], h5py.Dataset):
                np.testing.assert_array_equal(a[name][()], b[name][()])


def test_small_arrays_keep_their_bits():
    vae = model()
    vae.likelihood.head.dense.bias.assign(NUMBERS[:64])
    weights.round_weights(vae, 4)
    np.testing.assert_array_equal(np.array(vae.likelihood.head.dense.bias), NUMBERS[:64])
    kernel = np.array(vae.likelihood.head.dense.kernel)
    np.testing.assert_array_equal(weights.rounded(kernel, 4), kernel)


def test_a_preset_whose_weights_are_zeros_is_loaded(tmp_path):
    vae = model()
    vae.likelihood.head.dense.kernel.assign(np.zeros((80, 64)))
    vae.save_to_preset(tmp_path / "zeros")
    np.testing.assert_array_equal(np.array(presets.load(tmp_path / "zeros").likelihood.head.dense.kernel), 0)


def test_the_command_rounds_within_what_is_asked(tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    given = {"network": "mlp:300", "epochs": 2, "eval_samples": 10}
    experiment.run("digits", out, preset=tmp_path / "toy", verbose=False, **given)
    before = presets.load(tmp_path / "toy")

    def run(*arguments, code=0):
        assert cli.main(["round", str(tmp_path / "toy"), *map(str, arguments)]) == code
        said = capsys.readouterr()
        return said.out + said.err

    made = json.loads(run("--preset", tmp_path / "half", "--eval-images", 100, "--json"))
    assert made["bits"] >= rounding.LEAST and abs(made["moved"]) < 0.01 and made["after"] < 0.7 * made["before"]
    after = presets.load(tmp_path / "half")
    # The images that the command measures on.
    x = evenly(100, kv.data.convert(kv.data.load("digits").test.images, "binary", seed=0))
    moved = after.log_prob(x, samples=16, seed=0) - before.log_prob(x, samples=16, seed=0)
    assert 0 < np.abs(moved).max() < 0.2 and abs(moved.mean()) + moved.std() / 10 < 0.01
    config, results = presets.read(tmp_path / "half")
    bits = rounding.spread(made["least_bits"], made["bits"])
    assert bits in config["about"]["rounding"] and "keras-vae round" in config["about"]["rounding"]
    assert results["metrics"] == presets.read(tmp_path / "toy")[1]["metrics"]
    assert f"{bits} of mantissa" in presets.card(tmp_path / "half")
    # The large arrays have fewer bits than all of them could have.
    kernels = [np.array(v) for v in weights.large(after)]
    needed = [next(b for b in range(1, 24) if np.array_equal(k, weights.rounded(k, b))) for k in kernels]
    assert min(needed) == made["least_bits"] < made["bits"] == max(needed)
    told = config["about"]["rounding"]
    assert cli.main(["round", str(tmp_path / "half"), "--preset", str(tmp_path / "again"), "--eval-images", "50"]) == 0
    again = presets.read(tmp_path / "again")[0]["about"]["rounding"]
    assert again.endswith(f"; before that, {told}") and "of 50 test images" in again
    capsys.readouterr()
    # What nothing can be rounded within, what is there already, and a run, which has its optimiser's state.
    assert "all of their bits" in run("--preset", tmp_path / "none", "--within", "1e-12", code=2)
    assert not (tmp_path / "none").exists()
    assert "--overwrite" in run("--preset", tmp_path / "half", code=2)
    assert "This is a run" in run("--preset", out, "--overwrite", code=2)
    monkeypatch.setattr(weights, "SMALL", 10**6)
    assert "No array of these weights has 1,000,000 numbers" in run("--preset", tmp_path / "none", code=2)
