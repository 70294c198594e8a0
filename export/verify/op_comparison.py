"""Compare a target's activations with the kernels, op by op, and name the first byte that no exception covers.

For every op the NumPy kernel gets the target's *own* inputs of that op, so a difference is charged to the op that
causes it and not to all that follow; when every op is equal, so is the chain. A target need not show every activation:
its own arithmetic, where that is known, or the kernel computes the others, and a difference of what follows is also
excused by the exceptions of their ops. Known differences are in :mod:`tinyscene.export.verify.exceptions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from .known_differences import KnownDifference, OtherArithmetic


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
    hidden: dict[str, tuple[ops.Op, ...]] = {}  # by activation that the target does not show: the ops behind it
    compared = different = max_lsb = 0
    first: Difference | None = None
    ops_of_reason: dict[str, list[str]] = {}
    for layer, node in enumerate(graph.nodes):
        arrays = tuple(values[i] for i in node.inputs)
        expected = KERNELS[type(node.op)](graph, node, arrays, rounding)
        behind = (node.op, *(op for name in node.inputs for op in hidden.get(name, ())))
        observed = ObservedOp(graph, node, arrays, rounding, values.get(node.output, expected))
        if node.output not in values:
            own = _own_codes(target, observed)
            values[node.output], hidden[node.output] = expected if own is None else own[1], behind
            if own is not None and not np.array_equal(own[1], expected):
                _add(ops_of_reason, own[0], ops.title(node.op))
            continue
        off = np.abs(observed.output.astype(np.int16) - expected.astype(np.int16))
        wrong, largest = int(np.count_nonzero(off)), int(off.max())
        compared, different, max_lsb = compared + off.size, different + wrong, max(max_lsb, largest)
        if not wrong:
            continue
        known = next((each for each in _known(target, behind) if each[1].covers(observed, expected)), None)
        if known:
            _add(ops_of_reason, known[1].reason, known[0])
        elif first is None:
            first = _difference(layer, observed, expected)
    exceptions = tuple(f"{', '.join(names)}: {reason}" for reason, names in ops_of_reason.items())
    return Comparison(len(inputs), compared, different, max_lsb, exceptions, first)


def _add(ops_of_reason: dict[str, list[str]], reason: str, title: str) -> None:
    names = ops_of_reason.setdefault(reason, [])
    names += [title] if title not in names else []


def _own_codes(target: str, observed: ObservedOp) -> tuple[str, I8] | None:
    """The reason of an exception whose arithmetic is known, and the codes that the target computes."""
    known = known_difference(target, observed.node.op)
    return (known.reason, known.codes(observed)) if isinstance(known, OtherArithmetic) else None


def _known(target: str, behind: tuple[ops.Op, ...]) -> Iterator[tuple[str, KnownDifference]]:
    """The exceptions of an op, and of those before it that the target does not show, with the op's title."""
    for op in behind:
        known = None if ops.selects_codes(op) else known_difference(target, op)
        if known is not None:
            yield ops.title(op), known


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
