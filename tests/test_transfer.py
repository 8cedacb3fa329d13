"""Training that begins with weights that are there."""

import keras
import numpy as np
import pytest
from conftest import in_full

import keras_vae as kv
from keras_vae import presets
from keras_vae.models.transfer import take_weights
from keras_vae.runs import pictures, recorder
from keras_vae.runs import run as experiment
from keras_vae.runs.plan import plan
from keras_vae.runs.recipe import UsageError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(experiment, "_export", lambda *_: None)
    monkeypatch.setattr(pictures, "write", lambda *_: {})


def made(shape=(8, 8, 1), widths=(16, 12), seed=0, **parts):
    keras.utils.set_random_seed(seed)
    # Names of layers count on from model to model.
    encoder = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), *map(keras.layers.Dense, widths)])
    decoder = keras.Sequential([keras.Input((3,)), *map(keras.layers.Dense, widths[::-1])])
    return kv.VAE(encoder, decoder, seed=seed, **parts)


def test_all_of_the_same_model():
    source, model = made(seed=1), made(seed=2)
    assert take_weights(model, source) == []
    for a, b in zip(source.trainable_variables, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(np.array(a), np.array(b))
    assert int(model.seed) == 2


def test_what_does_not_fit_stays_and_is_said():
    source, model = made(seed=1), made((6, 6, 1), seed=2, prior="mixture:components=2", likelihood="normal")
    kept = take_weights(model, source)
    named = [(name.split(":")[0], name.rpartition("/")[2]) for name in kept]
    # The first layer and the last, and what a prior without weights has not.
    assert named[0] == ("encoder", "kernel") and ("likelihood", "log_scale") in named
    assert {piece for piece, _ in named} == {"encoder", "prior", "likelihood"}
    np.testing.assert_array_equal(*(np.array(vae.decoder.layers[0].kernel) for vae in (source, model)))


@pytest.mark.parametrize("network", [kv.networks.conv, kv.networks.conv1d])
def test_normalisations_become_part_of_convolutions(network):
    shape = (9, 9, 1) if network is kv.networks.conv else (9, 2)
    sizes = {"widths": (3, 4), "kernel_size": 3, "dense": None, "activation": "tanh"}
    source = kv.VAE(*network(shape, 3, batch_norm=True, **sizes), seed=1)
    rng = np.random.default_rng(0)
    for variable in [*source.encoder.weights, *source.decoder.weights]:
        variable.assign(rng.uniform(0.2, 1.0, variable.shape))
    model = kv.VAE(*network(shape, 3, **sizes), seed=2)
    assert take_weights(model, source) == []
    x = rng.integers(0, 2, size=(5, *shape)).astype("float32")
    np.testing.assert_allclose(source.encode(x), model.encode(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(source.reconstruct(x), model.reconstruct(x), rtol=1e-4, atol=1e-5)


SHORT = {"network": "mlp:widths=[16]", "latent_size": 4, "epochs": 2, "eval_samples": 5, "precision": "float32"}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The directory of a run, and its results."""
    out = tmp_path_factory.mktemp("runs") / "first"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "_export", lambda *_: None)
        patch.setattr(pictures, "write", lambda *_: {})
        return out, experiment.run("digits", out, verbose=False, **SHORT)


def test_a_part_that_is_frozen_keeps_its_weights(first, tmp_path):
    begun, _ = first
    experiment.run("digits", tmp_path / "second", start=str(begun), freeze="encoder", verbose=False, **SHORT)
    first, second = (keras.saving.load_model(out / "model.keras") for out in (begun, tmp_path / "second"))
    for piece in ("encoder", "posterior", "decoder"):
        pairs = zip(getattr(first, piece).weights, getattr(second, piece).weights, strict=True)
        same = [np.array_equal(np.array(a), np.array(b)) for a, b in pairs]
        assert all(same) if piece != "decoder" else not any(same), piece
        # Whoever goes on trains all of it.
        assert getattr(second, piece).trainable


@pytest.mark.parametrize(
    ("piece", "freeze", "other"),
    [
        ("encoder", "encoder", {"network": "mlp:widths=[8]"}),
        ("posterior", "encoder", {"latent_size": 3}),
        ("likelihood", "decoder", {"likelihood": "discretized_logistic"}),
    ],
)
def test_what_is_untrained_is_not_frozen(first, tmp_path, piece, freeze, other):
    with pytest.raises(UsageError, match=rf"{piece} is to stay.*--freeze {freeze}"):
        experiment.run(
            "digits", tmp_path / "second", start=str(first[0]), freeze=freeze, verbose=False, **SHORT | other
        )


def test_a_network_without_weights_is_frozen(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "_export", lambda *_: None)
    linear = SHORT | {"network": "linear", "epochs": 1}
    experiment.run("digits", tmp_path / "first", verbose=False, **linear)
    experiment.run(
        "digits", tmp_path / "second", start=str(tmp_path / "first"), freeze="encoder", verbose=False, **linear
    )
    first, second = (keras.saving.load_model(tmp_path / run / "model.keras") for run in ("first", "second"))
    for before, after in zip(first.posterior.weights, second.posterior.weights, strict=True):
        np.testing.assert_array_equal(np.array(before), np.array(after))


def test_nothing_that_fits_is_an_error():
    with pytest.raises(ValueError, match="None of these weights fits"):
        take_weights(made(widths=(5, 4)), kv.VAE(*kv.networks.conv((8, 8, 1), 2, widths=(4,))))


def test_runs_begin_with_the_weights_of_others(first, tmp_path, capsys, request):
    begun, results = first
    second = experiment.run("digits", tmp_path / "second", start=str(begun), **SHORT)
    assert "weights of" in (said := capsys.readouterr().out) and "2 epochs. New: none." in said
    assert second["epochs_before"] == 2 and second["metrics"]["elbo"]["value"] > results["metrics"]["elbo"]["value"]
    history = presets.read_results(tmp_path / "second" / "results.json")["history"]
    assert history["val_elbo"][0] > presets.read_results(begun / "results.json")["history"]["val_elbo"][0]
    assert "which had 2 epochs: 4 in all" in (tmp_path / "second" / "README.md").read_text()
    assert recorder.trained(tmp_path / "second")[1] == 4
    if in_full(request.config):
        again = experiment.run("digits", tmp_path / "second", resume=True, verbose=False, epochs=3)
        assert again["epochs_before"] == 2 and again["epochs"] == 3
    others = SHORT | {"objective": "aae:widths=[4,4,4,4]", "epochs": 1}
    experiment.run("digits", tmp_path / "third", start=str(begun), **others)
    assert "New: 10 weights of the objective." in capsys.readouterr().out
    # Its parts are those of the model that it begins with.
    less = {name: SHORT[name] for name in ("epochs", "eval_samples", "precision")}
    assert plan("digits", tmp_path / "new", start=str(begun), **less).recipe.network == "mlp:widths=[16]"
    with pytest.raises(presets.UnknownName, match="mnist_mlp"):
        experiment.run("digits", tmp_path / "other", start="mnist_mpl", **SHORT)
