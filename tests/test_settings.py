"""What is set is what runs: attributes and parts that are set after functions were compiled."""

import keras
import numpy as np
import pytest
from compositions import digits
from own_parts import TwoLevels

import keras_vae as kv
from keras_vae.backend import tfd

BINARY, GREY = (kv.data.convert(digits()[:96], kind) for kind in ("binary", "unit interval"))


@keras.saving.register_keras_serializable("tests")
class Shifted(kv.priors.Prior):
    """N(loc, scale^2)."""

    def __init__(self, size, loc=3.0, scale=0.01, **kwargs):
        super().__init__(size, **kwargs)
        self.loc, self.scale = loc, scale

    def distribution(self, y=None, temperature=1.0, encode=None):
        loc = keras.ops.zeros(self.event_shape) + self.loc
        return tfd.Independent(tfd.Normal(loc, keras.ops.ones_like(loc) * self.scale * temperature), 1)


def make(likelihood="bernoulli", **parts):
    keras.utils.set_random_seed(0)
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 2, widths=(16,)), likelihood=likelihood, seed=0, **parts)
    # A loop of several steps takes longer to trace.
    vae.compile(keras.optimizers.SGD(1e-3), steps_per_execution=1)
    return vae


def used(vae, x):
    """The model after functions of each kind were compiled."""
    vae.fit(x, epochs=1, batch_size=len(x), verbose=0)
    vae.evaluate(x, batch_size=len(x), verbose=0)
    vae.log_prob(x[:4], samples=5, seed=0)
    return vae


def assert_as_new(vae, make_new, x, trained=False):
    """Functions of each kind give what they give in a model that was made so, with the same weights; a step, too."""
    new = make_new()
    new.set_weights(vae.get_weights())
    calls = {
        "log_prob": lambda model: model.log_prob(x[:4], samples=5, seed=1),
        "evaluate": lambda model: model.evaluate(x, batch_size=len(x), verbose=0, return_dict=True)["loss"],
        "fit": lambda model: model.fit(x, epochs=1, batch_size=len(x), shuffle=False, verbose=0).history["loss"],
    }
    if not trained:
        del calls["fit"]
    # Training noise goes on from another state.
    tolerances = {"fit": 0.1}
    for name, call in calls.items():
        np.testing.assert_allclose(call(vae), call(new), rtol=tolerances.get(name, 1e-5), atol=1e-5, err_msg=name)


def implied_beta(history, epoch=-1):
    return (history["loss"][epoch] + history["log_likelihood"][epoch]) / history["kl"][epoch]


class Anneal(keras.callbacks.Callback):
    def __init__(self, betas, each_batch=False):
        super().__init__()
        self.betas, self.each_batch, self.steps = betas, each_batch, set()

    def on_epoch_begin(self, epoch, logs=None):
        self._set(self.betas[epoch])

    def on_train_batch_begin(self, batch, logs=None):
        if self.each_batch:
            self._set(self.betas[batch])
        self.steps.add(id(self.model.train_function))

    def _set(self, beta):
        self.model.objective.beta = beta


def test_a_callback_anneals_beta_without_compiling_anew():
    vae, anneal = make(), Anneal([0.0, 100.0, np.float32(0.5)])
    history = vae.fit(BINARY, epochs=3, batch_size=32, verbose=0, callbacks=[anneal]).history
    np.testing.assert_allclose([implied_beta(history, e) for e in range(3)], [0.0, 100.0, 0.5], atol=1e-3)
    assert len(anneal.steps) == 1
    assert vae.objective.beta == kv.schedules.Constant(0.5)


def test_a_callback_anneals_beta_by_batches():
    anneal = Anneal([0.0, 30.0, 60.0], each_batch=True)
    history = make().fit(BINARY, epochs=1, batch_size=32, verbose=0, callbacks=[anneal]).history
    assert 20.0 < implied_beta(history) < 40.0
    assert len(anneal.steps) == 1


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX takes the state out of the model")
def test_setting_past_the_callbacks_model_is_refused_on_jax():
    vae = make()
    callback = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: setattr(objective, "beta", 2.0))
    objective = vae.objective
    with pytest.raises(ValueError, match=r"self\.model\.objective\.beta"):
        vae.fit(BINARY, epochs=1, verbose=0, callbacks=[callback])


def test_a_schedule_takes_the_place_of_a_number_and_the_other_way_round():
    vae = used(make(), BINARY)
    vae.objective.beta = "linear_warmup:1000,start=3,end=3"
    history = vae.fit(BINARY, epochs=1, verbose=0).history
    assert abs(implied_beta(history) - 3) < 1e-3 and history["beta"] == [3.0]
    vae.objective.beta = 7
    assert abs(implied_beta(vae.fit(BINARY, epochs=1, verbose=0).history) - 7) < 1e-3


def test_free_bits_and_samples_arrive():
    vae = used(make(), BINARY)
    vae.objective.free_bits = 50.0
    history = vae.fit(BINARY, epochs=1, verbose=0).history
    np.testing.assert_allclose(history["loss"][0] + history["log_likelihood"][0], 100.0, rtol=1e-4)
    vae = make(objective="iwae:2")
    one = vae.evaluate(BINARY, verbose=0, return_dict=True)["iwae"]
    vae.objective.samples = 40
    assert vae.evaluate(BINARY, verbose=0, return_dict=True)["iwae"] > one + 0.1


def test_a_scale_that_is_set_is_used():
    vae = used(make("normal:scale=1.0"), GREY)
    vae.likelihood.scale = 0.2
    assert_as_new(vae, lambda: make("normal:scale=0.2"), GREY)


@pytest.mark.long
def test_an_attribute_of_a_prior_is_used():
    vae = used(make(prior=Shifted(2, loc=0.0, scale=1.0)), BINARY)
    vae.prior.loc, vae.prior.scale = 1.0, 0.5
    assert_as_new(vae, lambda: make(prior=Shifted(2, 1.0, 0.5)), BINARY)


def test_a_prior_that_is_put_in_is_used():
    vae = used(make(), BINARY)
    vae.prior = Shifted(2)
    assert np.abs(vae.sample(8, seed=1) - vae.decode(np.full((1, 2), 3.0))).mean() < 0.02
    assert_as_new(vae, lambda: make(prior=Shifted(2)), BINARY)
    vae.prior = "standard_normal"
    assert_as_new(vae, make, BINARY)


@pytest.mark.long
def test_an_objective_that_is_put_in_is_used_and_logs_its_own_terms():
    vae = used(make(), BINARY)
    vae.objective = "iwae:5"
    assert {"loss", "elbo", "iwae"} <= vae.fit(BINARY, epochs=1, verbose=0).history.keys()
    assert_as_new(vae, lambda: make(objective="iwae:5"), BINARY, trained=True)
    vae.objective = "elbo"
    assert "iwae" not in vae.fit(BINARY, epochs=1, verbose=0).history


@pytest.mark.long
def test_another_decoder_is_used_and_needs_compile():
    vae = used(make(), BINARY)
    count = vae.count_params()
    _, decoder = kv.networks.mlp((8, 8, 1), 2, widths=(16,))
    before = vae.decode(np.ones((2, 2)))
    vae.decoder = decoder
    assert not np.allclose(vae.decode(np.ones((2, 2))), before)
    assert vae.count_params() == count
    with pytest.raises(ValueError, match="call `compile` again"):
        vae.fit(BINARY, epochs=1, verbose=0)
    vae.compile(keras.optimizers.SGD(1e-3))
    assert_as_new(vae, make, BINARY, trained=True)


@pytest.mark.long
def test_a_likelihood_that_is_put_in_is_used(tmp_path):
    vae = used(make("normal:scale=1.0"), GREY)
    vae.likelihood = "laplace:scale=0.3"
    vae.compile(keras.optimizers.SGD(1e-3))
    assert_as_new(vae, lambda: make("laplace:scale=0.3"), GREY)
    vae.save(tmp_path / "vae.keras")
    again = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_allclose(again.sample(4, seed=0), vae.sample(4, seed=0), rtol=1e-5)


def test_what_does_not_fit_is_refused_and_changes_nothing():
    vae = used(make("normal:scale=1.0"), GREY)
    before = vae.log_prob(GREY[:4], samples=5, seed=0)
    _, decoder = kv.networks.mlp((8, 8, 1), 5, widths=(16,))
    for owner, name, value, message in (
        (vae, "prior", Shifted(3), "same size"),
        (vae, "prior", "standard_norml", "standard_normal"),
        (vae, "decoder", decoder, "cannot take"),
        (vae.likelihood, "scale", -1.0, "positive"),
        (vae.likelihood, "scale", "learned", r"vae\.likelihood = "),
        (vae.likelihood, "scale", "per_pixel", r"vae\.likelihood = "),
        (vae.objective, "beta", -1.0, "at least 0"),
        (vae.objective, "samples", 0, "samples"),
    ):
        with pytest.raises(ValueError, match=message):
            setattr(owner, name, value)
    np.testing.assert_array_equal(vae.log_prob(GREY[:4], samples=5, seed=0), before)


def test_weights_cannot_be_replaced_during_fit():
    _, decoder = kv.networks.mlp((8, 8, 1), 2, widths=(16,))
    vae = make()
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(vae, "decoder", decoder))
    with pytest.raises(ValueError, match="between two calls"):
        vae.fit(BINARY, epochs=1, verbose=0, callbacks=[callback])


def test_attributes_of_networks_are_used():
    noise = keras.layers.Dropout(0.01)
    encoder = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), noise])
    _, decoder = kv.networks.mlp((8, 8, 1), 2, widths=(16,))
    vae = kv.VAE(encoder, decoder, seed=0)
    vae.compile(keras.optimizers.SGD(0.0))
    kl = vae.fit(BINARY, epochs=1, verbose=0).history["kl"][0]
    noise.rate = 0.9
    assert vae.fit(BINARY, epochs=1, verbose=0).history["kl"][0] > kl + 0.1


@pytest.mark.long
@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_quantised_weights_are_used():
    vae = used(make(), BINARY)
    before = vae.encode(BINARY[:8])
    vae.encoder.quantize("int8")
    after = vae.encode(BINARY[:8])
    assert not np.array_equal(before, after)
    np.testing.assert_allclose(after, before, atol=0.1)


def test_lora_needs_compile_and_trains():
    vae = used(make(), BINARY)
    dense = next(layer for layer in vae.encoder._flatten_layers() if isinstance(layer, keras.layers.Dense))
    dense.enable_lora(2)
    with pytest.raises(ValueError, match="call `compile` again"):
        vae.fit(BINARY, epochs=1, verbose=0)
    vae.compile(keras.optimizers.SGD(1e-2))
    before = np.array(dense.lora_kernel_b)
    vae.fit(BINARY, epochs=1, verbose=0)
    assert not np.array_equal(before, dense.lora_kernel_b)


def test_compile_with_other_options_makes_all_functions_anew():
    vae = used(make(), BINARY)
    before = vae.encode(BINARY[:8])
    vae.compile(keras.optimizers.SGD(1e-3), jit_compile=True)
    assert not vae._functions._compiled
    np.testing.assert_allclose(vae.encode(BINARY[:8]), before, atol=1e-5)


def test_an_attribute_of_a_users_model_is_used():
    keras.utils.set_random_seed(0)
    vae = TwoLevels((8, 8, 1), scale=0.5, seed=0)
    vae.temper = 1.0
    run = vae.run
    vae.run = lambda draw, x=None, y=None, temperature=1.0, training=False: run(
        draw, x, y, temperature * vae.temper, training
    )
    before = vae.sample(4, seed=0)
    vae.temper = 0.0
    after = vae.sample(4, seed=0)
    assert not np.allclose(before, after) and np.allclose(after[0], after[1], atol=1e-5)


def test_nothing_is_compiled_anew_where_nothing_changed():
    vae = used(make("normal:scale=1.0"), GREY)
    functions = [vae.train_function, vae.test_function, *vae._functions._compiled.values()]
    used(vae, GREY)
    now = [vae.train_function, vae.test_function, *vae._functions._compiled.values()]
    assert [id(f) for f in functions] == [id(f) for f in now]


def test_a_part_of_two_models_is_warned_of():
    vae = make("normal:scale=1.0")
    with pytest.warns(UserWarning, match=r"likelihood.*another model.*shares its weights"):
        make(vae.likelihood)


@pytest.mark.long
def test_several_changes_within_one_fit_arrive():
    scales = iter([0.3, 0.2, 0.1])
    vae = make("normal:scale=1.0")
    callback = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(vae.likelihood, "scale", next(scales))
    )
    history = vae.fit(GREY, epochs=3, batch_size=96, verbose=0, callbacks=[callback]).history
    # Errors of about 0.3 a pixel, over 64 pixels, divided by twice the squared scale.
    assert history["log_likelihood"][0] > history["log_likelihood"][1] + 10 > history["log_likelihood"][2] + 20


class Counted(kv.priors.StandardNormal):
    """Counts how often it is traced."""

    traces = 0

    def distribution(self, y=None, temperature=1.0, encode=None):
        Counted.traces += 1
        return super().distribution(y, temperature, encode)


def test_what_saves_or_looks_makes_no_function_anew(tmp_path):
    vae = used(make(prior=Counted((2,))), BINARY)
    # Keras notes in networks and layers whether XLA may compile them, what it predicts with, how they were quantised.
    looks = {
        "save": lambda: vae.save(tmp_path / "vae.keras"),
        "save_weights": lambda: vae.save_weights(tmp_path / "vae.weights.h5"),
        "load_weights": lambda: vae.load_weights(tmp_path / "vae.weights.h5"),
        "predict": lambda: vae.encoder.predict(BINARY, verbose=0),
        "compile": lambda: vae.encoder.compile("sgd", "mse"),
        "summary": lambda: vae.summary(print_fn=lambda *_, **__: None),
        "latent scale": lambda: vae.fit_latent_scale(BINARY),
    }
    for name, look in looks.items():
        look()
        assert not vae.settings.changed(), name
    Counted.traces = 0
    used(vae, BINARY)
    assert Counted.traces == 0
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "best.weights.h5", save_weights_only=True)
    vae.fit(BINARY, epochs=3, verbose=0, callbacks=[checkpoint, keras.callbacks.ModelCheckpoint(tmp_path / "a.keras")])
    assert Counted.traces <= 1


# Keras says it of the layers of each model.
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("corruption", [None, "masking"])
def test_what_is_quantised_is_saved(tmp_path, corruption):
    vae = make(corruption=corruption)
    vae.quantize("int8")
    assert all(v.dtype != "int8" for part in (vae.posterior, vae.likelihood) for v in part.weights)
    assert any(v.dtype == "int8" for v in vae.encoder.weights)
    expected = vae.log_prob(BINARY[:4], samples=5, seed=0)
    vae.save(tmp_path / "vae.keras")
    vae.save_to_preset(tmp_path / "preset")
    for again in (keras.saving.load_model(tmp_path / "vae.keras"), kv.VAE.from_preset(tmp_path / "preset")):
        np.testing.assert_allclose(again.log_prob(BINARY[:4], samples=5, seed=0), expected, rtol=1e-5)
