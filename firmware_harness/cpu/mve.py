"""Kernel set for Cortex-M55: Helium, sixteen int8 codes per vector."""

from __future__ import annotations

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node

from ..emit.kernel_set import C_FOLDER, KernelSet
from ..emit.records import Layer
from .mve_block import lean_block
from .mve_elements import add, affine, lookup, mean, mul, pool, scaled, square_mean
from .mve_planes import depthwise_planes
from .mve_products import conv2d, fully_connected
from .mve_windows import depthwise
from .patterns import is_affine


def _depthwise(graph: Graph, node: Node) -> Layer | None:
    """The fastest kernel of those that support the layer."""
    layer = affine(graph, node) if is_affine(graph, node) else depthwise(graph, node)
    return layer or depthwise_planes(graph, node)


MVE = KernelSet(
    "mve",
    C_FOLDER / "mve",
    rows={
        ops.Conv2D: conv2d,
        ops.DepthwiseConv2D: _depthwise,
        ops.FullyConnected: fully_connected,
        ops.Add: add,
        ops.Mul: mul,
        ops.Pool2D: pool,
        ops.Reduce: mean,
        ops.Rsqrt: lookup,
        ops.Lookup: lookup,
        ops.Table: lookup,
    },
    fusers=(square_mean, scaled),
    lean_fusers=(lean_block,),
)
