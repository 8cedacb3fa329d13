"""Flow matching: its way against closed forms, what it learns, labels, files."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae as kv
from keras_vae.networks import diffusion_transformer
from keras_vae.parts import policy_scope

SMALL = {"width": 32, "blocks": 2, "heads": 2, "steps": 10}


class Latents:
    """What a sampler asks of a model."""

    def __init__(self, *shape):
        self.latent_shape = shape


def ring(count, seed=0):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, count)
    return (np.stack([np.cos(angle), np.sin(angle)], axis=1) * 3 + rng.normal(0, 0.1, (count, 2)) + 5).astype("float32")


def fitted(data, epochs, **arguments):
    keras.utils.set_random_seed(0)
    sampler = kv.samplers.FlowMatching((2,), **SMALL, **arguments)
    z = data[0] if isinstance(data, list) else data
    sampler.normalization.adapt(z)
    steps = epochs * (len(z) // 256)
    sampler.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, steps)))
    sampler.fit(data, batch_size=256, epochs=epochs, verbose=0)
    return sampler


@pytest.fixture(scope="module")
def of_ring():
    return fitted(ring(2048), 60)


def test_the_exact_velocity_leads_to_the_exact_distribution(monkeypatch):
    """z ~ N(0, s^2): v = z_t (t s^2 - (1 - t)) / (t^2 s^2 + (1 - t)^2)."""
    sampler, variance = kv.samplers.FlowMatching((3,), **SMALL | {"steps": 40}), 0.3**2

    def velocity(z, t):
        t = t[:, None]
        return z * (t * variance - (1 - t)) / (t**2 * variance + (1 - t) ** 2)

    monkeypatch.setattr(sampler, "velocity", velocity)
    noise = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    np.testing.assert_allclose(ops.convert_to_numpy(sampler._follow(noise)), 0.3 * noise, rtol=0.02)


@pytest.mark.long
def test_it_learns_what_no_gaussian_is(of_ring):
    z, _ = of_ring.draw(Latents(2), 1000, seed=0)
    radius = np.linalg.norm(z - 5, axis=1)
    assert abs(radius.mean() - 3) < 0.15 and radius.std() < 0.4
    angles = np.arctan2(*(z - 5).T)
    assert np.histogram(angles, bins=4, range=(-np.pi, np.pi))[0].min() > 150


@pytest.fixture(scope="module")
def quick():
    return fitted(ring(256), 1)


def test_the_first_draws_do_not_depend_on_how_many(quick):
    few, many = (quick.draw(Latents(2), n, seed=3)[0] for n in (3, 300))
    np.testing.assert_allclose(few, many[:3], rtol=1e-5)
    assert not np.allclose(few, quick.draw(Latents(2), 3, seed=4)[0])


def test_it_saves_and_reloads(quick, tmp_path):
    quick.save(tmp_path / "sampler.keras")
    loaded = keras.saving.load_model(tmp_path / "sampler.keras")
    np.testing.assert_array_equal(loaded.draw(Latents(2), 5, seed=0)[0], quick.draw(Latents(2), 5, seed=0)[0])


def test_it_goes_on_training_from_its_averages():
    z = ring(256)
    sampler = kv.samplers.FlowMatching((2,), **SMALL)
    sampler.compile(keras.optimizers.Adam(1e-3, use_ema=True))
    sampler.fit(z, batch_size=128, verbose=0)
    before = sampler.get_weights()
    sampler.fit(z, batch_size=128, verbose=0)
    assert any((was != now).any() for was, now in zip(before, sampler.get_weights(), strict=True))


@pytest.mark.parametrize("policy", [pytest.param("mixed_bfloat16", marks=pytest.mark.long), "mixed_float16"])
def test_times_and_ways_are_float32_under_each_policy(policy):
    z = ring(256)

    def trained_under(policy):
        with policy_scope(policy):
            keras.utils.set_random_seed(0)
            sampler = kv.samplers.FlowMatching((2,), **SMALL)
            sampler.normalization.adapt(z)
            sampler.compile(keras.optimizers.SGD(0.1))
            if policy == "mixed_float16":
                assert isinstance(sampler.optimizer, keras.optimizers.LossScaleOptimizer)
                sampler.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=64.0))
            sampler.fit(z, batch_size=64, verbose=0)
            return sampler.draw(Latents(2), 50, seed=0)[0]

    found, wanted = trained_under(policy), trained_under("float32")
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, wanted, atol=0.05)


@pytest.mark.long
def test_labels_ask_for_clusters_and_guidance_goes_further():
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=2048)
    z = (np.where(label, 2.0, -2.0)[:, None] + rng.normal(0, 0.5, (2048, 2))).astype("float32")
    sampler = fitted([z, np.eye(2, dtype="float32")[label]], 40, label_shape=(2,))
    for wanted, mean in ((0, -2), (1, 2)):
        y = np.eye(2, dtype="float32")[np.full(300, wanted)]
        np.testing.assert_allclose(sampler.draw(Latents(2), 300, y, seed=0)[0].mean(axis=0), mean, atol=0.35)
    free, _ = sampler.draw(Latents(2), 300, seed=0)
    assert 0.2 < (free[:, 0] > 0).mean() < 0.8


@pytest.mark.long_on_jax
def test_a_model_samples_by_it():
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).integers(0, 2, (64, 8, 8, 1)).astype("float32")
    vae = kv.VAE(*kv.networks.conv((8, 8, 1), (4, 4, 2), widths=(4,), dense=None), seed=0)
    y = np.eye(3, dtype="float32")[np.arange(64) % 3]
    sampler = kv.samplers.flow_matching(vae, x, y, epochs=2, batch_size=32, width=16, blocks=1, heads=2, steps=2)
    assert vae.sample(3, y=y[:3], sampler=sampler, seed=0).shape == (3, 8, 8, 1)
    assert vae.sample(2, sampler=sampler, seed=0).shape == (2, 8, 8, 1)
    with pytest.raises(ValueError, match="3"):
        vae.sample(2, y=np.zeros((2, 4)), sampler=sampler)
    other = kv.VAE(*kv.networks.mlp((8, 8, 1), 3, widths=(8,)), seed=0)
    with pytest.raises(ValueError, match=r"latents of shape \(4, 4, 2\)"):
        other.sample(2, sampler=sampler)


def test_a_transformer_begins_as_nothing_and_tells_positions_apart():
    network = diffusion_transformer((4, 4, 3), width=16, blocks=1, heads=2)
    z, t = np.ones((2, 4, 4, 3), "float32"), np.array([0.1, 0.9], "float32")
    assert not ops.convert_to_numpy(network([z, t])).any()
    for layer in network.layers:
        for weight in layer.weights:
            weight.assign(np.random.default_rng(0).normal(0, 0.3, weight.shape))
    found = ops.convert_to_numpy(network([z, t]))
    assert np.abs(found[0] - found[1]).max() > 0.01 and np.abs(found[0, 0, 0] - found[0, 3, 3]).max() > 0.01
    with pytest.raises(ValueError, match="must divide"):
        diffusion_transformer((4,), width=10, heads=4)


X = np.zeros((4, 2), "float32")
REFUSED = {
    "classes as numbers": ({"y": np.arange(4)}, r"one-hot.*shape \(4,\) for 4 images"),
    "too few labels": ({"y": np.eye(3)}, r"one for each image.*shape \(3, 3\) for 4 images"),
    "labels that are none": ({"y": np.full((4, 3), np.nan)}, "labels contain NaN"),
    "no epochs": ({"epochs": 0}, "`epochs` must be a whole number"),
    "no batch": ({"batch_size": 0}, "`batch_size` must be a whole number"),
    "half an epoch": ({"epochs": 1.5}, "`epochs` must be a whole number"),
    "no rate": ({"learning_rate": float("nan")}, "`learning_rate` must be a finite number"),
    "more than all labels": ({"dropped": 2.0}, "`dropped` is a share"),
    "two heads of three": ({"width": 3, "heads": 2}, "`heads` must divide"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_flow_is_trained_with_is_refused_at_once(name):
    class Numbers(Latents):
        has_codes, class_units, label_shape = False, 0, None

        def _draws(self, *_):
            raise AssertionError("too late")

    given, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        kv.samplers.flow_matching(Numbers(4), X, **given)


def test_a_neighbourhood_has_images_with_their_labels():
    with pytest.raises(ValueError, match="0 images"):
        kv.samplers.Neighbourhood(X[:0])
    with pytest.raises(ValueError, match="4 images and 3 labels"):
        kv.samplers.Neighbourhood(X, y=np.eye(3))
    vae = kv.VAE(*kv.networks.mlp((2,), 2, widths=(4,)), likelihood="normal", seed=0)
    with pytest.raises(ValueError, match="'neighbourhood'"):
        vae.sample(2, sampler="neighbourhood")


def test_codes_have_no_flow():
    class Codes(Latents):
        has_codes = True

    with pytest.raises(ValueError, match="No flow leads to codes"):
        kv.samplers.flow_matching(Codes(4), np.zeros((4, 2)))


def test_latents_count_by_their_weights():
    z = ring(64)
    few = np.zeros(64, "float32")
    few[:3] = 1

    def loss_of(weights, count=64):
        sampler = kv.samplers.FlowMatching((2,), **SMALL, seed=0)
        sampler.compile(keras.optimizers.SGD(0.0))
        return sampler.fit(z, sample_weight=weights, batch_size=64, shuffle=False, verbose=0).history["loss"][0]

    assert loss_of(few) != pytest.approx(loss_of(None), rel=1e-3)
    assert loss_of(few) == pytest.approx(loss_of(few[:, None]), rel=1e-5)
    assert loss_of(np.ones(64)) == pytest.approx(loss_of(None), rel=1e-5)


def test_no_flow_leads_to_codes_among_numbers():
    posterior = "joint:categorical=one_hot(classes=3),count=2"
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 16, widths=(8,)), posterior=posterior, seed=0)
    m2 = kv.variants.get("m2")((8, 8, 1), 3, classes=10, network="mlp:widths=[8]", seed=0)
    with pytest.raises(ValueError, match=r"No flow leads to codes.* or classes"):
        kv.samplers.flow_matching(m2, np.zeros((8, 8, 8, 1), "float32"))
    with pytest.raises(ValueError, match="No flow leads to codes"):
        kv.samplers.flow_matching(vae, np.zeros((8, 8, 8, 1), "float32"))
