"""Labels: networks that see them, few of them, none of them; and runs with them."""

import json

import keras
import numpy as np
import pytest
from compositions import BY_NAME, digits, labels
from scipy import special, stats

import keras_vae as kv
from keras_vae import data, distributions, metrics
from keras_vae.cli import main as cli
from keras_vae.data import DataSet, Split
from keras_vae.priors import fitting
from keras_vae.runs import evaluation, labelling, pictures
from keras_vae.runs import model as run_model
from keras_vae.runs import run as experiment
from keras_vae.runs.recipe import Recipe, UsageError

SHAPE = (8, 8, 1)
RNG = np.random.default_rng(0)


def array(x):
    return np.array(x, dtype="float64")


def one_hot(labels, classes=10):
    return np.eye(classes, dtype="float32")[labels]


def affine(layer, x):
    kernel, bias = (array(v) for v in layer.weights)
    return x @ kernel + bias


# Networks


def test_a_label_joins_the_pixels_of_a_dense_network():
    encoder, decoder = kv.networks.labelled(*kv.networks.mlp(SHAPE, 3, widths=(6,)), label_shape=10)
    assert encoder.name == "encoder" and encoder.input_shape == [(None, *SHAPE), (None, 10)]
    for network, shape in ((encoder, SHAPE), (decoder, (3,))):
        x, y = RNG.normal(size=(4, *shape)).astype("float32"), one_hot(np.arange(4))
        (dense,) = (v for v in network._flatten_layers() if isinstance(v, keras.layers.Dense))
        assert dense.kernel.shape == (np.prod(shape) + 10, 6)
        expected = np.maximum(affine(dense, np.concatenate([x.reshape(4, -1), y], axis=1)), 0)
        np.testing.assert_allclose(network([x, y]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("shape", "joined"), [((10,), "everywhere"), ((5, 2), "everywhere"), ((8, 8, 2), "in place")])
def test_a_label_joins_the_channels_of_maps(shape, joined):
    encoder, decoder = kv.networks.labelled(*kv.networks.conv(SHAPE, 3, widths=(4,), dense=None), label_shape=shape)
    x, y = RNG.normal(size=(2, *SHAPE)).astype("float32"), RNG.normal(size=(2, *shape)).astype("float32")
    (inner,) = (v for v in encoder.layers if isinstance(v, keras.Model))
    spread = y if joined == "in place" else np.broadcast_to(y.reshape(2, 1, 1, -1), (2, 8, 8, np.prod(shape)))
    np.testing.assert_allclose(encoder([x, y]), inner(np.concatenate([x, spread], axis=-1)), rtol=1e-5)
    assert decoder([x[:, 0, :3, 0], y]).shape == (2, 8, 8, 4)


def test_labels_join_any_model_of_keras_with_one_input():
    layers = keras.layers
    sequential = keras.Sequential([keras.Input((8,)), layers.Dense(4, "tanh"), layers.Dense(3)], name="encoder")
    listed = keras.Input((2,))
    listed = keras.Model([listed], layers.Dense(4)(listed), name="decoder")
    encoder, decoder = kv.networks.labelled(sequential, listed, np.int64(3))
    vae = kv.VAE(encoder, decoder, likelihood="normal")
    assert vae.label_shape == (3,) and vae.latent_shape == (2,)
    # Of the same layers, with weights of their own.
    assert [v.shape for v in encoder.weights] == [(11, 4), (4,), (4, 3), (3,)]
    assert {id(v) for v in encoder.weights}.isdisjoint(map(id, sequential.weights))
    with pytest.raises(ValueError, match=r"one input.*of 2 inputs"):
        kv.networks.labelled(encoder, decoder, 3)
    with pytest.raises(ValueError, match=r"one input.*of 0 inputs"):
        kv.networks.labelled(layers.Dense(3), listed, 3)
    with pytest.raises(ValueError, match="`label_shape` must be"):
        kv.networks.labelled(sequential, listed, ())
    first = keras.Input((4,))
    skipping = keras.Model(first, layers.Add()([layers.Dense(4)(first), first]))
    with pytest.raises(ValueError, match="give it a second input yourself"):
        kv.networks.labelled(skipping, listed, 3)


# Conditional models


@pytest.fixture(scope="module")
def conditional():
    """A conditional VAE after a short training, with some of its data."""
    x, y = kv.data.convert(digits(), "binary"), one_hot(labels())
    vae = kv.variants.get("conditional")(SHAPE, 4, label_shape=(10,), network="mlp:widths=[64]", seed=0)
    vae.compile(keras.optimizers.Adam(5e-3))
    vae.fit(x, y, batch_size=64, epochs=12, verbose=0)
    return vae, x[:64], y[:64]


def test_labels_go_with_their_images(conditional):
    vae, x, y = conditional
    order = np.random.default_rng(1).permutation(len(x))
    log_prob = vae.log_prob(x, samples=10, y=y, seed=0)
    np.testing.assert_array_equal(vae.log_prob(x[order], samples=10, y=y[order], seed=0, keys=order), log_prob[order])
    np.testing.assert_array_equal(vae.sample(20, y=y[:20], seed=0)[:7], vae.sample(7, y=y[:7], seed=0))


def test_the_right_label_is_the_most_probable(conditional):
    vae, x, y = conditional
    scores = np.stack(
        [vae.log_prob(x, samples=10, y=one_hot(np.full(len(x), digit)), seed=0) for digit in range(10)], axis=1
    )
    assert np.mean(scores.argmax(axis=1) == y.argmax(axis=1)) > 0.8
    assert np.mean((scores * y).sum(axis=1) - np.mean(scores, axis=1)) > 2


# Few labels


@pytest.fixture(scope="module")
def few():
    """An M2 off its start, and images of which every third has no label."""
    composition = BY_NAME["few_labels"]
    return composition.moved(), *composition.data(6)


def bounds_by_hand(vae, x, y, inference):
    """-L(x, y) of equation 6 for each class and sample, (S, C, B), by numpy; log q(y|x) of all classes, (B, C)."""
    classes = vae.classes
    logits = affine(vae.head.dense, np.array(vae.classifier(x), "float64"))
    z = array(inference.latents[1].z)
    z = z.reshape(-1, classes, *z.shape[1:])
    bounds = np.empty(z.shape[:3])
    for sample, label in np.ndindex(z.shape[:2]):
        every = one_hot(np.where(y >= 0, y, label).astype(int), classes)
        features = affine(vae.posterior.head.dense, array(vae.encoder([x, every])))
        loc, raw = np.split(features.reshape(len(x), -1, 2), 2, axis=-1)
        variance = np.exp(raw[..., 0])
        log_q = stats.norm(loc[..., 0], np.sqrt(variance)).logpdf(z[sample, label]).sum(-1)
        log_p = stats.norm().logpdf(z[sample, label]).sum(-1)
        made = vae.decoder([z[sample, label].astype("float32"), every])
        pixels = affine(vae.likelihood.head.dense, array(made)).reshape(x.shape)
        log_likelihood = (x * pixels - np.logaddexp(0, pixels)).sum(axis=(1, 2, 3))
        bounds[sample, label] = log_likelihood + log_p - log_q - np.log(classes)
    return bounds, special.log_softmax(logits, axis=-1)


@pytest.mark.long_on_jax
def test_the_bound_of_few_labels_is_a_sum_over_the_classes(few):
    vae, x, y = few
    assert (y < 0).sum() == 2 and vae.classes == 10
    given = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y, "float32")
    inference = vae.infer(*given, samples=2, seed=kv.backend.seed_pair(0))
    minus_l, log_q = bounds_by_hand(vae, x, y, inference)
    assert minus_l.shape == (2, 10, 6)
    # Equations 6 and 7; a label that is known leaves samples of one class.
    known, unknown = minus_l.mean(axis=(0, 1)), (np.exp(log_q) * (minus_l.mean(axis=0).T - log_q)).sum(axis=1)
    single = array(inference.log_weight).reshape(2, 10, 6)
    np.testing.assert_allclose(single[..., y >= 0], minus_l[..., y >= 0], rtol=1e-4)
    weights = array(inference.weights)
    np.testing.assert_allclose(weights[:, y >= 0], 1 / 20, rtol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-5)
    # Of the same samples, without a closed form for the KL of z.
    sampled = array(inference.mean(inference.log_likelihood - inference.log_ratio))
    np.testing.assert_allclose(sampled, np.where(y >= 0, known, unknown), rtol=1e-4)
    # log p(x), or log p(x, y), by importance sampling.
    log_prob = special.logsumexp(minus_l, axis=1).T + np.where(y >= 0, -np.log(10), 0)[:, None]
    expected = special.logsumexp(log_prob, axis=1) - np.log(2)
    np.testing.assert_allclose(inference.log_mean_weight, expected, rtol=1e-4)
    # Equation 9: the loss is a mean over the batch, as are both of its terms.
    terms = vae.objective.terms(inference)
    supervised = -log_q[np.flatnonzero(y >= 0), y[y >= 0]].mean()
    penalty = np.mean(array(terms["loss"])) + np.mean(array(inference.elbo))
    np.testing.assert_allclose(penalty, vae.alpha * supervised, rtol=1e-3)
    weighted = vae.infer(*given, sample_weight=keras.ops.convert_to_tensor([0.0, 2, 1, 1, 0, 3], "float32"))
    by_weight = np.average(-log_q[np.arange(6), np.maximum(y, 0)], weights=np.array([0, 2, 1, 1, 0, 3]) * (y >= 0))
    np.testing.assert_allclose(weighted.batch_mean(weighted.penalty), vae.alpha * by_weight, rtol=1e-4)


def test_log_p_of_an_image_sums_over_its_labels(few):
    vae, x, _ = few
    each = [vae.log_prob(x, samples=300, y=np.full(6, label), seed=1) for label in range(10)]
    assert np.ptp(each, axis=0).min() > 0.05
    # Two estimates of so many samples each, of flat posteriors.
    found = vae.log_prob(x, samples=300, seed=2)
    np.testing.assert_allclose(found, special.logsumexp(each, axis=0), atol=0.3)
    np.testing.assert_allclose(vae.log_prob(x, samples=3000, seed=2, proposal="prior"), found, atol=0.3)
    # A q(z|x) that is a million times as dense as p(z) leaves no digits of what it is taken away from, and is not.
    bias = vae.posterior.head.dense.bias
    before = np.array(bias)
    bias.assign(np.tile([500.0, -14.0], len(before) // 2))
    from_prior = vae.log_prob(x, samples=3000, seed=2, proposal="prior")
    bias.assign(before)
    np.testing.assert_allclose(from_prior, found, atol=0.3)


def test_a_class_is_no_number_with_a_scale_or_neighbours(few):
    vae, x, y = few
    scale = vae.fit_latent_scale(x, y, seed=0)
    assert (scale.mean[:10] == 0).all() and (scale.std[:10] == 1).all() and (scale.std[10:] != 1).all()
    z = vae.encode(x, standardized=True)
    np.testing.assert_array_equal(z[:, :10], vae.encode(x)[:, :10])
    vae.latent_scale = None
    with pytest.raises(ValueError, match="classes have no neighbours"):
        vae.sample(2, sampler=kv.samplers.Neighbourhood(x, scale=0.5))


def test_a_class_is_no_active_unit(few):
    vae, x, _ = few
    log = {}
    units = kv.callbacks.ActiveUnits(x)
    units.set_model(vae)
    units.on_train_begin()
    units.on_epoch_end(0, log)
    assert log["active_units"] == kv.metrics.active_units(vae.encode(x)[:, 10:]).sum()
    with pytest.raises(ValueError, match=r"all classes of an image alike.*Received: .*optimal"):
        vae.likelihood = "normal:optimal"


def test_a_number_of_samples_is_what_counts(few):
    vae, x, _ = few
    # 257 in two rounds of 129, the last sample of which does not count.
    parts = []
    for number in range(2):
        seeds = kv.backend.seed_pairs(3, range(6), number)
        inference = vae.infer(keras.ops.convert_to_tensor(x), samples=129, seed=seeds)
        log_term = array(inference.log_term).reshape(129, 10, 6)[: 129 - number]
        parts.append(special.logsumexp(log_term, axis=(0, 1)) + np.log(129))
    expected = special.logsumexp(parts, axis=0) - np.log(257)
    np.testing.assert_allclose(vae.log_prob(x, samples=257, seed=3), expected, rtol=1e-5)


def test_labels_that_are_not_known_are_guessed(few):
    vae, x, y = few
    guess = vae.classify(x)
    assert guess.shape == (6, 10)
    np.testing.assert_allclose(guess.sum(axis=1), 1, rtol=1e-5)
    label, z = vae.split(vae.encode(x, y))
    np.testing.assert_array_equal(label.argmax(axis=1), np.where(y >= 0, y, guess.argmax(axis=1)))
    assert z.shape == (6, 3) and vae.latent_shape == (13,)
    # The class that is asked for, in the place of that in z.
    other = vae.decode(vae.encode(x, y), np.full(6, 3))
    np.testing.assert_allclose(other, vae.decode(np.concatenate([one_hot(np.full(6, 3)), z], axis=1)), rtol=1e-5)
    # Samples of one seed have one style, whatever the label.
    drawn = vae.sample(200, seed=0)
    again = [vae.sample(200, y=np.full(200, label), seed=0) for label in range(10)]
    same = [(np.abs(drawn - samples).max(axis=(1, 2, 3)) < 1e-5).mean() for samples in again]
    assert sum(same) == pytest.approx(1) and min(same) > 0.02


def test_labels_of_few_are_checked(few):
    vae, x, y = few
    for wrong in (np.full(6, 10), np.full(6, -2), np.full(6, 0.5)):
        with pytest.raises(ValueError, match=r"whole numbers from 0 to 9, and -1.*Received"):
            vae.log_prob(x, y=wrong)
    with pytest.raises(ValueError, match=r"labels of shape \(6\).*Received: y of shape \(6, 10\)"):
        vae.fit(x, one_hot(np.maximum(y, 0)), verbose=0)
    plain = kv.networks.mlp(SHAPE, 3, widths=(4,))
    with pytest.raises(ValueError, match="must see one-hot labels"):
        kv.SemiSupervisedVAE(*plain, plain[0])
    labelled = kv.networks.labelled(*plain, 10)
    with pytest.raises(ValueError, match="z is of real numbers"):
        kv.SemiSupervisedVAE(*labelled, plain[0], prior="vamp:components=3")
    with pytest.raises(ValueError, match=r"samples that count alike|one group of latents"):
        vae = kv.SemiSupervisedVAE(*labelled, plain[0], objective="miwae:samples=4,bounds=2")
        vae.objective.terms(vae.infer(keras.ops.convert_to_tensor(x), samples=4))
    with pytest.raises(ValueError, match="goes with its other networks"):
        vae.classifier = plain[0]


# Clusters


def test_clusters_are_the_components_of_the_prior():
    z = RNG.normal(size=(7, 3)).astype("float32")
    vae = kv.VAE(*kv.networks.mlp(SHAPE, 3, widths=(4,)), posterior="point", prior="mixture:components=4", seed=0)
    x = kv.data.convert(digits()[:7], "binary")
    vae.prior.start_from(RNG.normal(size=(40, 3)))
    normals = vae.prior.distribution().components_distribution.distribution
    loc, scale, weights = array(normals.loc), array(normals.scale), array(vae.prior.logits)
    log_joint = stats.norm(loc, scale).logpdf(array(vae.encode(x))[:, None]).sum(axis=-1) + weights
    np.testing.assert_allclose(vae.classify(x), special.softmax(log_joint, axis=1), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(vae.classify(x)[:3], vae.classify(x[:3]), rtol=1e-5)
    with pytest.raises(ValueError, match=r"components of a mixture.*Received: prior='standard_normal'"):
        kv.VAE(*kv.networks.mlp(SHAPE, 3, widths=(4,))).classify(x)
    # Those of a mixture that was fitted after training, on two of three units.
    tril = np.linalg.cholesky([[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.3], [-0.3, 0.5]]])
    means, shares = np.array([[0.0, 1.0], [1.0, -1.0]]), np.array([0.3, 0.7])
    fitted = distributions.NormalMixture(np.log(shares), means, tril, [2, 0, 1], (3,))
    densities = [stats.multivariate_normal(m, t @ t.T).pdf(z[:, [2, 0]]) for m, t in zip(means, tril, strict=True)]
    expected = (joint := shares * np.transpose(densities)) / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.posterior_marginal(z).probs_parameter(), expected, rtol=1e-4)


def test_a_mixture_begins_at_the_clusters_of_latents():
    centres = np.array([[5.0, 0.0], [-5.0, 1.0], [0.0, 9.0]])
    z = np.concatenate([centre + 0.1 * RNG.normal(size=(20 * n, 2)) for n, centre in enumerate(centres, start=1)])
    prior = kv.priors.NormalMixture(2, components=3)
    prior.build(SHAPE)
    prior.start_from(z)
    order = np.argsort(array(prior.logits))
    np.testing.assert_allclose(array(prior.loc)[order], centres, atol=0.1)
    np.testing.assert_allclose(np.exp(array(prior.logits))[order], [1 / 6, 2 / 6, 3 / 6], atol=1e-3)
    np.testing.assert_allclose(np.exp(array(prior.log_scale)), 0.1, atol=0.04)
    with pytest.raises(ValueError, match=r"shape \(N, 2\).*Received: shape \(4, 3\)"):
        prior.start_from(np.zeros((4, 3)))


def test_latents_and_clusters_tell_labels():
    truth = np.repeat(np.arange(3), 40)
    z = 3 * one_hot(truth, 3) + 0.3 * RNG.normal(size=(120, 3))
    few = np.full(120, -1)
    few[::8] = truth[::8]
    assert metrics.accuracy(metrics.latent_classifier(z, few, z), truth) == 1.0
    few[::8][1:] = -1
    with pytest.raises(ValueError, match=r"two classes or more.*Received: 1"):
        metrics.latent_classifier(z, few, z)
    # Components 2, 0 and 1 hold classes 0, 1 and 2; component 3 holds none.
    inside = 0.9 * one_hot((truth + 2) % 3, 4) + 0.025
    few[[0, 50, 100]] = truth[[0, 50, 100]]
    names = metrics.named_clusters(inside, few)
    np.testing.assert_array_equal(names[:3].argmax(axis=1), [1, 2, 0])
    np.testing.assert_allclose(names.sum(axis=1), 1)
    assert metrics.accuracy(inside @ names, truth) == 1.0
    assert metrics.accuracy([1, 2, 3, 4], [1, 2, 0, 0]) == 0.5
    with pytest.raises(ValueError, match="some of them known"):
        metrics.named_clusters(inside, np.full(120, -1))
    with pytest.raises(ValueError, match="Expected predicted"):
        metrics.accuracy([1, 2], [1])


# Runs


def test_known_labels_are_balanced_and_chosen_by_the_seed():
    images = data.load("digits")
    truth = images.train.labels
    assert labelling.known(Recipe("digits"), images) is truth
    few, more = (labelling.known(Recipe("digits", labels=count), images) for count in (25, 100))
    assert sorted(np.bincount(few[few >= 0])) == [2] * 5 + [3] * 5
    assert (np.bincount(more[more >= 0]) == 10).all()
    assert (few[few >= 0] == truth[few >= 0]).all()
    # Those of fewer labels are among those of more.
    assert (more[few >= 0] >= 0).all()
    assert (labelling.known(Recipe("digits", labels=25, seed=1), images) != few).any()
    with pytest.raises(UsageError, match=r"training images of class 0.*--labels 1297"):
        labelling.known(Recipe("digits", labels=1297), images)
    index, weights = fitting.repeated(few)
    np.testing.assert_allclose(np.bincount(index, weights), 1)
    assert (few[index] >= 0).mean() == pytest.approx(0.1, abs=0.02)


def test_labels_are_taken_as_the_model_has_them():
    truth = np.array([2, 0, -1])
    few, conditional = (run_model.build(Recipe("digits", network="mlp:4", model=m), SHAPE, 1, None, 3) for m in KINDS)
    assert (few.classes, conditional.label_shape) == (3, (3,))
    assert labelling.taken(few, truth) is truth and labelling.needed(few, truth) is None
    np.testing.assert_array_equal(labelling.needed(conditional, truth[:2]), [[0, 0, 1], [1, 0, 0]])
    assert labelling.taken(run_model.build(Recipe("digits", network="mlp:4"), SHAPE, 1, None), truth) is None
    with pytest.raises(UsageError, match=r"needs the labels of all images.*Received: 1 of 3"):
        labelling.taken(conditional, truth)
    with pytest.raises(UsageError, match=r"3 classes.*Received: label 3"):
        labelling.taken(conditional, truth + 1)
    with pytest.raises(UsageError, match="these images have none"):
        labelling.taken(conditional, None)
    split = Split(np.zeros((4, *SHAPE), "uint8"))
    with pytest.raises(UsageError, match=r"no labels.*Received: digits with --model m2 and --labels 3"):
        labelling.classes(Recipe("digits", model="m2", labels=3), DataSet("x", False, split, split, split))


@pytest.mark.parametrize("weighted", [False, True])
def test_accuracy_is_logged_of_known_labels(weighted):
    model = BY_NAME["few_labels"].model()
    x, y = BY_NAME["few_labels"].images(40), np.where(np.arange(40) % 3 == 0, -1, np.arange(40) % model.classes)
    weights = RNG.uniform(size=40).astype("float32") if weighted else None
    found = model.evaluate(x, y, sample_weight=weights, batch_size=16, verbose=0, return_dict=True)["accuracy"]
    right, known = model.classify(x).argmax(axis=1) == y, y >= 0
    assert found == pytest.approx(np.average(right[known], weights=weights[known] if weighted else None), abs=1e-5)
    # Of what has no labels there is none.
    assert "accuracy" not in model.evaluate(x, verbose=0, return_dict=True)
    history = model.fit(x, y, batch_size=16, epochs=1, validation_data=(x, y), verbose=0).history
    assert {"accuracy", "val_accuracy"} <= history.keys()


KINDS = ("m2", "conditional")


@pytest.mark.long_on_jax
@pytest.mark.parametrize("kind", ["m2", pytest.param("conditional", marks=pytest.mark.long)])
def test_a_run_with_labels(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(experiment, "_export", lambda *_: None)
    out = str(tmp_path / "run")
    train = ["train", "digits", "--variant", kind, "--out", out, "--epochs", "2", "--network", "mlp:32"]
    train += ["--eval-samples", "3", "--eval-images", "20", "--precision", "float32", "--monitor-images"]
    assert cli.main(train + ["--labels", "100"] * (kind == "m2")) == 0
    assert ("accuracy" in capsys.readouterr().out) == (kind == "m2")
    results = json.loads((tmp_path / "run" / "results.json").read_text())["metrics"]
    assert ("p(x|y)" in results["log_prob"]["protocol"]) == (kind == "conditional")
    if kind == "m2":
        assert 0 < results["accuracy"]["value"] < 100 and "100 labels" in results["accuracy"]["protocol"]
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == {
        "curves.png",
        "reconstructions.png",
        "samples.png",
    }
    card = (tmp_path / "run" / "README.md").read_text()
    assert ("y=keras.utils.to_categorical([0] * 16, 10)" in card) == (kind == "conditional")
    if kind == "m2":
        assert cli.main([*train, "--resume", "--labels", "200"]) == 2
        return
    samples = [str(tmp_path / f"{number}.npy") for number in range(2)]
    for number, label in enumerate(([], ["--label", "3"])):
        assert cli.main(["sample", out, "-n", "12", "--out", samples[number], *label]) == 0
    assert (np.load(samples[0]) != np.load(samples[1])).any()
    capsys.readouterr()
    np.save(tmp_path / "x.npy", digits()[:3])
    assert cli.main(["score", out, str(tmp_path / "x.npy"), "--samples", "2"]) == 2
    assert cli.main(["score", out, str(tmp_path / "x.npy"), "--samples", "2", "--label", "1"]) == 0
    assert cli.main(["evaluate", out]) == 0


def test_clusters_and_latents_of_a_run_are_scored():
    recipe = Recipe("digits", network="mlp:8", prior="mixture:components=10", labels=20)
    images = data.load("digits")
    vae = run_model.build(recipe, SHAPE, 1, None, 10)
    found = evaluation._accuracies(vae, recipe, kv.data.convert(images.test.images, "binary"), images)
    assert found.keys() == {"latent_accuracy", "cluster_accuracy"}
    assert all(0 < metric["value"] < 100 and "20 labels" in metric["protocol"] for metric in found.values())


def test_pictures_of_a_model_that_takes_labels(tmp_path, few):
    vae, x, _ = few
    shown = pictures.write(vae, tmp_path, x, np.zeros(6, int), 0, {})
    assert [path.name for path in shown] == ["samples.png"]
    assert "class y" in shown[tmp_path / "samples.png"]


def test_labels_and_weights_that_are_masked():
    x, y = BY_NAME["bernoulli"].images(16), labels()[:16]
    hidden = np.ma.masked_array(y, mask=np.arange(16) % 2 == 0)
    given = {"network": "mlp:widths=[8]", "seed": 0}
    vae = kv.variants.get("m2")(SHAPE, 3, classes=10, **given)
    vae.compile("sgd")
    assert vae.evaluate(x, hidden, verbose=0) == vae.evaluate(x, hidden.filled(-1), verbose=0)
    with pytest.raises(ValueError, match="masked values: 0 leaves an example out"):
        vae.evaluate(x, y, sample_weight=np.ma.masked_array(np.ones(16), mask=hidden.mask))
    conditional = kv.variants.get("conditional")(SHAPE, 3, label_shape=(10,), **given)
    with pytest.raises(ValueError, match=r"Labels are known of all examples.*80 masked labels"):
        conditional.encode(x, np.ma.masked_array(one_hot(y), mask=np.repeat(hidden.mask[:, None], 10, axis=1)))
    for size in (0, 2.5):
        with pytest.raises(ValueError, match="`batch_size` must be a whole number"):
            vae.classify(x, batch_size=size)


def test_weights_of_classes_are_those_of_arrays_in_a_pipeline():
    tf = pytest.importorskip("tensorflow")
    x, y = BY_NAME["bernoulli"].images(16), labels()[:16].copy()
    y[::4] = -1

    def loss(*data, **options):
        keras.utils.set_random_seed(0)
        vae = kv.variants.get("m2")(SHAPE, 3, classes=10, network="mlp:widths=[8]", seed=0)
        vae.compile(keras.optimizers.SGD(0.0))
        return vae.fit(*data, verbose=0, class_weight={3: 2.0, 4: 0.0}, **options).history["loss"]

    pipeline = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    np.testing.assert_allclose(loss(pipeline), loss(x, y, batch_size=16, shuffle=False), rtol=1e-5)
