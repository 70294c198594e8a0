"""Run the integer graph in NumPy: the executable specification that every engine is compared with.

Optionally in a planned arena that is filled with a poison value at the start and after each last read, so that a wrong
plan changes the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import ops
from .arith import ROUNDINGS, Rounding
from .arrays import I8, array_of
from .errors import RuntimeFailure
from .graph import Graph, Node
from .kernels import KERNELS
from .plan import Plan
from .vectors import joined, parted, require_codes

POISON = np.int8(-91)


def run(
    graph: Graph,
    x: I8,
    *,
    rounding: Rounding = "double",
    trace: dict[str, I8] | None = None,
    arena: Plan | None = None,
) -> I8:
    """Output codes for input codes, both as vectors (:mod:`tinyscene.runtime.vectors`).

    A batch runs in pieces that fit the memory (:data:`ops.LARGEST_WINDOWS`).

    Args:
        x: int8 (batch, *graph input shape without its leading 1), of several inputs side by side.
        rounding: rule of :mod:`tinyscene.runtime.arith`, each of which equals a family of engines.
        trace: filled with every activation by name, inputs and outputs included.
        arena: keep activations in one buffer at this plan's offsets, poisoned where no activation is alive.

    Raises:
        RuntimeFailure: x has another shape or type, or there is no such rounding rule.
    """
    if rounding not in ROUNDINGS:
        raise RuntimeFailure("rounding", "invalid value", expected=" or ".join(ROUNDINGS), got=repr(rounding))
    x = array_of(x)
    require_codes(graph, x, f"graph '{graph.name}'", empty=True)
    if len(x) > 1 and arena is None:
        at_once = max(1, ops.LARGEST_WINDOWS // _largest_elements(graph))
        if len(x) > at_once:
            return _in_pieces(graph, x, at_once, rounding, trace)
    store = _Arena(graph, arena, len(x)) if arena else _Separate(graph)
    inputs = parted(graph, graph.inputs, x)
    for name, codes in inputs.items():
        store.write(name, codes)
    for step, node in enumerate(graph.nodes, start=1):
        arrays = tuple(store.read(name) for name in node.inputs)
        codes = KERNELS[type(node.op)](graph, node, arrays, rounding)
        if len(codes) != len(x):  # the node reads constants only
            codes = np.broadcast_to(codes, (len(x), *codes.shape[1:]))
        store.write(node.output, codes)
        if trace is not None:
            trace[node.output] = store.read(node.output).copy()
        store.release(step)
    if trace is not None:
        trace |= inputs
    return joined(graph, graph.outputs, {name: store.read(name).copy() for name in graph.outputs})


def _largest_elements(graph: Graph) -> int:
    """Elements that the largest node holds at once for one input."""
    return max([1, *(_elements(graph, node) for node in graph.nodes)])


def _elements(graph: Graph, node: Node) -> int:
    ins, out = graph.ins(node), graph.out(node)
    weight = ins[1].shape if ops.has_weight(node.op) else ()
    return max(ops.window_elements(node.op, weight, ins[0].shape, out.shape), ins[0].n_bytes, out.n_bytes)


def _in_pieces(graph: Graph, x: I8, at_once: int, rounding: Rounding, trace: dict[str, I8] | None) -> I8:
    """As :func:`run`, some inputs at a time, so that memory does not grow with the batch."""
    traces: list[dict[str, I8]] = []
    outputs = []
    for at in range(0, len(x), at_once):
        traces.append({})
        outputs.append(run(graph, x[at : at + at_once], rounding=rounding, trace=None if trace is None else traces[-1]))
    if trace is not None:
        trace |= {name: np.concatenate([piece[name] for piece in traces]) for name in traces[0]}
    return np.concatenate(outputs)


class _Separate:
    """One array per tensor, dropped after its last use."""

    def __init__(self, graph: Graph) -> None:
        self._arrays: dict[str, npt.NDArray[Any]] = {t.name: t.data for t in graph.constants() if t.data is not None}
        last = {name: step for step, node in enumerate(graph.nodes, start=1) for name in node.inputs}
        self._dying: dict[int, list[str]] = {}
        for name, step in last.items():
            if graph.tensors[name].data is None and name not in graph.outputs:
                self._dying.setdefault(step, []).append(name)

    def read(self, name: str) -> npt.NDArray[Any]:
        return self._arrays[name]

    def write(self, name: str, value: I8) -> None:
        self._arrays[name] = value

    def release(self, step: int) -> None:
        for name in self._dying.get(step, ()):
            del self._arrays[name]


class _Arena(_Separate):
    """All activations in one poisoned buffer per batch entry."""

    def __init__(self, graph: Graph, plan: Plan, batch: int) -> None:
        super().__init__(graph)
        self._graph, self._plan = graph, plan
        self._buffer = np.full((batch, plan.arena_bytes), POISON, np.int8)

    def _slot(self, name: str) -> I8:
        at = self._plan.offsets[name]
        return self._buffer[:, at : at + self._graph.tensors[name].n_bytes]

    def read(self, name: str) -> npt.NDArray[Any]:
        if name not in self._plan.offsets:
            return super().read(name)
        return self._slot(name).reshape(len(self._buffer), *self._graph.tensors[name].shape[1:])

    def write(self, name: str, value: I8) -> None:
        self._slot(name)[:] = value.reshape(len(self._buffer), -1)

    def release(self, step: int) -> None:
        for name in self._dying.get(step, ()):
            self._slot(name)[:] = POISON
