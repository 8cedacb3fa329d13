"""The scripts of benchmarks/systems, on a handful of images: each goes to its end, and trains nothing twice."""

import importlib
import pathlib

import numpy as np
import pytest

import keras_vae as kv
from keras_vae.data import DataSet, Split

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent / "benchmarks"


DIGITS = kv.data.load("digits")


def handful(name):
    """Digits as large as those of MNIST, or as faces."""
    side = {"mnist": 28, "celeb_a64": 64}[name]

    def enlarged(split, count):
        images = np.kron(split.images[:count], np.ones((1, side // 8, side // 8, 1), "uint8"))
        margin = (side - images.shape[1]) // 2
        images = np.pad(images, [(0, 0), (margin, margin), (margin, margin), (0, 0)])
        return Split(np.repeat(images, 3, axis=-1) if name == "celeb_a64" else images, split.labels[:count])

    splits = (enlarged(DIGITS.train, 300), enlarged(DIGITS.validation, 50), enlarged(DIGITS.test, 50))
    return DataSet(name, False, *splits)


@pytest.mark.parametrize(
    ("script", "picture", "given"),
    [
        pytest.param("darla", "darla.png", {"epochs": 1}, marks=pytest.mark.long),
        pytest.param("td_vae", "td_vae.png", {"epochs": 1}, marks=pytest.mark.long),
        pytest.param("series", "series.png", {"epochs": 1}, marks=pytest.mark.long),
        pytest.param(
            "tokenizer", "tokenizer.png", {"epochs": 1, "flow_epochs": 1, "samples": 20}, marks=pytest.mark.long
        ),
    ],
)
def test_a_script_runs_and_goes_on(script, picture, given, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS / "systems"))
    monkeypatch.setattr(kv.data, "load", handful)
    module = importlib.import_module(script)
    first = module.run(tmp_path, **given)
    assert (tmp_path / picture).stat().st_size > 1000
    assert first and all(np.isfinite(value) for value in first.values())
    # The same weights, and other noise.
    assert module.run(tmp_path, **given) == pytest.approx(first, rel=0.01)
