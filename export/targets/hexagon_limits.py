"""Ops that Qualcomm's compiler takes and computes with another result: refused for Hexagon, naming the node.

Each was found by running the op alone in onnxruntime-qnn 2.7's simulator, where every other code is within its named
exception (tests/export/targets/test_hexagon.py). What the compiler does not take it refuses itself.
"""

from __future__ import annotations

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.onnx_tensors import nchw

from ..errors import ExportError

_SECOND_SCALE = "a tensor has one scale there, and in the file this op reads its input with another"


def require_computed(graph: Graph) -> None:
    """Refuse an op of which Hexagon returns other codes.

    Raises:
        ExportError: names the node; it is marked as unsupported.
    """
    for node in graph.nodes:
        reason = _fault(graph, node)
        if reason:
            what = f"cannot run this {ops.title(node.op)}: {reason}"
            raise ExportError(f"hexagon, '{node.name}'", what, next_step="use another target", unsupported=True)


def _fault(graph: Graph, node: Node) -> str:
    shapes = [tensor.shape for tensor in graph.ins(node)]
    match node.op:
        case ops.Softmax() as op if op.beta != 1.0:
            return _SECOND_SCALE
        case ops.Reduce(kind="sum"):
            return _SECOND_SCALE
        case ops.Reduce(kind="max" | "min") as op if _last_size(op, shapes[0]) == 1:
            return "it returns the lowest code where the last of the axes has one element"
        case ops.LogSoftmax() if shapes[0][-1] == 1:
            return "a row of one element has the logarithm of 1, and it returns another"
        case ops.Pad() as op if _is_padded_behind(op):
            return "it fills the last axis with code 0 where this and another one are padded behind"
        case ops.TransposeConv2D() as op if _rows_beyond(op, shapes[0], shapes[1]) > 1:
            return "its output has rows or columns behind the last window, of which only the first is computed"
    return ""


def _last_size(op: ops.Reduce, shape: ops.Shape) -> int:
    """Elements of the last of the axes of a reduction, in the order of ONNX."""
    sizes = [size if axis in op.axes else 0 for axis, size in enumerate(shape)]
    return [size for size in nchw(tuple(sizes)) if size][-1]


def _is_padded_behind(op: ops.Pad) -> bool:
    """Whether ONNX's last axis is padded behind only, and another one is padded behind too."""
    before, after = nchw(op.before), nchw(op.after)
    return before[-1] == 0 < after[-1] and any(after[:-1])


def _rows_beyond(op: ops.TransposeConv2D, x: ops.Shape, weight: ops.Shape) -> int:
    """How far the output goes on behind the last window."""
    ends = [(n - 1) * step + kernel for n, step, kernel in zip(x[1:3], op.stride, weight[1:3], strict=True)]
    return max(crop + size - end for crop, size, end in zip(op.crop, op.size, ends, strict=True))
