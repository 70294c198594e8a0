"""Write a validated TFLite file again from its records: what engines get instead of the bytes of a file made elsewhere.

The operators between the ends with their options, and the tensors and buffers that they use, in the order of the
file; nothing else of the file is copied. A convolution without a bias gets one of zeros, since LiteRT's default kernels
end the process without it. Constants are 16-byte aligned. Only for files that
:mod:`.tflite_read` accepts: options that nothing reads would be lost. Refuses options of another operator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinyscene.runtime.tflite_options import ElementwiseOptions, Options
from tinyscene.runtime.tflite_schema import PLAIN_OPERATORS
from tinyscene.runtime.tflite_write import finished

from ..errors import ExportError
from .tflite_file import Int8File, Operator

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
ONE_VERSION = ("ELU", "HARD_SWISH", "NEG", "PRELU", "RELU_0_TO_1", "RELU_N1_TO_1")  # LiteRT has no other
_ELEMENTWISE = {
    "ADD": "AddOptions",
    "SUB": "SubOptions",
    "MUL": "MulOptions",
    "L2_NORMALIZATION": "L2NormOptions",
}


def rebuilt(file: Int8File, outputs: Sequence[int] | None = None) -> bytes:
    """TFLite bytes from codes to codes, with the file's operators and types, and unique tensor names.

    ``outputs``: numbers of the tensors that are outputs; the file's own if left out.
    """
    buffers: list[schema.BufferT] = [schema.BufferT()]
    tensors: list[schema.TensorT] = []
    number_of: dict[int, int] = {-1: -1}
    buffer_of: dict[int, int] = {}
    within = sorted({index for op in file.operators for index in op.intermediates} - set(file.used()))
    for index in (*file.used(), *within):
        stored = -index - 1 if index in file.computed else file.tensor(index).buffer
        if file.is_stored(index) and stored not in buffer_of:
            buffer_of[stored] = len(buffers)
            buffers.append(_buffer(file.stored_bytes(index)))
        number_of[index] = len(tensors)
        tensors.append(_tensor(file, index, buffer_of.get(stored, 0) if file.is_stored(index) else 0))
    used_codes = sorted({file.graph.operators[op.index].opcode_index for op in file.operators})
    subgraph = schema.SubGraphT()
    subgraph.name, subgraph.tensors = file.graph.name or "main", tensors
    shown = file.outputs if outputs is None else outputs
    subgraph.inputs, subgraph.outputs = ([number_of[i] for i in ends] for ends in (file.inputs, shown))
    subgraph.operators = [_operator(file, op, number_of, used_codes) for op in file.operators]
    for op, operator in zip(file.operators, subgraph.operators, strict=True):
        if op.kind in CONVOLUTIONS and max(op.inputs[2:], default=-1) < 0:
            operator.inputs = [*operator.inputs[:2], len(tensors)]
            tensors.append(_zero_bias(file, op, len(buffers)))
            buffers.append(_buffer(bytes(4 * file.shape(op.output)[3])))
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [subgraph], buffers
    model.operatorCodes = [_code(file, index) for index in used_codes]
    return finished(model)


def _buffer(data: object) -> schema.BufferT:
    buffer = schema.BufferT()
    buffer.data = data
    return buffer


def _tensor(file: Int8File, index: int, buffer: int) -> schema.TensorT:
    source = file.tensor(index)
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = (
        file.names[index],
        list(file.shape(index)),
        source.type,
        buffer,
    )
    tensor.isVariable = source.is_variable
    scale = file.scales(index)
    if scale is not None and source.quantization is not None:
        tensor.quantization = q = schema.QuantizationParametersT()
        zero_point = source.quantization.zero_point.astype(np.int64)
        q.scale, q.quantizedDimension = scale, source.quantization.quantized_dimension
        q.zeroPoint = np.broadcast_to(zero_point, scale.shape) if len(zero_point) else np.zeros(len(scale), np.int64)
    return tensor


def _zero_bias(file: Int8File, op: Operator, buffer: int) -> schema.TensorT:
    """The tensor of a bias of zeros for a convolution without one."""
    x_scale, weight_scale = file.scales(op.inputs[0]), file.scales(op.inputs[1])
    bias = schema.TensorT()
    bias.name, bias.shape, bias.type, bias.buffer = (
        f"{file.names[op.output]}_bias_{op.index}",
        [file.shape(op.output)[3]],
        schema.TensorType.INT32,
        buffer,
    )
    if x_scale is not None and weight_scale is not None:
        bias.quantization = q = schema.QuantizationParametersT()
        q.scale, q.quantizedDimension = x_scale[0] * weight_scale, 0
        q.zeroPoint = np.zeros(len(weight_scale), np.int64)
    return bias


def _operator(file: Int8File, op: Operator, number_of: dict[int, int], used_codes: list[int]) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex = used_codes.index(file.graph.operators[op.index].opcode_index)
    operator.inputs, operator.outputs = ([number_of[i] for i in ends] for ends in (op.inputs, op.outputs))
    operator.intermediates = [number_of[i] for i in op.intermediates] or None
    if op.options is not None:
        named = isinstance(op.options, ElementwiseOptions)
        kind = _ELEMENTWISE.get(op.kind, "") if named else type(op.options).__name__
        if not kind:
            place = f"{file.where}, operator {op.index} ({op.kind})"
            raise ExportError(place, "its options are those of another operator")
        operator.builtinOptions = _options(op.options, kind)
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    return operator


def _options(options: Options, kind: str) -> object:
    """The generated class has our names in camel case."""
    result = getattr(schema, f"{kind}T")()
    for field in dataclasses.fields(options):
        first, *others = field.name.split("_")
        name = first + "".join(word.capitalize() for word in others)
        assert hasattr(result, name), name
        setattr(result, name, getattr(options, field.name))
    return result


def _code(file: Int8File, index: int) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode = file.model.operator_codes[index].code
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    only_one = PLAIN_OPERATORS.get(code.builtinCode) in ONE_VERSION
    code.version = 1 if only_one else file.model.operator_codes[index].version
    return code
