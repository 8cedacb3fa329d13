"""What a preset of a stranger may make: layers and registered parts, of no more numbers than its file of weights holds.

All of it is told from the files, before memory is taken.
"""

import contextlib
import math
import re
import sys
import threading
import types
from collections.abc import Iterator
from numbers import Integral
from pathlib import Path

import h5py
import keras
import ml_dtypes
import numpy as np

from keras_vae.presets.schema import PresetError, limits
from keras_vae.training.step import ObjectiveTrainer

# Of Keras; layers and models are operations. Those that hold code, such as Lambda, are refused by its safe mode.
_CLASSES = (
    keras.Operation,
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.dtype_policies.DTypePolicy,
    keras.dtype_policies.DTypePolicyMap,
    keras.quantizers.Quantizer,
    keras.quantizers.QuantizationConfig,
    keras.random.SeedGenerator,
)
# Functions of tensors and of shapes.
_FUNCTIONS = ("keras.activations", "keras.initializers", "keras.ops", "keras.random")
_NO_FUNCTIONS = ("get", "serialize", "deserialize")
# Values that JSON has no way to write; Keras does as if they were of classes.
_VALUES = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__lambda__")
_DTYPE = r"bool|bfloat16|(u?int|float)(8|16|32|64)"


def checked(config: dict, path: Path) -> dict:
    """A copy of Keras' configuration of a model, without optimisers and losses, for which loading has no use.

    Args:
        config: what `keras.saving.serialize_keras_object` made of the model.
        path: of its file, for the message.

    Raises:
        PresetError: unless it is one of a latent-variable model, made of layers and what belongs to them.
    """
    outermost = _found(config, "model", path) if _names_class(config) else None
    if not isinstance(outermost, type) or not issubclass(outermost, ObjectiveTrainer):
        raise PresetError(
            f"`model` of {path} must be a VAE, or of another registered subclass of LatentVariableModel. "
            f"Received: {_shown(config)}"
        )
    layers = 0
    for where, part in _parts(config, "model"):
        found = _found(part, where, path)
        if isinstance(found, type) and issubclass(found, keras.Operation):
            calls = part.get("inbound_nodes")
            layers += max(1, len(calls)) if isinstance(calls, list) else 1
    limits.check("layers", layers, f"The number of layers in {path}")
    return _without_compiling(config)


def _names_class(value):
    """Whether Keras looks for a class or function that `value` names."""
    return isinstance(value, dict) and "class_name" in value and "config" in value


def _parts(value, where):
    """(key, dictionary) of each that names a class, however deep."""
    if _names_class(value):
        yield where, value
    if isinstance(value, dict):
        for key, item in value.items():
            # It goes, see `_without_compiling`.
            if key != "compile_config" or not _names_class(value):
                yield from _parts(item, f"{where}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _parts(item, f"{where}[{index}]")


def _without_compiling(value):
    if isinstance(value, dict):
        left_out = {"compile_config"} if _names_class(value) else ()
        return {key: _without_compiling(item) for key, item in value.items() if key not in left_out}
    return list(map(_without_compiling, value)) if isinstance(value, list) else value


def _found(part, where, path):
    """The class or function that a dictionary names, or its name where it is that of a value."""

    def refuse(expected):
        raise PresetError(f"`{where}` of {path} {expected}. Received: {_shown(part)}")

    name, module, inner = part["class_name"], part.get("module"), part["config"]
    registered = part.get("registered_name", name)
    for key, word in (("class_name", name), ("module", module or ""), ("registered_name", registered or "")):
        if not isinstance(word, str):
            refuse(f"has a {key} that is no word")
    if name in _VALUES:
        if isinstance(inner, dict) and not re.fullmatch(_DTYPE, str(inner.get("dtype", "float32"))):
            refuse("has values of a type that is none of numbers")
        return name
    is_function = name == "function"
    if not isinstance(inner, str if is_function else (dict, types.NoneType)):
        refuse(f"must have {'the name of a function' if is_function else 'an object'} as its config")
    # Keras takes one without a module for what its version 2 wrote, and makes other things of it.
    found = None if "module" not in part else _registered(inner if is_function else registered, is_function)
    if found is not None:
        return found
    found = _of_keras(module, inner if is_function else name)
    if is_function and isinstance(found, types.FunctionType) and inner not in _NO_FUNCTIONS:
        if module == "builtins" or module.startswith(_FUNCTIONS):
            return found
    elif not is_function and isinstance(found, type) and issubclass(found, _CLASSES):
        return found
    refuse(
        "is no layer or activation of Keras, nor anything else that a network is made of, nor registered: import the "
        "module that defines it first, if it is of your own"
    )


def _registered(name, is_function):
    found = keras.saving.get_registered_object(name)
    if found is None and is_function:
        # As Keras up to 3.6 wrote them.
        names = [known for known in keras.saving.get_custom_objects() if known.endswith(f">{name}")]
        found = keras.saving.get_registered_object(names[0]) if names else None
    return found


def _of_keras(module, name):
    """What Keras, or a library of its family that was imported, has of this name; otherwise None."""
    if module == "builtins":
        return getattr(keras.activations, name, None)
    family = (module or "").partition(".")[0] in ("keras", "keras_hub", "keras_cv", "keras_nlp")
    return vars(sys.modules[module]).get(name) if family and module in sys.modules else None


def _shown(part):
    if not _names_class(part):
        return str(part)[:100]
    name = part["config"] if part["class_name"] == "function" else part["class_name"]
    return f"{part.get('module')}.{str(name)[:100]}, registered as {part.get('registered_name')!r}"


@contextlib.contextmanager
def no_more_than(numbers: int, path: Path) -> Iterator[None]:
    """Within it this thread makes no layers of more weights than a file holds: one that asks for more gets none.

    Args:
        numbers: how many the file holds.
        path: of the file, for the message.

    Raises:
        PresetError: if more are asked for, whatever the layer makes of that.
    """
    make, thread, asked = keras.layers.Layer.add_weight, threading.get_ident(), 0
    # Some weights of a layer of one's own may be saved nowhere.
    allowed = 2 * numbers + 2**20

    def add_weight(layer, shape=None, *arguments, **options):
        nonlocal asked
        if threading.get_ident() == thread:
            asked += math.prod(size for size in shape or () if isinstance(size, Integral))
            if asked > allowed:
                raise refusal()
        return make(layer, shape, *arguments, **options)

    def refusal():
        return PresetError(f"The model needs more weights than {path} has. Received: {asked:,} for {numbers:,}")

    keras.layers.Layer.add_weight = add_weight
    try:
        yield
    except Exception:
        if asked > allowed:
            raise refusal() from None
        raise
    finally:
        keras.layers.Layer.add_weight = make


def numbers_in(path: Path) -> tuple[int, set[tuple[int, ...]]]:
    """How many numbers a file of weights holds, each of them there and finite; the shapes of arrays of whole ones.

    Raises:
        PresetError: for a file that holds anything else, or links, or whose numbers are not all stored.
    """
    try:
        with h5py.File(path, "r") as file:
            datasets = list(_datasets(file, path))
            total = sum(dataset.size for dataset in datasets)
            limits.check("parameters", total, f"The number of weights in {path}")
            for dataset in datasets:
                with np.errstate(over="ignore"):
                    # As the model will have them.
                    values = np.array(dataset, dtype=_dtype(dataset)).astype("float32", copy=False)
                if not np.all(np.isfinite(values)):
                    raise PresetError(f"The weights in {path} must be finite. Received: {dataset.name}")
            whole = {dataset.shape for dataset in datasets if dataset.dtype.kind in "iub"}
    except PresetError:
        raise
    except Exception as error:  # h5py raises many kinds for damaged files.
        raise PresetError(f"{path} is no file of weights that can be read. Received: {error}") from error
    return total, whole


def check_whole_numbers(model: keras.Model, shapes: set[tuple[int, ...]], path: Path) -> None:
    """Refuses whole numbers where the model has others, which Keras would take.

    Raises:
        PresetError: naming a shape of which the model has no whole numbers.
    """
    of_model = {tuple(variable.shape) for variable in model.variables if "float" not in variable.dtype}
    if shapes - of_model:
        raise PresetError(
            f"{path} has whole numbers where the model has none. Received: arrays of shapes {sorted(shapes - of_model)}"
        )


def _datasets(file, path):
    """Those of an HDF5 file, which must be plain ones, none of them read."""
    groups, seen = [(file, 0)], {h5py.h5o.get_info(file.id).addr}
    while groups:
        group, depth = groups.pop()
        limits.check("nesting", depth, f"The nesting of groups in {path}")
        for name in group:
            item = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
            address = None if item is None else h5py.h5o.get_info(item.id).addr
            if item is None or address in seen:
                raise PresetError(f"{path} must hold no links. Received: {group.name}/{name}")
            seen.add(address)
            if isinstance(item, h5py.Group):
                groups.append((item, depth + 1))
            elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                raise PresetError(
                    f"{path} must hold its numbers itself. Received: {item.name}, which is in another file"
                )
            elif isinstance(item, h5py.Dataset) and item.shape is not None and _dtype(item) is not None:
                _check_storage(item, path)
                yield item
            else:
                raise PresetError(f"{path} must hold arrays of real numbers, no others. Received: {item}")


def _dtype(dataset):
    """The type of its numbers; None: it has others than weights have."""
    if dataset.dtype.kind == "V" and str(dataset.attrs.get("dtype")) == "bfloat16" and dataset.dtype.itemsize == 2:
        return ml_dtypes.bfloat16
    return dataset.dtype if dataset.dtype.kind in "fiub" else None


def _check_storage(dataset, path):
    """Refuses one that would take much more memory than there are bytes of it in the file."""
    properties = dataset.id.get_create_plist()
    declared, stored = dataset.size * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if properties.get_nfilters():
        # Compressed; trained weights hardly are.
        stored = 16 * stored + 2**16
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if max(declared, chunk - 2**20) > stored:
        raise PresetError(
            f"Not all weights are in {path}: copy the whole directory again. Received: {dataset.name} of "
            f"{declared:,} bytes, {dataset.id.get_storage_size():,} of them stored"
        )
