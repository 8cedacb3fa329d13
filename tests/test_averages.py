"""Statistics of training batches belong to the weights that are tested, averaged ones too."""

import keras
import numpy as np
import pytest
from compositions import digits

import keras_vae as kv
from keras_vae.training.averages import AveragedAdam, AveragedAdamW, ValidatedAverage, averaged_weights

X = kv.data.convert(digits()[:256], "unit interval")


def make(likelihood="normal:optimal", ema=0.99, rate=1e-2):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), keras.layers.BatchNormalization(momentum=0.9), keras.layers.Dropout(0.1)]
    encoder = keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Dense(16, "relu")])
    _, decoder = kv.networks.mlp((8, 8, 1), 3, widths=(16,))
    vae = kv.VAE(encoder, decoder, likelihood=likelihood, seed=0)
    vae.compile(keras.optimizers.Adam(rate, use_ema=ema is not None, ema_momentum=ema or 0.99))
    return vae


def normalisation(vae):
    return next(v for v in vae.encoder.layers if isinstance(v, keras.layers.BatchNormalization))


def test_statistics_are_those_of_the_data():
    vae = make()
    vae.update_statistics(X, batch_size=64)
    np.testing.assert_allclose(normalisation(vae).moving_mean, X.reshape(256, -1).mean(axis=0), atol=1e-5)
    # The mean of the batches' variances, in the order of the feed.
    feed = kv.feed.ArrayFeed(X, batch_size=64, seed=0)
    rows = X[feed.order()].reshape(4, 64, -1)
    np.testing.assert_allclose(normalisation(vae).moving_variance, rows.var(axis=1).mean(axis=0), atol=1e-5)


def test_a_fitted_scale_is_that_of_the_averaged_weights():
    vae = make()
    vae.fit(X, epochs=15, batch_size=32, verbose=0)
    after_fit = vae.evaluate(X, batch_size=256, verbose=0, return_dict=True)["elbo"]
    scale = float(vae.likelihood._moment / vae.likelihood._mass) ** 0.5
    vae.likelihood._moment.assign(vae.likelihood._mass)
    # The oracle: the best of fixed scales is the one that was estimated.
    errors = (vae.infer(X, samples=20).likelihood.distribution.loc - X[None]) ** 2
    np.testing.assert_allclose(scale, float(keras.ops.mean(errors)) ** 0.5, rtol=0.05)
    assert vae.evaluate(X, batch_size=256, verbose=0, return_dict=True)["elbo"] < after_fit - 10


def test_validating_averages_changes_no_training():
    runs = []
    for callbacks in ([], [ValidatedAverage()]):
        vae = make()
        vae.fit(X, epochs=2, batch_size=64, verbose=0, validation_data=X[:64], callbacks=callbacks)
        runs.append([np.array(v) for v in (*vae.variables, *vae.optimizer.variables)])
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_and_statistics_come_back():
    vae = make()
    vae.fit(X, epochs=1, batch_size=64, verbose=0)
    before = [np.array(v) for v in vae.variables]
    with averaged_weights(vae):
        pass
    for variable, value in zip(vae.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)


# Keras' word to a generator that ends with the epoch.
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
@pytest.mark.parametrize("kind", ["generator", "py_dataset"])
def test_streams_that_can_be_had_again_are_used(kind):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return X[64 * index : 64 * (index + 1)]

    vae = make("normal:learned", ema=0.5)
    vae.fit(Batches() if kind == "py_dataset" else (X[64 * i :][:64] for i in range(4)), verbose=0)
    exact = np.allclose(normalisation(vae).moving_mean, X.reshape(256, -1).mean(axis=0), atol=1e-5)
    # Of a generator there is nothing left to estimate from.
    assert exact == (kind == "py_dataset")


@pytest.mark.parametrize("kind", [AveragedAdam, AveragedAdamW])
def test_corrected_averages_forget_the_first_weights(kind):
    variable = keras.Variable(np.zeros(3, "float32"))
    optimizer = kind(0.1, use_ema=True, ema_momentum=0.99)
    optimizer.build([variable])
    expected, gradient = None, keras.ops.convert_to_tensor(np.float32([-1.0, -2.0, 3.0]))
    for step in range(30):
        optimizer.apply([gradient], [variable])
        momentum = min(0.99, (1 + step) / (10 + step)) if step else 0.0
        now = np.array(variable, "float64")
        expected = now if expected is None else momentum * expected + (1 - momentum) * now
    (average,) = optimizer._model_variables_moving_average
    np.testing.assert_allclose(np.array(average), expected, rtol=1e-5)
    assert optimizer.ema_momentum == 0.99
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is kind and again.ema_momentum == 0.99 and again.use_ema
