"""Discrete latents: quantisers, relaxed categories, and what is scored and logged of them."""

import keras
import numpy as np
import pytest
from compositions import digits
from keras import ops
from scipy import special, stats

import keras_vae as kv
from keras_vae.backend import seed_pair, tfp

SHAPE = (8, 8, 1)
X = (digits()[:64] > 127).astype("float32")


def tensor(array):
    return ops.convert_to_tensor(np.asarray(array, dtype="float32"))


def seen_as_it_is(posterior):
    """A posterior to which the features are the raw numbers themselves, (B, D * V)."""
    units = int(np.prod(posterior.embedding_shape))
    posterior.build((units,))
    posterior.head.dense.kernel.assign(np.eye(units))
    return posterior


def gradient(function, value):
    return np.array(tfp.math.value_and_gradient(function, tensor(value))[1])


def raw(posterior, count=5, seed=0, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=(count, int(np.prod(posterior.embedding_shape))))


def parted(posterior, features):
    return np.reshape(features, (-1, *posterior.embedding_shape))


@pytest.mark.parametrize("size", [3, (2, 3)])
def test_codes_are_the_nearest_of_the_book(size):
    posterior = seen_as_it_is(kv.posteriors.VectorQuantizer(size, codes=11, vector=4))
    features = raw(posterior)
    q = posterior.distribution(tensor(features))
    vectors, book = parted(posterior, features), np.array(posterior.codebook, "float64")
    nearest = np.argmin(np.sum((vectors[..., None, :] - book) ** 2, axis=-1), axis=-1)
    codes = np.array(posterior.point(q))
    np.testing.assert_array_equal(codes, nearest)
    assert codes.dtype == "int32" and posterior.codes == 11
    z = q.sample(2, seed=seed_pair(0))
    np.testing.assert_array_equal(z, np.stack([nearest] * 2))
    np.testing.assert_array_equal(q.log_prob(z), np.zeros((2, 5)))
    assert np.isneginf(np.array(q.log_prob(z + 1))).all()
    # With x or without, the decoder sees the vectors of the book, to the last bit.
    for given in (None, q):
        np.testing.assert_array_equal(posterior.embed(z, given), np.array(posterior.codebook)[np.array(z)])


def test_a_map_of_features_is_quantised_place_by_place():
    posterior = kv.posteriors.VectorQuantizer((2, 3), codes=11, vector=4)
    posterior.build((2, 3, 7))
    features = np.random.default_rng(0).normal(size=(5, 2, 3, 7))
    whole = np.array(posterior.distribution(tensor(features)).mode())
    moved = np.array(posterior.distribution(tensor(features[:, ::-1])).mode())
    assert whole.shape == (5, 2, 3)
    np.testing.assert_array_equal(moved, whole[:, ::-1])


def test_gradients_of_a_quantiser_are_straight_and_those_of_two_distances():
    posterior = seen_as_it_is(kv.posteriors.VectorQuantizer(3, codes=4, vector=2, commitment=0.3))
    features, weights = raw(posterior), np.random.default_rng(1).normal(size=(5, 3, 2))
    vectors, book = parted(posterior, features), np.array(posterior.codebook)
    codes = np.array(posterior.distribution(tensor(features)).mode())

    def seen(features):
        q = posterior.distribution(features)
        return ops.sum(tensor(weights) * posterior.embed(posterior.point(q), q))

    def penalty(features):
        return ops.sum(posterior.penalty(posterior.distribution(features)))

    def of_book(book):
        # Multiplied, for a gradient that is no list of rows on TensorFlow.
        with keras.StatelessScope(state_mapping=[(posterior.codebook, 1.0 * book)]):
            q = posterior.distribution(tensor(features))
            return ops.sum(posterior.penalty(q) + ops.sum(posterior.embed(q.mode(), q), axis=(1, 2)))

    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(gradient(seen, features), weights.reshape(5, -1), **close)
    away = 2 * 0.3 * (vectors - book[codes])
    np.testing.assert_allclose(gradient(penalty, features), away.reshape(5, -1), **close)
    pulled = np.zeros_like(book)
    np.add.at(pulled, codes, 2 * (book[codes] - vectors))
    np.testing.assert_allclose(gradient(of_book, book), pulled, **close)
    distance = np.sum((vectors - book[codes]) ** 2, axis=(1, 2))
    found = posterior.penalty(posterior.distribution(tensor(features)))
    np.testing.assert_allclose(np.array(found), 1.3 * distance, rtol=1e-5)


def test_a_moving_codebook_is_numpys():
    posterior = seen_as_it_is(kv.posteriors.VectorQuantizer(3, codes=4, vector=2, decay=0.8, revival=0))
    counts, book = np.zeros(4), np.array(posterior.codebook, "float64")
    assert [w.name for w in posterior.trainable_weights] == ["kernel", "bias"]
    for seed in range(3):
        features = raw(posterior, seed=seed)
        vectors, before = parted(posterior, features).reshape(-1, 2), np.array(posterior.codebook)
        q = posterior.distribution(tensor(features), training=True)
        codes = np.array(q.mode())
        # What is seen and paid for in this pass is what it was quantised by.
        np.testing.assert_array_equal(posterior.embed(q.mode(), q), before[codes])
        away = np.sum((vectors - before[codes.ravel()]).reshape(5, -1) ** 2, axis=1)
        np.testing.assert_allclose(np.array(posterior.penalty(q)), 0.25 * away, rtol=1e-4)
        used = np.bincount(codes.ravel(), minlength=4)
        sums = np.stack([vectors[codes.ravel() == code].sum(axis=0) for code in range(4)])
        moved = 0.8 * counts[:, None] * book + 0.2 * sums
        counts = 0.8 * counts + 0.2 * used
        book = np.where(counts[:, None] > 0, moved / np.maximum(counts, 1e-9)[:, None], book)
        np.testing.assert_allclose(np.array(posterior.counts), counts, rtol=1e-5)
        np.testing.assert_allclose(np.array(posterior.codebook), book, rtol=1e-4, atol=1e-5)
    kept = posterior.get_weights()
    posterior.distribution(tensor(features))
    posterior.trainable = False
    posterior.distribution(tensor(features), training=True)
    for before, now in zip(kept, posterior.get_weights(), strict=True):
        np.testing.assert_array_equal(before, now)


def test_dead_codes_begin_again_at_vectors_of_the_batch():
    posterior = seen_as_it_is(kv.posteriors.VectorQuantizer(3, codes=6, vector=2, decay=0.5, revival=0.01))
    far = np.array(posterior.codebook)
    far[2:] = 1e3
    posterior.codebook.assign(far)
    features = raw(posterior)
    used = np.unique(np.array(posterior.distribution(tensor(features), training=True).mode()))
    dead = np.setdiff1d(np.arange(6), used)
    vectors = parted(posterior, features).reshape(-1, 2).astype("float32")
    book = np.array(posterior.codebook)
    assert set(dead) >= {2, 3, 4, 5}
    assert all((vectors == vector).all(axis=1).any() for vector in book[dead])
    np.testing.assert_array_equal(np.array(posterior.counts)[dead], 1.0)


def residual(vectors, books):
    """Codes and sums of vectors by brute force: vectors (N, V), books (L, C, V) -> (N, L), (N, L, V)."""
    codes, sums = [], []
    for vector in np.asarray(vectors, "float64"):
        left, chosen, total = vector.copy(), [], np.zeros_like(vector)
        for book in books:
            chosen.append(int(np.argmin([np.sum((left - e) ** 2) for e in book])))
            left, total = left - book[chosen[-1]], total + book[chosen[-1]]
            sums.append(total)
        codes.append(chosen)
    return np.array(codes), np.reshape(sums, (len(codes), len(books), -1))


@pytest.mark.parametrize(("size", "shared"), [(3, False), ((2, 2), True)])
def test_each_level_quantises_what_the_former_left(size, shared):
    posterior = kv.posteriors.ResidualQuantizer(size, levels=3, codes=5, vector=2, shared=shared, commitment=0.3)
    posterior = seen_as_it_is(posterior)
    places = posterior.event_shape[:-1]
    assert posterior.event_shape[-1] == 3 and posterior.embedding_shape == (*places, 2)
    features = raw(posterior)
    vectors = parted(posterior, features)
    books = np.broadcast_to(np.array(posterior.codebook, "float64"), (3, 5, 2))
    codes, sums = residual(vectors.reshape(-1, 2), books)
    q = posterior.distribution(tensor(features))
    found = np.array(posterior.point(q))
    assert found.dtype == "int32" and found.shape == (5, *places, 3)
    np.testing.assert_array_equal(found.reshape(-1, 3), codes)
    z = q.sample(2, seed=seed_pair(0))
    np.testing.assert_array_equal(q.log_prob(z), np.zeros((2, 5)))
    seen = np.array(posterior.embed(z))
    np.testing.assert_allclose(seen[1].reshape(-1, 2), sums[:, -1], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(posterior.embed(z, q), seen)
    # Both losses of each level have the value of the distance from its sum.
    away = ((vectors.reshape(-1, 1, 2) - sums) ** 2).reshape(5, -1).sum(axis=1)
    np.testing.assert_allclose(np.array(posterior.penalty(q)), 1.3 * away, rtol=1e-4)


def test_gradients_of_levels_are_straight_and_do_not_pass_from_one_to_the_other():
    posterior = kv.posteriors.ResidualQuantizer(3, levels=2, codes=4, vector=2, commitment=0.3)
    posterior = seen_as_it_is(posterior)
    features, weights = raw(posterior), np.random.default_rng(1).normal(size=(5, 3, 2))
    vectors, books = parted(posterior, features).reshape(-1, 2), np.array(posterior.codebook, "float64")
    codes, sums = residual(vectors, books)

    def seen(features):
        q = posterior.distribution(features)
        return ops.sum(tensor(weights) * posterior.embed(posterior.point(q), q))

    def penalty(features):
        return ops.sum(posterior.penalty(posterior.distribution(features)))

    def of_books(books):
        with keras.StatelessScope(state_mapping=[(posterior.codebook, 1.0 * books)]):
            return ops.sum(posterior.penalty(posterior.distribution(tensor(features))))

    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(gradient(seen, features), weights.reshape(5, -1), **close)
    away = 2 * 0.3 * (vectors[:, None] - sums).sum(axis=1)
    np.testing.assert_allclose(gradient(penalty, features), away.reshape(5, -1), **close)
    pulled = np.zeros_like(books)
    for level in range(2):
        np.add.at(pulled[level], codes[:, level], 2 * (sums[:, level] - vectors))
    np.testing.assert_allclose(gradient(of_books, books), pulled, **close)


def test_one_level_is_a_vector_quantizer():
    arguments = {"codes": 4, "vector": 2, "decay": 0.8}
    one = seen_as_it_is(kv.posteriors.ResidualQuantizer(3, levels=1, **arguments))
    plain = seen_as_it_is(kv.posteriors.VectorQuantizer(3, **arguments))
    one.codebook.assign(np.array(plain.codebook)[None])
    for seed in range(2):
        features = tensor(raw(plain, seed=seed))
        theirs, ours = plain.distribution(features, training=True), one.distribution(features, training=True)
        np.testing.assert_array_equal(ours.mode()[..., 0], theirs.mode())
        np.testing.assert_array_equal(one.embed(ours.mode(), ours), plain.embed(theirs.mode(), theirs))
        np.testing.assert_array_equal(one.penalty(ours), plain.penalty(theirs))
        np.testing.assert_array_equal(one.codebook[0], plain.codebook)
        np.testing.assert_array_equal(one.counts[0], plain.counts)


@pytest.mark.parametrize("shared", [False, True])
def test_moving_codebooks_of_levels_are_numpys(shared):
    posterior = kv.posteriors.ResidualQuantizer(3, 2, codes=4, vector=2, shared=shared, decay=0.8, revival=0)
    posterior = seen_as_it_is(posterior)
    count = 1 if shared else 2
    counts, books = np.zeros((count, 4)), np.array(posterior.codebook, "float64")
    for seed in range(2):
        vectors = parted(posterior, raw(posterior, seed=seed)).reshape(-1, 2)
        posterior.distribution(tensor(raw(posterior, seed=seed)), training=True)
        codes, sums = residual(vectors, np.broadcast_to(books, (2, 4, 2)))
        left = vectors[:, None] - np.concatenate([np.zeros((15, 1, 2)), sums[:, :1]], axis=1)
        used, total = np.zeros_like(counts), np.zeros_like(books)
        for level in range(2):
            np.add.at(used[level % count], codes[:, level], 1)
            np.add.at(total[level % count], codes[:, level], left[:, level])
        moved = 0.8 * counts[..., None] * books + 0.2 * total
        counts = 0.8 * counts + 0.2 * used
        books = np.where(counts[..., None] > 0, moved / np.maximum(counts, 1e-9)[..., None], books)
        np.testing.assert_allclose(np.array(posterior.counts), counts, rtol=1e-5)
        np.testing.assert_allclose(np.array(posterior.codebook), books, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vector_quantizer", "residual_quantizer"])
def test_an_example_counts_in_a_moving_codebook_by_its_weight(name):
    def moved(features, weights, steps=2):
        keras.utils.set_random_seed(0)
        posterior = seen_as_it_is(kv.posteriors.get(f"{name}:codes=6,vector=2,decay=0.5", 3))
        for _ in range(steps):
            posterior.distribution(tensor(features), training=True, sample_weight=weights)
        return [np.array(w) for w in (posterior.codebook, posterior.counts)]

    features = np.random.default_rng(0).normal(size=(5, 6))
    # What counts for nothing may be anything.
    absent = np.concatenate([features[:3], [[np.inf] * 6]])
    twice = moved(features[[0, 1, 1, 2]], None)
    for found in (moved(absent, tensor([1, 2, 1, 0])), moved(absent[[3, 0, 1, 2]], tensor([0, 1, 2, 1]))):
        # Codes that begin again do so at the same vectors.
        for ours, theirs in zip(found, twice, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    # Where no example counts, nothing moves.
    book, counts = moved(features, tensor(np.zeros(5)))
    np.testing.assert_array_equal(book, moved(features, None, steps=0)[0])
    assert not counts.any()


def test_training_tells_a_codebook_the_weights():
    ends = []
    for x, weights in ((X[[0, 1, 1, 2]], None), (X[:4], np.array([1.0, 2.0, 1.0, 0.0]))):
        vae = made()
        vae.train_on_batch(x, sample_weight=weights)
        ends.append([np.array(w) for w in (vae.posterior.codebook, vae.posterior.counts)])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_finite_scalars_are_rounded_by_hand():
    levels = (8, 5, 4, 3)
    posterior = seen_as_it_is(kv.posteriors.FiniteScalar(3, levels=levels, normalized=False))
    assert posterior.codes == 480 and posterior.embedding_shape == (3, 4)
    features = raw(posterior, count=40, scale=2.0)
    q = posterior.distribution(tensor(features))
    expected, points = [], []
    for vector in parted(posterior, features).reshape(-1, 4):
        code, place, point = 0, 1, []
        for value, count in zip(vector, levels, strict=True):
            half, offset = (count - 1) * 0.999 / 2, 0.5 * (count % 2 == 0)
            level = round(np.tanh(value + np.arctanh(offset / half)) * half - offset)
            point.append(level / (count // 2))
            code += (level + count // 2) * place
            place *= count
        expected.append(code)
        points.append(point)
    np.testing.assert_array_equal(np.ravel(q.mode()), expected)
    embedded = posterior.embed(q.mode(), q)
    np.testing.assert_allclose(np.array(embedded).reshape(-1, 4), points, atol=1e-6)
    # Codes and points of the grid are one to one, and in the middle of it 0 stays 0.
    grid = np.array(posterior.embed(ops.arange(480, dtype="int32")))
    assert len(np.unique(grid, axis=0)) == 480 and np.abs(grid).max() == 1
    np.testing.assert_array_equal(posterior._nearest(tensor(grid)), np.arange(480))
    zero = posterior.distribution(tensor(np.zeros((1, 12))))
    np.testing.assert_allclose(np.array(posterior.embed(zero.mode(), zero)), 0, atol=1e-6)

    def seen(features):
        q = posterior.distribution(features)
        return ops.sum(posterior.embed(posterior.point(q), q))

    count = np.array(levels)
    half, offset = (count - 1) * 0.999 / 2, np.where(count % 2 == 0, 0.5, 0.0)
    bent = 1 - np.tanh(parted(posterior, features) + np.arctanh(offset / half)) ** 2
    expected = (bent * half / (count // 2)).reshape(40, -1)
    np.testing.assert_allclose(gradient(seen, features), expected, rtol=1e-3, atol=1e-5)


def test_normalized_numbers_have_a_mean_square_of_one():
    posterior, plain = (
        seen_as_it_is(kv.posteriors.FiniteScalar((2, 3), levels=(8, 5), normalized=normalized))
        for normalized in (True, False)
    )
    features = raw(posterior, count=40, scale=50.0)
    scaled = features / np.sqrt(np.mean(features**2, axis=1, keepdims=True))
    codes = np.array(posterior.distribution(tensor(features)).mode())
    np.testing.assert_array_equal(codes, plain.distribution(tensor(scaled)).mode())
    assert all(len(np.unique(place)) > 10 for place in codes.reshape(40, -1).T)


def test_normalized_numbers_are_not_driven_to_one_code():
    keras.utils.set_random_seed(0)
    x = (digits()[:500] > 127).astype("float32")
    networks = kv.networks.mlp(SHAPE, 12, widths=(64,))
    vae = kv.VAE(*networks, posterior="finite_scalar:levels=[4,4]", likelihood="bernoulli", seed=0)
    vae.compile(keras.optimizers.Adam(1e-2))
    vae.fit(x, batch_size=50, epochs=10, verbose=0)
    assert all(len(np.unique(place)) > 10 for place in vae.encode(x).T)  # 1 to 4 of 16 without


def test_gumbel_noise_draws_the_categories():
    posterior = seen_as_it_is(kv.posteriors.OneHot(2, classes=3))
    features = raw(posterior, count=2)
    q, p = posterior.distribution(tensor(features)), special.softmax(parted(posterior, features), axis=-1)
    z = np.array(q.sample(4000, seed=seed_pair(3)))
    assert z.shape == (4000, 2, 2) and z.dtype == "int32"
    for example in range(2):
        for unit in range(2):
            used = np.bincount(z[:, example, unit], minlength=3)
            assert stats.chisquare(used, 4000 * p[example, unit]).pvalue > 1e-3
    first = z[:1]
    log_p = np.log(np.take_along_axis(p, first[0][..., None], axis=-1)).sum(axis=(1, 2))
    np.testing.assert_allclose(np.array(q.log_prob(first))[0], log_p, rtol=1e-5)
    np.testing.assert_array_equal(posterior.point(q), np.argmax(p, axis=-1))
    # A closed form, through which gradients pass where those of samples would not.
    prior = kv.priors.UniformCodes(2, codes=3).distribution()
    latent = kv.inference.Latent(ops.convert_to_tensor(first), q, prior)
    kl = np.log(3) * 2 + (p * np.log(p)).sum(axis=(1, 2))
    np.testing.assert_allclose(np.array(latent.kl), kl, rtol=1e-5)
    np.testing.assert_allclose(np.array(latent.unit_kl).sum(axis=1), kl, rtol=1e-5)


def test_gradients_of_draws_are_those_of_the_softmax_of_the_same_noise():
    posterior = seen_as_it_is(kv.posteriors.OneHot(2, classes=3, temperature=0.5))
    features, weights = raw(posterior), np.random.default_rng(1).normal(size=(4, 5, 2, 3))
    kept = {}

    def seen(features):
        q = posterior.distribution(features)
        z = q.sample(4, seed=seed_pair(0))
        embedded = posterior.embed(z, q)
        kept.update(z=z, embedded=embedded, noisy=q.distribution._noisy)
        return ops.sum(tensor(weights) * embedded)

    seen(tensor(features))
    z, noisy = (np.array(kept[name]) for name in ("z", "noisy"))
    np.testing.assert_array_equal(kept["embedded"], np.eye(3)[z])
    np.testing.assert_array_equal(z, np.argmax(noisy, axis=-1))
    soft = special.softmax(noisy / 0.5, axis=-1)
    mean = np.sum(weights * soft, axis=-1, keepdims=True)
    expected = (soft * (weights - mean) / 0.5).sum(axis=0).reshape(5, -1)
    np.testing.assert_allclose(gradient(seen, features), expected, rtol=1e-4, atol=1e-5)


def test_uniform_codes_are_uniform():
    prior = kv.priors.UniformCodes((2, 3), codes=7).distribution(temperature=0.1)
    z = np.array(prior.sample(3000, seed=seed_pair(0)))
    assert z.shape == (3000, 2, 3) and z.dtype == "int32"
    assert stats.chisquare(np.bincount(z.ravel(), minlength=7)).pvalue > 1e-3
    np.testing.assert_allclose(np.array(prior.log_prob(z[:2])), [-6 * np.log(7)] * 2, rtol=1e-6)
    assert np.isneginf(np.array(prior.log_prob(np.full((1, 2, 3), 7, "int32")))).all()


def moved(prior, scale=1.0):
    """A prior with weights that are the same each time."""
    if not prior.built:
        prior.build(SHAPE)
    rng = np.random.default_rng(0)
    for weight in prior.trainable_weights:
        weight.assign(scale * rng.normal(size=weight.shape))
    return prior


def test_autoregressive_codes_sum_to_one_and_begin_uniform():
    prior = kv.priors.AutoregressiveCodes((2, 2), codes=3, width=5)
    grid = np.indices((3,) * 4).reshape(4, -1).T.reshape(-1, 2, 2).astype("int32")
    prior.build(SHAPE)
    np.testing.assert_allclose(np.array(prior.distribution().log_prob(grid)), -4 * np.log(3), rtol=1e-5)
    moved(prior, 0.5)
    log_p = np.array(prior.distribution().log_prob(grid), "float64")
    assert special.logsumexp(log_p) == pytest.approx(0, abs=1e-5) and np.ptp(log_p) > 1
    np.testing.assert_allclose(np.array(prior.distribution().log_prob(np.stack([grid, grid])))[1], log_p, rtol=1e-4)
    drawn = np.array(prior.distribution().sample(5000, seed=seed_pair(0)))
    assert drawn.shape == (5000, 2, 2) and drawn.dtype == "int32"
    used = np.bincount(np.ravel_multi_index(drawn.reshape(-1, 4).T, (3,) * 4), minlength=81)
    often = 5000 * np.exp(log_p) > 5
    assert abs(used[~often].sum() - 5000 * np.exp(log_p[~often]).sum()) < 5 * np.sqrt(5000)
    expected = 5000 * np.exp(log_p[often])
    assert len(expected) > 10
    assert stats.chisquare(used[often], expected * used[often].sum() / expected.sum()).pvalue > 1e-3


def test_codes_are_predicted_from_all_before_them_and_from_no_other():
    prior = moved(kv.priors.AutoregressiveCodes((2, 3), codes=4, width=5))
    z = np.random.default_rng(0).integers(0, 4, (1, 6), dtype="int32")
    seen = np.zeros((6, 6), bool)
    for place in range(6):
        other = z.copy()
        other[0, place] = (z[0, place] + 1) % 4
        seen[:, place] = (np.array(prior._logits(z)) != np.array(prior._logits(other))).any(axis=(0, 2))
    np.testing.assert_array_equal(seen, np.tri(6, k=-1, dtype=bool))


def test_cold_samples_take_the_likeliest_code_each_time():
    prior = moved(kv.priors.AutoregressiveCodes(4, codes=5, width=5))
    z = np.array(prior.distribution(temperature=0.0).sample(3, seed=seed_pair(0)))
    greedy = np.argmax(np.array(prior._logits(z)), axis=-1)
    np.testing.assert_array_equal(z, greedy)
    assert (z == z[0]).all()


MOVING = "vector_quantizer:codes=6,vector=4,decay=0.9"


def made(posterior=MOVING, seed=0, **parts):
    keras.utils.set_random_seed(seed)
    vae = kv.VAE(*kv.networks.mlp(SHAPE, 12, widths=(16,)), posterior=posterior, seed=seed, name="vae", **parts)
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae


@pytest.fixture(scope="module")
def fitted():
    vae = made(likelihood="discretized_logistic")
    return vae, vae.fit(digits()[:64], batch_size=32, epochs=2, validation_data=digits()[:32], verbose=0).history


def test_the_bound_is_that_of_the_codes(fitted):
    vae, _ = fitted
    x = digits()[:8]
    z = vae.encode(x)
    assert z.shape == (8, 3) and z.dtype == "int32"
    features = vae.run(kv.draws.Given(ops.convert_to_tensor(z)))[1]
    likelihood = vae.likelihood.distribution(features).log_prob(tensor(x))
    expected = np.array(likelihood)[0] - 3 * np.log(6)
    np.testing.assert_allclose(vae.log_prob(x, samples=5, seed=0), expected, rtol=1e-5)
    terms = vae.evaluate(x, verbose=0, return_dict=True)
    assert terms["elbo"] == pytest.approx(expected.mean(), rel=1e-5)
    assert terms["kl"] == pytest.approx(3 * np.log(6), rel=1e-5)
    np.testing.assert_array_equal(vae.decode(z), vae.reconstruct(x))


def test_the_perplexity_of_codes_is_logged(fitted):
    vae, history = fitted
    assert len(history["perplexity"]) == len(history["val_perplexity"]) == 2
    x = digits()[:32]
    share = np.bincount(vae.encode(x).ravel(), minlength=6) / 96
    expected = np.exp(stats.entropy(share))
    assert vae.evaluate(x, verbose=0, return_dict=True)["perplexity"] == pytest.approx(expected, rel=1e-5)
    # An example without weight is not there.
    weights = np.repeat([1.0, 0.0], 16)
    share = np.bincount(vae.encode(x[:16]).ravel(), minlength=6) / 48
    logs = vae.evaluate(x, sample_weight=weights, verbose=0, return_dict=True)
    assert logs["perplexity"] == pytest.approx(np.exp(stats.entropy(share)), rel=1e-5)


def test_the_perplexity_of_several_codebooks_is_the_mean_over_them():
    z = np.random.default_rng(0).integers(0, 4, (1, 6, 3, 2), dtype="int32")
    latent = kv.inference.Latent(ops.convert_to_tensor(z), None, None)
    inference = kv.inference.Inference(None, None, None, (latent,), None)
    entropies = [stats.entropy(np.bincount(z[..., book].ravel())) for book in range(2)]
    assert float(inference.perplexity(4, books=2)) == pytest.approx(np.exp(np.mean(entropies)), rel=1e-5)
    assert float(inference.perplexity(4)) == pytest.approx(np.exp(stats.entropy(np.bincount(z.ravel()))), rel=1e-5)


def test_one_sample_is_scored_where_all_are_alike(fitted, monkeypatch):
    vae, _ = fitted
    x = digits()[:3]
    asked, infer = [], vae.infer
    monkeypatch.setattr(
        vae, "infer", lambda *args, samples, **given: asked.append(samples) or infer(*args, samples=samples, **given)
    )
    vae._functions.clear()
    scores = vae.log_prob(x, samples=7, seed=0)
    assert asked == [1]
    weights = np.array(infer(tensor(x), samples=7).log_weight)
    np.testing.assert_allclose(special.logsumexp(weights, axis=0) - np.log(7), scores, rtol=1e-5)
    assert made("one_hot:classes=4").deterministic is False and made("point").deterministic


@pytest.mark.long
def test_codes_of_levels_go_all_the_way(tmp_path):
    vae = made("residual_quantizer:levels=2,codes=5,vector=4,shared=true,decay=0.9", likelihood="discretized_logistic")
    assert vae.latent_shape == (3, 2) and vae.prior.spec == "uniform_codes:codes=5" and vae.codes == 5
    history = vae.fit(digits()[:64], batch_size=32, verbose=0).history
    assert 1 <= history["perplexity"][0] <= 5
    x = digits()[:8]
    z = vae.encode(x)
    assert z.shape == (8, 3, 2) and z.dtype == "int32"
    np.testing.assert_array_equal(vae.decode(z), vae.reconstruct(x))
    features = vae.run(kv.draws.Given(ops.convert_to_tensor(z)))[1]
    likelihood = np.array(vae.likelihood.distribution(features).log_prob(tensor(x)))[0]
    np.testing.assert_allclose(vae.log_prob(x, samples=3, seed=0), likelihood - 6 * np.log(5), rtol=1e-5)
    prior = vae.fit_prior(digits()[:64], "autoregressive_codes:width=8", seed=0, epochs=2, batch_size=16)
    assert prior.event_shape == (3, 2) and prior.codes == 5
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.sample(3, seed=0), vae.sample(3, seed=0))


@pytest.mark.long_on_jax
def test_a_prior_is_fitted_to_the_codes_of_a_frozen_model(tmp_path):
    vae = made("vector_quantizer:codes=6,vector=4", likelihood="discretized_logistic")
    vae.fit(digits()[:64], batch_size=32, verbose=0)
    x, images, kept = digits()[:64], vae.reconstruct(digits()[:8]), [np.array(w) for w in vae.decoder_weights]
    before = vae.log_prob(x, samples=1, seed=0)
    prior = vae.fit_prior(x, "autoregressive_codes:width=8", seed=0, epochs=20, batch_size=16, learning_rate=0.02)
    assert vae.prior is prior and prior.codes == 6 and vae.latent_scale is None
    for was, now in zip(kept, vae.decoder_weights, strict=True):
        np.testing.assert_array_equal(was, now)
    np.testing.assert_array_equal(vae.reconstruct(x[:8]), images)
    # The density of the codes alone is another one, and a better one than that of equal chances.
    gain = vae.log_prob(x, samples=1, seed=0) - before
    log_p = np.array(prior.distribution().log_prob(vae.encode(x)))
    np.testing.assert_allclose(gain, log_p + 3 * np.log(6), atol=1e-3)
    assert gain.mean() > 1
    vae.save_to_preset(tmp_path)
    loaded = kv.VAE.from_preset(tmp_path)
    np.testing.assert_array_equal(loaded.sample(4, seed=0), vae.sample(4, seed=0))
    np.testing.assert_allclose(vae.sample(40, seed=0)[:4], vae.sample(4, seed=0), rtol=1e-5, atol=1e-4)


def test_only_training_moves_a_codebook(fitted):
    vae, _ = fitted
    x, before = digits()[:8], vae.get_weights()
    vae.evaluate(x, verbose=0)
    vae.reconstruct(x), vae.log_prob(x, samples=2, seed=0), vae.sample(2, seed=0)
    vae.update_statistics(x)
    for was, now in zip(before, vae.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_runs_are_repeated_and_resumed_bit_by_bit(tmp_path):
    ends = []
    for saved in (False, True):
        vae = made()
        vae.fit(X, batch_size=16, epochs=1, verbose=0)
        if saved:
            vae.save(tmp_path / "vae.keras")
            vae = keras.saving.load_model(tmp_path / "vae.keras")
        vae.fit(X, batch_size=16, epochs=1, verbose=0)
        ends.append([*vae.get_weights(), np.array(vae.posterior.seed_generator.state)])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


def test_sizes_follow_from_the_decoder():
    assert made().posterior.size == 3
    assert made("finite_scalar:levels=[4,3,3,3,3,3]").posterior.size == 2
    vae = made("one_hot:classes=4")
    assert vae.posterior.size == 3 and vae.prior.spec == "uniform_codes:codes=4"
    networks = kv.networks.resnet(SHAPE, (2, 2, 3), widths=(4, 4), blocks=(0, 1))
    vae = kv.VAE(*networks, posterior="finite_scalar:levels=[4,3,3]")
    assert vae.posterior.size == vae.latent_shape == (2, 2) and vae.codes == 36


NETWORKS = kv.networks.mlp(SHAPE, 12, widths=(4,))
QUANTIZER = "vector_quantizer:codes=6,vector=4"
REFUSED = {
    "a level": (lambda: kv.posteriors.FiniteScalar(2, levels=(2, 5)), r"`levels`.*at least 3"),
    "no levels": (lambda: kv.posteriors.FiniteScalar(2, levels=()), r"`levels` must be a list.*Received"),
    "many levels": (lambda: kv.posteriors.FiniteScalar(2, levels=(256, 256, 257)), r"at most 2\^24 codes"),
    "a decay": (lambda: kv.posteriors.VectorQuantizer(2, decay=1.0), r"`decay` is below 1.*Received: decay=1.0"),
    "no levels of codes": (lambda: kv.posteriors.ResidualQuantizer(2, levels=0), r"`levels` must be a whole number"),
    "no codes": (lambda: kv.posteriors.VectorQuantizer(2, codes=0), r"`codes` must be a whole number"),
    "a temperature": (lambda: kv.posteriors.OneHot(2, temperature=0), r"`temperature` must be a finite number above 0"),
    "a decoder": (
        lambda: kv.VAE(*NETWORKS, posterior="vector_quantizer:vector=5"),
        r"\(h, w, 5\).*Received: a decoder that takes \(12,\)",
    ),
    "a prior over numbers": (
        lambda: kv.VAE(*NETWORKS, posterior=QUANTIZER, prior="standard_normal"),
        r"whole numbers below 6.*prior='uniform_codes'",
    ),
    "a prior over other codes": (
        lambda: kv.VAE(*NETWORKS, posterior=QUANTIZER, prior="uniform_codes:codes=5"),
        r"whole numbers below 6 and the prior's whole numbers below 5",
    ),
    "codes of numbers": (lambda: kv.VAE(*NETWORKS, prior="uniform_codes:codes=5"), r"real numbers.*whole numbers"),
    "a mixture of posteriors": (lambda: kv.VAE(*NETWORKS, posterior=QUANTIZER, prior="vamp"), r"a posterior with"),
    "a scale": (lambda: made().fit_latent_scale(X), r"Codes.*have neither mean nor scale"),
    "a fitted mixture": (lambda: made().fit_prior(X), r"whole numbers below 6.*'autoregressive_codes'.*mixture"),
    "a fitted flow": (lambda: made().fit_prior(X, "flow"), r"whole numbers below 6.*'autoregressive_codes'.*flow"),
    "nothing to fit": (lambda: made().fit_prior(X, "uniform_codes"), r"weights to train.*UniformCodes"),
    "codes of numbers, fitted": (
        lambda: made("diagonal_normal").fit_prior(X, "autoregressive_codes:codes=4"),
        r"real numbers, over which this prior is no density.*'mixture'",
    ),
    "an objective of distances": (lambda: made(objective="mmd").fit(X, verbose=0), r"real numbers, and not for codes"),
    "neighbours": (lambda: made().sample(2, sampler=kv.samplers.Neighbourhood(X)), r"have no neighbours"),
    "fractions": (lambda: made().decode(np.full((2, 3), 0.5)), r"codes, whole numbers"),
    "active units": (
        lambda: made().fit(X, callbacks=kv.callbacks.ActiveUnits(X), verbose=0),
        r"see the logged `perplexity`",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_meaning_is_refused(case):
    function, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        function()


@pytest.mark.parametrize(
    ("spec", "size"),
    [("finite_scalar:levels=[4,4]", 8), ("one_hot:classes=5", 20), ("vector_quantizer:codes=8,vector=4", 16)],
)
def test_codes_that_there_are_not_are_refused(spec, size):
    vae = kv.VAE(*kv.networks.mlp(SHAPE, size, widths=(8,)), posterior=spec, seed=0)
    for code in (-1, vae.codes, 1.5, np.nan):
        with pytest.raises(ValueError, match=rf"codes, whole numbers from 0 to {vae.codes - 1}"):
            vae.decode(np.full((1, 4), code))
        with pytest.raises(ValueError, match=rf"codes, whole numbers from 0 to {vae.codes - 1}"):
            vae.sample(1, given={0: np.full(4, code)})
    assert np.isfinite(vae.decode(np.full((1, 4), vae.codes - 1))).all()
