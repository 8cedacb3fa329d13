"""A bound by z that follow the slope of log p(x, z)."""

from typing import Any

from keras import ops

from keras_vae.backend import Tensor, folded, tfd, tfp
from keras_vae.inference import Inference, has_density
from keras_vae.names import check_number, check_whole
from keras_vae.objectives.base import Objective
from keras_vae.parts import register


@register("hamiltonian")
class Hamiltonian(Objective):
    """The negative bound by z from q(z|x) that leapfrog steps have moved to where log p(x, z) is high.

    `-E[log p(x, z_K) + log N(rho_K; 0, I) - log q(z_0|x) - log N(g; 0, I)]`: z_0 is from q, the momentum begins as
    rho_0 = g / sqrt(b), g from N(0, I), and cools over K steps as the inverse temperature grows from b to 1. Its
    exponential has the expectation p(x) whatever the steps are. Their sizes, one for each latent unit, and b are
    learned: the weights "objective/log_step" and "objective/log_odds", by which the arguments are multiplied. The
    decoder and its gradient are run K + 1 times more.

    Encoding, `elbo` and `log_prob` are those of q(z|x), before any step.

    Args:
        samples: samples of z that the expectation is taken over.
        steps: K, leapfrog steps.
        step_size: what their sizes begin at.
        tempering: b, in (0, 1), which the first inverse temperature begins at; 1: no tempering.

    Reference: Caterini, Doucet and Sejdinovic 2018, "Hamiltonian variational auto-encoder", algorithm 1; section 3.3
    (the quadratic tempering).
    """

    names = ("hvae",)
    moves_latents = True

    def __init__(
        self,
        samples: int = 1,
        steps: int = 3,
        step_size: float = 0.05,
        tempering: float = 0.3,
        **kwargs: Any,
    ):
        super().__init__(samples=samples, **kwargs)
        check_whole(steps=steps)
        check_number(zero=False, step_size=step_size, tempering=tempering)
        if tempering > 1:
            raise ValueError(f"`tempering` is at most 1, an inverse temperature. Received: tempering={tempering!r}")
        self.steps, self.step_size, self.tempering = int(steps), float(step_size), float(tempering)

    def build(self, latent_shape: tuple[int, ...], image_shape: tuple[int, ...]) -> None:
        self.log_step = self.add_weight(name="log_step", shape=latent_shape, initializer="zeros")
        self.log_odds = self.add_weight(name="log_odds", shape=(), initializer="zeros")

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        latent = self.one_latent(inference)
        self.check_alike(inference)
        if not has_density(latent.posterior):
            raise ValueError(
                "The steps begin at draws from a density, and the codes of this posterior have none. "
                f"Received: objective {self.spec!r}, posterior {latent.posterior}"
            )
        step = self.step_size * ops.exp(ops.convert_to_tensor(self.log_step))

        def height_and_slope(z):
            return tfp.math.value_and_gradient(
                lambda z: inference.decode(z).log_prob(inference.x) + latent.prior.log_prob(z), z
            )

        z, first = latent.z, self._first()
        start = tfd.Normal(0.0, 1.0).sample(ops.shape(z), seed=folded(inference.seed, 1))
        momentum = start / first
        height, slope = height_and_slope(z)
        for index in range(self.steps):
            momentum = momentum + step / 2 * slope
            z = z + step * momentum
            height, slope = height_and_slope(z)
            cooled = self._root(index + 1, first) / self._root(index, first)
            momentum = (momentum + step / 2 * slope) * cooled
        kinetic = 0.5 * ops.sum(start**2 - momentum**2, axis=tuple(range(2, len(z.shape))))
        bound = height + kinetic - latent.posterior.log_prob(latent.z)
        return {"loss": inference.mean(inference.penalty) - inference.mean(bound), "hvae": bound}

    def _first(self):
        """sqrt(b)."""
        if self.tempering == 1:
            return 1.0
        odds = self.tempering / (1 - self.tempering) * ops.exp(ops.convert_to_tensor(self.log_odds))
        return ops.sqrt(odds / (1 + odds))

    def _root(self, index, first):
        """The square root of the temperature after so many steps: quadratic, from that of b to 1."""
        return (1 - 1 / first) * (index / self.steps) ** 2 + 1 / first
