"""Builds a graph in Core ML's own ops, converts it for iOS 17 and reads back what was written. A process of its own.

``python coreml_worker.py FOLDER``, with this project's ``runtime`` on its path; FOLDER holds graph.json and graph.npz
and gets model.mlpackage. Activations are int8 codes between quantize and dequantize, weights int8 codes per output
channel; between them Core ML computes in floating point, so its roundings are its own. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types
from coremltools.libmilstoragepython import _BlobStorageReader as BlobReader

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node, Tensor
from tinyscene.runtime.graph_io import read_graph

TARGET = ct.target.iOS17
TINY = np.float32(1e-12)  # keeps the inverse root of 0 finite; the largest code either way


def nchw(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], shape[3], shape[1], shape[2]) if len(shape) == 4 else shape


def parameters(tensor: Tensor) -> dict[str, Any]:
    return {"scale": np.float32(tensor.quant.scale[0]), "zero_point": np.int8(tensor.quant.zero_point)}


def codes_of_weight(graph: Graph, node: Node) -> np.ndarray:
    """In Core ML's layout, output channels first."""
    weight = graph.ins(node)[1].data
    assert weight is not None
    axes = {ops.Conv2D: (0, 3, 1, 2), ops.DepthwiseConv2D: (3, 0, 1, 2), ops.FullyConnected: (0, 1)}[type(node.op)]
    return np.ascontiguousarray(weight.transpose(axes))


def weight_and_bias(graph: Graph, node: Node) -> tuple[Any, np.ndarray]:
    _, weight, bias = graph.ins(node)
    assert bias.data is not None
    codes = codes_of_weight(graph, node)
    scale = np.broadcast_to(np.asarray(weight.quant.scale, np.float32), len(codes))
    real = mb.constexpr_affine_dequantize(
        quantized_data=codes, zero_point=np.int8(0), scale=np.ascontiguousarray(scale), axis=np.int32(0)
    )
    return real, (bias.data * np.asarray(bias.quant.scale, np.float64)).astype(np.float32)


def conv(graph: Graph, node: Node, x: Any) -> Any:
    weight, bias = weight_and_bias(graph, node)
    top, left, bottom, right = node.op.pads
    return mb.conv(
        x=x,
        weight=weight,
        bias=bias,
        strides=list(node.op.stride),
        pad_type="custom",
        pad=[top, bottom, left, right],
        groups=len(bias) if isinstance(node.op, ops.DepthwiseConv2D) else 1,
        name=node.name,
    )


def linear(graph: Graph, node: Node, x: Any) -> Any:
    weight, bias = weight_and_bias(graph, node)
    return mb.linear(x=x, weight=weight, bias=bias, name=node.name)


def mean(graph: Graph, node: Node, x: Any) -> Any:
    return mb.reduce_mean(x=x, axes=[2, 3] if node.op.over == "space" else [1], keep_dims=node.op.keep_dims)


def pool(graph: Graph, node: Node, x: Any) -> Any:
    top, left, bottom, right = node.op.pads
    window = {"kernel_sizes": list(node.op.kernel), "strides": list(node.op.stride), "pad_type": "custom"}
    window["pad"] = [top, bottom, left, right]
    if node.op.kind == "max":
        return mb.max_pool(x=x, **window)
    return mb.avg_pool(x=x, **window, exclude_padding_from_average=True)


def lookup(graph: Graph, node: Node, x: Any) -> Any:
    functions = {"relu": mb.relu, "relu6": mb.relu6, "logistic": mb.sigmoid, "requantise": mb.identity}
    return functions[node.op.function](x=x)


def reshape(graph: Graph, node: Node, x: Any) -> Any:
    """The order of elements is that of NHWC."""
    if len(x.shape) == 4:
        x = mb.transpose(x=x, perm=[0, 2, 3, 1])
    x = mb.reshape(x=x, shape=list(node.op.shape))
    return mb.transpose(x=x, perm=[0, 3, 1, 2]) if len(node.op.shape) == 4 else x


def concat(graph: Graph, node: Node, *parts: Any) -> Any:
    axis = node.op.axis
    return mb.concat(values=parts, axis={1: 2, 2: 3, 3: 1}[axis] if len(parts[0].shape) == 4 else axis)


def softmax(graph: Graph, node: Node, x: Any) -> Any:
    return mb.softmax(x=x, axis=1 if len(x.shape) == 4 else -1)


ROWS: dict[type, Callable[..., Any]] = {
    ops.Conv2D: conv,
    ops.DepthwiseConv2D: conv,
    ops.FullyConnected: linear,
    ops.Add: lambda graph, node, a, b: mb.add(x=a, y=b),
    ops.Sub: lambda graph, node, a, b: mb.sub(x=a, y=b),
    ops.Mul: lambda graph, node, a, b: mb.mul(x=a, y=b),
    ops.Mean: mean,
    ops.Pool2D: pool,
    ops.Rsqrt: lambda graph, node, x: mb.rsqrt(x=x, epsilon=TINY),
    ops.Lookup: lookup,
    ops.Softmax: softmax,
    ops.Reshape: reshape,
    ops.Concat: concat,
}


def program(graph: Graph) -> Any:
    """The network as a program of Core ML: float32 log-mel in, float32 scores out, codes between."""
    source = graph.tensors[graph.input]

    @mb.program(input_specs=[mb.TensorSpec(nchw(source.shape), dtype=types.fp32)], opset_version=TARGET)
    def network(log_mel: Any) -> Any:
        codes = {graph.input: mb.quantize(input=log_mel, output_dtype="int8", **parameters(source))}
        for node in graph.nodes:
            read = [name for name in node.inputs if name in codes]
            reals = [mb.dequantize(input=codes[name], **parameters(graph.tensors[name])) for name in read]
            real = ROWS[type(node.op)](graph, node, *reals)
            if ops.has_relu(node.op):
                real = mb.relu(x=real)
            codes[node.output] = mb.quantize(input=real, output_dtype="int8", **parameters(graph.out(node)))
        return mb.dequantize(input=codes[graph.output], **parameters(graph.tensors[graph.output]), name=graph.output)

    return network


def read_back(graph: Graph, operations: list[Any], blob: Path) -> tuple[int, int]:
    """(codes of weights in the package, those that are not the graph's)."""
    stored = {o.outputs[0].name: o for o in operations if o.type == "constexpr_affine_dequantize"}
    by_output = {o.outputs[0].name: o for o in operations}
    reader = BlobReader(str(blob)) if blob.exists() else None
    total = different = 0
    for node in graph.nodes:
        if not ops.has_weight(node.op):
            continue
        wanted = codes_of_weight(graph, node).ravel()
        operation = by_output[safe(node.name)]
        value = stored[operation.inputs["weight"].arguments[0].name].attributes["quantized_data"]
        if value.HasField("blobFileValue"):
            assert reader is not None
            found = np.array(reader.read_int8_data(value.blobFileValue.offset), np.int8)
        else:
            found = np.frombuffer(value.immediateValue.tensor.bytes.values, np.int8)
        total += wanted.size
        different += wanted.size if found.size != wanted.size else int(np.count_nonzero(found != wanted))
    return total, different


def safe(name: str) -> str:
    """A name as Core ML writes it."""
    return "".join(c if c.isalnum() else "_" for c in name)


def main(folder: Path) -> None:
    graph = read_graph(folder)
    model = ct.convert(
        program(graph),
        convert_to="mlprogram",
        minimum_deployment_target=TARGET,
        compute_precision=ct.precision.FLOAT32,
    )
    package = folder / "model.mlpackage"
    model.save(str(package))
    (block,) = model.get_spec().mlProgram.functions["main"].block_specializations.values()
    operations = list(block.operations)
    kinds = Counter(operation.type for operation in operations)
    weights, different = read_back(graph, operations, package / "Data/com.apple.CoreML/weights/weight.bin")
    said = {
        "version": ct.__version__,
        "package_bytes": sum(path.stat().st_size for path in package.rglob("*") if path.is_file()),
        "operations": sum(count for kind, count in kinds.items() if kind != "const"),
        "quantised": kinds["quantize"],
        "weights": weights,
        "weights_different": different,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
