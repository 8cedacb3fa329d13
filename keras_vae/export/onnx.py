"""ONNX files."""

from functools import partial
from pathlib import Path

import keras

from keras_vae.export.endpoints import ENDPOINTS, deterministic, needs_tensorflow, traced


def onnx_files(model: keras.Model, path: str | Path) -> None:
    """Writes `model` to the directory `path` as encode.onnx, decode.onnx and serve.onnx.

    Each has one input (two with labels) and one output, float32 (codes are int32), of any number N of images: encode,
    x (N, *X) -> z (N, D), the posterior means; decode, z (N, D) -> image (N, *X); serve, x (N, *X) -> image (N, *X),
    reconstructions.
    There is no noise in ONNX files: a sample is decode.onnx of a z that the caller draws from the prior.

    Raises:
        ImportError: where tf2onnx is not installed.
        RuntimeError: under JAX.
        ValueError: for a model that computes what ONNX cannot.
        OSError: if the directory cannot be written.
    """
    needs_tensorflow("ONNX files", ", format='onnx'")
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise ImportError(
            f'ONNX files are written by tf2onnx, which is not here: pip install "keras_vae[onnx]". Received: {error}'
        ) from error

    model = model.in_float32()
    protos = {}
    for name, (function, given, returned) in deterministic(model).items():
        # A dictionary, because its key becomes the output's name.
        named = traced(partial(_named, function, returned.name), given)
        proto, _ = tf2onnx.convert.from_function(named, given, custom_op_handlers=_handlers())
        _pad_as_tensorflow(proto)
        for value, spec in zip((*proto.graph.input, *proto.graph.output), (*given, returned), strict=True):
            batch, *rest = value.type.tensor_type.shape.dim
            batch.dim_param = "N"
            for dimension, size in zip(rest, spec.shape[1:], strict=True):
                dimension.dim_value = size
        try:
            onnx.checker.check_model(proto)
        except onnx.checker.ValidationError as error:
            raise ValueError(
                f"The model's {name!r} computes what ONNX cannot: write a SavedModel, format='tf_saved_model'. "
                f"Received: {str(error).splitlines()[0]}"
            ) from error
        protos[name] = proto
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    for name in ENDPOINTS - protos.keys():
        # Of another model, which was here before.
        (path / f"{name}.onnx").unlink(missing_ok=True)
    for name, proto in protos.items():
        onnx.save(proto, path / f"{name}.onnx")


def _named(function, name, *arguments):
    return {name: function(*arguments)}


def _pad_as_tensorflow(proto):
    """Has transposed convolutions cropped at the end first, as TensorFlow's "same" is.

    tf2onnx says the size of what comes out and not where it is cropped, unless it knows that of what goes in.
    """
    import onnx

    for node in proto.graph.node:
        given = {attribute.name for attribute in node.attribute}
        if node.op_type == "ConvTranspose" and "output_shape" in given and not given & {"pads", "auto_pad"}:
            node.attribute.append(onnx.helper.make_attribute("auto_pad", "SAME_UPPER"))


def _handlers():
    """What models need of ONNX and tf2onnx 1.17 lacks."""
    return {
        "Expm1": (_expm1, []),
        "Log1p": (_log1p, []),
        "BroadcastArgs": (_broadcast_args, []),
        "SelectV2": (_where, []),
    }


def _where(graph, node, name, args):
    # tf2onnx multiplies what is not chosen by 0, which leaves NaN as it is.
    dtype, shape = graph.get_dtype(node.output[0]), graph.get_shape(node.output[0])
    inputs, output = node.input, node.output[0]
    graph.remove_node(name)
    graph.make_node("Where", inputs, outputs=[output], name=name, dtypes=[dtype], shapes=[shape])


def _expm1(graph, node, name, args):
    # exp(x) - 1 = tanh(x / 2) (exp(x) + 1), without cancellation near zero.
    dtype, shape = graph.get_dtype(node.output[0]), graph.get_shape(node.output[0])
    (x,), output = node.input, node.output[0]
    half, one = (_constant(graph, value, dtype) for value in (0.5, 1.0))
    graph.remove_node(name)
    tanh = graph.make_node("Tanh", graph.make_node("Mul", [x, half]).output).output[0]
    more = graph.make_node("Add", [graph.make_node("Exp", [x]).output[0], one]).output[0]
    graph.make_node("Mul", [tanh, more], outputs=[output], name=name, dtypes=[dtype], shapes=[shape])


def _log1p(graph, node, name, args):
    # log(1 + x) = log(u) x / (u - 1) with u = 1 + x as it is rounded, and x where that is 1.
    dtype, shape = graph.get_dtype(node.output[0]), graph.get_shape(node.output[0])
    (x,), output = node.input, node.output[0]
    one = _constant(graph, 1.0, dtype)
    graph.remove_node(name)
    u = graph.make_node("Add", [x, one]).output[0]
    small = graph.make_node("Equal", [u, one]).output[0]
    slope = graph.make_node("Div", [x, graph.make_node("Sub", [u, one]).output[0]]).output[0]
    found = graph.make_node("Mul", [graph.make_node("Log", [u]).output[0], slope]).output[0]
    graph.make_node("Where", [small, x, found], outputs=[output], name=name, dtypes=[dtype], shapes=[shape])


def _constant(graph, value, dtype):
    import numpy as np
    import tf2onnx

    array = np.array(value, tf2onnx.utils.map_onnx_to_numpy_type(dtype))
    return graph.make_const(tf2onnx.utils.make_name("constant"), array).output[0]


def _broadcast_args(graph, node, name, args):
    # The shape of an array of the one shape that is expanded to the other.
    import onnx

    dtype, shape = graph.get_dtype(node.output[0]), graph.get_shape(node.output[0])
    output = node.output[0]
    a, b = (graph.make_node("Cast", [s], attr={"to": onnx.TensorProto.INT64}).output[0] for s in node.input)
    graph.remove_node(name)
    zeros = graph.make_node("ConstantOfShape", [a]).output[0]
    expanded = graph.make_node("Expand", [zeros, b]).output[0]
    whole = graph.make_node("Shape", [expanded]).output[0]
    graph.make_node("Cast", [whole], attr={"to": dtype}, outputs=[output], name=name, dtypes=[dtype], shapes=[shape])
