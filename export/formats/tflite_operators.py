"""One reader for each TFLite operator that can be converted to nodes of the integer graph.

Operators without an equivalent are lowered exactly: a depthwise convolution with several outputs per input channel to a
convolution with zeros, a transpose or a slice that moves no element to a reshape, a fused activation that the op lacks
to a look-up after it. Refuses dilation, weights that are not constant, broadcasting except in products, and batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Tensor

from .tflite_file import Operator
from .tflite_write import same_pads

if TYPE_CHECKING:
    from .tflite_builder import GraphBuilder

Reader = Callable[["GraphBuilder", Operator], None]


def _pad(builder: GraphBuilder, operator: Operator) -> None:
    """Store the pads for the convolution that reads the output."""
    amounts = builder.constant(operator, 1, np.int32)
    if amounts.shape != (4, 2) or amounts[[0, 3]].any() or (amounts < 0).any():
        raise builder.refusal(operator, "only height and width can be padded", got=amounts.tolist())
    (top, bottom), (left, right) = amounts[1:3].tolist()
    name = builder.file.names[operator.inputs[1]]
    builder.padded[operator.output] = operator.inputs[0], (top, left, bottom, right), name


def _window(builder: GraphBuilder, operator: Operator, kernel: tuple[int, ...]) -> tuple[Tensor, ops.Pads, str | None]:
    """The input of a sliding window, all pads around it, and the node's name where the name of a PAD contains it.

    A PAD writes the code of 0, and a max pool ignores padding: both are the same where 0 is the lowest code.
    """
    options = operator.options
    if getattr(options, "dilationHFactor", 1) != 1 or getattr(options, "dilationWFactor", 1) != 1:
        raise builder.refusal(operator, "dilation is not supported", expected=1, got=options.dilationHFactor)
    index, (top, left, bottom, right), pads_name = operator.inputs[0], (0, 0, 0, 0), ""
    if index in builder.padded:
        index, (top, left, bottom, right), pads_name = builder.padded[index]
    x = builder.activation(index)
    if pads_name and operator.kind.endswith("POOL_2D") and (operator.kind[:3], x.quant.zero_point) != ("MAX", -128):
        raise builder.refusal(
            operator, "PAD before this pool", expected="before a convolution, or MAX_POOL_2D after a ReLU"
        )
    if options.padding == schema.Padding.SAME:
        size = (x.shape[1] + top + bottom, x.shape[2] + left + right)
        same = same_pads(size, kernel, (options.strideH, options.strideW))
        top, left, bottom, right = top + same[0], left + same[1], bottom + same[2], right + same[3]
    name = pads_name.removesuffix("_pads") if pads_name.endswith("_pads") else None
    return x, (top, left, bottom, right), name


def _write(
    builder: GraphBuilder,
    operator: Operator,
    make: Callable[[bool], ops.Op],
    inputs: tuple[str, ...],
    name: str | None = None,
) -> None:
    """Append the node that ``make`` returns for ReLU or none, and a look-up if the fused activation needs one."""
    kinds = schema.ActivationFunctionType
    kind, out = operator.options.fusedActivationFunction, builder.activation(operator.output)
    if kind not in (kinds.NONE, kinds.RELU, kinds.RELU6):
        names = {code: name for name, code in vars(kinds).items()}
        raise builder.refusal(operator, "fused activation", expected="NONE, RELU or RELU6", got=names.get(kind, kind))
    relu, op = kind != kinds.NONE, make(kind != kinds.NONE)
    reaches_six = out.quant.zero_point + 6.0 / out.quant.scale[0] < 127.5
    if kind == kinds.RELU6 and reaches_six:
        after = ops.Lookup("relu6")
    elif relu and not hasattr(op, "relu") and out.quant.zero_point > -128:
        after = ops.Lookup("relu")
    else:
        builder.node(op, inputs, out, name)
        return
    inner = builder.inner(out, "before_activation")
    builder.node(op, inputs, inner, name)
    builder.node(after, (inner.name,), out)


def _conv2d(builder: GraphBuilder, operator: Operator) -> None:
    weight, stride = builder.constant(operator, 1, np.int8), (operator.options.strideH, operator.options.strideW)
    x, pads, name = _window(builder, operator, weight.shape[1:3])
    constants = builder.weight_and_bias(operator, x, weight, 0)
    _write(builder, operator, lambda relu: ops.Conv2D(stride, pads, relu), (x.name, *constants), name)


def _depthwise(builder: GraphBuilder, operator: Operator) -> None:
    weight, stride = builder.constant(operator, 1, np.int8), (operator.options.strideH, operator.options.strideW)
    x, pads, name = _window(builder, operator, weight.shape[1:3])
    channels, multiplier = x.shape[3], weight.shape[3] // x.shape[3]
    if multiplier == 1:
        constants = builder.weight_and_bias(operator, x, weight, 3)
        _write(builder, operator, lambda relu: ops.DepthwiseConv2D(stride, pads, relu), (x.name, *constants), name)
        return
    dense = np.zeros((weight.shape[3], *weight.shape[1:3], channels), np.int8)
    outputs = np.arange(weight.shape[3])
    dense[outputs, :, :, outputs // multiplier] = weight[0].transpose(2, 0, 1)
    constants = builder.weight_and_bias(operator, x, dense, 0)
    _write(builder, operator, lambda relu: ops.Conv2D(stride, pads, relu), (x.name, *constants), name)


def _fully_connected(builder: GraphBuilder, operator: Operator) -> None:
    weight = builder.constant(operator, 1, np.int8)
    x, out = builder.activation(operator.inputs[0]), builder.activation(operator.output)
    if out.shape != (1, weight.shape[0]):
        raise builder.refusal(operator, "output shape", expected=(1, weight.shape[0]), got=out.shape)
    if len(x.shape) != 2:
        flat = builder.inner(x, "flat", (1, weight.shape[1]))
        builder.node(ops.Reshape(flat.shape), (x.name,), flat)
        x = flat
    quant = builder.file.quant(operator.inputs[1])
    axis = None if quant is not None and quant.axis is None else 0
    _write(builder, operator, ops.FullyConnected, (x.name, *builder.weight_and_bias(operator, x, weight, axis)))


def _pair(make: Callable[[bool], ops.Op]) -> Reader:
    def read(builder: GraphBuilder, operator: Operator) -> None:
        a, b = (builder.activation(index) for index in operator.inputs)
        if make is ops.Mul and np.prod(b.shape) > np.prod(a.shape):
            a, b = b, a
        _write(builder, operator, make, (a.name, b.name))

    return read


def _pool(kind: Literal["average", "max"]) -> Reader:
    def read(builder: GraphBuilder, operator: Operator) -> None:
        kernel = (operator.options.filterHeight, operator.options.filterWidth)
        stride = (operator.options.strideH, operator.options.strideW)
        x, pads, name = _window(builder, operator, kernel)
        _write(builder, operator, lambda _: ops.Pool2D(kind, kernel, stride, pads), (x.name,), name)

    return read


def _mean(builder: GraphBuilder, operator: Operator) -> None:
    x, out = builder.activation(operator.inputs[0]), builder.activation(operator.output)
    axes = {int(axis) % len(x.shape) for axis in builder.constant(operator, 1, np.int32).ravel()}
    meanings: dict[tuple[int, ...], Literal["space", "channels"]] = {(1, 2): "space", (3,): "channels"}
    over = meanings.get(tuple(sorted(axes)))
    if over is None or len(x.shape) != 4:
        raise builder.refusal(operator, "mean over these axes", expected="1 and 2, or 3, of four", got=sorted(axes))
    axes_name = builder.file.names[operator.inputs[1]]
    name = axes_name.removesuffix("_axes") if axes_name.endswith("_axes") else None
    builder.node(ops.Mean(over, bool(operator.options.keepDims)), (x.name,), out, name)


def _unary(op: ops.Op) -> Reader:
    def read(builder: GraphBuilder, operator: Operator) -> None:
        builder.node(op, (builder.activation(operator.inputs[0]).name,), builder.activation(operator.output))

    return read


def _softmax(builder: GraphBuilder, operator: Operator) -> None:
    if operator.options.beta != 1.0:
        raise builder.refusal(operator, "softmax with another beta", expected=1.0, got=operator.options.beta)
    _unary(ops.Softmax())(builder, operator)


def _reshape(builder: GraphBuilder, operator: Operator) -> None:
    """RESHAPE and the operators equivalent to it: the output's shape is sufficient."""
    x, out = builder.activation(operator.inputs[0]), builder.activation(operator.output)
    shape_name = builder.file.names[operator.inputs[1]] if len(operator.inputs) > 1 else ""
    name = shape_name.removesuffix("_shape") if shape_name.endswith("_shape") else None
    builder.node(ops.Reshape(out.shape), (x.name,), out, name)


def _transpose(builder: GraphBuilder, operator: Operator) -> None:
    x, order = builder.activation(operator.inputs[0]), builder.constant(operator, 1, np.int32).ravel().tolist()
    moved = [axis for axis in order if x.shape[axis] > 1]
    if moved != sorted(moved):
        raise builder.refusal(
            operator, "elements change their order", expected="only axes of size 1 are moved", got=order
        )
    _reshape(builder, operator)


def _slice(builder: GraphBuilder, operator: Operator) -> None:
    x, out = builder.activation(operator.inputs[0]), builder.activation(operator.output)
    if np.prod(x.shape) != np.prod(out.shape) or (builder.constant(operator, 3, np.int32) < 0).any():
        raise builder.refusal(operator, "does not keep all elements in order", expected=x.shape, got=out.shape)
    _reshape(builder, operator)


def _concatenation(builder: GraphBuilder, operator: Operator) -> None:
    """More than two inputs are joined one after the other; a single input is a reshape to its own shape."""
    parts = [builder.activation(index) for index in operator.inputs]
    total, axis = parts[0], operator.options.axis % len(parts[0].shape)
    if len(parts) == 1:
        _write(builder, operator, lambda _: ops.Reshape(total.shape), (total.name,))
        return
    for count, part in enumerate(parts[1:-1], start=2):
        shape = (*total.shape[:axis], total.shape[axis] + part.shape[axis], *total.shape[axis + 1 :])
        joined = builder.inner(builder.activation(operator.output), f"first_{count}", shape)
        builder.node(ops.Concat(axis), (total.name, part.name), joined)
        total = joined
    _write(builder, operator, lambda _: ops.Concat(axis), (total.name, parts[-1].name))


READERS: dict[str, Reader] = {
    "ADD": _pair(ops.Add),
    "AVERAGE_POOL_2D": _pool("average"),
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv2d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "EXPAND_DIMS": _reshape,
    "FULLY_CONNECTED": _fully_connected,
    "LOGISTIC": _unary(ops.Lookup("logistic")),
    "MAX_POOL_2D": _pool("max"),
    "MEAN": _mean,
    "MUL": _pair(ops.Mul),
    "PAD": _pad,
    "QUANTIZE": _unary(ops.Lookup("requantise")),
    "RELU": _unary(ops.Lookup("relu")),
    "RELU6": _unary(ops.Lookup("relu6")),
    "RESHAPE": _reshape,
    "RSQRT": _unary(ops.Rsqrt()),
    "SOFTMAX": _softmax,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _slice,
    "SUB": _pair(ops.Sub),
    "TRANSPOSE": _transpose,
}
