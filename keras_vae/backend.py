"""The one place that tells TensorFlow from JAX."""

import contextlib
import functools
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

NAME = keras.backend.backend()

if NAME == "tensorflow":
    import tensorflow as tf
    import tensorflow_probability as tfp
elif NAME == "jax":
    import jax
    import jax._src.core
    import jax.interpreters.xla

    # TFP's JAX substrate looks these up where newer JAX no longer keeps them.
    if not hasattr(jax.interpreters.xla, "pytype_aval_mappings"):
        jax.interpreters.xla.pytype_aval_mappings = jax._src.core.pytype_aval_mappings
    from tensorflow_probability.substrates import jax as tfp
else:
    raise ImportError(
        "keras_vae runs on Keras' TensorFlow and JAX backends, which TensorFlow Probability supports. Set the "
        "environment variable KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax before Keras is imported. "
        f"Received: KERAS_BACKEND={NAME}"
    )

tfb = tfp.bijectors
tfd = tfp.distributions

# A tensor of either backend, or what it takes for one.
Tensor = Any


# Whether several steps at a time are one call of a compiled function, and no Python loop.
LOOPS_IN_GRAPHS = NAME == "tensorflow"
# Whether Keras' loops take the values out of the variables, so that a step that fails loses them.
LOOPS_TAKE_STATE = NAME == "jax"

# Decoded at a time, at most, whatever the size of an image: XLA asks the system for larger buffers anew at each call.
FAST_CHUNK = 2048 if NAME == "tensorflow" else 1024
# Bytes of the largest activation from which on it pays to decode in turns, for the same reason.
FAST_BYTES = None if NAME == "tensorflow" else 2**23

_SEED_DTYPE = "int32" if NAME == "tensorflow" else "uint32"
# 2^32 over the golden ratio: its multiples are far from each other.
_GOLDEN = 0x9E3779B1


def seed_pair(seed: int | None = None, fold: int = 0) -> np.ndarray:
    """A seed for TFP's stateless samplers on both backends.

    Args:
        seed: an int; `None` draws one from Keras' global generator, which `keras.utils.set_random_seed` governs.
        fold: an int that tells apart the draws made with one seed.

    Returns:
        An integer array of shape (2,).
    """
    if seed is None:
        seed = int(keras.random.randint((), 0, 2**31 - 1))
    return np.array([seed & 0x7FFFFFFF, fold], dtype=_SEED_DTYPE)


def seed_pairs(seed: int, keys: Iterable[int], fold: int = 0) -> np.ndarray:
    """Seeds of examples: what is drawn with one depends on `seed`, the example's key and `fold`, and on nothing else.

    Args:
        seed: an int.
        keys: an int for each example.
        fold: an int that tells apart the draws made for one example.

    Returns:
        An integer array of shape (N, 2).
    """
    keys = np.asarray(keys, dtype="int64") & 0x7FFFFFFF
    first = np.full_like(keys, (seed + _GOLDEN * fold) & 0x7FFFFFFF)
    return np.stack([first, keys], axis=-1).astype(_SEED_DTYPE)


def folded(seed: Tensor, number: int) -> Tensor:
    """Another seed of the same shape, (2,) or (N, 2), made of `seed` and a number above 0."""
    step = np.array([(_GOLDEN * number) & 0x7FFFFFFF, number], dtype=_SEED_DTYPE)
    return keras.ops.convert_to_tensor(seed) + step


def standard_normals(shape: tuple[int | Tensor, ...], seeds: Tensor) -> Tensor:
    """Noise that is drawn block by block: of each seed what TFP's N(0, 1) draws with it.

    Args:
        shape: (K, B, ...) of a block.
        seeds: (S, 2).

    Returns:
        (K, S * B, ...), float32.
    """
    if NAME == "jax":
        blocks = jax.vmap(lambda seed: jax.random.normal(seed, shape, "float32"))(seeds)
        return jax.numpy.reshape(jax.numpy.moveaxis(blocks, 0, 1), (shape[0], -1, *shape[2:]))
    return tf.concat([tf.random.stateless_normal(shape, seed) for seed in tf.unstack(seeds)], axis=1)


def replica_seed(seed: Tensor) -> Tensor:
    """`seed` made different on each replica of a TensorFlow distribution strategy; on JAX noise is global already."""
    if NAME == "tensorflow":
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            seeds = tfp.random.split_seed(seed, n=context.num_replicas_in_sync, salt="replica")
            return tf.stack(seeds)[context.replica_id_in_sync_group]
    return seed


def scope_of(model: keras.Model) -> contextlib.AbstractContextManager:
    """Where a model's new variables are made: with those that it has, on the replicas of its TensorFlow strategy."""
    if NAME == "jax" or model.distribute_strategy is tf.distribute.get_strategy():
        return contextlib.nullcontext()
    return model.distribute_strategy.scope()


@contextlib.contextmanager
def single_precision() -> Iterator[None]:
    """Within it JAX does not warn that TFP's samplers of counts, classes and Gammas ask it for 64 bits."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Explicitly requested dtype", UserWarning)
        yield


def _has_accelerator():
    if NAME == "tensorflow":
        return bool(tf.config.list_physical_devices("GPU") + tf.config.list_physical_devices("TPU"))
    return any(device.platform != "cpu" for device in jax.devices())


def has_fast_bfloat16() -> bool:
    """Whether networks are faster in bfloat16; XLA on a processor, which is all that JAX has there, gains nothing."""
    return has_bfloat16() and (NAME == "tensorflow" or _has_accelerator())


@functools.cache
def has_bfloat16() -> bool:
    """Whether what computes here knows bfloat16; a processor that does not emulates it, several times slower."""
    if _has_accelerator():
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", flags) is not None


def is_usable(variable: keras.Variable) -> bool:
    """Whether `variable` still holds a value: JAX's `fit` takes the values out, and may fail to put them back."""
    if NAME == "tensorflow":
        return True
    value = variable._value
    return value is not None and not value.is_deleted()


def unshare(variables: Iterable[keras.Variable]) -> None:
    """Gives variables that share an array copies of it: on JAX a compiled step deletes the arrays it was given."""
    if NAME == "tensorflow":
        return
    seen = set()
    for variable in variables:
        if id(variable.value) in seen:
            variable.assign(jax.numpy.copy(variable.value))
        seen.add(id(variable.value))


def kept(variable: keras.Variable) -> Any:
    """A copy of a variable's value, where the value is: in the memory of its devices, sharded as it is."""
    if NAME == "jax" and (_has_accelerator() or not variable.value.is_fully_addressable):
        return jax.numpy.copy(variable.value)
    if NAME == "tensorflow" and _has_accelerator():
        return tf.identity(variable.value)
    # numpy may share memory with the backend, which writes in place: hence the copy.
    return np.array(keras.ops.convert_to_numpy(variable))


def all_finite(values: Iterable[Any]) -> bool:
    """Whether no floating-point number of variables, or of what `kept` made of them, is NaN or infinite."""
    values = [getattr(value, "value", value) for value in values]
    found = [_is_finite(v) for v in values if keras.backend.is_float_dtype(keras.backend.standardize_dtype(v.dtype))]
    # All are under way before the first is waited for.
    return all(map(bool, found))


def _is_finite(value):
    if NAME == "jax" and not isinstance(value, np.ndarray) and not value.is_fully_addressable:
        return jax.numpy.isfinite(value).all()
    if NAME == "tensorflow" and not isinstance(value, np.ndarray):
        return tf.reduce_all(tf.math.is_finite(value))
    return np.isfinite(value).all()


def all_equal(pairs: Iterable[tuple[keras.Variable, keras.Variable]]) -> bool:
    """Whether the two variables of each pair have the same value."""
    same = tf.equal if NAME == "tensorflow" else jax.numpy.equal
    every = tf.reduce_all if NAME == "tensorflow" else jax.numpy.all
    found = [every(same(a.value, b.value)) for a, b in pairs]
    # As above.
    return all(map(bool, found))


def compiled(model: keras.Model, function: Callable) -> Callable:
    """`function(*arrays)` compiled, with the weights of `model` read at each call, never baked in.

    Args:
        model: a built `keras.Model`; its `jit_compile` says whether TensorFlow uses XLA.
        function: of tensors; it may use the model's variables, and assign those that are not trainable.
    """
    if NAME == "tensorflow":
        return tf.function(function, jit_compile=model.jit_compile is True, reduce_retracing=True, autograph=False)

    def stateless(values, *args):
        with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))) as scope:
            result = function(*args)
        # Those alone that were assigned.
        current = {i: scope.get_current_value(v) for i, v in enumerate(model.variables) if not v.trainable}
        return result, {i: value for i, value in current.items() if value is not None and value is not values[i]}

    jitted = jax.jit(stateless)

    def call(*args):
        variables = model.variables
        result, assigned = jitted([v.value for v in variables], *args)
        for index, value in assigned.items():
            variables[index].assign(value)
        return result

    return call


def power_of_two(count: int) -> int:
    """The least power of two that is not below `count`: few functions are compiled whatever numbers are asked for."""
    return 1 << (int(count) - 1).bit_length()


def padded(x: np.ndarray, size: int) -> np.ndarray:
    """`x` made `size` long by repeating its last entry, so that one compiled function serves the last chunk, too."""
    missing = size - len(x)
    return np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing else x


def repeated(function: Callable[[Tensor, Tensor], Tensor], value: Tensor, count: int) -> Tensor:
    """`value` after `value = function(i, value)` for i = 0, ..., count - 1; gradients pass, with XLA, too.

    Args:
        function: of a scalar tensor and a tensor, which keeps the latter's shape and type.
        value: at the beginning.
        count: an int.
    """
    if NAME == "jax":
        return jax.lax.fori_loop(0, count, function, value)
    # XLA stores what gradients need only where the number of rounds is known.
    return tf.while_loop(
        lambda i, _: i < count, lambda i, v: (i + 1, function(i, v)), (0, value), maximum_iterations=count
    )[1]


def settled(value: Tensor) -> Tensor:
    """`value`, which XLA on JAX does not compute twice, and so never rounds in two ways."""
    return jax.lax.optimization_barrier(value) if NAME == "jax" else value


def noise_seed(generator: keras.random.SeedGenerator) -> Tensor:
    """The next seed of a `keras.random.SeedGenerator`, for TFP's samplers, another one on each replica."""
    seed = generator.next()
    return replica_seed(keras.ops.cast(seed, "int32")) if NAME == "tensorflow" else seed
