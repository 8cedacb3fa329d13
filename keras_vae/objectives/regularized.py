"""Autoencoders whose maps are kept smooth: regularised and contractive ones."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from keras import ops

from keras_vae.backend import Tensor, folded, tfd, tfp
from keras_vae.constraints import spectral_norm
from keras_vae.inference import Inference
from keras_vae.names import check_number, check_whole, one_of, plain
from keras_vae.objectives.base import Objective, negative_elbo
from keras_vae.parts import register

_REGULARIZERS = ("gradient_penalty", "l2", "spectral_norm", "none")


def squared_jacobian(function: Callable[[Tensor], Tensor], x: Tensor, directions: list[Tensor], rank: int) -> Tensor:
    """The sum over directions v of |v . df/dx|^2, for each example.

    Over the unit vectors of f's outputs it is the squared Frobenius norm of the Jacobian; over one v of independent
    signs, it is so in expectation.

    Args:
        function: of x, example by example.
        x: (*lead, *X).
        directions: each of the shape of what `function` returns.
        rank: number of axes of X.

    Returns:
        (*lead).
    """
    axes = tuple(range(-rank, 0))
    slopes = (tfp.math.value_and_gradient(lambda x, v=v: ops.sum(function(x) * v), x)[1] for v in directions)
    return sum(ops.sum(slope**2, axis=axes) for slope in slopes)


def _signs(shape, seed):
    return 2.0 * tfd.Bernoulli(probs=0.5, dtype="float32").sample(shape, seed=seed) - 1.0


@register("rae")
class RAE(Objective):
    """A regularised autoencoder: reconstruction, the squared norm of the code, and a bound on the decoder.

    `-E_q[log p(x|z)] + beta / 2 * |z|^2 + weight * R`, R being one of the regularisers of the decoder. It is meant for
    a posterior that is a point, with a prior fitted afterwards.

    Args:
        samples: samples of z that the expectations are taken over.
        beta: weight of half the squared norm of the code.
        regularizer: "gradient_penalty", the squared Frobenius norm of the decoder's Jacobian at z, by random
            directions; "l2", half the sum of the squared weights of the decoder; "spectral_norm", half the sum of the
            squared largest singular values of its kernels (the paper divides the kernels by them: layers of your own do
            with `kernel_constraint=keras_vae.constraints.SpectralNorm()`); or "none".
        weight: of the decoder's regulariser.

    Reference: Ghosh et al. 2020, "From variational to deterministic autoencoders", equations 10 to 12; Yoshida and
    Miyato 2017 (spectral norm).
    """

    names = ("code", "regularizer_loss")

    def __init__(
        self,
        samples: int = 1,
        beta: float = 1e-2,
        regularizer: Literal[_REGULARIZERS] = "gradient_penalty",
        weight: float = 1e-2,
        **kwargs: Any,
    ):
        super().__init__(samples=samples, **kwargs)
        check_number(beta=beta, weight=weight)
        self.beta, self.weight = float(beta), float(weight)
        self.regularizer = one_of(
            plain(regularizer), ("gradient_penalty", "l2", "spectral_norm", "none"), "regularizer"
        )

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        z = self.one_latent(inference).z
        code = 0.5 * ops.sum(z**2, axis=tuple(range(2, len(z.shape))))
        bound = getattr(self, f"_{self.regularizer}")(inference, z)
        loss = negative_elbo(inference, beta=0.0) + inference.mean(self.beta * code + self.weight * bound)
        return {"loss": loss, "code": code, "regularizer_loss": bound}

    def _gradient_penalty(self, inference, z):
        def pictured(z):
            return inference.picture(inference.decode(z))

        shape = (*ops.shape(z)[:2], *inference.x.shape[1:])
        return squared_jacobian(pictured, z, [_signs(shape, folded(inference.seed, 1))], len(z.shape) - 2)

    def _l2(self, inference, z):
        return 0.5 * sum(ops.sum(ops.square(v)) for v in self._weights(inference))

    def _spectral_norm(self, inference, z):
        kernels = (v for v in self._weights(inference) if len(v.shape) > 1)
        return 0.5 * sum(ops.square(spectral_norm(v)) for v in kernels)

    def _none(self, inference, z):
        return ops.zeros(())

    def _weights(self, inference):
        if not inference.decoder_weights:
            raise ValueError(
                "This model does not say what its decoder is: give it a property `decoder_weights`, a list of "
                f"variables, or take regularizer=gradient_penalty. Received: objective {self.spec!r}"
            )
        return [ops.convert_to_tensor(v, dtype="float32") for v in inference.decoder_weights]


@register("contractive")
class Contractive(Objective):
    """A contractive autoencoder: reconstruction, and the squared Jacobian of the encoder.

    `beta * KL - E_q[log p(x|z)] + weight * |dh(x)/dx|_F^2`, h(x) being the point that stands for x, the mean of q(z|x).

    Args:
        samples: samples of z that the expectation is taken over.
        beta: weight of the KL; 0 is the paper's.
        weight: of the squared Frobenius norm of the Jacobian.
        projections: random directions that it is estimated from, each a pass through the encoder; None: all units, as
            many passes.

    Reference: Rifai et al. 2011, "Contractive auto-encoders", equations 4 and 5.
    """

    names = ("contraction",)

    def __init__(
        self,
        samples: int = 1,
        beta: float = 0.0,
        weight: float = 0.1,
        projections: int | None = 1,
        **kwargs: Any,
    ):
        super().__init__(samples=samples, **kwargs)
        check_number(beta=beta, weight=weight)
        self.beta, self.weight = float(beta), float(weight)
        if projections is not None:
            check_whole(projections=projections)
        self.projections = None if projections is None else int(projections)

    def terms(self, inference: Inference) -> dict[str, Tensor]:
        self.check_real(inference)
        x = ops.convert_to_tensor(inference.x if inference.seen is None else inference.seen)
        size = sum(latent.size for latent in inference.latents)
        if self.projections is None:
            directions = list(np.eye(size, dtype="float32"))
        else:
            shape, scale = (ops.shape(x)[0], size), self.projections**-0.5
            numbers = range(1, self.projections + 1)
            directions = [scale * _signs(shape, folded(inference.seed, number)) for number in numbers]
        contraction = squared_jacobian(inference.encode, x, directions, len(x.shape) - 1)
        loss = negative_elbo(inference, self.beta) + self.weight * contraction
        return {"loss": loss, "contraction": contraction}
