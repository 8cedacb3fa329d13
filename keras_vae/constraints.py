"""What the weights of a layer may be."""

import keras
import numpy as np
from keras import ops

from keras_vae.backend import Tensor

# The estimate of a random matrix is then right to a hundredth.
_ITERATIONS = 30


def spectral_norm(kernel: Tensor) -> Tensor:
    """The largest singular value of a kernel, (..., inputs, outputs), as a matrix of `outputs` columns.

    It is found by power iteration from a start that is always the same; its gradient is the outer product of the two
    singular vectors.
    """
    matrix = ops.reshape(ops.cast(kernel, "float32"), (-1, kernel.shape[-1]))
    constant = ops.stop_gradient(matrix)
    right = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(matrix.shape[1], 1)), dtype="float32")

    def step(_, right):
        right = ops.matmul(ops.transpose(constant), ops.matmul(constant, right))
        return right / (ops.norm(right) + 1e-12)

    right = ops.fori_loop(0, _ITERATIONS, step, right)
    left = ops.matmul(constant, right)
    left = left / (ops.norm(left) + 1e-12)
    return ops.sum(left * ops.matmul(matrix, right))


@keras.saving.register_keras_serializable("keras_vae")
class SpectralNorm(keras.constraints.Constraint):
    """Divides a kernel by its largest singular value after each update, so that a layer stretches nothing.

    Reference: Miyato et al. 2018, "Spectral normalization for generative adversarial networks", equation 8.

    Example: `keras.layers.Dense(64, kernel_constraint=kv.constraints.SpectralNorm())`.
    """

    def __call__(self, w: Tensor) -> Tensor:
        """`w` of spectral norm 1."""
        return w / ops.cast(ops.maximum(spectral_norm(w), 1e-12), w.dtype)
