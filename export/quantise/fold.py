"""Trace a float network into steps that have an integer form.

torch.fx gives the data flow; each convolution is merged with the BatchNorm and the ReLU that follow it. The steps keep
references to the modules of the network; no weight is computed here. Refuses, by name, every module and operation
without an integer form.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import NoReturn

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from tinyscene.runtime import ops
from tinyscene.training.models.layers import GRN, AvgPool3x3, ConvPadded, LayerTracer

from ..errors import ExportError


@dataclass(frozen=True, eq=False)
class ConvStep:
    """Convolution (plain or depthwise), then BatchNorm, then ReLU."""

    name: str
    inputs: tuple[str, ...]
    conv: nn.Conv2d
    pads: ops.Pads
    norm: nn.BatchNorm2d | None = None
    relu: bool = False

    @property
    def depthwise(self) -> bool:
        return self.conv.groups > 1


@dataclass(frozen=True, eq=False)
class PoolStep:
    """3x3 mean that includes the zero padding."""

    name: str
    inputs: tuple[str, ...]
    stride: tuple[int, int]
    pads: ops.Pads
    channels: int


@dataclass(frozen=True, eq=False)
class AddStep:
    """Sum of two tensors, then ReLU."""

    name: str
    inputs: tuple[str, ...]
    relu: bool = False


@dataclass(frozen=True, eq=False)
class GrnStep:
    """Global response normalisation, then ReLU."""

    name: str
    inputs: tuple[str, ...]
    grn: GRN
    relu: bool = False


@dataclass(frozen=True, eq=False)
class MeanStep:
    """Mean over frequency and time; the result is (batch, channels)."""

    name: str
    inputs: tuple[str, ...]


Step = ConvStep | PoolStep | AddStep | GrnStep | MeanStep
SUPPORTED = "ConvPadded/Conv2d, BatchNorm2d, ReLU, AvgPool3x3, GRN, +, AdaptiveAvgPool2d(1)"


@dataclass(frozen=True, eq=False)
class Folded:
    """Steps in execution order. The input is called ``input_name``; each step writes the tensor with its own name."""

    steps: tuple[Step, ...]
    input_name: str
    input_shape: tuple[int, int]  # (mel, time)

    @property
    def output_name(self) -> str:
        return self.steps[-1].name


def fold(model: nn.Module, input_shape: tuple[int, int], input_name: str = "log_mel") -> Folded:
    """Steps of ``model`` for inputs (batch, 1, *input_shape).

    Raises:
        ExportError: a module or operation has no integer form, or a BatchNorm or ReLU does not follow a layer that it
            can be merged with.
    """
    model = model.eval()
    traced = fx.GraphModule(model, LayerTracer().trace(model))
    weight = next(model.parameters())
    with torch.no_grad():
        ShapeProp(traced).propagate(torch.zeros(1, 1, *input_shape, dtype=weight.dtype, device=weight.device))
    folder = _Folder(traced, input_name)
    for node in traced.graph.nodes:
        folder.take(node)
    return Folded(tuple(folder.steps.values()), input_name, input_shape)


class _Folder:
    """Turns traced nodes into steps; ``alias`` maps each fx node to the name of its tensor."""

    def __init__(self, traced: fx.GraphModule, input_name: str) -> None:
        self.traced, self.input_name = traced, input_name
        self.steps: dict[str, Step] = {}
        self.alias: dict[fx.Node, str] = {}
        self.users: dict[str, int] = {}

    def take(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self.alias[node] = self.input_name
        elif node.op == "call_module":
            self.take_module(node, self.traced.get_submodule(str(node.target)))
        elif node.op in ("call_function", "call_method"):
            self.take_function(node)
        elif node.op != "output":
            self.refuse(node.name, f"'{node.op}' has no integer form")

    def take_module(self, node: fx.Node, module: nn.Module) -> None:
        kind = type(module)  # exactly: a subclass may compute something else
        if kind in (ConvPadded, nn.Conv2d) and isinstance(module, nn.Conv2d):
            self.conv(node, module)
        elif kind is AvgPool3x3 and isinstance(module, AvgPool3x3):
            self.pool(node, module)
        elif kind is nn.AdaptiveAvgPool2d and isinstance(module, nn.AdaptiveAvgPool2d):
            self.mean(node, module)
        elif kind is GRN and isinstance(module, GRN):
            self.append(node, GrnStep(str(node.target), self.inputs(node), module))
        elif kind is nn.BatchNorm2d and isinstance(module, nn.BatchNorm2d):
            self.merge_norm(node, module)
        elif kind is nn.ReLU:
            self.merge_relu(node)
        elif kind in (nn.Identity, nn.Dropout):
            self.pass_through(node)
        else:
            self.refuse(str(node.target), f"{kind.__name__} has no integer form")

    def take_function(self, node: fx.Node) -> None:
        if node.target in (operator.add, operator.iadd, torch.add, "add", "add_"):
            self.append(node, AddStep(self.block_name(node, "add"), self.inputs(node)))
        elif (
            node.target in ("flatten", torch.flatten) and self.size(node)[1:] == self.size(node.all_input_nodes[0])[1:2]
        ):
            self.pass_through(node)
        else:
            self.refuse(node.name, f"operation '{node.target}' has no integer form")

    def block_name(self, node: fx.Node, suffix: str) -> str:
        """Name of a function: the module that calls it, as recorded by fx, and ``suffix``."""
        stack = node.meta.get("nn_module_stack") or {}
        owner = list(stack.values())[-1][0] if stack else ""
        return f"{owner}.{suffix}" if owner else node.name

    def inputs(self, node: fx.Node) -> tuple[str, ...]:
        return tuple(self.alias[source] for source in node.all_input_nodes)

    def size(self, node: fx.Node) -> tuple[int, ...]:
        return tuple(node.meta["tensor_meta"].shape)

    def append(self, node: fx.Node, step: Step) -> None:
        if step.name in self.steps:
            step = replace(step, name=f"{step.name}_{len(self.steps)}")
        self.steps[step.name] = step
        self.alias[node] = step.name

    def pass_through(self, node: fx.Node) -> None:
        self.alias[node] = self.inputs(node)[0]

    def merge_norm(self, node: fx.Node, norm: nn.BatchNorm2d) -> None:
        step = self.only_source(node)
        if not isinstance(step, ConvStep) or step.norm is not None:
            self.refuse(str(node.target), "BatchNorm2d does not directly follow a convolution")
        if step.relu:
            self.refuse(str(node.target), "BatchNorm2d after a ReLU cannot be folded")
        self.steps[step.name] = replace(step, norm=norm)
        self.alias[node] = step.name

    def merge_relu(self, node: fx.Node) -> None:
        step = self.only_source(node)
        if not isinstance(step, ConvStep | AddStep | GrnStep) or step.relu:
            self.refuse(str(node.target), "ReLU does not directly follow a convolution, a sum or a GRN")
        self.steps[step.name] = replace(step, relu=True)
        self.alias[node] = step.name

    def only_source(self, node: fx.Node) -> Step | None:
        """The step before a node; None if other nodes read it too."""
        (source,) = node.all_input_nodes
        return self.steps.get(self.alias[source]) if len(source.users) == 1 else None

    def conv(self, node: fx.Node, module: nn.Conv2d) -> None:
        (source,) = node.all_input_nodes
        _, channels, height, width = self.size(source)
        if isinstance(module, ConvPadded):
            pads = module.pads(height, width)
        elif isinstance(module.padding, tuple):
            vertical, horizontal = int(module.padding[0]), int(module.padding[1])
            pads = (vertical, horizontal, vertical, horizontal)
        else:
            self.refuse(str(node.target), f"padding '{module.padding}' is not explicit")
        if module.dilation != (1, 1) or module.groups not in (1, channels) or module.padding_mode != "zeros":
            self.refuse(str(node.target), "dilation, grouped (not depthwise) or non-zero-padded convolution")
        if module.groups > 1 and module.out_channels != module.in_channels:
            self.refuse(str(node.target), "depthwise convolution with a channel multiplier")
        self.append(node, ConvStep(str(node.target), self.inputs(node), module, pads))

    def pool(self, node: fx.Node, module: AvgPool3x3) -> None:
        (source,) = node.all_input_nodes
        _, channels, height, width = self.size(source)
        stride = (int(module.stride[0]), int(module.stride[1]))
        pads = module.pads(height, width)
        self.append(node, PoolStep(str(node.target), self.inputs(node), stride, pads, channels))

    def mean(self, node: fx.Node, module: nn.AdaptiveAvgPool2d) -> None:
        if module.output_size not in (1, (1, 1)):
            self.refuse(str(node.target), f"adaptive pooling to {module.output_size}, not to 1")
        self.append(node, MeanStep(str(node.target), self.inputs(node)))

    def refuse(self, where: str, what: str) -> NoReturn:
        raise ExportError(
            f"network, '{where}'",
            what,
            expected=SUPPORTED,
            next_step="quantise it with another tool; 'tinyscene verify' and 'firmware' read int8 .tflite files",
        )


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
