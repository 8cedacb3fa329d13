"""Published variants: each is made of parts that there are, and goes all the way that a model goes."""

import importlib
import pathlib

import keras
import numpy as np
import pytest
from compositions import digits, labels
from processes import run_python

import keras_vae as kv
from keras_vae import names, sources, variants
from keras_vae.cli import main as cli

NAMES = variants.list()
# What they see, where it is not binary.
UNIT, LEVELS = digits()[:32].astype("float32") / 255, digits()[:32]
DATA = {"sigma-vae": UNIT, "log-cosh-vae": UNIT, "ms-ssim-vae": UNIT, "dfc-vae": UNIT, "two-stage-vae": UNIT}
DATA["mult-vae"] = LEVELS.astype("float32")
# Smaller than the papers', as the images are.
SMALL = {"iwae": {"samples": 4}, "dreg-iwae": {"samples": 4}, "vampprior": {"components": 5}, "ciwae": {"samples": 4}}
SMALL |= {"ladder": {"network": "ladder:groups=[[2,2]],widths=[4,4]"}}
SMALL |= {"miwae": {"samples": 4, "bounds": 2}, "piwae": {"samples": 4, "bounds": 2}, "factor-vae": {"widths": (8,)}}
# What they need to be told of labels.
LABELS = {"conditional": {"label_shape": (10,)}, "m2": {"classes": 10}}
REPRESENTATIVES = ("info-vae",)

over_all = pytest.mark.parametrize(
    "name", [n if n in REPRESENTATIVES else pytest.param(n, marks=pytest.mark.long) for n in NAMES]
)


@pytest.mark.parametrize("name", NAMES)
def test_its_parts_are_there(name):
    variant = variants.get(name.upper().replace("-", "_"))
    assert variant.name == name and variant.paper and variant.purpose
    for role, spec in variant.parts.items():
        sources.check_spec(role, names.Spec.parse(spec))
        # As it is written in recipes.
        assert str(names.Spec.parse(spec)) == spec
    if variant.fitted:
        fitted = names.Spec.parse(variant.fitted).name
        assert fitted in {**names.known("fitted_prior"), **names.known("prior")}
    network = {} if "network" in variant.parts else {"network": "mlp:widths=[8]"}
    vae = variant((8, 8, 1), 3, **network, **LABELS.get(name, {}))
    assert vae.image_shape == (8, 8, 1)


@over_all
def test_it_goes_all_the_way(name, tmp_path):
    x = DATA.get(name, (digits()[:32] > 127).astype("float32"))
    given = {"network": "mlp:widths=[8]"} | SMALL.get(name, {}) | LABELS.get(name, {})
    vae = kv.variants.get(name)((8, 8, 1), 4, seed=0, **given)
    y = {"conditional": np.eye(10, dtype="float32")[labels()[:32]], "m2": labels()[:32]}.get(name)
    few = None if y is None else y[:4]
    vae.compile(keras.optimizers.Adam(1e-3))
    before = [np.array(w) for w in vae.get_weights()]
    history = vae.fit(x, y, batch_size=16, epochs=2, validation_data=x if y is None else (x, y), verbose=0).history
    assert np.isfinite([value for values in history.values() for value in values]).all()
    assert any((was != now).any() for was, now in zip(before, vae.get_weights(), strict=True))
    if fitted := kv.variants.get(name).fitted:
        vae.fit_prior(x, fitted.replace("10", "2"), seed=0)
    images = vae.reconstruct(x, y)
    vae.save(tmp_path / "vae.keras")
    again = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_allclose(again.reconstruct(x, y), images, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(again.sample(4, few, seed=0), vae.sample(4, few, seed=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(again.log_prob(x, 2, y, seed=0), vae.log_prob(x, 2, y, seed=0))
    if kv.backend.NAME != "tensorflow":
        return
    vae.export(str(tmp_path / "served"))
    import tensorflow as tf

    served = tf.saved_model.load(str(tmp_path / "served"))
    given = [] if y is None else [y.astype("float32")]
    z = served.encode(x, *given)
    np.testing.assert_allclose(np.array(served.decode(z, *given)), images, rtol=1e-4, atol=1e-4)


def test_arguments_go_to_the_part_that_takes_them():
    vampprior = kv.variants.get("vampprior")
    given = vampprior.specs(components=7, beta=2.0, objective="elbo")
    assert {role: str(spec) for role, spec in given.items()} == {
        "prior": "vamp:components=7",
        "objective": "elbo:beta=2.0",
    }
    likelihood = kv.likelihoods.Normal(scale=0.5)
    vae = vampprior((8, 8, 1), 3, components=7, likelihood=likelihood)
    assert vae.prior.components == 7 and vae.likelihood is likelihood
    ladder = kv.variants.get("ladder")((8, 8, 1), 3, groups=((4, 2, 1),), widths=(4,), free_bits=1.0)
    assert type(ladder) is kv.HierarchicalVAE and ladder.group_shapes == ((3,), (4, 4, 2))
    assert ladder.objective.spec == "elbo:free_bits=1.0,free_bits_per=group"
    # A part's argument, where networks have one of the same name.
    widths = kv.variants.get("factor-vae").specs(network="mlp", widths=(8,))
    assert {role: str(spec) for role, spec in widths.items()} == {"network": "mlp", "objective": "factor:widths=[8]"}
    with pytest.raises(ValueError, match=r"argument of vampprior. Did you mean 'components'"):
        vampprior((8, 8, 1), 3, component=7)
    with pytest.raises(ValueError, match=r"Did you mean 'vampprior'"):
        kv.variants.get("vamprior")


def test_the_command_lists_and_takes_them(tmp_path, capsys):
    assert cli.main(["variants"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n{name} " in f"\n{shown}" for name in NAMES) and "--prior vamp:components=500" in shown
    train = ["train", "digits", "--out", str(tmp_path / "run"), "--objective", "elbo:beta=2.0"]
    options = cli.arguments.parser().parse_args([*train, "--variant", "vampprior:components=7"])
    assert options.variant == {"prior": "vamp:components=7"}
    with pytest.raises(SystemExit):
        cli.main([*train, "--variant", "vampprior:component=7"])
    assert "Did you mean 'components'" in capsys.readouterr().err


def test_no_framework_is_waited_for():
    code = (
        "import sys; from keras_vae.variants import written; print(written('beta-vae:beta=6'), 'keras' in sys.modules)"
    )
    assert run_python(code, cwd=".").split() == ["{'objective':", "'elbo:beta=6'}", "False"]


def test_the_guide_has_the_table_of_what_was_measured(monkeypatch):
    root = pathlib.Path(__file__).resolve().parent.parent
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    benchmark = importlib.import_module("variants")
    measured = benchmark.measured()
    assert set(measured) <= set(benchmark.COMPARED)
    assert f"{benchmark.table(measured)}\n<!-- end -->" in (root / "docs" / "variants.md").read_text(encoding="utf-8")
