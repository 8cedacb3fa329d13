"""Every public part once, in a small model on real images: what the conformance tests loop over."""

import dataclasses
from collections.abc import Callable
from functools import cache

import keras
import numpy as np

import keras_vae as kv
from keras_vae.backend import tfd

LATENT = 3


@keras.saving.register_keras_serializable("tests")
def student_t(features):
    """Heavy-tailed pixels, as a user would write them."""
    return tfd.Independent(tfd.StudentT(5.0, features, 0.3), reinterpreted_batch_ndims=3)


@dataclasses.dataclass(frozen=True)
class Composition:
    """A model by its parts, each made by a function so that every test gets fresh ones."""

    name: str
    likelihood: Callable = lambda: kv.likelihoods.Bernoulli()
    posterior: Callable = lambda: kv.posteriors.DiagonalNormal(LATENT)
    prior: Callable = lambda: kv.priors.StandardNormal(LATENT)
    objective: Callable = lambda: kv.objectives.ELBO()
    network: Callable = lambda shape: kv.networks.mlp(shape, LATENT, widths=(16,))
    colour: bool = False
    signal: bool = False

    def model(self, seed=0):
        """A compiled model; equal seeds give equal weights and noise."""
        keras.utils.set_random_seed(seed)
        shape = self.images().shape[1:]
        vae = kv.VAE(
            *self.network(shape), self.posterior(), self.prior(), self.likelihood(), self.objective(), seed=seed
        )
        vae.compile(keras.optimizers.Adam(1e-2))
        return vae

    def images(self, count=48):
        """Handwritten digits, as this composition's likelihood is to see them."""
        images = digits()[:count]
        if self.colour:
            images = np.concatenate([images, np.roll(images, 1, axis=1), 255 - images], axis=-1)
        if self.signal:
            images = np.reshape(images, (len(images), -1, 1))
        return kv.data.convert(images, self.likelihood().data)


@cache
def digits():
    return kv.data.load("digits").train.images


def _likelihood(name, likelihood, **rest):
    return Composition(name, likelihood=likelihood, **rest)


def _objective(name, **arguments):
    return Composition(name, objective=lambda: kv.objectives.ELBO(**arguments))


COMPOSITIONS = (
    _likelihood("bernoulli", lambda: kv.likelihoods.Bernoulli()),
    _likelihood("soft_bernoulli", lambda: kv.likelihoods.Bernoulli(soft=True)),
    _likelihood("continuous_bernoulli", lambda: kv.likelihoods.ContinuousBernoulli()),
    _likelihood("normal_fixed", lambda: kv.likelihoods.Normal(scale=0.5)),
    _likelihood("normal_learned", lambda: kv.likelihoods.Normal(scale="learned")),
    _likelihood("normal_per_pixel", lambda: kv.likelihoods.Normal(scale="per_pixel")),
    _likelihood("normal_optimal", lambda: kv.likelihoods.Normal(scale="optimal")),
    _likelihood("laplace", lambda: kv.likelihoods.Laplace(scale="learned")),
    _likelihood("discretized_logistic", lambda: kv.likelihoods.DiscretizedLogistic()),
    _likelihood("logistic_mixture", lambda: kv.likelihoods.DiscretizedLogisticMixture(components=3)),
    _likelihood(
        "colour_mixture",
        lambda: kv.likelihoods.DiscretizedLogisticMixture(components=3),
        network=lambda shape: kv.networks.conv(shape, LATENT, widths=(4, 8), dense=None),
        colour=True,
    ),
    _likelihood("categorical", lambda: kv.likelihoods.Categorical()),
    _likelihood("beta", lambda: kv.likelihoods.Beta()),
    _likelihood("from_function", lambda: kv.likelihoods.FromFunction(student_t, channels=1)),
    Composition("softplus", posterior=lambda: kv.posteriors.DiagonalNormal(LATENT, parameterization="softplus")),
    Composition("full_covariance", posterior=lambda: kv.posteriors.FullCovarianceNormal(LATENT)),
    _objective("several_samples", samples=3),
    _objective("free_bits", free_bits=0.5),
    _objective("constant", beta=kv.schedules.Constant(4.0)),
    _objective("linear_warmup", beta=kv.schedules.LinearWarmup(10, start=0.1)),
    _objective("cyclical", beta=kv.schedules.Cyclical(10, start=0.1)),
    _objective("sigmoid", beta=kv.schedules.Sigmoid(10)),
    _objective("capacity", beta=kv.schedules.Capacity(epsilon=5.0, steps=10, gamma=10.0)),
    Composition("iwae", objective=lambda: kv.objectives.IWAE(samples=5)),
    Composition("conv", network=lambda shape: kv.networks.conv(shape, LATENT, widths=(4, 8), dense=8)),
    Composition("conv1d", network=lambda shape: kv.networks.conv1d(shape, LATENT, widths=(4, 8)), signal=True),
    Composition(
        "latent_map",
        posterior=lambda: kv.posteriors.DiagonalNormal((2, 2, LATENT)),
        prior=lambda: kv.priors.StandardNormal((2, 2, LATENT)),
        network=lambda shape: kv.networks.resnet(shape, (2, 2, LATENT), widths=(4, 8), blocks=(0, 1)),
    ),
    Composition("resnet", network=lambda shape: kv.networks.resnet(shape, LATENT, widths=(4, 8), blocks=1)),
)
