"""Ops in the fake-quantised network: rows of :mod:`.simulate` with constants rounded to int8, and functions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from tinyscene.runtime import ops
from tinyscene.runtime.arith import dequantise, quantise
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph, Node, Quant
from tinyscene.runtime.graph import Tensor as GraphTensor
from tinyscene.runtime.op_ranges import keeps_codes
from tinyscene.runtime.ops import Shape

from .activation_range import Range
from .float_steps import FunctionStep, OpStep
from .simulate import ROWS

_ANY = Quant.per_tensor(1.0, 0)


class QuantOp(nn.Module):
    """Maps the activations among the operands to the op's output before it is rounded."""

    def __init__(self, step: OpStep, shapes: Mapping[str, Shape]) -> None:
        super().__init__()
        self.step = step
        self.rounds_constants = not isinstance(step.op, ops.Concat | ops.Extremum)  # whose own range rounds them
        self.constants, self.ranges = nn.ParameterList(), nn.ModuleList()
        for name, value in step.constants():
            r = Range(name)
            r.set(float(value.min()), float(value.max()))
            self.constants.append(nn.Parameter(value.clone()))
            self.ranges.append(r)
        self._graph = _shapes_alone(step, shapes)

    def forward(self, *activations: Tensor) -> Tensor:
        values, rounded = iter(activations), iter(self.rounded_constants())
        operands = [next(values) if isinstance(operand, str) else next(rounded) for operand in self.step.operands]
        y = ROWS[type(self.step.op)](self._graph, self._graph.nodes[0], operands)
        return y if self.step.ceiling is None else y.clamp(max=self.step.ceiling)

    def rounded_constants(self) -> list[Tensor]:
        """The constants in the layout of PyTorch."""
        pairs = zip(self.ranges, self.constants, strict=True)
        values = [r(value) if self.rounds_constants else value for r, value in pairs]
        return [value.permute(0, 3, 1, 2) if value.ndim == 4 else value for value in values]

    def round_constants(self, rounding: bool) -> None:
        for r in self.ranges:
            assert isinstance(r, Range)
            r.rounding = rounding


class QuantFunction(nn.Module):
    """A function of one element."""

    def __init__(self, step: FunctionStep) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return self.step.function(x)

    def codes(self, x: Quant, out: Quant) -> I8:
        """Output codes int8 (256,) for the input codes -128..127."""
        real = dequantise(np.arange(-128, 128).astype(np.int8), x)
        beyond = 512 * out.scale[0]  # of every code: a pole, such as 1 / 0, has no value
        return quantise(np.clip(self(torch.from_numpy(real)).numpy(), -beyond, beyond), out)


def shares_range(step: OpStep) -> bool:
    """Whether the output has the range of its inputs, if they have one range."""
    return keeps_codes(step.op) and len(step.inputs) == len(step.operands)


def _shapes_alone(step: OpStep, shapes: Mapping[str, Shape]) -> Graph:
    """The graph of the op alone, as the rows read shapes from it; its scales and codes have no meaning."""
    tensors = {name: GraphTensor(name, shapes[name], "int8", _ANY) for name in (*step.inputs, step.name)}
    for name, value in step.constants():
        tensors[name] = GraphTensor(name, tuple(value.shape), "int8", _ANY, np.zeros(value.shape, np.int8))
    inputs = tuple(o if isinstance(o, str) else step.constant_name(i) for i, o in enumerate(step.operands))
    return Graph(step.name, tensors, (Node(step.name, step.op, inputs, step.name),), (step.inputs[0],), (step.name,))
