"""One reader for each TFLite operator that can be converted to nodes of the integer graph.

Operators without an equivalent are lowered exactly: a depthwise convolution with several outputs per input channel to a
convolution with zeros, a transpose or a slice that moves no element to a reshape, a fused activation that the op lacks
to a look-up after it. Refuses dilation, weights that are not constant, broadcasting except in products, batches, and
windows that need more padding than an activation may have elements, and a fused RELU6 that engines clip differently.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Tensor
from tinyscene.runtime.lookup_tables import code_of_six, fused_code_of_six
from tinyscene.runtime.tflite_schema import (
    ConcatenationOptions,
    Conv2DOptions,
    DepthwiseConv2DOptions,
    ElementwiseOptions,
    FullyConnectedOptions,
    Options,
    Pool2DOptions,
    ReducerOptions,
    ReshapeOptions,
    SoftmaxOptions,
    SqueezeOptions,
    StridedSliceOptions,
)

from .tflite_file import LARGEST_ACTIVATION, Operator
from .tflite_write import same_pads

if TYPE_CHECKING:
    from .tflite_builder import GraphBuilder

Reader = Callable[["GraphBuilder", Operator], None]
Kind = TypeVar("Kind", bound=Options)
MOST_PARTS = 1024  # of a concatenation
Fused = Conv2DOptions | DepthwiseConv2DOptions | Pool2DOptions | FullyConnectedOptions | ElementwiseOptions
Window = Conv2DOptions | DepthwiseConv2DOptions | Pool2DOptions


@dataclass(frozen=True)
class Row:
    """A reader, and how many inputs its operator has; those beyond ``fewest`` may be missing."""

    read: Reader
    fewest: int
    most: int


def _options(operator: Operator, kind: type[Kind]) -> Kind:
    assert isinstance(operator.options, kind)  # the schema of the file has one kind of options for each operator
    return operator.options


def _pad(builder: GraphBuilder, operator: Operator) -> None:
    """Store the pads for the convolution that reads the output."""
    amounts = builder.constant(operator, 1, np.int32)
    if amounts.shape != (4, 2) or amounts[[0, 3]].any() or (amounts < 0).any():
        raise builder.refusal(operator, "only height and width can be padded", got=amounts.tolist())
    (top, bottom), (left, right) = amounts[1:3].tolist()
    source, output = builder.activation(operator.inputs[0], rank=4), operator.output
    builder.require_shape(operator, tuple(np.add(source.shape, amounts.sum(axis=1)).tolist()))
    if builder.file.type(output) != "int8" or builder.file.quant(output) != source.quant:
        raise builder.refusal(operator, "changes scale or zero point", expected=source.quant)
    name = builder.file.names[operator.inputs[1]]
    builder.padded[operator.output] = operator.inputs[0], (top, left, bottom, right), name


def _window(
    builder: GraphBuilder, operator: Operator, options: Window, kernel: tuple[int, ...]
) -> tuple[Tensor, ops.Pads, str | None]:
    """The input of a sliding window, all pads around it, and the node's name where the name of a PAD contains it.

    A PAD writes the code of 0, and a max pool ignores padding: both are the same where 0 is the lowest code.
    """
    if not isinstance(options, Pool2DOptions) and (options.dilation_h_factor, options.dilation_w_factor) != (1, 1):
        dilation = (options.dilation_h_factor, options.dilation_w_factor)
        raise builder.refusal(operator, "dilation is not supported", expected=(1, 1), got=dilation)
    index, (top, left, bottom, right), pads_name = operator.inputs[0], (0, 0, 0, 0), ""
    if index in builder.padded:
        index, (top, left, bottom, right), pads_name = builder.padded[index]
    x = builder.activation(index, rank=4)
    if pads_name and operator.kind.endswith("POOL_2D") and (operator.kind[:3], x.quant.zero_point) != ("MAX", -128):
        raise builder.refusal(
            operator, "PAD before this pool", expected="before a convolution, or MAX_POOL_2D after a ReLU"
        )
    if options.padding == schema.Padding.SAME:
        size = (x.shape[1] + top + bottom, x.shape[2] + left + right)
        same = same_pads(size, kernel, (options.stride_h, options.stride_w))
        top, left, bottom, right = top + same[0], left + same[1], bottom + same[2], right + same[3]
    padded = (x.shape[1] + top + bottom) * (x.shape[2] + left + right) * x.shape[3]
    if padded > LARGEST_ACTIVATION:
        expected, got = f"{LARGEST_ACTIVATION:,} elements at most", f"{padded:,} with padding"
        raise builder.refusal(operator, "input too large", expected=expected, got=got)
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
    kinds, options = schema.ActivationFunctionType, operator.options
    assert isinstance(options, Fused | ConcatenationOptions)
    kind, out = options.fused_activation_function, builder.activation(operator.output)
    if kind not in (kinds.NONE, kinds.RELU, kinds.RELU6):
        names = {code: name for name, code in vars(kinds).items()}
        raise builder.refusal(operator, "fused activation", expected="NONE, RELU or RELU6", got=names.get(kind, kind))
    if kind == kinds.RELU6 and code_of_six(out.quant) != fused_code_of_six(out.quant):
        got = f"{code_of_six(out.quant)} on TFLite Micro, {fused_code_of_six(out.quant)} on XNNPACK"
        raise builder.refusal(operator, "6 of the fused RELU6 is between two codes", expected="one code", got=got)
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
    weight, options = builder.constant(operator, 1, np.int8, rank=4), _options(operator, Conv2DOptions)
    stride = options.stride_h, options.stride_w
    x, pads, name = _window(builder, operator, options, weight.shape[1:3])
    constants = builder.weight_and_bias(operator, x, weight, 0)
    _write(builder, operator, lambda relu: ops.Conv2D(stride, pads, relu), (x.name, *constants), name)


def _depthwise(builder: GraphBuilder, operator: Operator) -> None:
    weight, options = builder.constant(operator, 1, np.int8, rank=4), _options(operator, DepthwiseConv2DOptions)
    stride = options.stride_h, options.stride_w
    x, pads, name = _window(builder, operator, options, weight.shape[1:3])
    channels, outputs = x.shape[3], weight.shape[3]
    multiplier = outputs // channels
    if weight.shape[0] != 1 or outputs != channels * options.depth_multiplier:
        expected = f"(1, height, width, {channels} x {options.depth_multiplier})"
        raise builder.refusal(operator, "weight shape", expected=expected, got=weight.shape)
    if multiplier == 1:
        constants = builder.weight_and_bias(operator, x, weight, 3)
        _write(builder, operator, lambda relu: ops.DepthwiseConv2D(stride, pads, relu), (x.name, *constants), name)
        return
    if weight.size * channels > LARGEST_ACTIVATION:
        expected, got = f"{LARGEST_ACTIVATION:,} at most", f"{weight.size * channels:,}"
        raise builder.refusal(operator, "weights of the equivalent convolution", expected=expected, got=got)
    dense = np.zeros((outputs, *weight.shape[1:3], channels), np.int8)
    output = np.arange(outputs)
    dense[output, :, :, output // multiplier] = weight[0].transpose(2, 0, 1)
    constants = builder.weight_and_bias(operator, x, dense, 0)
    _write(builder, operator, lambda relu: ops.Conv2D(stride, pads, relu), (x.name, *constants), name)


def _fully_connected(builder: GraphBuilder, operator: Operator) -> None:
    weight, options = builder.constant(operator, 1, np.int8, rank=2), _options(operator, FullyConnectedOptions)
    x, out = builder.activation(operator.inputs[0]), builder.activation(operator.output)
    if options.weights_format != 0:
        raise builder.refusal(operator, "shuffled weights", expected=0, got=options.weights_format)
    if out.shape != (1, weight.shape[0]):
        raise builder.refusal(operator, "output shape", expected=(1, weight.shape[0]), got=out.shape)
    if options.keep_num_dims and len(x.shape) != 2:
        builder.require_shape(operator, (*x.shape[:-1], weight.shape[0]))
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
        if make is ops.Mul and math.prod(b.shape) > math.prod(a.shape):
            a, b = b, a
        _write(builder, operator, make, (a.name, b.name))

    return read


def _pool(kind: Literal["average", "max"]) -> Reader:
    def read(builder: GraphBuilder, operator: Operator) -> None:
        options = _options(operator, Pool2DOptions)
        kernel, stride = (options.filter_height, options.filter_width), (options.stride_h, options.stride_w)
        x, pads, name = _window(builder, operator, options, kernel)
        _write(builder, operator, lambda _: ops.Pool2D(kind, kernel, stride, pads), (x.name,), name)

    return read


def _mean(builder: GraphBuilder, operator: Operator) -> None:
    x, out = builder.activation(operator.inputs[0]), builder.activation(operator.output)
    numbers = builder.constant(operator, 1, np.int32).ravel().tolist()
    axes = {axis % 4 for axis in numbers if -4 <= axis < 4}
    meanings: dict[tuple[int, ...], Literal["space", "channels"]] = {(1, 2): "space", (3,): "channels"}
    over = meanings.get(tuple(sorted(axes)))
    if over is None or len(x.shape) != 4 or len(numbers) != len(axes):
        got = f"{numbers[:8]} of {len(x.shape)}"
        raise builder.refusal(operator, "mean over these axes", expected="1 and 2, or 3, of 4", got=got)
    axes_name = builder.file.names[operator.inputs[1]]
    name = axes_name.removesuffix("_axes") if axes_name.endswith("_axes") else None
    builder.node(ops.Mean(over, _options(operator, ReducerOptions).keep_dims), (x.name,), out, name)


def _unary(op: ops.Op) -> Reader:
    def read(builder: GraphBuilder, operator: Operator) -> None:
        builder.node(op, (builder.activation(operator.inputs[0]).name,), builder.activation(operator.output))

    return read


def _softmax(builder: GraphBuilder, operator: Operator) -> None:
    beta = _options(operator, SoftmaxOptions).beta
    if beta != 1.0:
        raise builder.refusal(operator, "softmax with another beta", expected=1.0, got=beta)
    _unary(ops.Softmax())(builder, operator)


def _reshape(builder: GraphBuilder, operator: Operator) -> None:
    """The shape is an input or an option; where a file has neither, the output's own shape is the only one."""
    if len(operator.inputs) > 1 and operator.inputs[1] >= 0:
        stated = builder.constant(
            operator, 1, np.int32, rank=1
        )  # a shape that is computed could differ from the output's
    else:
        stated = _options(operator, ReshapeOptions).new_shape if operator.options else np.zeros(0, np.int32)
    sizes = tuple(stated.tolist())
    if sizes:
        elements = math.prod(builder.activation(operator.inputs[0]).shape)
        rest = -math.prod(sizes) if sizes.count(-1) == 1 else 0
        expected = tuple(elements // rest if size == -1 and rest > 0 else size for size in sizes)
        builder.require_shape(operator, expected)
    _same_elements(builder, operator)


def _same_elements(builder: GraphBuilder, operator: Operator) -> None:
    """A node for an operator that moves no element; its output has been compared with what the engines compute."""
    x, out = builder.activation(operator.inputs[0]), builder.activation(operator.output)
    shape_name = builder.file.names[operator.inputs[1]] if len(operator.inputs) > 1 else ""
    name = shape_name.removesuffix("_shape") if shape_name.endswith("_shape") else None
    builder.node(ops.Reshape(out.shape), (x.name,), out, name)


def _squeeze(builder: GraphBuilder, operator: Operator) -> None:
    shape = builder.activation(operator.inputs[0]).shape
    stated = _options(operator, SqueezeOptions).squeeze_dims.tolist() if operator.options else []
    axes = {axis + len(shape) * (axis < 0) for axis in stated} or {a for a, size in enumerate(shape) if size == 1}
    if any(not 0 <= axis < len(shape) or shape[axis] != 1 for axis in axes):
        raise builder.refusal(operator, "removes an axis that is not of size 1", expected=shape, got=stated[:8])
    builder.require_shape(operator, tuple(size for axis, size in enumerate(shape) if axis not in axes))
    _same_elements(builder, operator)


def _expand_dims(builder: GraphBuilder, operator: Operator) -> None:
    shape, axes = builder.activation(operator.inputs[0]).shape, builder.constant(operator, 1, np.int32).ravel().tolist()
    if len(axes) != 1 or not -len(shape) - 1 <= axes[0] <= len(shape):
        raise builder.refusal(operator, "no single axis of the output", got=axes[:8])
    axis = axes[0] % (len(shape) + 1)
    builder.require_shape(operator, (*shape[:axis], 1, *shape[axis:]))
    _same_elements(builder, operator)


def _transpose(builder: GraphBuilder, operator: Operator) -> None:
    x, order = builder.activation(operator.inputs[0]), builder.constant(operator, 1, np.int32).ravel().tolist()
    if sorted(order) != list(range(len(x.shape))):
        raise builder.refusal(operator, "no order of the axes", expected=f"0 to {len(x.shape) - 1}", got=order[:8])
    moved = [axis for axis in order if x.shape[axis] > 1]
    if moved != sorted(moved):
        raise builder.refusal(
            operator, "elements change their order", expected="only axes of size 1 are moved", got=order
        )
    builder.require_shape(operator, tuple(x.shape[axis] for axis in order))
    _same_elements(builder, operator)


def _slice(builder: GraphBuilder, operator: Operator) -> None:
    """Each axis is whole, from its first element to its last; an axis of one element may be removed."""
    shape, options = builder.activation(operator.inputs[0]).shape, _options(operator, StridedSliceOptions)
    begins, ends, strides = (builder.constant(operator, i, np.int32, rank=1).tolist() for i in (1, 2, 3))
    if options.ellipsis_mask or options.new_axis_mask or options.offset:
        raise builder.refusal(operator, "ellipsis, new axes and offsets are not supported")
    if not len(begins) == len(ends) == len(strides) <= len(shape):
        raise builder.refusal(operator, "number of axes", expected=len(shape), got=(len(begins), len(ends)))
    result = list(shape)
    for axis, (begin, end, stride) in reversed(list(enumerate(zip(begins, ends, strides, strict=True)))):
        size, removed = shape[axis], bool(options.shrink_axis_mask >> axis & 1)
        first = 0 if options.begin_mask >> axis & 1 and not removed else begin + size * (begin < 0)
        last = size if removed or options.end_mask >> axis & 1 else end + size * (end < 0)
        if first != 0 or last < size or stride < 1 or (stride > 1 < size) or (removed and size > 1):
            got = f"axis {axis}: {begin} to {end}, step {stride}"
            raise builder.refusal(operator, "does not keep all elements in order", expected=shape, got=got)
        if removed:
            del result[axis]
    builder.require_shape(operator, tuple(result))
    _same_elements(builder, operator)


def _concatenation(builder: GraphBuilder, operator: Operator) -> None:
    """More than two inputs are joined one after the other; a single input is a reshape to its own shape."""
    if min(operator.inputs) < 0:
        raise builder.refusal(operator, "inputs are missing", got=operator.inputs[:8])
    parts = [builder.activation(index) for index in operator.inputs]
    total, rank = parts[0], len(parts[0].shape)
    axis = _options(operator, ConcatenationOptions).axis
    if not -rank <= axis < rank or any(len(part.shape) != rank for part in parts):
        got = f"axis {axis} of {', '.join(str(part.shape) for part in parts[:4])}"
        raise builder.refusal(operator, "axis or dimensions of the inputs", got=got)
    axis %= rank
    if _options(operator, ConcatenationOptions).fused_activation_function:
        raise builder.refusal(operator, "fused activation", expected="NONE: no engine computes another")
    if len(parts) == 1:
        _write(builder, operator, lambda _: ops.Reshape(total.shape), (total.name,))
        return
    for count, part in enumerate(parts[1:-1], start=2):
        shape = (*total.shape[:axis], total.shape[axis] + part.shape[axis], *total.shape[axis + 1 :])
        joined = builder.inner(builder.activation(operator.output), f"first_{count}", shape)
        builder.node(ops.Concat(axis), (total.name, part.name), joined)
        total = joined
    _write(builder, operator, lambda _: ops.Concat(axis), (total.name, parts[-1].name))


READERS: dict[str, Row] = {
    "ADD": Row(_pair(ops.Add), 2, 2),
    "AVERAGE_POOL_2D": Row(_pool("average"), 1, 1),
    "CONCATENATION": Row(_concatenation, 1, MOST_PARTS),
    "CONV_2D": Row(_conv2d, 2, 3),
    "DEPTHWISE_CONV_2D": Row(_depthwise, 2, 3),
    "EXPAND_DIMS": Row(_expand_dims, 2, 2),
    "FULLY_CONNECTED": Row(_fully_connected, 2, 3),
    "LOGISTIC": Row(_unary(ops.Lookup("logistic")), 1, 1),
    "MAX_POOL_2D": Row(_pool("max"), 1, 1),
    "MEAN": Row(_mean, 2, 2),
    "MUL": Row(_pair(ops.Mul), 2, 2),
    "PAD": Row(_pad, 2, 2),
    "QUANTIZE": Row(_unary(ops.Lookup("requantise")), 1, 1),
    "RELU": Row(_unary(ops.Lookup("relu")), 1, 1),
    "RELU6": Row(_unary(ops.Lookup("relu6")), 1, 1),
    "RESHAPE": Row(_reshape, 1, 2),
    "RSQRT": Row(_unary(ops.Rsqrt()), 1, 1),
    "SOFTMAX": Row(_softmax, 1, 1),
    "SQUEEZE": Row(_squeeze, 1, 1),
    "STRIDED_SLICE": Row(_slice, 4, 4),
    "SUB": Row(_pair(ops.Sub), 2, 2),
    "TRANSPOSE": Row(_transpose, 2, 2),
}
