"""Build a graph from Core ML's own ops, convert it for iOS 17 and read back what was written.

Reads the graph; the package itself stays in the job's folder. Activations are int8 codes between quantize and
dequantize, weights int8 codes per output channel; in between Core ML computes in floating point, with its own rounding.
Refuses an LSTM, and tensors of more than five axes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, TypedDict, assert_never

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import Program, Var, types
from coremltools.libmilstoragepython import _BlobStorageReader as BlobReader
from coremltools.proto import MIL_pb2

from tinyscene.runtime import ops
from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.arrays import F32, I8
from tinyscene.runtime.graph import Graph, Node, Tensor
from tinyscene.runtime.onnx_tensors import nchw, nchw_axis
from tinyscene.runtime.resize_tables import WEIGHT_BITS, linear_places, nearest_places

from .job import Job, read_job, refuse
from .records import CoremlRecord

TARGET = ct.target.iOS17
MOST_AXES = 5
SMALLEST = np.float32(1e-12)  # keeps the inverse root of 0 finite; it has the largest code either way


class QuantArguments(TypedDict):
    """Arguments of Core ML's quantize and dequantize."""

    scale: np.float32
    zero_point: np.int8


def quant_arguments(tensor: Tensor) -> QuantArguments:
    return {"scale": np.float32(tensor.quant.scale[0]), "zero_point": np.int8(tensor.quant.zero_point)}


def weight_codes(graph: Graph, node: Node) -> I8:
    """The weight's codes in Core ML's layout: output channels first, of a transposed convolution second."""
    weight = graph.ins(node)[1].data
    assert weight is not None
    layouts = {ops.DepthwiseConv2D: (3, 0, 1, 2), ops.TransposeConv2D: (3, 0, 1, 2), ops.FullyConnected: (0, 1)}
    axes = layouts.get(type(node.op), (0, 3, 1, 2))
    return np.ascontiguousarray(weight.transpose(axes).astype(np.int8))


def weight_and_bias(graph: Graph, node: Node) -> tuple[Var, F32]:
    _, weight, bias = graph.ins(node)
    assert bias.data is not None
    codes = weight_codes(graph, node)
    axis = 1 if isinstance(node.op, ops.TransposeConv2D) else 0
    scale = np.broadcast_to(np.asarray(weight.quant.scale, np.float32), codes.shape[axis])
    real = mb.constexpr_affine_dequantize(
        quantized_data=codes, zero_point=np.int8(0), scale=np.ascontiguousarray(scale), axis=np.int32(axis)
    )
    return real, (bias.data * np.asarray(bias.quant.scale, np.float64)).astype(np.float32)


def convolution(graph: Graph, node: Node, op: ops.Conv2D | ops.DepthwiseConv2D, x: Var) -> Var:
    weight, bias = weight_and_bias(graph, node)
    top, left, bottom, right = op.pads
    return mb.conv(
        x=x,
        weight=weight,
        bias=bias,
        strides=list(op.stride),
        pad_type="custom",
        pad=[top, bottom, left, right],
        dilations=list(op.dilation),
        groups=graph.ins(node)[0].shape[3] if isinstance(op, ops.DepthwiseConv2D) else op.groups,
        name=node.name,
    )


def transposed(graph: Graph, node: Node, op: ops.TransposeConv2D, x: Var) -> Var:
    weight, bias = weight_and_bias(graph, node)
    windows = mb.conv_transpose(x=x, weight=weight, strides=list(op.stride), pad_type="valid")
    ends = [crop + size - n for crop, size, n in zip(op.crop, op.size, windows.shape[2:], strict=True)]
    if max(ends) > 0:
        windows = mb.pad(x=windows, pad=[0, max(ends[0], 0), 0, max(ends[1], 0)])
    part = mb.slice_by_size(x=windows, begin=[0, 0, *op.crop], size=[1, len(bias), *op.size])
    return mb.add(x=part, y=bias.reshape(1, -1, 1, 1))


def linear(graph: Graph, node: Node, x: Var) -> Var:
    """Each row of the innermost axis, which is not the last one of four."""
    weight, bias = weight_and_bias(graph, node)
    if len(x.shape) == 4:
        x = mb.transpose(x=x, perm=[0, 2, 3, 1])
    y = mb.linear(x=x, weight=weight, bias=bias, name=node.name)
    return mb.transpose(x=y, perm=[0, 3, 1, 2]) if len(y.shape) == 4 else y


def pool(op: ops.Pool2D, x: Var) -> Var:
    top, left, bottom, right = op.pads
    window = {"kernel_sizes": list(op.kernel), "strides": list(op.stride), "pad": [top, bottom, left, right]}
    if op.kind == "max":
        return mb.max_pool(x=x, **window, pad_type="custom")
    return mb.avg_pool(x=x, **window, pad_type="custom", exclude_padding_from_average=True)


def prelu(x: Var, y: Var) -> Var:
    """Core ML's own has one factor for each channel only."""
    below = mb.minimum(x=x, y=np.float32(0))
    return mb.add(x=mb.relu(x=x), y=mb.mul(x=below, y=y))


def squared_difference(x: Var, y: Var) -> Var:
    return mb.square(x=mb.sub(x=x, y=y))


def pairwise(graph: Graph, node: Node, op: ops.Pair | ops.PRelu, x: Var, y: Var) -> Var:
    """Operands get the rank and the layout of the output first, so that they are broadcast as in NHWC."""
    functions = {
        ops.Add: mb.add,
        ops.Sub: mb.sub,
        ops.Mul: mb.mul,
        ops.PRelu: prelu,
        ops.SquaredDifference: squared_difference,
    }
    rank = len(graph.out(node).shape)
    operands = []
    for value, tensor in zip((x, y), graph.ins(node), strict=True):
        if len(tensor.shape) == rank:
            operands.append(value)
            continue
        rows = mb.transpose(x=value, perm=[0, 2, 3, 1]) if len(tensor.shape) == 4 else value
        rows = mb.reshape(x=rows, shape=list(ops.aligned(tensor.shape, rank)))
        operands.append(mb.transpose(x=rows, perm=[0, 3, 1, 2]) if rank == 4 else rows)
    if isinstance(op, ops.Extremum):
        return (mb.maximum if op.kind == "max" else mb.minimum)(x=operands[0], y=operands[1])
    return functions[type(op)](x=operands[0], y=operands[1])


def table(graph: Graph, node: Node, x: Var) -> Var:
    """The real values of a table, gathered at the index of each code."""
    source, values = graph.ins(node)
    assert values.data is not None
    scale, first = np.float32(1 / source.quant.scale[0]), np.float32(source.quant.zero_point + 128)
    index = mb.cast(x=mb.round(x=mb.add(x=mb.mul(x=x, y=scale), y=first)), dtype="int32")
    return mb.gather(x=dequantise(values.data, values.quant), indices=index, axis=0)


def lookup(op: ops.Lookup, x: Var) -> Var:
    """A function without an operator of Core ML's own is composed of others."""
    one, zero = np.float32(1), np.float32(0)
    functions: dict[str, Callable[[], Var]] = {
        "relu": lambda: mb.relu(x=x),
        "relu6": lambda: mb.relu6(x=x),
        "relu_0_to_1": lambda: mb.clip(x=x, alpha=zero, beta=one),
        "relu_n1_to_1": lambda: mb.clip(x=x, alpha=-one, beta=one),
        "leaky_relu": lambda: mb.leaky_relu(x=x, alpha=np.float32(op.alpha)),
        "hard_swish": lambda: mb.mul(x=x, y=mb.sigmoid_hard(x=x, alpha=np.float32(1 / 6), beta=np.float32(0.5))),
        "logistic": lambda: mb.sigmoid(x=x),
        "tanh": lambda: mb.tanh(x=x),
        "elu": lambda: mb.elu(x=x, alpha=one),
        "gelu": lambda: mb.gelu(x=x, mode="EXACT"),
        "gelu_tanh": lambda: mb.gelu(x=x, mode="TANH_APPROXIMATION"),
        "exp": lambda: mb.exp(x=x),
        "log": lambda: mb.log(x=x, epsilon=SMALLEST),
        "sqrt": lambda: mb.sqrt(x=x),
        "abs": lambda: mb.abs(x=x),
        "neg": lambda: mb.mul(x=x, y=-one),
        "requantise": lambda: mb.identity(x=x),
    }
    return functions[op.function]()


def batch_matmul(op: ops.BatchMatMul, x: Var, y: Var) -> Var:
    """The matrices are the last two axes of NHWC."""
    if len(x.shape) == 4:
        x, y = (mb.transpose(x=operand, perm=[0, 2, 3, 1]) for operand in (x, y))
    product = mb.matmul(x=x, y=y, transpose_x=op.adj_x, transpose_y=op.adj_y)
    return mb.transpose(x=product, perm=[0, 3, 1, 2]) if len(product.shape) == 4 else product


def reduction(op: ops.Reduce, x: Var) -> Var:
    """The result has the order of NHWC where dimensions were dropped, unless it has four."""
    functions = {"mean": mb.reduce_mean, "sum": mb.reduce_sum, "max": mb.reduce_max, "min": mb.reduce_min}
    axes, channels_first = list(op.axes), len(x.shape) == 4
    if channels_first and not op.keep_dims and axes != [1, 2]:
        x, channels_first = mb.transpose(x=x, perm=[0, 2, 3, 1]), False
    if channels_first:
        axes = [nchw_axis(axis, 4) for axis in axes]
    y = functions[op.kind](x=x, axes=axes, keep_dims=op.keep_dims)
    return mb.transpose(x=y, perm=[0, 3, 1, 2]) if len(y.shape) == 4 and not channels_first else y


def reshape(op: ops.Reshape, x: Var) -> Var:
    """Elements keep the order that they have in NHWC."""
    if len(x.shape) == 4:
        x = mb.transpose(x=x, perm=[0, 2, 3, 1])
    x = mb.reshape(x=x, shape=list(op.shape))
    return mb.transpose(x=x, perm=[0, 3, 1, 2]) if len(op.shape) == 4 else x


def transpose(op: ops.Transpose, x: Var) -> Var:
    if len(x.shape) != 4:
        return mb.transpose(x=x, perm=list(op.order))
    order = [(0, 2, 3, 1)[op.order[axis]] for axis in (0, 3, 1, 2)]  # of NHWC axes, for axes in NCHW
    return mb.transpose(x=x, perm=order)


def pad(graph: Graph, node: Node, op: ops.Pad, x: Var) -> Var:
    quant = graph.out(node).quant
    around = [amount for pair in zip(nchw(op.before), nchw(op.after), strict=True) for amount in pair]
    value = np.float32((op.code - quant.zero_point) * quant.scale[0])
    return mb.pad(x=x, pad=around, mode="constant", constant_val=value)


def sliced(op: ops.Slice, x: Var) -> Var:
    """A backward step ends before the first element, which only a mask can state."""
    ends = [begin + size * step for begin, size, step in zip(op.begin, op.size, op.step, strict=True)]
    return mb.slice_by_index(
        x=x,
        begin=list(nchw(op.begin)),
        end=[max(end, 0) for end in nchw(tuple(ends))],
        stride=list(nchw(op.step)),
        end_mask=[end < 0 for end in nchw(tuple(ends))],
    )


def resized(op: ops.Resize, x: Var) -> Var:
    """Rows and columns are gathered, with XNNPACK's places and weights."""
    for axis, count in zip((2, 3), op.size, strict=True):
        if op.kind == "nearest":
            places = nearest_places(x.shape[axis], count, op.grid)
            x = mb.gather(x=x, indices=places.astype(np.int32), axis=axis)
            continue
        lower, upper, weight = linear_places(x.shape[axis], count, op.grid, "single")
        share = (weight / (1 << WEIGHT_BITS["single"])).astype(np.float32)
        share = share.reshape([-1 if at == axis else 1 for at in range(4)])
        first, second = (mb.gather(x=x, indices=each.astype(np.int32), axis=axis) for each in (lower, upper))
        x = mb.add(x=mb.mul(x=first, y=1 - share), y=mb.mul(x=second, y=share))
    return x


def output_of(graph: Graph, node: Node, x: Var, *others: Var) -> Var:
    """A node's real output, before its ReLU and its quantisation."""
    match node.op:
        case ops.Conv2D() | ops.DepthwiseConv2D() as op:
            return convolution(graph, node, op, x)
        case ops.TransposeConv2D() as op:
            return transposed(graph, node, op, x)
        case ops.FullyConnected():
            return linear(graph, node, x)
        case ops.Add() | ops.Sub() | ops.Mul() | ops.SquaredDifference() | ops.Extremum() | ops.PRelu() as op:
            return pairwise(graph, node, op, x, others[0])
        case ops.BatchMatMul() as op:
            return batch_matmul(op, x, others[0])
        case ops.Reduce() as op:
            return reduction(op, x)
        case ops.Pool2D() as op:
            return pool(op, x)
        case ops.Rsqrt():
            return mb.rsqrt(x=x, epsilon=SMALLEST)
        case ops.Table():
            return table(graph, node, x)
        case ops.Lstm():
            refuse("an LSTM of Core ML has a state of real numbers, without the int8 codes of each step")
        case ops.Lookup() as op:
            return lookup(op, x)
        case ops.L2Norm():
            axis = 1 if len(x.shape) == 4 else -1
            norm = mb.reduce_l2_norm(x=x, axes=[axis], keep_dims=True)
            return mb.real_div(x=x, y=mb.maximum(x=norm, y=np.float32(SMALLEST)))
        case ops.LogSoftmax():
            return mb.sub(x=x, y=mb.reduce_log_sum_exp(x=x, axes=[1 if len(x.shape) == 4 else -1], keep_dims=True))
        case ops.Softmax() as op:
            scaled = x if op.beta == 1.0 else mb.mul(x=x, y=np.float32(op.beta))
            return mb.softmax(x=scaled, axis=1 if len(x.shape) == 4 else -1)
        case ops.Reshape() as op:
            return reshape(op, x)
        case ops.Transpose() as op:
            return transpose(op, x)
        case ops.Pad() as op:
            return pad(graph, node, op, x)
        case ops.Resize() as op:
            return resized(op, x)
        case ops.Slice() as op:
            return sliced(op, x)
        case ops.Concat() as op:
            return mb.concat(values=(x, *others), axis=nchw_axis(op.axis, len(x.shape)))
        case _:
            assert_never(node.op)


def real_of(tensor: Tensor, codes: Mapping[str, Var]) -> Var:
    """An activation, or a constant in its place, in Core ML's layout."""
    if tensor.data is None:
        return mb.dequantize(input=codes[tensor.name], **quant_arguments(tensor))
    real = dequantise(tensor.data, tensor.quant)
    return mb.const(val=np.ascontiguousarray(np.moveaxis(real, 3, 1)) if real.ndim == 4 else real)


def program(graph: Graph) -> Program:
    """The network as a Core ML program: float32 log-mel in, float32 scores out, codes in between."""
    source = graph.tensors[graph.input]

    def network(log_mel: Var) -> Var:
        codes = {graph.input: mb.quantize(input=log_mel, output_dtype="int8", **quant_arguments(source))}
        for node in graph.nodes:
            tensors = graph.ins(node)[: ops.OPS[type(node.op)].n_activations]
            real = output_of(graph, node, *(real_of(tensor, codes) for tensor in tensors))
            if ops.has_relu(node.op):
                real = mb.relu(x=real)
            codes[node.output] = mb.quantize(input=real, output_dtype="int8", **quant_arguments(graph.out(node)))
        final = quant_arguments(graph.tensors[graph.output])
        return mb.dequantize(input=codes[graph.output], **final, name=graph.output)

    spec = mb.TensorSpec(nchw(source.shape), dtype=types.fp32)
    return mb.program(input_specs=[spec], opset_version=TARGET)(network)


class Blob(Protocol):
    """The file in which a package stores large constants."""

    def read_int8_data(self, offset: int) -> list[int]: ...


def stored_codes(value: MIL_pb2.Value, blob: Blob | None) -> I8:
    """A weight's codes as the package stores them, in the blob file or in the program itself."""
    if value.HasField("blobFileValue"):
        assert blob is not None
        return np.array(blob.read_int8_data(value.blobFileValue.offset), np.int8)
    return np.frombuffer(value.immediateValue.tensor.bytes.values, np.int8)


def weight_differences(
    graph: Graph, operations: Iterable[MIL_pb2.Operation], blob: Blob | None
) -> Iterator[tuple[int, int]]:
    """Per op with a weight, in their order: (codes in the graph, codes that differ in the package)."""
    by_output = {operation.outputs[0].name: operation for operation in operations}
    nodes = [node for node in graph.nodes if ops.has_weight(node.op)]
    multiplied = [operation for operation in by_output.values() if "weight" in operation.inputs]
    for node, operation in zip(nodes, multiplied, strict=True):  # coremltools renames some
        expected = weight_codes(graph, node).ravel()
        weight = operation.inputs["weight"].arguments[0].name
        got = stored_codes(by_output[weight].attributes["quantized_data"], blob)
        different = expected.size if got.size != expected.size else int(np.count_nonzero(got != expected))
        yield expected.size, different


def require_axes(graph: Graph) -> None:
    for tensor in graph.tensors.values():
        if len(tensor.shape) > MOST_AXES:
            refuse(f"Core ML's tensors have at most {MOST_AXES} axes, '{tensor.name}' has {len(tensor.shape)}")


def main(job: Job) -> None:
    graph = job.graph()
    require_axes(graph)
    model = ct.convert(
        program(graph),
        convert_to="mlprogram",
        minimum_deployment_target=TARGET,
        compute_precision=ct.precision.FLOAT32,
    )
    package = job.folder / "model.mlpackage"
    model.save(str(package))
    (block,) = model.get_spec().mlProgram.functions["main"].block_specializations.values()
    kinds = Counter(operation.type for operation in block.operations)
    weights = package / "Data/com.apple.CoreML/weights/weight.bin"
    counts = list(weight_differences(graph, block.operations, _open_blob(weights)))
    job.finish(
        CoremlRecord(
            version=ct.__version__,
            package_bytes=sum(path.stat().st_size for path in package.rglob("*") if path.is_file()),
            operations=sum(count for kind, count in kinds.items() if kind != "const"),
            quantised=kinds["quantize"],
            weights=sum(total for total, _ in counts),
            weights_different=sum(different for _, different in counts),
        )
    )


def _open_blob(path: Path) -> Blob | None:
    if not path.exists():
        return None
    blob: Blob = BlobReader(str(path))
    return blob


if __name__ == "__main__":
    main(read_job())
