"""Normal posteriors."""

from typing import Any, Literal

import numpy as np
from keras import ops

from keras_vae.backend import Tensor, tfd, tfp
from keras_vae.names import check_number, one_of
from keras_vae.parts import Head, register, soft_clip
from keras_vae.posteriors.base import Posterior

# exp(14) in variance: far beyond any use, near enough to keep float32 exact.
LOG_VARIANCE_BOUND = 14.0


@register()
class DiagonalNormal(Posterior):
    """A Normal with diagonal covariance.

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent.
        parameterization: what the network gives: "log_variance", bounded to +-14, or "softplus", variance =
            softplus + floor.
        floor: least variance of the "softplus" parameterisation.

    Reference: Kingma and Welling 2014, appendix C.2.
    """

    # Initializer of the weights of its output layer.
    _start: str = "glorot_uniform"

    def __init__(
        self,
        size: int | tuple[int, ...],
        parameterization: Literal["log_variance", "softplus"] = "log_variance",
        floor: float = 1e-6,
        **kwargs: Any,
    ):
        super().__init__(size, **kwargs)
        self.parameterization = one_of(parameterization, ("log_variance", "softplus"), "parameterization")
        check_number(zero=False, floor=floor)
        self.floor = float(floor)

    def build(self, features_shape: tuple[int, ...]) -> None:
        self.head = Head(self.event_shape, parameters=2, start=self._start, name="head")
        self.head.build(features_shape)

    def distribution(
        self, features: Tensor, prior: tfd.Distribution | None = None, training: bool = False
    ) -> tfd.Distribution:
        return tfd.Independent(tfd.Normal(*self._moments(features)), reinterpreted_batch_ndims=len(self.event_shape))

    def _moments(self, features):
        """Mean and standard deviation, as the network gives them."""
        loc, raw = ops.unstack(self.head(features), 2, axis=-1)
        if self.parameterization == "softplus":
            return loc, ops.sqrt(ops.softplus(raw) + self.floor)
        return loc, ops.exp(0.5 * soft_clip(raw, -LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND))


@register()
class ResidualNormal(DiagonalNormal):
    """A Normal relative to a prior N(m, s^2), diagonal: N(m + s a, s^2 b^2), where the network gives a and b.

    Its KL, (a^2 + b^2 - log b^2 - 1) / 2, does not depend on the prior, and is 0 where the network says nothing: groups
    of a `HierarchicalVAE`, whose priors move while they are trained, have such posteriors. Relative to N(0, I) it is a
    `DiagonalNormal`. At first it is the prior, since scales that differ grow from group to group of a deep hierarchy.

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent.
        parameterization: how the network gives b^2: as in `DiagonalNormal`.
        floor: least b^2 of the "softplus" parameterisation.

    Raises:
        ValueError: where q(z|x) is asked for with a prior that is no diagonal Normal, or with none.

    Reference: Vahdat and Kautz 2020, arXiv:2007.03898, section 3.2, whose mean is m + a, and whose KL is without bound
    where s is small.
    """

    relative = True
    _start = "zeros"

    def distribution(
        self, features: Tensor, prior: tfd.Distribution | None = None, training: bool = False
    ) -> tfd.Distribution:
        base = prior.distribution if isinstance(prior, tfd.Independent) else None
        if not isinstance(base, tfd.Normal):
            raise ValueError(
                "This posterior is relative to a prior that is a diagonal Normal, such as standard_normal: take "
                f"posterior='diagonal_normal' with others. Received: posterior {self.spec!r}, prior {prior}"
            )
        loc, scale = self._moments(features)
        return tfd.Independent(
            tfd.Normal(base.loc + base.scale * loc, base.scale * scale), reinterpreted_batch_ndims=len(self.event_shape)
        )


@register()
class FullCovarianceNormal(Posterior):
    """A Normal with full covariance, by its Cholesky factor with a softplus diagonal; it begins without covariances.

    Args:
        size: D, number of latent units.
        floor: least value on the factor's diagonal.

    Reference: Kingma and Welling 2019, section 2.5.1.
    """

    def __init__(self, size: int | tuple[int, ...], floor: float = 1e-4, **kwargs: Any):
        super().__init__(size, **kwargs)
        self.check_vector()
        check_number(floor=floor)
        self.floor = float(floor)

    def build(self, features_shape: tuple[int, ...]) -> None:
        (size,) = self.event_shape
        self.head = Head((size + size * (size + 1) // 2,), name="head")
        self.head.build(features_shape)
        # It begins without covariances: size squared of them at random are noise that drowns every unit.
        places = np.array(tfp.math.fill_triangular(ops.arange(size, size + size * (size + 1) // 2)))
        starts = np.array(self.head.dense.kernel)
        starts[:, places[np.tril_indices(size, -1)]] = 0.0
        self.head.dense.kernel.assign(starts)

    def distribution(
        self, features: Tensor, prior: tfd.Distribution | None = None, training: bool = False
    ) -> tfd.Distribution:
        (size,) = self.event_shape
        raw = ops.squeeze(self.head(features), axis=-1)
        factor = tfp.math.fill_triangular(raw[..., size:])
        eye = ops.eye(size, dtype="float32")
        diagonal = ops.softplus(ops.diagonal(factor, axis1=-2, axis2=-1)) + self.floor
        scale_tril = factor * (1.0 - eye) + diagonal[..., None] * eye
        return tfd.MultivariateNormalTriL(raw[..., :size], scale_tril)
