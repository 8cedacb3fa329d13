import numpy as np
import pytest
from keras import ops
from tensorflow_probability.substrates import numpy as tfp_numpy  # float64, independent of the backend

from keras_vae import backend
from keras_vae.backend import seed_pair, tfd, tfp
from keras_vae.distributions import DiscretizedLogisticMixture, IndependentBernoulli, ScoredBernoulli

EPSILON = 2.0**-23  # float32
REORDERED = 36 * EPSILON  # the same sum over 18 channel values, fused or in another order: an ulp or two in each
LEVELS = np.arange(256, dtype="float32")


def array(tensor):
    return ops.convert_to_numpy(tensor)


def log_prob(x, given, event_ndims=3):
    return DiscretizedLogisticMixture(**given, event_ndims=event_ndims).log_prob(x)


def sample(n, seed, given):
    return DiscretizedLogisticMixture(**given).sample(n, seed=seed)


if backend.NAME == "jax":
    import jax

    # Eager JAX compiles operation by operation, which takes these tests several times as long.
    log_prob = jax.jit(log_prob, static_argnames="event_ndims")
    sample = jax.jit(sample, static_argnums=0)


def compiled(function, **options):
    """XLA on both backends; `options` for `tf.function`."""
    if backend.NAME == "jax":
        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, **{"jit_compile": True, **options})


def parameters(*batch, height=2, width=3, components=4):
    """Moderate parameters of coupled colour images, most of their mass inside the levels."""
    rng = np.random.default_rng(0)
    position = (*batch, height, width)
    drawn = {
        "logits": rng.normal(size=(*position, components)),
        "loc": rng.normal(size=(*position, 3, components)) * 0.4,
        "log_scale": rng.uniform(-3.5, -1.5, size=(*position, 3, components)),
        "coefficients": np.tanh(rng.normal(size=(*position, 3, components))),
    }
    return {name: value.astype("float32") for name, value in drawn.items()}


def images(*shape):
    return np.random.default_rng(1).integers(0, 256, size=shape).astype("float32")


def reference_log_prob(x, logits, loc, log_scale, coefficients):
    """One colour image in float64, pixel by pixel as the paper has it; masses as differences of sigmoids."""

    def sigmoid(value):
        return 1.0 / (1.0 + np.exp(-value))

    total = 0.0
    for row, column in np.ndindex(x.shape[:2]):
        weights = np.exp(logits[row, column] - logits[row, column].max())
        weights = weights / weights.sum()
        r, g, b = x[row, column] * 2.0 / 255.0 - 1.0
        probability = 0.0
        for m, weight in enumerate(weights):
            mean_r, mean_g, mean_b = loc[row, column, :, m]
            c0, c1, c2 = coefficients[row, column, :, m]
            mean_g = mean_g + c0 * r
            mean_b = mean_b + c1 * r + c2 * g
            product = weight
            for channel, (value, mean) in enumerate([(r, mean_r), (g, mean_g), (b, mean_b)]):
                scale = np.exp(log_scale[row, column, channel, m])
                above = np.inf if x[row, column, channel] == 255 else (value + 1 / 255 - mean) / scale
                below = -np.inf if x[row, column, channel] == 0 else (value - 1 / 255 - mean) / scale
                if below > 0:  # the logistic is symmetric; on this side its differences do not cancel
                    above, below = -below, -above
                product = product * (sigmoid(above) - sigmoid(below))
            probability = probability + product
        total += np.log(probability)
    return total


def one_channel(loc, log_scale):
    """Parameters of a batch of single pixels with one component, from scalars."""
    loc, log_scale = np.broadcast_arrays(np.asarray(loc, "float32"), np.asarray(log_scale, "float32"))
    shape = (*loc.shape, 1, 1, 1, 1)
    return {
        "logits": np.zeros(shape[:-1], "float32"),
        "loc": loc.reshape(shape),
        "log_scale": log_scale.reshape(shape),
    }


def rounding(loc, log_scale, log_prob=0.0):
    """Float32 error of a log-mass: x and loc are rounded where its slope is up to 1 / scale, then the result itself."""
    return 4 * EPSILON * ((1 + np.abs(loc)) * np.exp(-log_scale) + np.abs(log_prob) + 1)


def test_single_logistic_agrees_with_tfp_in_float64_far_into_the_tails():
    loc = np.array([-4.0, -1.0, -0.3, 0.0, 0.77, 1.2, 4.0], "float32")[:, None, None]
    log_scale = np.array([-7.0, -4.0, -2.0, 0.0, 2.0, 7.0], "float32")[:, None]
    x = np.broadcast_to(LEVELS, (7, 6, 256))[..., None, None, None]
    ours = array(log_prob(x, one_channel(loc, log_scale)))
    scale = np.exp(log_scale.astype("float64")) * 127.5
    logistic = tfp_numpy.distributions.Logistic((loc.astype("float64") + 1) * 127.5 - 0.5, scale)
    oracle = tfp_numpy.distributions.QuantizedDistribution(logistic, low=np.float64(0), high=np.float64(255))
    theirs = oracle.log_prob(LEVELS.astype("float64"))
    assert np.sum(theirs < -200) > 1000
    assert np.all(np.abs(ours - theirs) <= rounding(loc, log_scale, theirs))


def test_coupled_mixture_agrees_with_float64_reference():
    given = parameters(2)
    x = images(2, 2, 3, 3)
    x[0, 0, 0], x[1, 1, 2] = (0, 255, 0), (255, 0, 255)
    ours = array(log_prob(x, given))
    for b in range(2):
        theirs = reference_log_prob(x[b], **{name: value[b].astype("float64") for name, value in given.items()})
        # 18 channel values, each off by no more than the rounding of one at the smallest scale drawn.
        assert abs(ours[b] - theirs) <= 18 * rounding(2.0, -3.5) + EPSILON * abs(theirs)


def test_gradients_agree_with_differences_of_the_reference():
    given = {name: value.astype("float64") for name, value in parameters(height=1, width=2).items()}
    x = images(1, 2, 3)
    rng = np.random.default_rng(2)
    direction = {name: rng.normal(size=value.shape) for name, value in given.items()}

    def ours(*values):
        return log_prob(x, dict(zip(given, values, strict=True)))

    _, gradients = tfp.math.value_and_gradient(ours, [ops.cast(value, "float32") for value in given.values()])
    step = 1e-5
    for name, gradient in zip(given, map(array, gradients), strict=True):
        ahead, behind = (
            reference_log_prob(x, **(given | {name: given[name] + sign * step * direction[name]})) for sign in (1, -1)
        )
        slope = (ahead - behind) / (2 * step)
        # A gradient is made of factors that are off as much as the three log-masses of a pixel are, relatively.
        assert abs(np.sum(gradient * direction[name]) - slope) <= 3 * rounding(2.0, -3.5) * np.abs(gradient).sum()


def test_masses_sum_to_one():
    loc = np.float32([-3.0, -1.0, 0.1, 1.0, 3.0])
    log_scale = np.float32([-7.0, -3.0, 0.0, 7.0])[:, None]
    masses = np.exp(array(log_prob(LEVELS.reshape(256, 1, 1, 1, 1, 1), one_channel(loc, log_scale))).astype("float64"))
    assert masses.shape == (256, 4, 5)
    assert np.all(np.abs(masses.sum(axis=0) - 1) <= rounding(loc, log_scale))


def test_masses_sum_to_one_channel_by_channel():
    # Summed over blue, the mass of a colour is that of (red, green) without blue, and so on down to red.
    given = parameters(height=1, width=1)
    tolerance = rounding(2.0, -3.5)

    def masses(colours):
        channels = colours.shape[-1]
        first = {
            "logits": given["logits"],
            "loc": given["loc"][..., :channels, :],
            "log_scale": given["log_scale"][..., :channels, :],
            "coefficients": given["coefficients"][..., : channels * (channels - 1) // 2, :] if channels > 1 else None,
        }
        return np.exp(array(log_prob(colours[..., None, None, :], first)).astype("float64"))

    def with_every_level(colours):
        repeated = np.broadcast_to(colours[:, None], (len(colours), 256, colours.shape[-1]))
        return np.concatenate([repeated, np.broadcast_to(LEVELS[:, None], (len(colours), 256, 1))], axis=-1)

    assert abs(masses(LEVELS[:, None]).sum() - 1) <= tolerance
    for known in (np.float32([[0], [140], [255]]), np.float32([[0, 255], [128, 90], [255, 31]])):
        marginal = masses(known)
        # Relative errors, one rounding for each channel of the sum and of the marginal.
        channels = 2 * known.shape[-1] + 1
        assert np.all(np.abs(masses(with_every_level(known)).sum(axis=-1) / marginal - 1) <= channels * tolerance)


def test_values_and_gradients_are_finite_at_the_extremes():
    loc, log_scale, x = (
        axis.reshape(-1, 1, 1, 1).astype("float32")
        for axis in np.meshgrid([-1e4, -5.0, 0.0, 5.0, 1e4], [-7.0, 0.0, 7.0], [0.0, 1.0, 128.0, 254.0, 255.0])
    )
    x = np.broadcast_to(x, (*x.shape[:-1], 3))
    loc, log_scale = (np.repeat(np.stack([p, -p], axis=-1), 3, axis=-2) for p in (loc, log_scale))
    logits = np.broadcast_to(np.float32([-60.0, 60.0]), (len(x), 1, 1, 2))

    @compiled
    def value_and_gradients(*values):
        return tfp.math.value_and_gradient(lambda *v: DiscretizedLogisticMixture(*v).log_prob(x), values)

    coefficients = np.ones_like(loc)
    tensors = [ops.convert_to_tensor(value) for value in (logits, loc, log_scale, coefficients)]
    value, gradients = value_and_gradients(*tensors)
    assert value.shape == (75,) and np.all(np.isfinite(array(value)))
    assert all(np.all(np.isfinite(array(gradient))) for gradient in gradients)
    assert all(np.any(array(gradient) != 0) for gradient in gradients)


def chi_square_excess(n, counts, expected):
    """Standard deviations by which Pearson's statistic exceeds its mean; rare and unlisted outcomes are pooled."""
    counts, expected = (
        np.append(values, n - values.sum()) for values in (counts[expected >= 10], expected[expected >= 10])
    )
    freedom = len(counts) - 1
    return (np.sum((counts - expected) ** 2 / expected) - freedom) / np.sqrt(2 * freedom)


def test_samples_of_one_channel_have_the_masses_of_log_prob():
    given = {
        "logits": np.float32([[[0.5, -0.5]]]),
        "loc": np.float32([[[[-0.9, 0.8]]]]),
        "log_scale": np.float32([[[[-2.0, -1.5]]]]),
    }
    n = 20_000
    samples = array(sample(n, seed_pair(3), given)).reshape(n)
    assert samples.dtype == np.float32 and set(np.unique(samples)) <= set(LEVELS)
    expected = n * np.exp(array(log_prob(LEVELS[:, None, None, None], given)).astype("float64"))
    assert expected[0] > 1_000 and expected[255] > 500  # the edge levels are part of the test
    # A fixed seed passes or fails for good; a right sampler exceeds 4 standard deviations about once in 10^4 seeds.
    assert chi_square_excess(n, np.bincount(samples.astype(int), minlength=256), expected) < 4


def test_samples_of_coupled_channels_have_the_masses_of_log_prob():
    # Scales of half a level: a colour takes few values, so that the joint mass is seen, and a coupling through values
    # before they are rounded would show.
    given = {
        "logits": np.float32([[[0.3, 0.0]]]),
        "loc": np.float32([[[[-0.98, 0.3], [0.2, -0.4], [0.1, 0.99]]]]),
        "log_scale": np.full((1, 1, 3, 2), -5.5, "float32"),
        "coefficients": np.float32([[[[0.9, -0.8], [0.7, 0.5], [-0.9, 0.6]]]]),
    }
    n = 20_000
    colours, counts = np.unique(array(sample(n, seed_pair(4), given))[:, 0, 0], axis=0, return_counts=True)
    expected = n * np.exp(array(log_prob(colours[:, None, None], given)).astype("float64"))
    assert 0.9 * n < expected[expected >= 10].sum() < n
    assert chi_square_excess(n, counts, expected) < 4


def test_batches_and_samples_keep_their_axes():
    given = parameters(2, 3)
    distribution = DiscretizedLogisticMixture(**given)
    assert distribution.batch_shape == (2, 3) and distribution.event_shape == (2, 3, 3)
    assert tuple(array(distribution.batch_shape_tensor())) == (2, 3)
    assert tuple(array(distribution.event_shape_tensor())) == (2, 3, 3)
    assert distribution.dtype == "float32" and distribution.reparameterization_type == tfd.NOT_REPARAMETERIZED
    x, samples = images(3, 2, 3, 3), array(sample(5, seed_pair(0), given))
    assert samples.shape == (5, 2, 3, 2, 3, 3)
    of_x, of_samples = array(log_prob(x, given)), array(log_prob(samples, given))
    assert of_x.shape == (2, 3) and of_samples.shape == (5, 2, 3)
    for k, b in ((0, 0), (1, 0), (1, 2)):
        alone = {name: value[k, b] for name, value in given.items()}
        assert array(log_prob(x[b], alone)) == pytest.approx(of_x[k, b], rel=REORDERED)
        assert array(log_prob(samples[:, k, b], alone)) == pytest.approx(of_samples[:, k, b], rel=REORDERED)


@pytest.mark.long_on_jax
def test_is_a_tfp_distribution_to_other_tfp_distributions():
    given = parameters(2, 3)
    distribution = DiscretizedLogisticMixture(**given)
    x = images(3, 2, 3, 3)
    expected = array(log_prob(x, given))
    independent = tfd.Independent(distribution, 1)
    assert independent.batch_shape == (2,) and independent.event_shape == (3, 2, 3, 3)
    assert array(independent.log_prob(x)) == pytest.approx(expected.sum(axis=1), rel=REORDERED)
    assert array(distribution[1].log_prob(x)) == pytest.approx(expected[1], rel=REORDERED)
    uncoupled = distribution.copy(coefficients=None)
    assert array(uncoupled.log_prob(x)) == pytest.approx(
        array(log_prob(x, given | {"coefficients": np.zeros_like(given["coefficients"])})), rel=REORDERED
    )


def test_parameters_broadcast():
    given = parameters(2, 3)
    given["log_scale"] = np.log(np.full((1, 1, 3, 4), 0.1, "float32"))
    given["logits"] = given["logits"][0, 0]
    full = given | {
        "log_scale": np.broadcast_to(given["log_scale"], given["loc"].shape),
        "logits": np.broadcast_to(given["logits"], (2, 3, 2, 3, 4)),
    }
    x = images(3, 2, 3, 3)
    assert DiscretizedLogisticMixture(**given).batch_shape == (2, 3)
    assert array(log_prob(x, given)) == pytest.approx(array(log_prob(x, full)), rel=REORDERED)
    assert np.array_equal(array(sample(1, seed_pair(0), given)), array(sample(1, seed_pair(0), full)))


def test_a_signal_and_a_vector_are_images_of_one_row():
    given = parameters(2, height=1, width=4)
    x = images(2, 1, 4, 3)
    image = array(log_prob(x, given))
    given, x = {name: value[:, 0] for name, value in given.items()}, x[:, 0]
    signal = DiscretizedLogisticMixture(**given, event_ndims=2)
    assert signal.batch_shape == (2,) and signal.event_shape == (4, 3)
    assert array(log_prob(x, given, event_ndims=2)) == pytest.approx(image, rel=REORDERED)
    vectors = DiscretizedLogisticMixture(**given, event_ndims=1)
    assert vectors.batch_shape == (2, 4) and vectors.event_shape == (3,)
    assert array(log_prob(x, given, event_ndims=1)).sum(axis=1) == pytest.approx(image, rel=REORDERED)


def test_other_dtypes_are_computed_in_float32():
    given = {name: ops.cast(value, "bfloat16") for name, value in parameters().items()}
    x = images(2, 3, 3)
    result = array(log_prob(x.astype("uint8"), given))
    exact = array(log_prob(x, {name: ops.cast(value, "float32") for name, value in given.items()}))
    assert result.dtype == np.float32 and result == pytest.approx(exact, rel=REORDERED)


def test_expected_image_is_the_average_of_the_coupled_locations():
    given = parameters(2, 2)
    image = array(DiscretizedLogisticMixture(**given).expected_image())
    logits, loc, _, c = (value.astype("float64") for value in given.values())
    r = loc[..., 0, :]
    g = loc[..., 1, :] + c[..., 0, :] * r
    b = loc[..., 2, :] + c[..., 1, :] * r + c[..., 2, :] * g
    weights = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    expected = np.stack([(weights * mean).sum(axis=-1) for mean in (r, g, b)], axis=-1)
    assert image.shape == (2, 2, 2, 3, 3)
    # Levels of a few hundred, after a dozen operations.
    assert image == pytest.approx(np.clip((expected + 1) * 127.5, 0, 255), abs=12 * 255 * EPSILON)


def test_coefficients_are_ordered_by_channel_then_by_the_channel_it_depends_on():
    locations = np.float32([0.1, 0.2, 0.3, 0.4])
    for index, (channel, other) in enumerate([(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]):
        coefficients = np.zeros((6, 1), "float32")
        coefficients[index] = 0.5
        distribution = DiscretizedLogisticMixture(
            np.zeros(1), locations[:, None], np.zeros((4, 1)), coefficients, event_ndims=1
        )
        expected = locations.copy()
        expected[channel] += 0.5 * locations[other]
        assert array(distribution.expected_image()) == pytest.approx((expected + 1) * 127.5, rel=4 * EPSILON)


def test_expected_image_is_nearly_the_mean_where_no_edge_is_near_and_clipped_beyond():
    inside = one_channel(0.1, -3.5)
    masses = np.exp(array(log_prob(LEVELS[:, None, None, None], inside)).astype("float64"))
    image = array(DiscretizedLogisticMixture(**inside).expected_image())
    # The scale is 4 levels, so that rounding averages out, and the edges hold e^-29 of the mass.
    assert image.item() == pytest.approx(np.sum(masses * LEVELS), abs=1e-3)
    outside = DiscretizedLogisticMixture(**one_channel([-1.5, 1.5], -3.5))
    assert array(outside.expected_image()).ravel().tolist() == [0.0, 255.0]


@pytest.mark.parametrize("jit_compile", [True] if backend.NAME == "jax" else [False, True])
def test_compiled_and_eager_agree_with_an_unknown_batch(jit_compile):
    given = parameters(2, 3)
    x = images(3, 2, 3, 3)
    names = list(given)

    def everything(x, seed, *values):
        def distribution(*values):
            return DiscretizedLogisticMixture(**dict(zip(names, values, strict=True)))

        value, gradients = tfp.math.value_and_gradient(lambda *v: distribution(*v).log_prob(x), values)
        made = distribution(*values)
        shapes = made.batch_shape_tensor(), made.event_shape_tensor()
        wrapped = tfd.Independent(tfd.Sample(made, 2), 1)
        return value, gradients, made.expected_image(), made.sample(4, seed=seed), wrapped.sample(seed=seed), shapes

    arguments = [ops.convert_to_tensor(value) for value in (x, seed_pair(0), *given.values())]
    options = {}
    if backend.NAME == "tensorflow":
        import tensorflow as tf

        unknown = [(None, *x.shape[1:]), (2,), *((None, None, *value.shape[2:]) for value in given.values())]
        signature = [tf.TensorSpec(s, a.dtype) for s, a in zip(unknown, arguments, strict=True)]
        options = {"input_signature": signature, "jit_compile": jit_compile}
    value, gradients, image, samples, wrapped, shapes = compiled(everything, **options)(*arguments)
    distribution = DiscretizedLogisticMixture(**given)
    assert array(value) == pytest.approx(array(distribution.log_prob(x)), rel=REORDERED)
    assert all(np.all(np.isfinite(array(gradient))) for gradient in gradients)
    assert array(image) == pytest.approx(array(distribution.expected_image()), abs=12 * 255 * EPSILON)
    assert samples.shape == (4, 2, 3, 2, 3, 3) and wrapped.shape == (2, 3, 2, 2, 3, 3)
    assert array(samples).min() >= 0 and array(samples).max() <= 255
    assert [tuple(array(shape)) for shape in shapes] == [(2, 3), (2, 3, 3)]


def test_a_seed_repeats_and_another_differs():
    first, again, other = (array(sample(1, seed_pair(seed), parameters())) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize(
    "changed",
    [
        {"event_ndims": 0},
        {"event_ndims": 6},
        {"logits": np.zeros((2, 3, 1))},
        {"logits": np.zeros((2, 3, 3, 4))},
        {"log_scale": np.zeros((2, 3, 1, 4))},
        {"log_scale": np.zeros((3, 4))},
        {"coefficients": np.zeros((2, 3, 2, 4))},
    ],
)
def test_shapes_that_do_not_fit_are_refused(changed):
    with pytest.raises(ValueError, match="Received: "):
        DiscretizedLogisticMixture(**(parameters() | changed))


# A prime number of elements has no groups, 96 has groups of 48.
@pytest.mark.parametrize("event", [(7,), (8, 4, 3)])
@pytest.mark.parametrize("made", [IndependentBernoulli, ScoredBernoulli])
def test_bernoulli_masses_and_gradients_agree_with_float64(made, event):
    rng = np.random.default_rng(0)
    logits = (5 * rng.normal(size=(3, 2, *event))).astype("float32")
    logits[0] *= 1e3  # far beyond where sigmoid is 0 or 1
    logits[1, 0] = 0.0  # as of layers that begin at zero
    x = rng.random((2, *event)).astype("float32").round()
    x[1] = np.where(logits[0, 1] > 0, 1, 0)
    flat = logits.astype("float64")
    terms = x * flat - np.maximum(flat, 0) - np.log1p(np.exp(-np.abs(flat)))

    def total(logits, x):
        pixels = made(tfd.Bernoulli(logits=logits), reinterpreted_batch_ndims=len(event))
        return pixels.log_prob(x)

    value, (by_logits, by_x) = tfp.math.value_and_gradient(total, [ops.convert_to_tensor(a) for a in (logits, x)])
    np.testing.assert_allclose(value, terms.reshape(3, 2, -1).sum(-1), rtol=1e-6, atol=1e-5)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(by_logits, x - 1 / (1 + np.exp(-flat)), atol=1e-6)
    np.testing.assert_allclose(by_x, flat.sum(0), rtol=1e-5, atol=1e-4)
