"""The zoo: every entry as it says it is, and the way to it by its name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compositions import COMPOSITIONS

import keras_vae as kv
import zoo
from keras_vae import presets
from keras_vae.presets import cards, location

ROOT = Path(__file__).parent.parent

over_models = pytest.mark.parametrize("name", zoo.list_models())


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """A zoo of two small entries and one that is only a recipe."""
    for name in ("toy_mlp", "toy_iwae"):
        about = {"title": name, "license": "MIT"}
        elbo = {"value": -20.0, "unit": "nats", "split": "test", "images": 3, "samples": 1, "protocol": "samples"}
        COMPOSITIONS[0].model().save_to_preset(tmp_path / name, about=about, results={"metrics": {"elbo": elbo}})
    (tmp_path / "only_recipe").mkdir()
    (tmp_path / "only_recipe" / "config.json").write_text('{"format_version": 2, "recipe": {}}')
    monkeypatch.setattr(location, "ZOO", tmp_path)
    return tmp_path


@over_models
def test_an_entry_is_a_preset_whose_card_is_up_to_date(name):
    directory = zoo.find(name)
    config, results = presets.read(directory)
    # Of the present format as they are, not by an upgrade.
    assert json.loads((directory / presets.RESULTS).read_text(encoding="utf-8")) == results
    assert json.loads((directory / presets.CONFIG).read_text(encoding="utf-8")) == config
    assert config["about"]["name"] == name and set(config["about"]) >= {"title", "description", "paper", "license"}
    assert set(config["data"]) >= {"dataset", "preprocessing"} and config["recipe"]["dataset"]
    # Half precision would give other numbers on each kind of processor, and is slow on most.
    assert "float16" not in json.dumps(config["model"])
    for role in ("network", "posterior", "prior", "likelihood", "objective"):
        assert str(kv.names.Spec.parse(config["recipe"][role])) == config["recipe"][role]
    assert results["metrics"] and results["command"] and results["versions"]["keras"]
    assert {path.name for path in directory.glob("*") if path.suffix in (".png", ".jpg")} == set(results["pictures"])
    assert (directory / presets.CARD).read_text(encoding="utf-8") == presets.card(directory)


# JAX compiles large networks for long.
@pytest.mark.parametrize(
    "name",
    [n if n.startswith("mnist_mlp") else pytest.param(n, marks=pytest.mark.long_on_jax) for n in zoo.list_models()],
)
def test_an_entry_scores_as_it_says(name):
    _, results = presets.read(zoo.find(name))
    score = presets.fixed_batch_score(zoo.load(name))
    # Float32 sums in another order on other machines and backends.
    np.testing.assert_allclose(score, results["fixed_batch"]["score"], rtol=1e-4)


@pytest.mark.parametrize("name", zoo.list_recipes())
def test_a_recipe_is_one_of_a_run(name):
    from keras_vae.runs import model
    from keras_vae.runs.recipe import Recipe

    recipe = Recipe.of(presets.read_config(zoo.find(name, trained=False) / presets.CONFIG)["recipe"])
    model.check(recipe)
    assert recipe.dataset in kv.data.names()


@over_models
def test_every_name_leads_to_the_entry(name):
    found = {presets.find(given) for given in (name, f"zoo/{name}", f"zoo/{name}/", zoo.find(name))}
    assert found == {ROOT / "zoo" / name}


def test_names_and_patterns(toys):
    assert zoo.list_models() == ["toy_iwae", "toy_mlp"]
    assert zoo.list_models("*mlp") == ["toy_mlp"] and zoo.list_models("cifar*") == []
    assert zoo.list_recipes() == ["only_recipe", "toy_iwae", "toy_mlp"]


def test_load_and_info(toys):
    expected = presets.read(toys / "toy_mlp")[1]
    for name, load in (("toy_mlp", kv.VAE.from_preset), ("zoo/toy_mlp", presets.load), (toys / "toy_mlp", zoo.load)):
        score = presets.fixed_batch_score(load(name))
        np.testing.assert_allclose(score, expected["fixed_batch"]["score"], rtol=1e-6)
        known = zoo.info(name)
        assert known["metrics"]["elbo"]["value"] == -20.0 and known["about"]["license"] == "MIT"
        assert known["sha256"] == expected["weights"]["sha256"] and known["parameters"] > 0


def test_an_unknown_name_gets_the_nearest_ones(toys):
    with pytest.raises(ValueError, match=r"Did you mean 'toy_mlp'.*Received: 'toy_mpl'"):
        zoo.load("toy_mpl")
    with pytest.raises(ValueError, match=r"Known: 'toy_iwae', 'toy_mlp'\. Received: 'zzz'"):
        zoo.info("zzz")
    with pytest.raises(ValueError, match=r"keras-vae train zoo/only_recipe.*Received"):
        zoo.load("only_recipe")
    (toys / "toy_mlp" / "results.json").unlink()
    with pytest.raises(presets.PresetError, match=r"has no results\.json.*Received"):
        zoo.load(str(toys / "toy_mlp"))


def test_a_damaged_entry_is_refused(toys):
    path = toys / "toy_mlp" / presets.WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(presets.PresetError, match=presets.WEIGHTS):
        zoo.load("toy_mlp")


def fresh(code, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], check=True, env=environment, capture_output=True, text=True
    ).stdout.split()


def test_listing_imports_no_framework():
    code = (
        "import sys, zoo; [zoo.info(name) for name in zoo.list_models()]\n"
        "print(*({'keras', 'tensorflow', 'jax', 'numpy', 'huggingface_hub'} & set(sys.modules)))"
    )
    assert fresh(code) == []


def test_loading_imports_neither_data_sets_nor_plots(toys):
    # Keras 3.15 itself imports matplotlib and sklearn.
    code = (
        "import sys, keras; before = set(sys.modules)\n"
        "import zoo; zoo.load(sys.argv[1]).sample(1, seed=0)\n"
        "unneeded = {'tensorflow_datasets', 'matplotlib', 'sklearn', 'keras_vae.plotting', 'keras_vae.runs.run'}\n"
        "print(*(unneeded & set(sys.modules) - before))"
    )
    assert fresh(code, toys / "toy_mlp") == []


def test_an_installation_has_the_entries(tmp_path):
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(tmp_path)], cwd=ROOT, check=True
    )
    files = {path.relative_to(ROOT) for name in zoo.list_recipes() for path in (ROOT / "zoo" / name).iterdir()}
    missing = [str(path) for path in files if not (tmp_path / path).is_file()]
    assert files and missing == []


def test_a_page_has_the_table_of_models():
    # Written by `keras-vae list --markdown`.
    table = cards.table([zoo.info(name) for name in zoo.list_models()])
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert any(table in page.read_text(encoding="utf-8") for page in pages)
