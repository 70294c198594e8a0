"""Readers of TFLite operators: layers with a state from one step to the next.

Engines keep the state of such an operator from one run to the next. The graph has none: each run starts with a state of
zero, as an engine's first one does. Refuses what :mod:`tinyscene.runtime.tflite_lstm` refuses, and batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Quant, Tensor
from tinyscene.runtime.tflite_lstm import KIND, LstmParts, cell_bits, lstm_fault
from tinyscene.runtime.tflite_options import UnidirectionalSequenceLSTMOptions

from ..tflite_file import Operator
from .common import Row, options_of

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder


def _lstm(builder: GraphBuilder, operator: Operator) -> None:
    """The steps may be the first axis of input and output, or the second."""
    file = builder.file
    fault = lstm_fault(file.graph.operators[operator.index], file.graph.tensors, file.model.buffers)
    if fault is not None:
        raise builder.refusal(operator, fault[0], expected=fault[1], got=fault[2])
    parts, time_major = (
        LstmParts.of(operator.inputs),
        options_of(operator, UnidirectionalSequenceLSTMOptions).time_major,
    )
    steps, batch, inputs = file.shape(parts.x) if time_major else _steps_first(file.shape(parts.x))
    if batch != 1:
        raise builder.refusal(operator, "a batch of more than one", expected=1, got=batch)
    x = _viewed(builder, builder.activation(parts.x), (1, steps, inputs))
    weight, recurrent = (_stacked(builder, operator, places) for places in (parts.weights, parts.recurrent))
    names = (x.name, weight.name, recurrent.name, _bias(builder, operator, parts.biases, x, weight).name)
    out = builder.activation(operator.output)
    shape = (1, steps, weight.shape[1])
    whole = out if out.shape == shape else builder.inner(out, "steps", shape)
    builder.node(_op(builder, operator, parts), names, whole)
    if whole is not out:
        builder.node(ops.Reshape(out.shape), (whole.name,), out)


def _op(builder: GraphBuilder, operator: Operator, parts: LstmParts) -> ops.Lstm:
    """The clip of the cell state is cut to a whole code, at most the largest."""
    bits, clip = (
        cell_bits(builder.file.tensor(parts.cell_state)),
        options_of(operator, UnidirectionalSequenceLSTMOptions).cell_clip,
    )
    code = int(min(clip * 2.0**bits, 32767.0)) if clip > 0 else 0
    if clip > 0 and code == 0:
        raise builder.refusal(operator, "clip of the cell state", expected=f"0, or {2.0**-bits:g} and more", got=clip)
    return ops.Lstm(bits, code)


def _steps_first(shape: ops.Shape) -> ops.Shape:
    batch, steps, elements = shape
    return (steps, batch, elements)


def _viewed(builder: GraphBuilder, x: Tensor, shape: ops.Shape) -> Tensor:
    if x.shape == shape:
        return x
    view = builder.inner(x, "steps", shape)
    builder.node(ops.Reshape(shape), (x.name,), view)
    return view


def _stacked(builder: GraphBuilder, operator: Operator, numbers: tuple[int, ...]) -> Tensor:
    """The weights of the four gates as one constant with four scales."""
    quants = [builder.file.quant(number) for number in numbers]
    data = [builder.constant(operator, operator.inputs.index(number), np.int8, rank=2) for number in numbers]
    if any(quant is None or quant.zero_point for quant in quants):
        raise builder.refusal(operator, "weights with a zero point", expected="symmetric codes")
    scales = tuple(quant.scale[0] for quant in quants if quant is not None)
    tensor = Tensor(_name(builder, numbers), (4, *data[0].shape), "int8", Quant(scales, 0, 0), np.stack(data))
    builder.add(tensor)
    return tensor


def _bias(builder: GraphBuilder, operator: Operator, numbers: tuple[int, ...], x: Tensor, weight: Tensor) -> Tensor:
    """The biases of the four gates; their scales are those of the file, to the last bit, where they fit."""
    data = [builder.constant(operator, operator.inputs.index(number), np.int32, rank=1) for number in numbers]
    scales = np.float32(x.quant.scale[0]) * np.asarray(weight.quant.scale, np.float32)
    quants = [builder.file.quant(number) for number in numbers]
    stored = np.array([0.0 if quant is None else quant.scale[0] for quant in quants], np.float32)
    scales = stored if np.allclose(stored, scales, rtol=1e-6, atol=0.0) else scales
    tensor = Tensor(
        _name(builder, numbers), (4, len(data[0])), "int32", Quant(tuple(scales.tolist()), 0, 0), np.stack(data)
    )
    builder.add(tensor)
    return tensor


def _name(builder: GraphBuilder, numbers: tuple[int, ...]) -> str:
    """The name that our own writer formed the four from; in other files a new one."""
    names = [builder.file.names[number] for number in numbers]
    stems = {name.removesuffix(f"_{gate}") for name, gate in zip(names, ops.GATES, strict=True)}
    stem = stems.pop()
    return stem if not stems and stem not in builder.tensors else builder.free_tensor(f"{names[0]}_gates")


ROWS: dict[str, Row] = {KIND: Row(_lstm, 1, 24)}
