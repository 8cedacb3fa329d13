"""The covariance of latents over the data, held at that of the prior."""

from typing import Any, Literal

from keras import ops

from keras_vae.backend import Tensor, tfd
from keras_vae.inference import Inference, marginals
from keras_vae.names import check_number, one_of, plain
from keras_vae.objectives.base import Objective, flat, negative_elbo
from keras_vae.parts import register


@register("dip")
class DIP(Objective):
    """The negative ELBO, and how far the covariance C of z over the data is from the identity (DIP-VAE I and II).

    `-ELBO + off_diagonal * sum_(i != j) C_ij^2 + diagonal * sum_i (C_ii - 1)^2`, C being that of the batch.

    Args:
        samples: samples of z that the expectation is taken over.
        kind: "i", C is the covariance of the means of q(z|x); "ii", that of z, to which the mean of q's own comes.
        off_diagonal: weight of the correlations.
        diagonal: weight of the variances; None: as in the paper, ten times `off_diagonal` for "i", the same for "ii".

    Reference: Kumar, Sattigeri and Balakrishnan 2018, "Variational inference of disentangled latent concepts",
    equations 6 and 7.
    """

    names = ("dip",)

    def __init__(
        self,
        samples: int = 1,
        kind: Literal["i", "ii"] = "ii",
        off_diagonal: float = 10.0,
        diagonal: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(samples=samples, **kwargs)
        self.kind = one_of(plain(kind), ("i", "ii"), "kind")
        check_number(off_diagonal=off_diagonal)
        if diagonal is not None:
            check_number(diagonal=diagonal)
        self.off_diagonal = float(off_diagonal)
        self.diagonal = None if diagonal is None else float(diagonal)

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        covariance = self._covariance(inference)
        variance = ops.diagonal(covariance)
        off_diagonal = ops.sum(covariance**2) - ops.sum(variance**2)
        ratio = 10.0 if self.kind == "i" else 1.0
        weight = ratio * self.off_diagonal if self.diagonal is None else self.diagonal
        dip = self.off_diagonal * off_diagonal + weight * ops.sum((variance - 1) ** 2)
        return {"loss": negative_elbo(inference) + dip, "dip": dip}

    def _covariance(self, inference):
        """C, (D, D)."""
        q = self.one_latent(inference).posterior
        if not isinstance(q, tfd.MultivariateNormalTriL) and marginals(q) is None:
            raise ValueError(
                "DIP-VAE needs a posterior of which mean and covariance are known, such as diagonal_normal. "
                f"Received: objective {self.spec!r}, posterior {q}"
            )
        means = flat(q.mean()[None])
        centred = means - inference.batch_mean(means)
        covariance = inference.batch_mean(centred[:, :, None] * centred[:, None])
        if self.kind == "i":
            return covariance
        if isinstance(q, tfd.MultivariateNormalTriL):
            return covariance + inference.batch_mean(q.covariance())
        return covariance + ops.diag(inference.batch_mean(flat(q.variance()[None])))
