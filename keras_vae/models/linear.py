"""Linear VAEs, whose optimum is probabilistic PCA."""

import warnings
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA

from keras_vae import networks
from keras_vae.likelihoods import LOG_SCALE_BOUND
from keras_vae.models.vae import VAE
from keras_vae.parts import soft_clip_inverse
from keras_vae.posteriors.normal import LOG_VARIANCE_BOUND

PARTS = {"posterior": "diagonal_normal", "prior": "standard_normal", "likelihood": "normal:learned"}
# Of a principal axis that varies less than the noise, which then stands for nothing.
_LEAST = 1e-12


def probabilistic_pca(x: ArrayLike, latent_size: int, seed: int | None = None) -> VAE:
    """Probabilistic PCA as a linear VAE, with the weights that maximise the likelihood, in closed form.

    Its posterior is exact: the ELBO is log p(x), which scikit-learn's `PCA.score` gives, too. It is the baseline that
    a VAE has to beat, and a model like others: it samples, scores, saves, and can be trained further.

    Args:
        x: (N, *X), training examples.
        latent_size: D, how many principal axes.
        seed: of the model's noise.

    Returns:
        A VAE, compiled with Adam.

    Raises:
        ValueError: unless D is below both N and the number of elements of an example.

    Reference: Tipping and Bishop 1999, "Probabilistic principal component analysis", equations 6 to 8.

    Example:
        pca = kv.probabilistic_pca(x_train, latent_size=10)
        pca.log_prob(x_test, samples=1)
    """
    x = np.asarray(x)
    vae = VAE(*networks.linear(x.shape[1:], latent_size), seed=seed, **PARTS)
    vae.compile(keras.optimizers.Adam(1e-3))
    fit_pca(vae, x)
    return vae


def fit_pca(vae: VAE, x: Any) -> None:
    """Gives a linear VAE the weights that maximise the likelihood of `x`, (N, *X); see `probabilistic_pca`."""
    x = vae._checked(x)
    flat = np.reshape(x, (len(x), -1)).astype("float64")
    (size,) = vae.latent_shape
    if not size < min(flat.shape):
        raise ValueError(
            "Probabilistic PCA needs fewer latent units than examples, and than elements of an example. "
            f"Received: latent_size={size}, x of shape {x.shape}"
        )
    pca = PCA(size).fit(flat)
    least = np.exp(-2.0 * LOG_SCALE_BOUND)
    share = pca.noise_variance_ / max(pca.explained_variance_[0], _LEAST)
    if pca.noise_variance_ < least or share < np.exp(-LOG_VARIANCE_BOUND):
        warnings.warn(
            "The noise of these data is less than that of a likelihood, or of a posterior, can be, so that this model "
            "has a lower log p(x) than probabilistic PCA: multiply the data, or take fewer latent units. Received: "
            f"noise of variance {pca.noise_variance_:.3g}, at least {least:.3g}, and {share:.3g} of the largest "
            f"variance, at least {np.exp(-LOG_VARIANCE_BOUND):.3g}",
            RuntimeWarning,
            stacklevel=3,
        )
    noise = max(pca.noise_variance_, least + _LEAST)
    signal = np.maximum(pca.explained_variance_, noise + _LEAST)
    # p(x|z) = N(U (signal - noise)^1/2 z + mean, noise), U's columns the principal axes.
    loadings = np.sqrt(signal - noise)
    encode = pca.components_.T * (loadings / signal)
    log_variance = soft_clip_inverse(np.log(noise / signal), -LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND)
    # Of each unit, its mean and its log-variance side by side.
    kernel = np.stack([encode, np.zeros_like(encode)], axis=-1)
    bias = np.stack([-pca.mean_ @ encode, log_variance], axis=-1)
    _assign(vae.posterior.head, kernel, bias)
    _assign(vae.likelihood.head, loadings[:, None] * pca.components_, pca.mean_)
    vae.likelihood.log_scale.assign(soft_clip_inverse(0.5 * np.log(noise), -LOG_SCALE_BOUND, LOG_SCALE_BOUND))


def _assign(head, kernel, bias):
    head.dense.kernel.assign(np.reshape(kernel, head.dense.kernel.shape))
    head.dense.bias.assign(np.reshape(bias, head.dense.bias.shape))


def project(vae: VAE, x: Any) -> np.ndarray:
    """`x`, (N, *X), by its principal components alone, which the prior does not pull to the mean, as PCA has it."""
    z = vae.encode(x)
    # The same for all x.
    variance = np.asarray(vae.posterior_of(x[:1]).variance())
    return vae.decode(z / (1 - variance))
