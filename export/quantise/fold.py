"""Trace a float network into the few steps that have an integer form.

torch.fx gives the data flow; each convolution takes the BatchNorm and the ReLU behind it into one step. Nothing is
computed here: the steps keep references to the live modules, so that training can go on through them.
Refuses, by name, every module and operation without an integer form.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from tinyscene.runtime import ops
from tinyscene.training.models.layers import GRN, LEAF_TYPES, AvgPool3x3, ConvPadded

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
    """3x3 mean that counts its padding."""

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
    """Mean over frequency and time; leaves (batch, channels)."""

    name: str
    inputs: tuple[str, ...]


Step = ConvStep | PoolStep | AddStep | GrnStep | MeanStep
SUPPORTED = "ConvPadded/Conv2d, BatchNorm2d, ReLU, AvgPool3x3, GRN, +, AdaptiveAvgPool2d(1)"


@dataclass(frozen=True, eq=False)
class Folded:
    """Steps in execution order. The input is called ``input_name``; each step writes the tensor of its own name."""

    steps: tuple[Step, ...]
    input_name: str
    input_shape: tuple[int, int]  # (mel, time)

    @property
    def output_name(self) -> str:
        return self.steps[-1].name


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LEAF_TYPES) or super().is_leaf_module(m, module_qualified_name)


def fold(model: nn.Module, input_shape: tuple[int, int], input_name: str = "log_mel") -> Folded:
    """Steps of ``model`` for inputs (batch, 1, *input_shape).

    Raises:
        ExportError: a module or operation has no integer form, or a BatchNorm or ReLU has no convolution to go into.
    """
    model = model.eval()
    traced = fx.GraphModule(model, _Tracer().trace(model))
    weight = next(model.parameters())
    with torch.no_grad():
        ShapeProp(traced).propagate(torch.zeros(1, 1, *input_shape, dtype=weight.dtype, device=weight.device))
    folder = _Folder(traced, input_name)
    for node in traced.graph.nodes:
        folder.take(node)
    return Folded(tuple(folder.steps.values()), input_name, input_shape)


class _Folder:
    """Walks the traced nodes; ``alias`` says which step's tensor an fx node stands for."""

    def __init__(self, traced: fx.GraphModule, input_name: str) -> None:
        self.traced, self.input_name = traced, input_name
        self.steps: dict[str, Step] = {}
        self.alias: dict[fx.Node, str] = {}
        self.users: dict[str, int] = {}

    def take(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self.alias[node] = self.input_name
        elif node.op == "call_module":
            module = self.traced.get_submodule(str(node.target))
            handler = next((h for kind, h in _MODULES.items() if type(module) is kind), None)
            if handler is None:
                self.refuse(str(node.target), f"{type(module).__name__} has no integer form")
            else:
                handler(self, node, module)
        elif node.op in ("call_function", "call_method"):
            self.take_function(node)
        elif node.op != "output":
            self.refuse(node.name, f"'{node.op}' has no integer form")

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
        """Name a function by the module that called it, as fx records it."""
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

    def absorb(self, node: fx.Node, module: nn.Module, **changes: Any) -> None:
        """Fold a norm or an activation into the step before it, whose only reader it must be."""
        (source,) = node.all_input_nodes
        step = self.steps.get(self.alias[source])
        wanted = "norm" if "norm" in changes else "relu"
        if step is None or not hasattr(step, wanted) or getattr(step, wanted) or len(source.users) != 1:
            self.refuse(str(node.target), f"{type(module).__name__} does not directly follow a layer it can be part of")
            return
        if wanted == "norm" and getattr(step, "relu", False):
            self.refuse(str(node.target), "BatchNorm behind a ReLU cannot be folded")
        self.steps[step.name] = replace(step, **changes)
        self.alias[node] = step.name

    def refuse(self, where: str, what: str) -> None:
        raise ExportError(
            f"network, '{where}'", what, expected=SUPPORTED, next_step="replace the layer and train again"
        )


def _conv(folder: _Folder, node: fx.Node, module: nn.Conv2d) -> None:
    (source,) = node.all_input_nodes
    _, channels, height, width = folder.size(source)
    if isinstance(module, ConvPadded):
        pads = module.pads(height, width)
    elif isinstance(module.padding, tuple):
        pads = (int(module.padding[0]), int(module.padding[1])) * 2
    else:
        folder.refuse(str(node.target), f"padding '{module.padding}' is not explicit")
        return
    if module.dilation != (1, 1) or module.groups not in (1, channels) or module.padding_mode != "zeros":
        folder.refuse(str(node.target), "dilation, grouped (not depthwise) or non-zero-padded convolution")
    if module.groups > 1 and module.out_channels != module.in_channels:
        folder.refuse(str(node.target), "depthwise convolution with a channel multiplier")
    folder.append(node, ConvStep(str(node.target), folder.inputs(node), module, pads))


def _pool(folder: _Folder, node: fx.Node, module: AvgPool3x3) -> None:
    (source,) = node.all_input_nodes
    _, channels, height, width = folder.size(source)
    stride = (int(module.stride[0]), int(module.stride[1]))
    step = PoolStep(str(node.target), folder.inputs(node), stride, module.pads(height, width), channels)
    folder.append(node, step)


def _mean(folder: _Folder, node: fx.Node, module: nn.AdaptiveAvgPool2d) -> None:
    if module.output_size not in (1, (1, 1)):
        folder.refuse(str(node.target), f"adaptive pooling to {module.output_size}, not to 1")
    folder.append(node, MeanStep(str(node.target), folder.inputs(node)))


def _grn(folder: _Folder, node: fx.Node, module: GRN) -> None:
    folder.append(node, GrnStep(str(node.target), folder.inputs(node), module))


_MODULES: dict[type, Callable[[_Folder, fx.Node, Any], None]] = {
    ConvPadded: _conv,
    nn.Conv2d: _conv,
    AvgPool3x3: _pool,
    nn.AdaptiveAvgPool2d: _mean,
    GRN: _grn,
    nn.BatchNorm2d: lambda folder, node, module: folder.absorb(node, module, norm=module),
    nn.ReLU: lambda folder, node, module: folder.absorb(node, module, relu=True),
    nn.Identity: lambda folder, node, module: folder.pass_through(node),
    nn.Dropout: lambda folder, node, module: folder.pass_through(node),
}


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
