"""Distributions drawn together around what is typical of them."""

from keras_vae.backend import Tensor, tfb, tfd
from keras_vae.distributions.flow import Flow
from keras_vae.distributions.sphere import PowerSpherical, VonMisesFisher


def tempered(distribution: tfd.Distribution, temperature: float | Tensor) -> tfd.Distribution:
    """`distribution` with its standard deviation scaled by `temperature`, its centre kept.

    The base of a flow is scaled. On a sphere the concentration is divided by temperature^2, which is the same where it
    is large.

    Args:
        distribution: with a mean.
        temperature: factor on the standard deviation.
    """
    if isinstance(temperature, (int, float)) and temperature == 1.0:
        return distribution
    if isinstance(distribution, Flow):
        return Flow(tempered(distribution.distribution, temperature), distribution.bijector)
    if isinstance(distribution, (PowerSpherical, VonMisesFisher)):
        return distribution.cooled(temperature)
    mean = distribution.mean()
    return Flow(distribution, tfb.Chain([tfb.Shift(mean), tfb.Scale(temperature), tfb.Shift(-mean)]))
