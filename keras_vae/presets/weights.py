"""The file of a preset's weights: written small, and weights rounded to what their numbers need."""

import tempfile
from pathlib import Path

import h5py
import keras
import numpy as np

from keras_vae import files

# Of float32. Smaller arrays take no room worth while, and biases and moments are what rounding moves most.
MANTISSA, SMALL = 23, 1024
# The highest level: written once, read often.
_GZIP = 9


def write(model: keras.Model, path: Path) -> None:
    """Writes the weights of a model as Keras does, compressed without loss where that makes them smaller."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / path.name
        model.save_weights(whole)
        files.check_room(path, whole.stat().st_size)
        # Groups of HDF5 1.8 take a tenth of the room that those before it take, some 3 KB a layer.
        with h5py.File(whole, "r") as source, h5py.File(path, "w", libver=("v108", "v110")) as target:
            target.attrs.update(source.attrs)
            source.visititems(lambda name, item: _copy(name, item, target))


def _copy(name, item, target):
    if isinstance(item, h5py.Group):
        target.require_group(name).attrs.update(item.attrs)
        return
    array = item[()]
    packed = None
    if np.size(array) >= SMALL and array.dtype.kind == "f":
        # Bytes of equal weight beside each other: rounded ones are zeros.
        packed = target.create_dataset(name, data=array, chunks=array.shape, shuffle=True, compression=_GZIP)
        if packed.id.get_storage_size() * 8 < array.nbytes:
            # Hardly of anything: `trust` would take it for a file that was cut.
            del target[name]
            packed = None
    if packed is None:
        packed = target.create_dataset(name, data=array)
    packed.attrs.update(item.attrs)


def rounded(array: np.ndarray, bits: int) -> np.ndarray:
    """The nearest numbers that have `bits` bits of mantissa, ties to even, float32.

    Reference: Klöwer et al. 2021, "Compressing atmospheric data into its real information content", Methods.

    Example:
        >>> rounded(np.float32([1 + 2**-10, 1 + 2**-12]), 10)
        array([1.0009766, 1.       ], dtype=float32)
    """
    if bits >= MANTISSA:
        return np.asarray(array, "float32")
    numbers, off = np.ascontiguousarray(array, "float32").view(np.uint32), np.uint32(MANTISSA - bits)
    even = (numbers >> off) & np.uint32(1)
    nearest = numbers + (np.uint32(1) << (off - np.uint32(1))) - np.uint32(1) + even
    return ((nearest >> off) << off).view(np.float32)


def large(model: keras.Model) -> list[keras.Variable]:
    """The arrays of a model's weights that are worth rounding, of float32."""
    return [v for v in model.weights if v.dtype == "float32" and np.prod(v.shape) >= SMALL]


def round_weights(model: keras.Model, bits: int) -> None:
    """Rounds the large arrays of a model's weights, of float32, to `bits` bits of mantissa.

    Raises:
        ValueError: unless 1 <= bits <= 23.
    """
    if not 1 <= bits <= MANTISSA:
        raise ValueError(f"`bits` of a mantissa in float32 are 1 to {MANTISSA}. Received: bits={bits!r}")
    for variable in large(model):
        variable.assign(rounded(keras.ops.convert_to_numpy(variable), bits))
