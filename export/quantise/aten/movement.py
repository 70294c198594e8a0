"""Operators of PyTorch that only move elements, and those that change nothing in evaluation.

They are run on the positions of the elements: what has to be moved is decided where the result is read.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from tinyscene.runtime import ops
from tinyscene.training.models.program import MOVING, UNCHANGED

from ..float_steps import OpStep
from .call import Call
from .reader import Reader, Row
from .values import ZERO, View, graph_axis


def _move(reader: Reader, call: Call) -> Any:
    moved = _on_positions(call, call.node.args, call.node.kwargs)
    name = call.view().name
    return View(name, moved) if isinstance(moved, Tensor) else [View(name, part) for part in moved]


def _on_positions(call: Call, args: Any, kwargs: Any) -> Any:
    """The operator's result for the positions of its argument."""
    positions = call.view().positions
    given = fx.map_arg((args, kwargs), lambda _: positions)
    assert callable(call.node.target)
    return call.node.target(*given[0], **given[1])


def _pad(reader: Reader, call: Call) -> View:
    """Zeros around some axes."""
    if call["mode"] not in ("constant",) or call["value"] not in (None, 0, 0.0):
        reader.refuse(call, f"padding with mode '{call['mode']}' and value {call['value']}: expected zeros")
    assert callable(call.node.target)
    return View(call.view().name, call.node.target(call.view().positions, call["pad"], "constant", ZERO))


def _concatenate(reader: Reader, call: Call) -> View:
    parts, rank = [part for part in call["tensors"] if isinstance(part, View)], len(call.shape)
    axis = int(call["dim"]) % rank
    if axis == 0 or len(parts) != len(call["tensors"]):
        reader.refuse(call, "a concatenation of batches, or with a constant")
    if len(parts) == 1:
        return parts[0]
    names = tuple(reader.stored(part) for part in parts)
    step = OpStep(call.name, names, ops.Concat(graph_axis(rank, axis)))
    return reader.add(call.node, step, call.shape)


def _unchanged(reader: Reader, call: Call) -> View:
    """The first argument."""
    return call.view(next(iter(call.arguments)))


ROWS: dict[str, Row] = {
    **dict.fromkeys(MOVING, _move),
    **dict.fromkeys(UNCHANGED, _unchanged),
    "pad": _pad,
    "cat": _concatenate,
}
