"""Patterns of nodes that can be one call: an inverted residual, and the two pairs of nodes of a GRN.

An inverted residual is expand, depthwise, project, and optionally the sum with the block's input or with a depthwise
convolution of it (the side branch). The nodes are consecutive, in any order. The caller checks shapes and kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node

from ..emit.kernel_set import Fused
from ..emit.records import Layer, is_plain

ADD_NOTHING, ADD_INPUT, ADD_SIDE = range(3)


@dataclass(frozen=True)
class Residual:
    """The nodes of an inverted residual by role."""

    x: str
    expand: Node
    depthwise: Node
    project: Node
    side: Node | None = None
    total: Node | None = None

    @property
    def last(self) -> Node:
        """The node with the block's output."""
        return self.total or self.project

    @property
    def count(self) -> int:
        """Number of nodes."""
        return 3 + (self.side is not None) + (self.total is not None)

    @property
    def added(self) -> int:
        """The summand: ADD_NOTHING, ADD_INPUT (the block's input) or ADD_SIDE (the side branch)."""
        if self.total is None:
            return ADD_NOTHING
        return ADD_INPUT if self.side is None else ADD_SIDE


def longest_residual(graph: Graph, at: int, layer_of: Callable[[Graph, Residual], Layer | None]) -> Fused | None:
    """The largest block that begins at node ``at`` and that ``layer_of`` returns a call for."""
    for count in (5, 4, 3):
        nodes = graph.nodes[at : at + count]
        block = _residual(nodes) if len(nodes) == count else None
        layer = layer_of(graph, block) if block and not _is_broadcast(graph, block.last) else None
        if block is not None and layer is not None:
            return Fused(count, (block.x,), block.last.output, layer)
    return None


def _is_broadcast(graph: Graph, node: Node) -> bool:
    """Whether the node is a sum that repeats an operand along an axis."""
    return isinstance(node.op, ops.Add) and len({tensor.shape for tensor in graph.ins(node)}) > 1


def _residual(nodes: tuple[Node, ...]) -> Residual | None:
    """The block formed by exactly these nodes, in any order; None if they do not form one."""
    writers = {node.output: node for node in nodes}
    last = nodes[-1]
    if not isinstance(last.op, ops.Add):
        chain = _chain(writers, last)
        return chain if chain is not None and chain.count == len(nodes) else None
    for name, other in (last.inputs, last.inputs[::-1]):
        chain = _chain(writers, writers.get(name))
        if chain is None:
            continue
        side = None if other == chain.x else writers.get(other)
        if side is not None and not (isinstance(side.op, ops.DepthwiseConv2D) and side.inputs[0] == chain.x):
            continue
        block = replace(chain, side=side, total=last)
        if block.count == len(nodes) and (side is not None or other == chain.x):
            return block
    return None


def _chain(writers: dict[str, Node], project: Node | None) -> Residual | None:
    """The block of expand, depthwise and ``project``."""
    depthwise = writers.get(project.inputs[0]) if project and isinstance(project.op, ops.Conv2D) else None
    expand = writers.get(depthwise.inputs[0]) if depthwise and isinstance(depthwise.op, ops.DepthwiseConv2D) else None
    if project is None or depthwise is None or expand is None or not isinstance(expand.op, ops.Conv2D):
        return None
    return Residual(expand.inputs[0], expand, depthwise, project)


def is_one_by_one(graph: Graph, node: Node) -> bool:
    """Whether a convolution, dense or depthwise, has kernel 1x1, stride 1, no padding and no groups."""
    op = node.op
    assert isinstance(op, ops.Conv2D | ops.DepthwiseConv2D)
    unpadded = op.stride == (1, 1) and not any(op.pads)
    return graph.ins(node)[1].shape[1:3] == (1, 1) and unpadded and is_plain(graph, node)


def is_affine(graph: Graph, node: Node) -> bool:
    """Whether the node is a 1x1 depthwise convolution: one factor and one summand per channel."""
    return isinstance(node.op, ops.DepthwiseConv2D) and is_one_by_one(graph, node)


def mean_of_squares(graph: Graph, at: int) -> tuple[Node, Node] | None:
    """The square of a tensor at node ``at`` and the mean of it over space at the next; None if they are not that."""
    if at + 2 > len(graph.nodes):
        return None
    square, mean = graph.nodes[at : at + 2]
    is_square = isinstance(square.op, ops.Mul) and square.inputs[0] == square.inputs[1]
    is_mean = ops.is_mean_over_space(mean.op, len(graph.out(square).shape)) and mean.inputs == (square.output,)
    return (square, mean) if is_square and is_mean else None


def scaled_affine(graph: Graph, at: int) -> tuple[Node, Node] | None:
    """A product at node ``at`` and an affine function of it at the next; None if they are not that."""
    if at + 2 > len(graph.nodes):
        return None
    product, following = graph.nodes[at : at + 2]
    if not isinstance(product.op, ops.Mul) or not is_affine(graph, following):
        return None
    if graph.ins(product)[0].shape != graph.out(product).shape:
        return None
    return (product, following) if following.inputs[0] == product.output else None
