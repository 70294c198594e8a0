"""The integer graph in float32 arithmetic, each activation rounded to its codes or, if restored, left as it is.

From the graph alone, so that a bundle made elsewhere can be judged too. Weights are the graph's own int8 ones; with
everything restored this is the network the int8 one tries to be. Not exact: a sum beside a tie may round otherwise than
in integers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from runtime.graph import Add, Conv2D, DepthwiseConv2D, Graph, Mean, Mul, Node, Op, Quant, Rsqrt

from .errors import ExportError

F32 = npt.NDArray[np.float32]
_SMALLEST = 1e-12  # 1 / sqrt(0) is beyond every range, and must stay finite


@torch.no_grad()
def simulate(
    graph: Graph, log_mels: F32, restored: Collection[str] = (), *, shown: Collection[str], batch: int = 16
) -> dict[str, F32]:
    """The activations named in ``shown``, float32 (n, ...) in the graph's layout, for float32 (n, mel, time).

    Args:
        restored: names of activations that are not rounded.

    Raises:
        ExportError: an op without a float form.
    """
    for node in graph.nodes:
        if type(node.op) not in _ROWS:
            known = ", ".join(op.__name__ for op in _ROWS)
            raise ExportError(f"'{node.name}'", "has no float form here", expected=known, got=type(node.op).__name__)
    found: dict[str, list[F32]] = {name: [] for name in shown}
    kept = set(restored)
    for part in torch.from_numpy(log_mels).split(batch):
        values = {graph.input: _held(part[:, None], graph.tensors[graph.input].quant, graph.input in kept)}
        for node in graph.nodes:
            y = _ROWS[type(node.op)](graph, node, [_value(graph, values, name) for name in node.inputs])
            values[node.output] = _held(y, graph.tensors[node.output].quant, node.output in kept)
        for name, parts in found.items():
            y = values[name]
            parts.append((y.permute(0, 2, 3, 1) if y.ndim == 4 else y).numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _held(y: Tensor, quant: Quant, restored: bool) -> Tensor:
    if restored:
        return y
    return torch.fake_quantize_per_tensor_affine(y, quant.scale[0], quant.zero_point, -128, 127)


def _value(graph: Graph, values: dict[str, Tensor], name: str) -> Tensor:
    """An activation (n, C, H, W), or a constant in the layout torch wants: weights OIHW, biases (O,)."""
    if name in values:
        return values[name]
    tensor = graph.tensors[name]
    assert tensor.data is not None
    scale = np.asarray(tensor.quant.scale, np.float32)
    if tensor.quant.axis is not None:
        shape = [1] * tensor.data.ndim
        shape[tensor.quant.axis] = -1
        scale = scale.reshape(shape)
    real = torch.from_numpy((tensor.data.astype(np.float32) - np.float32(tensor.quant.zero_point)) * scale)
    if real.ndim != 4:
        return real
    return real.permute(0, 3, 1, 2) if tensor.quant.axis != 3 else real.permute(3, 0, 1, 2)


def _conv(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    op, (x, weight, bias) = node.op, ins
    assert isinstance(op, Conv2D | DepthwiseConv2D)
    top, left, bottom, right = op.pads
    groups = x.shape[1] if isinstance(op, DepthwiseConv2D) else 1
    y = F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, op.stride, groups=groups)
    return torch.relu(y) if op.relu else y


def _add(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    assert isinstance(node.op, Add)
    return torch.relu(ins[0] + ins[1]) if node.op.relu else ins[0] + ins[1]


def _mul(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    assert isinstance(node.op, Mul)
    return torch.relu(ins[0] * ins[1]) if node.op.relu else ins[0] * ins[1]


def _mean(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    assert isinstance(node.op, Mean)
    if node.op.over == "space":
        return ins[0].mean(dim=(2, 3), keepdim=node.op.keep_dims)
    return ins[0].mean(dim=1, keepdim=True)


def _rsqrt(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    return torch.rsqrt(ins[0].clamp(min=_SMALLEST))


_ROWS: dict[type[Op], Callable[[Graph, Node, list[Tensor]], Tensor]] = {
    Conv2D: _conv,
    DepthwiseConv2D: _conv,
    Add: _add,
    Mul: _mul,
    Mean: _mean,
    Rsqrt: _rsqrt,
}
