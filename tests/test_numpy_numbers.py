"""Numbers and shapes out of numpy (np.arange, x.std(), a table's cells) are those of Python: taken, and saved alike."""

import json

import keras
import numpy as np
import pytest

import keras_vae as kv

SHAPE = (8, 8, 1)


def identity(value):
    return value


def small(value):
    """In the fewest bytes."""
    value = np.array(value)
    return value.astype({"i": "uint8", "f": "float32", "b": "bool"}[value.dtype.kind])[()]


def vae(n, encoder=None, **parts):
    networks = kv.networks.mlp(SHAPE, 3, widths=(4,)) if encoder is None else encoder
    return kv.VAE(*networks, **{"seed": 0, "name": "vae", **parts})


# Each with `n` around its numbers, all exact in float32.
MADE = {
    "mlp": lambda n: kv.networks.mlp(n(SHAPE), n(3), widths=n((4, 5))),
    "mlp of one width": lambda n: kv.networks.mlp(SHAPE, 3, widths=n(4)),
    "conv": lambda n: kv.networks.conv(n(SHAPE), n(3), widths=n((4, 4)), kernel_size=n(3), dense=n(8)),
    "conv1d": lambda n: kv.networks.conv1d(n((8, 2)), n(3), widths=n((4, 4)), kernel_size=n(3), dense=n(8)),
    "resnet": lambda n: kv.networks.resnet(n(SHAPE), n((4, 4, 2)), widths=n((4,)), blocks=n((1,))),
    "blocks": lambda n: kv.networks.resnet(SHAPE, 3, widths=n(4), blocks=n(1)),
    "diagonal_normal": lambda n: kv.posteriors.DiagonalNormal(n(3), "softplus", floor=n(0.25)),
    "a latent map": lambda n: kv.posteriors.DiagonalNormal(n((2, 2, 3))),
    "full_covariance_normal": lambda n: kv.posteriors.FullCovarianceNormal(n(3), floor=n(0.25)),
    "standard_normal": lambda n: kv.priors.StandardNormal(n((2, 2, 3))),
    "head": lambda n: kv.parts.Head(n(SHAPE), n(2), name="head"),
    "normal": lambda n: kv.likelihoods.Normal(n(0.5)),
    "laplace": lambda n: kv.likelihoods.Laplace(scale=n(0.5)),
    "student_t": lambda n: kv.likelihoods.StudentT(n(3.0), n(0.5)),
    "log_cosh": lambda n: kv.likelihoods.LogCosh(n(2.0), scale=n(0.5)),
    "counts": lambda n: kv.likelihoods.ZeroInflatedNegativeBinomial(n(2.0), offset=n(True)),
    "ms_ssim": lambda n: kv.likelihoods.MultiScaleSSIM(n(2.0), scales=n(3), window=n(7)),
    "fitted_mixture": lambda n: kv.priors.FittedMixture(n(3), components=n(2), active=n(2)),
    "soft": lambda n: kv.likelihoods.Bernoulli(soft=n(True)),
    "mixture": lambda n: kv.likelihoods.DiscretizedLogisticMixture(n(3)),
    "elbo": lambda n: kv.objectives.ELBO(samples=n(2), beta=n(4.0), free_bits=n(0.5)),
    "whole beta": lambda n: kv.objectives.ELBO(beta=n(4)),
    "iwae": lambda n: kv.objectives.IWAE(n(5)),
    "constant": lambda n: kv.schedules.Constant(n(0.5)),
    "linear_warmup": lambda n: kv.schedules.LinearWarmup(n(10), start=n(0.25), end=n(2.0), delay=n(3)),
    "cyclical": lambda n: kv.schedules.Cyclical(n(10), n(0.5), n(0.25), n(2.0), n(3)),
    "sigmoid": lambda n: kv.schedules.Sigmoid(n(10), n(0.5), n(2.0)),
    "capacity": lambda n: kv.schedules.Capacity(n(5.0), n(10), n(100.0), n(0.5)),
    "specs": lambda n: vae(n, likelihood=kv.names.Spec("normal", options={"scale": n(0.5)})),
    "vae": lambda n: vae(
        n,
        (keras.layers.Flatten(name="encoder"), keras.layers.Dense(4, name="decoder")),
        posterior=kv.posteriors.DiagonalNormal(3),
        image_shape=n(SHAPE),
        seed=n(5),
    ),
}


def described(made):
    """What is saved of it."""
    parts = made if isinstance(made, tuple) else (made,)
    return json.loads(json.dumps([keras.saving.serialize_keras_object(part) for part in parts]))


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_what_is_made_of_numpys_numbers_is_saved_as_of_pythons(make):
    expected = described(make(identity))
    for kind in (np.array, lambda value: np.array(value)[()], small):
        assert described(make(kind)) == expected


def test_a_schedule_of_numpys_numbers_has_the_same_values():
    step = keras.ops.convert_to_tensor(4, "int32")
    for name in ("linear_warmup", "cyclical", "sigmoid", "capacity"):
        values = [float(MADE[name](n)(step)) for n in (identity, np.array)]
        assert values[0] == values[1]


def test_methods_take_numpys_numbers():
    model = vae(identity)
    x = (np.random.default_rng(0).random((5, *SHAPE)) > 0.5).astype("float32")
    np.testing.assert_array_equal(
        model.sample(np.uint8(200), seed=np.int64(1), temperature=np.float64(0.5), batch_size=np.uint8(64)),
        model.sample(200, seed=1, temperature=0.5, batch_size=64),
    )
    np.testing.assert_array_equal(
        model.log_prob(x, np.uint8(3), seed=np.int32(1), chunk=np.int64(8)), model.log_prob(x, 3, seed=1, chunk=8)
    )
    np.testing.assert_array_equal(model.reconstruct(x, batch_size=np.uint8(2)), model.reconstruct(x, batch_size=2))
    assert model.interpolate(x[0], x[1], np.int8(3)).shape == (3, *SHAPE)
