"""Compare a target's activations with the kernels, op by op, and name the first byte that nothing excuses.

For every op the NumPy kernel is given the target's *own* inputs of that op, so that a difference is charged to the op
that makes it and not to all that follow; when every op is equal, so is the chain. Deviations that are known are in
``EXCEPTIONS``, each with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from runtime.arith import I8, Rounding
from runtime.graph import OPS, Add, Graph, Mean, Mul, Node
from runtime.kernels import KERNELS


@dataclass(frozen=True)
class Tolerance:
    """A deviation that is known: how far, how often at most, and why."""

    max_lsb: int
    max_share: float
    reason: str


# (target, op) -> what may differ. Every other pair must agree in every byte.
EXCEPTIONS: dict[tuple[str, type], Tolerance] = {
    ("litert", Mean): Tolerance(
        1, 1e-4, "XNNPACK's mean rounds its factor in another order (about 7 in 901,120 codes): they part at near ties"
    ),
    ("ort", Add): Tolerance(
        1, 1e-4, "ONNX Runtime sums in float32, XNNPACK in 21-bit fixed point: they part at near ties"
    ),
    ("ort", Mul): Tolerance(
        1, 1e-4, "ONNX Runtime multiplies the two real values, XNNPACK the two codes: they part at near ties"
    ),
}


@dataclass(frozen=True)
class Difference:
    """The first element of the first op that is not as the kernel gives it on the target's own inputs."""

    layer: int
    name: str
    op: str
    element: tuple[int, ...]  # (vector, row, column, channel)
    expected: int
    got: int
    n_different: int
    n_elements: int
    explanation: str

    def __str__(self) -> str:
        return (
            f"layer {self.layer} '{self.name}' ({self.op}), element {self.element}: expected {self.expected}, "
            f"got {self.got}; {self.n_different:,} of {self.n_elements:,} differ; {self.explanation}"
        )


@dataclass(frozen=True)
class Comparison:
    """Bytes of op outputs over all vectors; ``exceptions`` name the ops whose known deviation was seen."""

    bytes_compared: int
    bytes_different: int
    max_lsb: int
    exceptions: tuple[str, ...]
    first_difference: Difference | None


def compare(name: str, rounding: Rounding, graph: Graph, inputs: I8, shown: Mapping[str, I8]) -> Comparison:
    """Compare a target's activations with the kernels, op by op on the target's own inputs."""
    values: dict[str, np.ndarray] = {t.name: t.data for t in graph.constants() if t.data is not None}
    values |= {**shown, graph.input: inputs}
    compared = different = max_lsb = 0
    first, named = None, []
    for layer, node in enumerate(graph.nodes):
        got = values[node.output]
        expected = KERNELS[type(node.op)](graph, node, tuple(values[i] for i in node.inputs), rounding)
        off = np.abs(got.astype(np.int16) - expected.astype(np.int16))
        wrong = int(np.count_nonzero(off))
        compared, different, max_lsb = compared + off.size, different + wrong, max(max_lsb, int(off.max()))
        if not wrong:
            continue
        known = EXCEPTIONS.get((name, type(node.op)))
        if known and off.max() <= known.max_lsb and wrong <= max(1.0, known.max_share * off.size):
            named.append(f"{OPS[type(node.op)].name}: {known.reason}")
        elif first is None:
            first = _difference(graph, layer, node, values, expected, got, rounding)
    return Comparison(compared, different, max_lsb, tuple(dict.fromkeys(named)), first)


def _difference(
    graph: Graph,
    layer: int,
    node: Node,
    values: Mapping[str, np.ndarray],
    expected: I8,
    got: I8,
    rounding: Rounding,
) -> Difference:
    """Name the first wrong element, and say whether the other rounding rule would have given what was got."""
    wrong = np.argwhere(expected != got)
    at = tuple(int(i) for i in wrong[0])
    other: Rounding = "single" if rounding == "double" else "double"
    arrays = tuple(values[i] for i in node.inputs)
    if np.array_equal(KERNELS[type(node.op)](graph, node, arrays, other), got):
        explanation = f"the '{other}' rounding rule gives exactly what was got"
    else:
        explanation = "the other rounding rule does not explain it"
    return Difference(
        layer,
        node.name,
        OPS[type(node.op)].name,
        at,
        int(expected[at]),
        int(got[at]),
        len(wrong),
        expected.size,
        explanation,
    )
