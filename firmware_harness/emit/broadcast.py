"""The axes along which the operands of a sum or product are repeated, as few as possible.

Shapes must be those that :meth:`tinyscene.runtime.graph.Graph.check` accepts.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinyscene.runtime import ops
from tinyscene.runtime.ops import Shape


@dataclass(frozen=True)
class Axis:
    """One axis of the output: its size and the operands' steps in elements; 0 where an operand is repeated."""

    size: int
    a_step: int
    b_step: int


def broadcast_axes(a: Shape, b: Shape) -> tuple[Axis, ...]:
    """Axes of the output of operands with these shapes, the last first; at least one.

    Axes of size 1 are left out, and neighbours are joined where neither operand is repeated along only one of them.
    """
    rank = max(len(a), len(b))
    axes: list[Axis] = []
    a_elements = b_elements = 1
    for m, n in reversed(list(zip(ops.aligned(a, rank), ops.aligned(b, rank), strict=True))):
        axis = Axis(max(m, n), a_elements if m > 1 else 0, b_elements if n > 1 else 0)
        a_elements, b_elements = a_elements * m, b_elements * n
        if axis.size > 1 and axes and _joined(axes[-1], axis):
            axes[-1] = Axis(axes[-1].size * axis.size, axes[-1].a_step, axes[-1].b_step)
        elif axis.size > 1:
            axes.append(axis)
    return tuple(axes) or (Axis(1, 1, 1),)


def _joined(inner: Axis, outer: Axis) -> bool:
    """Whether both axes together are one axis with the steps of the inner one."""
    return outer.a_step == inner.a_step * inner.size and outer.b_step == inner.b_step * inner.size


def repeated_runs(axes: tuple[Axis, ...]) -> tuple[int, int] | None:
    """(repeats, size) where the output is ``repeats`` runs of a with one run of b of ``size`` elements; else None."""
    first = axes[0]
    if any(axis.a_step == 0 for axis in axes):
        return None
    if len(axes) == 1:
        return (1, first.size) if first.b_step else (first.size, 1)
    return (axes[1].size, first.size) if len(axes) == 2 and first.b_step and not axes[1].b_step else None
