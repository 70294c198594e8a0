"""Which nodes are an inverted residual: expand, depthwise, project, and the sum with what is beside it.

The nodes may come in any order, and all of them must belong; shapes and kernels are for the caller to judge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from runtime.graph import Add, Conv2D, DepthwiseConv2D, Node

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


def residual(nodes: tuple[Node, ...]) -> Residual | None:
    """The parts that all of these nodes play together, in whatever order they come."""
    writers = {node.output: node for node in nodes}
    last = nodes[-1]
    if not isinstance(last.op, Add):
        chain = _chain(writers, last)
        return chain if chain is not None and chain.count == len(nodes) else None
    for name, other in (last.inputs, last.inputs[::-1]):
        chain = _chain(writers, writers.get(name))
        if chain is None:
            continue
        side = None if other == chain.x else writers.get(other)
        if side is not None and not (isinstance(side.op, DepthwiseConv2D) and side.inputs[0] == chain.x):
            continue
        found = replace(chain, side=side, total=last)
        if found.count == len(nodes) and (side is not None or other == chain.x):
            return found
    return None


def _chain(writers: dict[str, Node], project: Node | None) -> Residual | None:
    depthwise = writers.get(project.inputs[0]) if project and isinstance(project.op, Conv2D) else None
    expand = writers.get(depthwise.inputs[0]) if depthwise and isinstance(depthwise.op, DepthwiseConv2D) else None
    if project is None or depthwise is None or expand is None or not isinstance(expand.op, Conv2D):
        return None
    return Residual(expand.inputs[0], expand, depthwise, project)
