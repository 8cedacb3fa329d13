"""log p(x) by samples of the posterior and of the prior, against quadrature and closed forms."""

import json

import keras
import numpy as np
import pytest
from compositions import digits
from keras import layers
from scipy import special, stats

import keras_vae as kv
from keras_vae.cli import main as cli


@pytest.fixture(scope="module")
def plane():
    """Six binary pixels of a latent plane, with weights that matter, and six images."""
    keras.utils.set_random_seed(0)
    vae = kv.VAE(*kv.networks.mlp((2, 3, 1), 2, widths=(8,)), likelihood="bernoulli", seed=0)
    rng = np.random.default_rng(0)
    for variable in vae.decoder_weights:
        variable.assign_add(0.7 * rng.normal(size=variable.shape))
    broad(vae)
    return vae, rng.integers(0, 2, (6, 2, 3, 1)).astype("float32")


def broad(vae):
    """Makes q(z|x) broader than p(z), whatever x is: importance weights are bounded."""
    kernel, bias = vae.posterior.head.dense.get_weights()
    vae.posterior.head.dense.set_weights([0 * kernel, np.tile([0.1, 0.5], len(bias) // 2)])


def integrated(vae, x):
    """log of the integral of p(x|z) p(z) over a latent plane."""
    axis = np.linspace(-6, 6, 121)
    z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    p = np.clip(vae.decode(z).astype("float64"), 1e-12, 1 - 1e-7)
    terms = x[:, None] * np.log(p) + (1 - x[:, None]) * np.log1p(-p)
    log_joint = terms.sum(axis=(2, 3, 4)) + stats.norm.logpdf(z).sum(axis=-1)
    return special.logsumexp(log_joint, axis=1) + 2 * np.log(axis[1] - axis[0])


def test_both_estimates_agree_with_quadrature(plane):
    vae, x = plane
    exact = integrated(vae, x)
    found = {}
    for proposal in ("posterior", "prior"):
        estimate, error = found[proposal] = vae.log_prob(x, samples=4000, seed=1, proposal=proposal, errors=True)
        np.testing.assert_array_equal(estimate, vae.log_prob(x, samples=4000, seed=1, proposal=proposal))
        assert (error > 0).all() and (error < 0.15).all()
        assert (np.abs(estimate - exact) < 4 * error + error**2 + 1e-3).all()
    compared = kv.metrics.agreement(*found.values())
    assert compared.agrees and compared.images == 6
    assert compared.difference == pytest.approx(np.mean(found["prior"][0] - found["posterior"][0]))


def linear_normal(scale=0.6, dims=3, size=2):
    """x = z W + b + scale e, and its density."""
    x, z = keras.Input((dims,)), keras.Input((size,))
    linear = layers.Activation("linear")
    vae = kv.VAE(keras.Model(x, linear(x)), keras.Model(z, linear(z)), likelihood=kv.likelihoods.Normal(scale), seed=0)
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(size, dims)), rng.normal(size=dims)
    vae.likelihood.head.dense.set_weights([weights, bias])
    broad(vae)
    return vae, stats.multivariate_normal(bias, weights.T @ weights + scale**2 * np.eye(dims))


@pytest.mark.parametrize("proposal", ["posterior", "prior"])
def test_standard_errors_are_those_of_estimates_made_again(proposal):
    vae, exact = linear_normal()
    # 300 is more than a round, and no multiple of one.
    x = np.repeat(exact.rvs(1, random_state=0)[None], 200, axis=0).astype("float32")
    estimate, error = vae.log_prob(x, samples=300, seed=0, proposal=proposal, errors=True)
    assert np.mean(error) == pytest.approx(np.std(estimate), rel=0.25)
    off = np.mean(np.exp(estimate - exact.logpdf(x[0])))
    assert off == pytest.approx(1, abs=5 * np.std(estimate) / np.sqrt(200))
    # The number of an image depends on no other.
    np.testing.assert_allclose(vae.log_prob(x[:3], samples=300, seed=0, proposal=proposal), estimate[:3], rtol=1e-5)


def test_the_prior_finds_what_codes_are_worth(plane):
    # All mass of q(z|x) is on one of 9 pairs of codes; p(x) is the sum over all of them.
    keras.utils.set_random_seed(0)
    networks = kv.networks.mlp((2, 3, 1), 4, widths=(8,))
    vae = kv.VAE(*networks, posterior="vector_quantizer:codes=3,vector=2", likelihood="bernoulli", seed=0)
    x = plane[1]
    pairs = np.stack(np.meshgrid(range(3), range(3)), axis=-1).reshape(-1, 2)
    p = vae.decode(pairs).astype("float64")
    terms = (x[:, None] * np.log(p) + (1 - x[:, None]) * np.log1p(-p)).sum(axis=(2, 3, 4))
    exact = special.logsumexp(terms, axis=1) - np.log(9)
    estimate, error = vae.log_prob(x, samples=2000, seed=0, proposal="prior", errors=True)
    assert (np.abs(estimate - exact) < 5 * error + 1e-4).all()
    bound, none = vae.log_prob(x, samples=2000, seed=0, errors=True)
    assert (bound < exact).all() and not none.any()


def test_too_few_samples_of_the_prior_are_told():
    one = np.array([-90.0, -80.0]), np.array([0.01, 0.02])
    other = np.array([-99.0, -80.01]), np.array([0.99, 0.03])
    compared = kv.metrics.agreement(one, other)
    assert compared.images == 1 and compared.agrees
    assert compared.difference == pytest.approx(-0.01) and compared.error == pytest.approx(np.hypot(0.02, 0.03))
    assert not kv.metrics.agreement(one, (one[0] - 0.2, one[1])).agrees
    assert kv.metrics.agreement(one, (other[0], np.array([1.0, np.nan]))).agrees is None
    with pytest.raises(ValueError, match=r"same images.*Received: shapes \(2,\), \(2,\), \(1,\)"):
        kv.metrics.agreement(one, (one[0][:1], one[1]))
    with pytest.raises(ValueError, match=r"Unknown proposal.*Received: 'priors'"):
        linear_normal()[0].log_prob(np.zeros((2, 3)), proposal="priors")


def test_the_command_says_whether_they_agree(tmp_path, capsys):
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 2, widths=(8,)), likelihood="bernoulli", seed=0)
    vae.save_to_preset(tmp_path / "toy")
    np.save(tmp_path / "x.npy", (digits()[:3] > 127).astype("float32"))
    command = ["score", str(tmp_path / "toy"), str(tmp_path / "x.npy"), "--samples", "50", "--proposal", "both"]
    assert cli.main(command) == 0
    assert "the estimates agree" in capsys.readouterr().out
    assert cli.main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["agreement"]["agrees"] is True and len(told["by_prior"]["standard_errors"]) == 3
    assert cli.main([*command[:-1], "prior", "--json"]) == 0
    by_prior = json.loads(capsys.readouterr().out)
    assert by_prior["proposal"] == "prior" and by_prior["log_prob"] == told["by_prior"]["log_prob"]


def test_pieces_in_any_order_have_the_scores_of_the_whole_to_the_bit():
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 4, widths=(64,)), likelihood="bernoulli", seed=0)
    x = kv.data.convert(digits()[:45], "binary")
    expected = vae.log_prob(x, samples=20, seed=1)
    order = np.random.default_rng(0).permutation(45)
    for pieces in (1, 3, 7):
        for keys in np.array_split(order, pieces):
            np.testing.assert_array_equal(vae.log_prob(x[keys], samples=20, seed=1, keys=keys), expected[keys])
    np.testing.assert_array_equal(vae.log_prob(x[7:8], samples=20, seed=1, keys=[7]), expected[7:8])
