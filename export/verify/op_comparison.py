"""Compare a target's activations with the kernels, op by op, and name the first byte that no exception covers.

For every op the NumPy kernel gets the target's *own* inputs of that op, so a difference is charged to the op that
causes it and not to all that follow; when every op is equal, so is the chain. Known differences are in
:mod:`tinyscene.export.verify.exceptions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.kernels import KERNELS
from tinyscene.runtime.vectors import parted

from .diagnose import ObservedOp, accumulator, diagnose
from .exceptions import known_difference


@dataclass(frozen=True)
class Difference:
    """The first element of the first op whose output is not the kernel's for the target's own inputs."""

    layer: int
    name: str
    op: str
    element: tuple[int, ...]  # (vector, row, column, channel)
    expected: int
    got: int
    n_different: int
    n_elements: int
    explanation: str
    accumulator: int | None = None

    def __str__(self) -> str:
        accumulated = "" if self.accumulator is None else f" (accumulator {self.accumulator:,})"
        return (
            f"layer {self.layer} '{self.name}' ({self.op}), element {self.element}: expected {self.expected}"
            f"{accumulated}, got {self.got}; {self.n_different:,} of {self.n_elements:,} differ; {self.explanation}"
        )


@dataclass(frozen=True)
class Comparison:
    """Bytes of op outputs over all ``vectors``: the inputs, and the first few clips whose scores are not the graph's.

    For a converted network the constants are counted too. ``exceptions`` name the ops with a known difference.
    """

    vectors: int
    bytes_compared: int
    bytes_different: int
    max_lsb: int
    exceptions: tuple[str, ...] = ()
    first_difference: Difference | None = None


def compare(target: str, rounding: Rounding, graph: Graph, inputs: I8, activations: Mapping[str, I8]) -> Comparison:
    """Compare a target's activations with the kernels, op by op on the target's own inputs."""
    values: dict[str, np.ndarray] = {t.name: t.data for t in graph.constants() if t.data is not None}
    values |= {**activations, **parted(graph, graph.inputs, inputs)}
    compared = different = max_lsb = 0
    first: Difference | None = None
    ops_of_reason: dict[str, list[str]] = {}
    for layer, node in enumerate(graph.nodes):
        observed = ObservedOp(graph, node, tuple(values[i] for i in node.inputs), rounding, values[node.output])
        expected = KERNELS[type(node.op)](graph, node, observed.arrays, rounding)
        off = np.abs(observed.output.astype(np.int16) - expected.astype(np.int16))
        wrong, largest = int(np.count_nonzero(off)), int(off.max())
        compared, different, max_lsb = compared + off.size, different + wrong, max(max_lsb, largest)
        if not wrong:
            continue
        name = ops.title(node.op)
        known = None if ops.selects_codes(node.op) else known_difference(target, node.op)
        if known and known.covers(observed, expected):
            names = ops_of_reason.setdefault(known.reason, [])
            names += [name] if name not in names else []
        elif first is None:
            first = _difference(layer, observed, expected)
    exceptions = tuple(f"{', '.join(names)}: {reason}" for reason, names in ops_of_reason.items())
    return Comparison(len(inputs), compared, different, max_lsb, exceptions, first)


def _difference(layer: int, observed: ObservedOp, expected: I8) -> Difference:
    """The first wrong element, its accumulator, and the fault that explains the output."""
    node = observed.node
    wrong = np.argwhere(expected != observed.output)
    at = tuple(int(i) for i in wrong[0])
    return Difference(
        layer,
        node.name,
        ops.title(node.op),
        at,
        int(expected[at]),
        int(observed.output[at]),
        len(wrong),
        expected.size,
        diagnose(observed, expected),
        accumulator(observed, at),
    )
