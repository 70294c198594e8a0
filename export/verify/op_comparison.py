"""Compare a target's activations with the kernels, op by op, and name the first byte that nothing excuses.

For every op the NumPy kernel is given the target's *own* inputs of that op, so that a difference is charged to the op
that makes it and not to all that follow; when every op is equal, so is the chain. Deviations that are known are in
``EXCEPTIONS``, each with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinyscene.runtime import ops as graph_ops
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.kernels import KERNELS

from ..targets.raspberry_pi import PROCESSORS
from .diagnose import Arrays, Suspect, accumulator, diagnose


@dataclass(frozen=True)
class Tolerance:
    """A deviation that is known: how far, how often at most, and why."""

    max_lsb: int
    max_share: float
    reason: str


# (target, op) -> what may differ. Every other pair must agree in every byte. Shares hold for clips that are looked at
# because their scores differ, too, where a near tie is several times as frequent as elsewhere.
EXCEPTIONS: dict[tuple[str, type], Tolerance] = {
    ("tensorflow", graph_ops.Mean): Tolerance(
        1, 0.2, "the XNNPACK inside TensorFlow 2.21 is older and rounds means in another order: they part at near ties"
    ),
    ("tflite-runtime", graph_ops.Conv2D): Tolerance(
        1, 3e-2, "tflite-runtime's optimised 1x1 convolutions (ruy) round once, its other kernels twice"
    ),
    ("tflite-runtime", graph_ops.Mean): Tolerance(
        1, 1.0, "tflite-runtime's optimised mean over space rounds the zero points' part to a whole code by itself"
    ),
    **{
        (target, graph_ops.FullyConnected): Tolerance(
            1, 5e-2, f"{whose} matrix product rounds once, TFLite Micro's twice: they part near ties"
        )
        for target, whose in (
            ("litert-reference", "LiteRT's reference"),
            ("tensorflow-reference", "TensorFlow's reference"),
            ("tflite-runtime", "tflite-runtime's optimised"),
        )
    },
    **{
        (target, graph_ops.Mul): Tolerance(
            1, 1e-3, f"{whose} multiplier of products comes of scales folded in float32, TFLite Micro's in double"
        )
        for target, whose in (
            ("litert-reference", "LiteRT's"),
            ("tensorflow-reference", "TensorFlow's"),
            ("tflite-runtime-reference", "tflite-runtime's"),
            ("tflite-runtime", "tflite-runtime's"),
        )
    },
    **{
        (target, graph_ops.Lookup): Tolerance(
            1, 1e-2, "the reference logistic is float, TFLite Micro's fixed point: they part at near ties"
        )
        for target in ("litert-reference", "tensorflow-reference")
    },
    **{
        ("hexagon", op): Tolerance(
            1,
            share,
            "Hexagon keeps fewer bits below a code: 0.7 of one from the exact value at most, it parts near ties",
        )
        for op, share in (
            *(
                (graph_ops.Conv2D, 5e-2),
                (graph_ops.DepthwiseConv2D, 0.1),
                (graph_ops.FullyConnected, 5e-2),
                (graph_ops.Softmax, 5e-2),
            ),
            *((graph_ops.Add, 5e-2), (graph_ops.Sub, 5e-2), (graph_ops.Mul, 0.15), (graph_ops.Mean, 1e-2)),
        )
    },
    ("hexagon", graph_ops.Pool2D): Tolerance(
        1, 0.5, "Hexagon rounds an average half up, TFLite half away from zero: they part at ties"
    ),
    **{
        (f"{board}-litert", op): Tolerance(1, 5e-2, f"XNNPACK {how} on arm64: they part at near ties")
        for board in PROCESSORS
        for op, how in (
            (graph_ops.Mul, "rescales products in float32 on x86-64, in fixed point"),
            (graph_ops.Mean, "rounds a mean's product and its sum on x86-64, only the sum"),
        )
    },
    **{
        (target, op): Tolerance(1, share, f"ONNX Runtime {how}")
        for target in ("ort", "ort-int8")
        for op, share, how in (
            (graph_ops.Add, 1e-3, "sums in float32, XNNPACK in 21-bit fixed point: they part at near ties"),
            (graph_ops.Sub, 1e-3, "subtracts real values, XNNPACK in 21-bit fixed point: they part at near ties"),
            (graph_ops.Pool2D, 0.5, "rounds an average half to even, TFLite half away from zero: they part at ties"),
            # where the scales are as 1 to 2 every 256th sum is a tie, and small sums crowd there: 6 of 48 were seen
            (graph_ops.Mean, 0.25, "divides by the count, XNNPACK multiplies by its inverse: they part at near ties"),
            # a square is one of 256 numbers, so a tie shows as often as its code
            (graph_ops.Mul, 1e-2, "multiplies real values in another order than XNNPACK: they part at near ties"),
        )
    },
    **{
        ("pytorch", op): Tolerance(1, share, f"PyTorch {how}")
        for op, share, how in (
            *(
                (op, 1e-3, "sums products in float32: near ties")
                for op in (graph_ops.Conv2D, graph_ops.DepthwiseConv2D, graph_ops.FullyConnected)
            ),
            (graph_ops.Rsqrt, 0.2, "takes the root in float32, the kernels in fixed point: near ties"),
            (graph_ops.Lookup, 0.2, "requantises by the exact ratio, XNNPACK by one of 8 bits"),
            (graph_ops.Pool2D, 0.5, "rounds an average half to even, TFLite half away from zero: they part at ties"),
        )
    },
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
    accumulator: int | None = None

    def __str__(self) -> str:
        summed = "" if self.accumulator is None else f" (accumulator {self.accumulator:,})"
        return (
            f"layer {self.layer} '{self.name}' ({self.op}), element {self.element}: expected {self.expected}{summed}, "
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


def _known(target: str, op: type) -> Tolerance | None:
    """A target's exception for an op. On a Raspberry Pi an engine has those of its own and those it has everywhere."""
    board, _, engine = target.partition("-")
    return EXCEPTIONS.get((target, op)) or (EXCEPTIONS.get((engine, op)) if board in PROCESSORS else None)


def compare(name: str, rounding: Rounding, graph: Graph, inputs: I8, shown: Mapping[str, I8]) -> Comparison:
    """Compare a target's activations with the kernels, op by op on the target's own inputs."""
    values: dict[str, np.ndarray] = {t.name: t.data for t in graph.constants() if t.data is not None}
    values |= {**shown, graph.input: inputs}
    compared = different = max_lsb = 0
    first, named = None, dict[str, dict[str, None]]()  # the ops of each reason, in order
    for layer, node in enumerate(graph.nodes):
        got = values[node.output]
        arrays = tuple(values[i] for i in node.inputs)
        expected = KERNELS[type(node.op)](graph, node, arrays, rounding)
        off = np.abs(got.astype(np.int16) - expected.astype(np.int16))
        wrong = int(np.count_nonzero(off))
        compared, different, max_lsb = compared + off.size, different + wrong, max(max_lsb, int(off.max()))
        if not wrong:
            continue
        known = _known(name, type(node.op))
        if known and off.max() <= known.max_lsb and wrong <= max(1.0, known.max_share * off.size):
            named.setdefault(known.reason, {})[graph_ops.OPS[type(node.op)].name] = None
        elif first is None:
            first = _difference(graph, layer, node, arrays, expected, got, rounding)
    exceptions = tuple(f"{', '.join(ops)}: {reason}" for reason, ops in named.items())
    return Comparison(compared, different, max_lsb, exceptions, first)


def _difference(
    graph: Graph, layer: int, node: Node, arrays: Arrays, expected: I8, got: I8, rounding: Rounding
) -> Difference:
    """Name the first wrong element, what was summed up there, and the fault that explains what was got."""
    wrong = np.argwhere(expected != got)
    at = tuple(int(i) for i in wrong[0])
    return Difference(
        layer,
        node.name,
        graph_ops.OPS[type(node.op)].name,
        at,
        int(expected[at]),
        int(got[at]),
        len(wrong),
        expected.size,
        diagnose(Suspect(graph, node, arrays, rounding, got), expected),
        accumulator(graph, node, arrays, at),
    )
