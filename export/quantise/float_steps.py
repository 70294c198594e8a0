"""Steps of a float network, each with an integer form: what calibration, training and lowering work on.

Tensors have the shapes and the layout of the integer graph (:data:`tinyscene.runtime.ops.Shape`, NHWC); in PyTorch a
tensor of four axes is (batch, C, H, W). Most ops of the op set are an :class:`OpStep`; those with trained weights, and
those that become several ops, have a record of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from tinyscene.runtime import ops
from tinyscene.runtime.ops import Shape
from tinyscene.training.models.layers import GRN


@dataclass(frozen=True, eq=False)
class ConvStep:
    """Convolution, then BatchNorm, then ReLU; the ReLU is limited to ``ceiling`` where there is one.

    ``rows``: a matrix product of each row, with the weight as that of a 1x1 convolution. ``transposed``: a transposed
    convolution with these sizes; its weight is (O, I, kH, kW) as well, and ``conv`` has its stride.
    """

    name: str
    inputs: tuple[str, ...]
    conv: nn.Conv2d
    pads: ops.Pads
    norm: nn.BatchNorm2d | None = None
    relu: bool = False
    ceiling: float | None = None
    rows: bool = False
    transposed: ops.TransposeConv2D | None = None

    @property
    def depthwise(self) -> bool:
        """Whether each output channel reads one input channel, of several."""
        return self.conv.groups == self.conv.in_channels > 1


@dataclass(frozen=True, eq=False)
class PoolStep:
    """Sum of a window with its zero padding over ``divisor``: a depthwise convolution with equal weights."""

    name: str
    inputs: tuple[str, ...]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: ops.Pads
    channels: int
    divisor: int


@dataclass(frozen=True, eq=False)
class GrnStep:
    """Global response normalisation, then ReLU."""

    name: str
    inputs: tuple[str, ...]
    grn: GRN
    relu: bool = False
    ceiling: float | None = None


@dataclass(frozen=True, eq=False)
class LstmStep:
    """A layer of LSTM cells in one direction, its state zero before the first step.

    Weights of the input (4 units, inputs) and of the hidden state (4 units, units), and biases (4 units,), in the order
    of :data:`tinyscene.runtime.ops.GATES`, which is PyTorch's.
    """

    name: str
    inputs: tuple[str, ...]
    weight: torch.Tensor
    recurrent: torch.Tensor
    bias: torch.Tensor


@dataclass(frozen=True, eq=False)
class OpStep:
    """One op of the op set. ``operands`` are names of activations, and constants as float32 in the graph's layout.

    ``ceiling``: values above it are cut off, as a limited ReLU does.
    """

    name: str
    operands: tuple[str | torch.Tensor, ...]
    op: ops.Op
    ceiling: float | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(operand for operand in self.operands if isinstance(operand, str))

    def constants(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Name and value of each constant operand."""
        for position, operand in enumerate(self.operands):
            if not isinstance(operand, str):
                yield self.constant_name(position), operand

    def constant_name(self, position: int) -> str:
        return f"{self.name}.operand{position}"


@dataclass(frozen=True, eq=False)
class FunctionStep:
    """Any function of one element, as a table of 256 codes."""

    name: str
    inputs: tuple[str, ...]
    function: Callable[[torch.Tensor], torch.Tensor]


Step = ConvStep | PoolStep | GrnStep | LstmStep | OpStep | FunctionStep


@dataclass(frozen=True, eq=False)
class Folded:
    """Steps in execution order. The inputs are called ``input_names``; each step writes the tensor with its own name.

    ``shapes``: of the inputs and of the output of each step, in the graph's layout.
    """

    steps: tuple[Step, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    shapes: Mapping[str, Shape]


def folded_weight(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (O, I, kH, kW) and bias (O,) with the running BatchNorm statistics folded in."""
    weight = conv.weight
    bias = conv.bias if conv.bias is not None else torch.zeros(len(weight), device=weight.device)
    if norm is None:
        return weight, bias
    gain = norm_gain(norm)
    assert norm.running_mean is not None
    return weight * gain[:, None, None, None], norm.bias + (bias - norm.running_mean) * gain


def norm_gain(norm: nn.BatchNorm2d) -> torch.Tensor:
    """gamma / sqrt(running variance + eps), per channel."""
    assert norm.running_var is not None
    return norm.weight * torch.rsqrt(norm.running_var + norm.eps)
