"""Simulate the integer graph in PyTorch: float32 arithmetic, each activation rounded to its codes.

Needs the graph alone, so that it works for bundles and files made elsewhere. Weights are the graph's int8 weights. An
activation may be restored, that is, not rounded; with every activation restored this is the network that the int8
network approximates. Not exact: a sum close to a tie may round to the neighbouring code.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rounding, quantise
from tinyscene.runtime.arrays import F32, I8
from tinyscene.runtime.engine_ranges import require_supported
from tinyscene.runtime.graph import Graph, Quant
from tinyscene.runtime.vectors import dequantised, joined, parted, row_shape

from . import elementwise, movement, products, recurrent, reductions, windows
from .common import Row

ROWS: dict[type[ops.Op], Row] = {
    **windows.ROWS,
    **products.ROWS,
    **elementwise.ROWS,
    **reductions.ROWS,
    **recurrent.ROWS,
    **movement.ROWS,
}


@torch.no_grad()
def simulate(
    graph: Graph, inputs: F32, restored: Collection[str] = (), *, shown: Collection[str], batch: int = 16
) -> dict[str, F32]:
    """Compute the activations named in ``shown``: float32 (n, ...) in the graph's layout.

    Args:
        inputs: vectors float32 (n, ...), see :mod:`tinyscene.runtime.vectors`; axes of one element may be left out.
        restored: names of the activations that are not rounded.
    """
    activations: dict[str, list[F32]] = {name: [] for name in shown}
    exact = set(restored)
    rows = inputs.reshape(len(inputs), *row_shape(graph, graph.inputs))
    for at in range(0, len(rows), batch):
        values = {}
        for name, part in parted(graph, graph.inputs, rows[at : at + batch]).items():
            x = torch.from_numpy(part)
            x = x.permute(0, 3, 1, 2) if x.ndim == 4 else x
            values[name] = _rounded(x, graph.tensors[name].quant, name in exact)
        for node in graph.nodes:
            y = ROWS[type(node.op)](graph, node, [_value(graph, values, name) for name in node.inputs])
            values[node.output] = _rounded(y, graph.tensors[node.output].quant, node.output in exact)
        for name, parts in activations.items():
            y = values[name]
            parts.append((y.permute(0, 2, 3, 1) if y.ndim == 4 else y).numpy())
    return {name: np.concatenate(parts) for name, parts in activations.items()}


def _rounded(y: Tensor, quant: Quant, restored: bool) -> Tensor:
    if restored:
        return y
    return torch.fake_quantize_per_tensor_affine(y, quant.scale[0], quant.zero_point, -128, 127)


def _value(graph: Graph, values: dict[str, Tensor], name: str) -> Tensor:
    """An activation (n, C, H, W), or a constant in the layout of PyTorch: weights OIHW, biases (O,)."""
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


class PytorchEngine:
    """Fake quantisation as an engine (see :class:`tinyscene.runtime.engines.Engine`)."""

    name = "pytorch"
    rounding: Rounding = "single"

    def __init__(self, graph: Graph) -> None:
        require_supported(graph, self.name)
        self._graph = graph
        self.notes: tuple[str, ...] = (f"version {torch.__version__}",)

    def outputs(self, codes: I8) -> dict[str, I8]:
        """Every activation except the inputs, by name, int8 (batch, ...)."""
        return self._codes(codes, [node.output for node in self._graph.nodes])

    def output_codes(self, codes: I8) -> I8:
        """The graph's outputs alone, int8 (batch, ...)."""
        return joined(self._graph, self._graph.outputs, self._codes(codes, list(self._graph.outputs)))

    def _codes(self, codes: I8, names: list[str]) -> dict[str, I8]:
        quants = {name: tensor.quant for name, tensor in self._graph.tensors.items()}
        real = dequantised(self._graph, self._graph.inputs, codes)
        activations = simulate(self._graph, real, shown=names)
        return {name: quantise(values, quants[name]) for name, values in activations.items()}
