"""How far z, over the data, is from the prior: kernels, sliced transport."""

from typing import Any

from keras import ops

from keras_vae.backend import Tensor, folded, tfd
from keras_vae.inference import Inference
from keras_vae.names import check_number, check_whole, one_of, plain
from keras_vae.objectives.base import Objective, flat, negative_elbo
from keras_vae.parts import register

# Of the inverse multiquadratic kernel's scale, as in the paper's code: fine and coarse differences both count.
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@register("mmd")
class MMD(Objective):
    """Reconstruction, and the squared maximum mean discrepancy of z from the prior (WAE-MMD, InfoVAE).

    `beta * KL - E_q[log p(x|z)] + weight * MMD^2(q(z), p(z))`, with the unbiased estimate from the batch, whose
    expectation is 0 where z is distributed as the prior: single values may be negative. An InfoVAE of the paper's alpha
    and lambda has `beta = 1 - alpha` and `weight = alpha + lambda - 1`.

    Args:
        samples: samples of z that the expectations are taken over.
        beta: weight of the KL; 0 is a WAE.
        weight: weight of the discrepancy, nats.
        kernel: "imq", the sum of C / (C + |a - b|^2) over seven C about 2D, D being the number of units; or "rbf",
            exp(-|a - b|^2 / bandwidth).
        bandwidth: of "rbf"; None: 2D, the expected squared distance of two draws of N(0, I).

    Reference: Zhao, Song and Ermon 2019, "InfoVAE", equation 6; Tolstikhin et al. 2018, "Wasserstein auto-encoders",
    algorithm 2; Gretton et al. 2012, equation 3 (the estimate).
    """

    names = ("mmd",)

    def __init__(
        self,
        samples: int = 1,
        beta: float = 0.0,
        weight: float = 1000.0,
        kernel: str = "imq",
        bandwidth: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(samples=samples, **kwargs)
        check_number(beta=beta, weight=weight)
        self.beta, self.weight = float(beta), float(weight)
        self.kernel = one_of(plain(kernel), ("imq", "rbf"), "kernel")
        if bandwidth is not None:
            check_number(zero=False, bandwidth=bandwidth)
        self.bandwidth = None if bandwidth is None else float(bandwidth)

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        latent = self.one_latent(inference)
        mmd = self._discrepancy(flat(latent.z), flat(latent.drawn(folded(inference.seed, 1))), inference)
        return {"loss": negative_elbo(inference, self.beta) + self.weight * mmd, "mmd": mmd}

    def _discrepancy(self, z, drawn, inference):
        shares, samples = inference.shares, ops.shape(inference.shares)[0]
        rows = ops.reshape(shares, (-1,))
        # How much a pair of z counts: those of one example are no independent draws from q(z).
        within = ops.tile(inference.others, (samples, samples)) * rows[:, None]
        within = within * ops.reshape(shares / ops.maximum(ops.sum(shares, axis=0), 1e-12), (-1,))
        # Draws from the prior are independent.
        apart = rows[:, None] * rows * (1.0 - ops.eye(ops.shape(rows)[0]))
        pairs = [(within, z, z, 1.0), (apart, drawn, drawn, 1.0), (rows[:, None] * rows, z, drawn, -2.0)]
        return sum(
            sign * ops.sum(weight * self._kernel(a, b)) / ops.maximum(ops.sum(weight), 1e-12)
            for weight, a, b, sign in pairs
        )

    def _kernel(self, a, b):
        """k of all pairs of rows, (n, m)."""
        lengths = ops.sum(a**2, axis=1)[:, None] + ops.sum(b**2, axis=1)
        squared = ops.maximum(lengths - 2 * ops.matmul(a, ops.transpose(b)), 0.0)
        expected = 2.0 * a.shape[1]
        if self.kernel == "rbf":
            return ops.exp(-squared / (self.bandwidth or expected))
        return sum(expected * scale / (expected * scale + squared) for scale in SCALES)


@register("swae")
class SWAE(Objective):
    """Reconstruction, and the sliced Wasserstein distance of z from the prior.

    `beta * KL - E_q[log p(x|z)] + weight * mean_l W2^2(theta_l . z, theta_l . p)`: along a direction, W2^2 is the mean
    squared distance of points of the same rank.

    Args:
        samples: samples of z that the expectations are taken over.
        beta: weight of the KL; 0 is the paper's.
        weight: weight of the distance, nats.
        projections: random directions theta, drawn anew for each batch.

    Reference: Kolouri et al. 2019, "Sliced Wasserstein auto-encoders", equation 11, algorithm 1.
    """

    names = ("sliced_wasserstein",)

    def __init__(self, samples: int = 1, beta: float = 0.0, weight: float = 10.0, projections: int = 50, **kwargs: Any):
        super().__init__(samples=samples, **kwargs)
        check_number(beta=beta, weight=weight)
        check_whole(projections=projections)
        self.beta, self.weight, self.projections = float(beta), float(weight), int(projections)

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        latent = self.one_latent(inference)
        z, drawn = flat(latent.z), flat(latent.drawn(folded(inference.seed, 1)))
        directions = tfd.Normal(0.0, 1.0).sample((z.shape[1], self.projections), seed=folded(inference.seed, 2))
        directions = directions / ops.norm(directions, axis=0)
        shares = ops.reshape(inference.shares, (-1,))
        distance = ops.mean(_transport(ops.matmul(z, directions), ops.matmul(drawn, directions), shares))
        return {"loss": negative_elbo(inference, self.beta) + self.weight * distance, "sliced_wasserstein": distance}


def _transport(a, b, shares):
    """W2^2 of the columns of `a` and `b`, (n, L), whose rows have the same `shares`, (n,): (L,)."""
    a, share_a, end_a = _sorted(a, shares)
    b, share_b, end_b = _sorted(b, shares)
    count = ops.shape(a)[0]
    # How many rows of b end before each row of a does.
    ranks = ops.argsort(ops.argsort(ops.concatenate([end_b, end_a], axis=0), axis=0), axis=0)[count:]
    before = ops.minimum(ranks - ops.cast(ops.arange(count), ranks.dtype)[:, None], count - 1)
    # The integral of b's quantile function up to where each row of a ends.
    whole = ops.cumsum(share_b * b, axis=0) - share_b * b
    rest = end_a - ops.take_along_axis(end_b - share_b, before, axis=0)
    integral = ops.take_along_axis(whole, before, axis=0) + rest * ops.take_along_axis(b, before, axis=0)
    steps = integral - ops.concatenate([ops.zeros_like(integral[:1]), integral[:-1]], axis=0)
    return ops.sum(share_a * a**2 - 2 * a * steps + share_b * b**2, axis=0)


def _sorted(values, shares):
    order = ops.argsort(values, axis=0)
    shares = ops.take(shares, order, axis=0)
    return ops.take_along_axis(values, order, axis=0), shares, ops.cumsum(shares, axis=0)
