"""Presets from strangers: what is wrong with one is told in one line, at once, before it takes memory."""

import copy
import json
import os
import resource
import shutil
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from compositions import COMPOSITIONS

from keras_vae import presets


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    directory = tmp_path_factory.mktemp("strangers") / "small"
    metric = {"value": -21.5, "unit": "nats", "split": "test", "images": 300, "samples": 50, "protocol": "sampling"}
    given = {"about": {"license": "MIT"}, "data": {"dataset": "digits"}, "results": {"metrics": {"log_prob": metric}}}
    COMPOSITIONS[0].model().save_to_preset(directory, attributes={"Smiling": np.float32([1, 2, 3])}, **given)
    return directory


# Each makes a function that spoils a preset's directory.


def write(name, content):
    return lambda directory: (directory / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def edit(name, path, value):
    """Puts `value`, or what it makes of the one that is there, into a file of JSON."""

    def spoil(directory):
        content = holder = json.loads((directory / name).read_text())
        *way, last = path
        for key in way:
            holder = holder[key]
        holder[last] = (
            value(copy.deepcopy(holder.get(last) if isinstance(holder, dict) else holder[last]))
            if callable(value)
            else value
        )
        (directory / name).write_text(json.dumps(content))

    return spoil


def replace(name, make):
    def spoil(directory):
        (directory / name).unlink()
        make(directory / name)

    return spoil


def config(*path, value):
    return edit(presets.CONFIG, ("model", *path), value)


def results(*path, value):
    return edit(presets.RESULTS, path, value)


def described_by_results(directory):
    edit(presets.RESULTS, ("weights", "sha256"), presets.sha256(directory / presets.WEIGHTS))(directory)


def weights(change):
    """Has `change` do something to the open HDF5 file, and names its hash as that of the right file."""

    def spoil(directory):
        with h5py.File(directory / presets.WEIGHTS, "r+") as file:
            change(file)
        described_by_results(directory)

    return spoil


def content(make):
    """The bytes of the weights, after `make`, as if they were the right ones."""

    def spoil(directory):
        path = directory / presets.WEIGHTS
        path.write_bytes(make(path.read_bytes()))
        described_by_results(directory)

    return spoil


KERNEL = "encoder/layers/dense/vars/0"


def instead(make, name=KERNEL):
    """Weights with another data set in the place of a kernel."""

    def change(file):
        value = file[name][()]
        del file[name]
        make(file, value)

    return weights(change)


def hole(file, name, **options):
    shape = h5py.h5s.create_simple((975_000_000,))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if options:
        properties.set_chunk((2**20,))
        properties.set_deflate(9)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_FLOAT, shape, properties)


def deep(file, _=None, levels=300):
    group = file
    for _ in range(levels):
        group = group.create_group("g")


def virtual(file, value):
    layout = h5py.VirtualLayout(value.shape, value.dtype)
    layout[:] = h5py.VirtualSource(file.filename, "elsewhere", value.shape, value.dtype)
    file.create_virtual_dataset(KERNEL, layout)


def function(module, name, **rest):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name, **rest}


def part(module, class_name, **options):
    return {"module": module, "class_name": class_name, "config": options, "registered_name": None}


ENCODER = ("config", "encoder")
LAYERS = (*ENCODER, "config", "layers")
DENSE = (*LAYERS, -1, "config")
LAYER_ = (*LAYERS, -1)


def many(layers, count=2_500):
    """Activations after the last layer."""
    chain = list(layers)
    for number in range(count):
        node = {"args": [tensor_of(chain[-1]["name"])], "kwargs": {}}
        activation = part("keras.layers", "ReLU", name=f"relu_{number}")
        chain.append({**activation, "name": f"relu_{number}", "inbound_nodes": [node]})
    return chain


def tensor_of(layer):
    history = {"shape": [None, 16], "dtype": "float32", "keras_history": [layer, 0, 0]}
    return {"class_name": "__keras_tensor__", "config": history}


def nested(model, levels=100):
    for number in range(levels):
        sequential = part("keras", "Sequential", name=f"nested_{number}", layers=[model])
        model = sequential
    return model


DEEP = "[" * 100_000 + "]" * 100_000
HOSTILE = {
    **{
        f"{name} {what}": write(name, text)
        for name in (presets.CONFIG, presets.RESULTS)
        for what, text in {
            "empty": "",
            "torn": '{"format_version": 2, "about"',
            "a list": "[]",
            "null": "null",
            "a number": "3",
            "a word": '"x"',
            "nested too deeply": DEEP,
            "nested deeply": f'{{"format_version": 2, "about": {DEEP[:300]}{DEEP[-300:]}}}',
            "a number of many digits": "1" * 5000,
            "no UTF-8": b'{"format_version": 2, "about": {"name": "\xff"}}',
            "a key twice": '{"format_version": 2, "format_version": 2}',
            "a strange version": '{"format_version": [2]}',
            "a version of many digits": json.dumps({"format_version": 10**400}),
            "a key of two lines": '{"format_version": 2, "a\\nb": 1}',
            "half a character": '{"format_version": 2, "\\ud800": 1}',
        }.items()
    },
    **{
        f"{name} {what}": replace(name, make)
        for name in (presets.CONFIG, presets.RESULTS, presets.WEIGHTS)
        for what, make in {
            "a directory": Path.mkdir,
            "a link to nothing": lambda path: path.symlink_to("nowhere"),
            "a link to itself": lambda path: path.symlink_to(path.name),
            "a device": lambda path: path.symlink_to("/dev/zero"),
            "a pipe": os.mkfifo,
            "not there": lambda path: None,
        }.items()
    },
    "a title of a wrong type": edit(presets.CONFIG, ("about", "title"), ["x"]),
    "a licence of a wrong type": edit(presets.CONFIG, ("about", "license"), 3),
    "a data set of a wrong type": edit(presets.CONFIG, ("data", "dataset"), {"a": 1}),
    "a seed of many digits": config("config", "seed", value=10**400),
    "a seed that is a word": config("config", "seed", value="zero"),
    # The outermost class.
    "a model that is a list": edit(presets.CONFIG, ("model",), [1]),
    "a model without keys": edit(presets.CONFIG, ("model",), {}),
    "a layer as the model": edit(presets.CONFIG, ("model",), part("keras.layers", "Dense", units=3)),
    "a network as the model": edit(presets.CONFIG, ("model",), lambda model: model["config"]["encoder"]),
    "a part as the model": edit(presets.CONFIG, ("model",), lambda model: model["config"]["likelihood"]),
    "a function as the model": edit(presets.CONFIG, ("model",), function("builtins", "eval")),
    "a class of a number": config("class_name", value=3),
    "a class of many characters": config("registered_name", value="x" * 10**6),
    "a module that is a list": config("module", value=["keras"]),
    "a config that is a list": config("config", value=[]),
    "no config": config("config", value=None),
    "an unknown argument": config("config", "strange", value=1),
    # Functions and classes that are no parts of a network.
    "plot_model": config(*DENSE, "activation", value=function("keras.utils", "plot_model")),
    "plot_model as a class": config(*DENSE, "activation", value=part("keras.utils", "plot_model")),
    "load_model": config(*DENSE, "activation", value=function("keras.models", "load_model")),
    "get_file": config(*DENSE, "kernel_initializer", value=function("keras.utils", "get_file")),
    "clear_session": config(
        *DENSE, "kernel_regularizer", value=function("keras.src.backend.common.global_state", "clear_session")
    ),
    "a function of the system": config(*DENSE, "activation", value=function("os", "system")),
    "eval": config(*DENSE, "activation", value=function("builtins", "eval")),
    "an unknown activation": config(*DENSE, "activation", value="plot_model"),
    "an optimiser": config(*LAYER_, value=part("keras.optimizers", "Adam")),
    "a callback": config(*DENSE, "activation", value=part("keras.callbacks", "ModelCheckpoint", filepath="/tmp/x")),
    "code": config(
        *DENSE,
        "activation",
        value=part("keras.layers", "Lambda", function={"class_name": "__lambda__", "config": {"value": "4wA="}}),
    ),
    "a SavedModel": config(*LAYER_, "class_name", value="TFSMLayer"),
    "a file of words": config(
        *LAYER_,
        value=lambda layer: {
            **layer,
            "class_name": "StringLookup",
            "config": {"name": layer["name"], "vocabulary": "/etc/passwd"},
        },
    ),
    "a layer without a module": config(*LAYER_, value=lambda layer: {k: v for k, v in layer.items() if k != "module"}),
    "a layer that is not registered": config(
        *LAYER_,
        value=lambda layer: {**layer, "module": "stranger", "class_name": "Mine", "registered_name": "stranger>Mine"},
    ),
    "a type specification": config(
        *DENSE,
        "activation",
        value={"class_name": "__typespec__", "config": [], "module": None, "registered_name": None, "spec_name": "x"},
    ),
    "an array of objects": config(
        *DENSE, "activation", value={"class_name": "__numpy__", "config": {"value": [1], "dtype": "object"}}
    ),
    "an array of long words": config(
        *DENSE, "activation", value={"class_name": "__numpy__", "config": {"value": [1], "dtype": "S3900000000"}}
    ),
    # Sizes.
    "2,500 layers": config(*LAYERS, value=many),
    "a layer called 2,500 times": config(*LAYER_, "inbound_nodes", value=lambda nodes: nodes * 2_500),
    "100 nested networks": config(*ENCODER, value=nested),
    "a wide layer": config(*DENSE, "units", value=10**8),
    "a layer of more than all numbers": config(*DENSE, "units", value=10**30),
    "large images": config("config", "image_shape", value=[10**5, 10**5, 3]),
    "large images of the network": config(*LAYERS, 0, "config", "batch_shape", value=[None, 10**5, 10**5, 1]),
    "large latents": config("config", "posterior", "config", "size", value=10**10),
    "latents of many axes": config("config", "posterior", "config", "size", value=[1] * 300),
    "a negative width": config(*DENSE, "units", value=-1),
    "a width that is a word": config(*DENSE, "units", value="many"),
    # Graphs.
    "a network that is none": config(*ENCODER, value=None),
    "a network that is a word": config(*ENCODER, value="mlp"),
    "layers that are a word": config(*LAYERS, value="layers"),
    "a layer twice": config(*LAYERS, value=lambda layers: [*layers, layers[-1]]),
    "a layer after itself": config(
        *LAYER_, "inbound_nodes", 0, "args", 0, "config", "keras_history", value=lambda h: ["encoder_dense_0", 0, 0]
    ),
    "a layer after none": config(
        *LAYER_, "inbound_nodes", 0, "args", 0, "config", "keras_history", value=["nowhere", 0, 0]
    ),
    "an output that is none": config(*ENCODER, "config", "output_layers", value=[["nowhere", 0, 0]]),
    "a likelihood as the prior": config("config", "prior", value=lambda _: "bernoulli"),
    "another prior": config("config", "prior", "config", "size", value=7),
    # The weights.
    "no HDF5": content(lambda _: b"weights"),
    "half the weights": content(lambda data: data[: len(data) // 2]),
    "no data set": instead(lambda file, value: None),
    "no group": weights(lambda file: file.__delitem__("encoder")),
    "nothing": weights(lambda file: file.clear()),
    "NaN": weights(lambda file: file[KERNEL].__setitem__((0, 0), np.nan)),
    "infinity": weights(lambda file: file[KERNEL].__setitem__((0, 0), np.inf)),
    "complex numbers": instead(lambda file, value: file.create_dataset(KERNEL, data=value.astype("complex64"))),
    "words": instead(lambda file, value: file.create_dataset(KERNEL, data=["a", "b"])),
    "records": instead(lambda file, value: file.create_dataset(KERNEL, data=np.zeros(3, "f4,i4"))),
    "no numbers": instead(lambda file, value: file.create_dataset(KERNEL, data=h5py.Empty("f4"))),
    "whole numbers": instead(lambda file, value: file.create_dataset(KERNEL, data=value.astype("int32"))),
    "numbers that float32 has not": instead(
        lambda file, value: file.create_dataset(KERNEL, data=value.astype("float64") * 1e300)
    ),
    "a scale of fewer latents": weights(
        lambda file: [file.create_dataset(f"vars/latent_{name}", data=np.ones(1, "f4")) for name in ("mean", "std")]
    ),
    "a step before the first": weights(lambda file: file["vars/0"].write_direct(np.array(-5, "int32"))),
    "weights of a part that there is not": weights(
        lambda file: file.create_dataset("layers/mixture/vars/0", data=np.ones(3, "f4"))
    ),
    "another shape": instead(lambda file, value: file.create_dataset(KERNEL, data=value[:-1])),
    "another rank": instead(lambda file, value: file.create_dataset(KERNEL, data=value.ravel())),
    "a group": instead(lambda file, value: file.create_group(KERNEL)),
    "another name": instead(lambda file, value: file.create_dataset(KERNEL + "0", data=value)),
    "a hole of 3.9 GB": instead(lambda file, value: hole(file, KERNEL)),
    "a compressed hole of 3.9 GB": instead(lambda file, value: hole(file, KERNEL, compressed=True)),
    "a hole of 3.9 GB beside the weights": weights(lambda file: hole(file, "beside")),
    "a hole of the right size": instead(lambda file, value: file.create_dataset(KERNEL, value.shape, value.dtype)),
    "zeros that were compressed": instead(
        lambda file, value: file.create_dataset(KERNEL, data=np.zeros((2000, 2000), "f4"), compression=9)
    ),
    "a link": instead(lambda file, value: file.__setitem__(KERNEL, h5py.SoftLink("/encoder/layers/dense/vars/1"))),
    "a link to another file": instead(
        lambda file, value: file.__setitem__(KERNEL, h5py.ExternalLink("/etc/passwd", "x"))
    ),
    "a name more": weights(lambda file: file.__setitem__("more", file[KERNEL])),
    "a circle": weights(lambda file: file["encoder"].__setitem__("circle", file["/"])),
    "numbers of another file": instead(
        lambda file, value: file.create_dataset(KERNEL, value.shape, "f4", external="/etc/passwd")
    ),
    "a virtual data set": instead(virtual),
    "nested groups": weights(deep),
    "another hash": lambda directory: (directory / presets.WEIGHTS).open("ab").write(b"x"),
    # What was measured.
    "weights elsewhere": results("weights", "file", value="../../model.weights.h5"),
    "no hash": results("weights", "sha256", value="x"),
    "fewer than no weights": results("weights", "parameters", value=-1),
    "a picture elsewhere": results("pictures", value={"../../samples.png": "samples"}),
    "a picture of the system": results("pictures", value={"/etc/passwd": "samples"}),
    "pictures that are a list": results("pictures", value=["samples.png"]),
    "a caption that is a number": results("pictures", value={"samples.png": 3}),
    "a history of words": results("history", value={"loss": ["low"]}),
    "a metric of many digits": results("metrics", "log_prob", "value", value=10**400),
    "a metric that is not finite": results("metrics", "log_prob", "value", value=float("nan")),
    "metrics that are a list": results("metrics", value=[]),
    "no score": results("fixed_batch", value=None),
}


@pytest.mark.parametrize("spoil", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_preset_is_refused_in_one_line(valid, tmp_path, spoil):
    directory = Path(shutil.copytree(valid, tmp_path / "small"))
    spoil(directory)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(presets.PresetError) as caught:
        presets.load(directory)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
    assert time.monotonic() - start < 10
    said = str(caught.value)
    assert said.isprintable() and len(said) < 2100 and str(directory) in said and "Received: " in said


@pytest.mark.parametrize(
    "direction", ["x", [[1], [1, 2]], ["a"], [float("nan")], [1e300], [10**400], [None], [{}], {"a": 1}]
)
def test_a_hostile_direction_is_refused_in_one_line(valid, tmp_path, direction):
    directory = Path(shutil.copytree(valid, tmp_path / "small"))
    edit(presets.ATTRIBUTES, ("directions", "Old"), direction)(directory)
    with pytest.raises(presets.PresetError, match=r"directions\.Old.*Received: "):
        presets.attributes(directory)
