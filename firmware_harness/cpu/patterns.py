"""Which nodes can be one call: an inverted residual, and the two pairs of nodes that GRN passes a map with.

An inverted residual is expand, depthwise, project, and the sum with what is beside it. Its nodes may come in any order,
and all of them must belong; shapes and kernels are for the caller to judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node

from ..emit.kernel_set import Fused
from ..emit.records import Layer

ADD_NOTHING, ADD_INPUT, ADD_SIDE = range(3)


@dataclass(frozen=True)
class Residual:
    """The nodes of a block by their part in it."""

    x: str
    expand: Node
    depthwise: Node
    project: Node
    side: Node | None = None
    total: Node | None = None

    @property
    def last(self) -> Node:
        return self.total or self.project

    @property
    def count(self) -> int:
        return 3 + (self.side is not None) + (self.total is not None)

    @property
    def added(self) -> int:
        """What is added: ADD_NOTHING, the block's input, or the side."""
        if self.total is None:
            return ADD_NOTHING
        return ADD_INPUT if self.side is None else ADD_SIDE


def longest_residual(graph: Graph, at: int, layer_of: Callable[[Graph, Residual], Layer | None]) -> Fused | None:
    """The block of most nodes that begins at node ``at`` and that ``layer_of`` has a call for."""
    for count in (5, 4, 3):
        nodes = graph.nodes[at : at + count]
        block = _residual(nodes) if len(nodes) == count else None
        layer = layer_of(graph, block) if block else None
        if block is not None and layer is not None:
            return Fused(count, (block.x,), block.last.output, layer)
    return None


def _residual(nodes: tuple[Node, ...]) -> Residual | None:
    """The parts that all of these nodes play together, in whatever order they come."""
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
        found = replace(chain, side=side, total=last)
        if found.count == len(nodes) and (side is not None or other == chain.x):
            return found
    return None


def _chain(writers: dict[str, Node], project: Node | None) -> Residual | None:
    depthwise = writers.get(project.inputs[0]) if project and isinstance(project.op, ops.Conv2D) else None
    expand = writers.get(depthwise.inputs[0]) if depthwise and isinstance(depthwise.op, ops.DepthwiseConv2D) else None
    if project is None or depthwise is None or expand is None or not isinstance(expand.op, ops.Conv2D):
        return None
    return Residual(expand.inputs[0], expand, depthwise, project)


def is_one_by_one(graph: Graph, node: Node) -> bool:
    """A convolution, dense or depthwise, whose window is the pixel itself."""
    op = node.op
    assert isinstance(op, ops.Conv2D | ops.DepthwiseConv2D)
    return graph.ins(node)[1].shape[1:3] == (1, 1) and op.stride == (1, 1) and not any(op.pads)


def is_affine(graph: Graph, node: Node) -> bool:
    """One factor and one summand for each channel."""
    return isinstance(node.op, ops.DepthwiseConv2D) and is_one_by_one(graph, node)


def mean_of_squares(graph: Graph, at: int) -> tuple[Node, Node] | None:
    """A tensor times itself at node ``at``, and next the mean of that over space."""
    if at + 2 > len(graph.nodes):
        return None
    square, mean = graph.nodes[at : at + 2]
    squared = isinstance(square.op, ops.Mul) and square.inputs[0] == square.inputs[1]
    averaged = isinstance(mean.op, ops.Mean) and mean.op.over == "space" and mean.inputs == (square.output,)
    return (square, mean) if squared and averaged else None


def scaled_affine(graph: Graph, at: int) -> tuple[Node, Node] | None:
    """A product at node ``at``, and next an affine function of it."""
    if at + 2 > len(graph.nodes):
        return None
    product, then = graph.nodes[at : at + 2]
    fits = isinstance(product.op, ops.Mul) and is_affine(graph, then) and then.inputs[0] == product.output
    return (product, then) if fits else None
