"""Prove that every target computes what the integer graph means, op by op and byte by byte.

Each target shows all its activations for the golden inputs. For every op the NumPy kernel is given the target's own
inputs of that op, so that a difference is charged to the op that makes it and not to all that follow; when every op is
equal, so is the chain. Deviations that are known and named are in ``EXCEPTIONS``; anything else is a failure.
A target whose tool is missing is a skip with the command that installs it, never a pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from firmware_harness.engine import Figures, HostC, QemuM4
from runtime.arith import I8, Rounding, dequantise
from runtime.engines import ENGINES, Engine, open_engine
from runtime.errors import TinysceneError
from runtime.graph import OPS, Add, Graph, Node
from runtime.interpreter import run
from runtime.kernels import KERNELS
from runtime.plan import plan

from .errors import ExportError
from .to_onnx import to_onnx
from .to_tflite import to_tflite

Status = Literal["equal", "named exception", "different", "skipped"]


@dataclass(frozen=True)
class Tolerance:
    """A deviation that is known: how far, how often at most, and why."""

    max_lsb: int
    max_share: float
    reason: str


# (target, op) -> what may differ. Every other pair must agree in every byte.
EXCEPTIONS: dict[tuple[str, type], Tolerance] = {
    ("ort", Add): Tolerance(
        1, 1e-4, "ONNX Runtime sums in float32, XNNPACK in 21-bit fixed point: they part at near ties"
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
class TargetResult:
    """What one target did. ``bytes_*`` count op outputs over all vectors; ``exceptions`` name tolerated ops."""

    target: str
    rounding: Rounding | None
    status: Status
    note: str = ""
    vectors: int = 0
    bytes_compared: int = 0
    bytes_different: int = 0
    max_lsb: int = 0
    exceptions: tuple[str, ...] = ()
    first_difference: Difference | None = None
    figures: Figures | None = None
    seconds: float = 0.0
    accuracy: float | None = None
    accuracy_clips: int = 0
    float_agreement: float | None = None

    @property
    def passed(self) -> bool:
        return self.status in ("equal", "named exception")


@dataclass(frozen=True)
class Verification:
    """One row per target, in the order they ran."""

    graph: str
    results: tuple[TargetResult, ...]
    data: str = ""
    float_accuracy: float | None = None

    @property
    def failed(self) -> tuple[TargetResult, ...]:
        return tuple(r for r in self.results if r.status == "different")

    @property
    def skipped(self) -> tuple[TargetResult, ...]:
        return tuple(r for r in self.results if r.status == "skipped")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class LabelledCodes:
    """Network inputs of labelled clips, for accuracy on every target.

    ``codes`` int8 (n, H, W, C); ``labels`` int (n,); ``float_labels`` int (n,): what the float network answers.
    """

    codes: I8
    labels: np.ndarray
    float_labels: np.ndarray
    data: str

    def sample(self, count: int, seed: int = 0) -> LabelledCodes:
        """At most ``count`` clips, the same share of every label."""
        if len(self.labels) <= count:
            return self
        rng = np.random.default_rng(seed)
        shuffled = rng.permutation(len(self.labels))
        rank = np.zeros(len(self.labels), np.int64)  # how many of its label stand before each clip
        for label in np.unique(self.labels):
            mine = shuffled[self.labels[shuffled] == label]
            rank[mine] = np.arange(len(mine))
        rows = np.sort(shuffled[np.argsort(rank[shuffled], kind="stable")][:count])
        return LabelledCodes(self.codes[rows], self.labels[rows], self.float_labels[rows], self.data)


@dataclass(frozen=True)
class TargetRow:
    """One target by name: how to open it on a graph with all activations exposed, and its cap on accuracy clips."""

    open: Callable[[_Exposed], Engine]
    max_clips: int | None = None


class _Exposed:
    """A graph as :class:`runtime.engines.ModelFiles`, every activation an output; files are written on demand."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._files: dict[str, bytes] = {}

    def file(self, name: str) -> bytes:
        if name not in self._files:
            writer = to_tflite if name.endswith(".tflite") else to_onnx
            self._files[name] = writer(self.graph, expose_all=True)
        return self._files[name]


def _by_name(name: str) -> Callable[[_Exposed], Engine]:
    return lambda files: open_engine(name, files)


EMULATED_CLIPS = 60  # for accuracy on emulated CPUs: some seconds for a small net, a minute for the largest

TARGETS: dict[str, TargetRow] = {
    **{name: TargetRow(_by_name(name)) for name in ENGINES},
    "c-host": TargetRow(lambda files: HostC(files.graph, "double"), max_clips=200),
    "c-host-single": TargetRow(lambda files: HostC(files.graph, "single"), max_clips=200),
    "c-cortex-m4": TargetRow(lambda files: QemuM4(files.graph, "double"), max_clips=EMULATED_CLIPS),
    "c-cortex-m4-single": TargetRow(lambda files: QemuM4(files.graph, "single"), max_clips=EMULATED_CLIPS),
}


def verify(
    graph: Graph,
    inputs: I8,
    *,
    targets: Sequence[str] = tuple(TARGETS),
    labelled: LabelledCodes | None = None,
    on_target: Callable[[str], None] | None = None,
) -> Verification:
    """Run every target on ``inputs`` int8 (n, H, W, C) and, if given, on labelled clips.

    Args:
        on_target: told the name of each target before it runs.

    Raises:
        ExportError: unknown target.
    """
    unknown = [name for name in targets if name not in TARGETS]
    if unknown:
        raise ExportError(f"target '{unknown[0]}'", "unknown", expected=" | ".join(TARGETS))
    files = _Exposed(graph.check())
    results = []
    for name in targets:
        if on_target:
            on_target(name)
        results.append(_run_target(name, files, inputs, labelled))
    accuracy = None if labelled is None else float(np.mean(labelled.float_labels == labelled.labels))
    return Verification(graph.name, tuple(results), labelled.data if labelled else "", accuracy)


def _run_target(name: str, files: _Exposed, inputs: I8, labelled: LabelledCodes | None) -> TargetResult:
    start = time.perf_counter()
    row = TARGETS[name]
    try:
        engine = row.open(files)
    except TinysceneError as problem:
        if problem.next_step:  # a missing tool says how to get it; everything else is a fault of ours
            return TargetResult(name, None, "skipped", note=str(problem))
        raise
    shown = engine.outputs(inputs)
    result = compare(name, engine.rounding, files.graph, inputs, shown)
    measured: dict[str, Any] = {"note": "; ".join(engine.notes), "figures": getattr(engine, "figures", None)}
    if name.startswith("numpy-"):
        measured["note"] = _arena_note(files.graph, inputs, engine.rounding, shown[files.graph.output])
    if labelled is not None:
        measured |= _accuracy(engine, labelled if row.max_clips is None else labelled.sample(row.max_clips))
    return TargetResult(**{**vars(result), **measured, "seconds": time.perf_counter() - start})


def compare(name: str, rounding: Rounding, graph: Graph, inputs: I8, shown: Mapping[str, I8]) -> TargetResult:
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
    status: Status = "different" if first else "named exception" if named else "equal"
    return TargetResult(
        name,
        rounding,
        status,
        vectors=len(inputs),
        bytes_compared=compared,
        bytes_different=different,
        max_lsb=max_lsb,
        exceptions=tuple(dict.fromkeys(named)),
        first_difference=first,
    )


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


def _arena_note(graph: Graph, inputs: I8, rounding: Rounding, separate: I8) -> str:
    """The oracle once more inside its planned, poisoned arena."""
    arena = plan(graph)
    inside = run(graph, inputs, rounding=rounding, arena=arena)
    if not np.array_equal(inside, separate):
        raise ExportError(f"graph '{graph.name}'", "the arena plan overwrites an activation that is still needed")
    return f"also inside its planned arena of {arena.arena_bytes:,} B"


def _accuracy(engine: Engine, labelled: LabelledCodes) -> dict[str, Any]:
    answers = engine.output_codes(labelled.codes).reshape(len(labelled.codes), -1).argmax(axis=1)
    return {
        "accuracy": float(np.mean(answers == labelled.labels)),
        "accuracy_clips": len(labelled.labels),
        "float_agreement": float(np.mean(answers == labelled.float_labels)),
    }


@dataclass(frozen=True)
class LayerQuality:
    """How much an activation lost to its 8 bits, against the float network."""

    name: str
    op: str
    sqnr_db: float
    saturated_share: float


@dataclass(frozen=True, eq=False)
class FloatTrace:
    """Float activations by tensor name, NHWC float32 (n, ...), for the same clips as the codes."""

    values: dict[str, np.ndarray] = field(default_factory=dict)


def layer_quality(graph: Graph, codes: I8, reference: Mapping[str, np.ndarray]) -> tuple[LayerQuality, ...]:
    """SQNR in dB and the share of saturated codes of each activation that ``reference`` (float, NHWC) has too."""
    trace: dict[str, I8] = {}
    run(graph, codes, trace=trace)
    rows = []
    names = {graph.input: "input", **{n.output: OPS[type(n.op)].name for n in graph.nodes}}
    for tensor in graph.activations():
        if tensor.name not in reference:
            continue
        wanted = reference[tensor.name].astype(np.float64)
        got = dequantise(trace[tensor.name], tensor.quant).reshape(wanted.shape)
        noise = float(np.square(wanted - got).sum())
        sqnr = 10 * np.log10(max(float(np.square(wanted).sum()), 1e-30) / max(noise, 1e-30))
        edge = (trace[tensor.name] == 127) | (trace[tensor.name] == -128) & (tensor.quant.zero_point > -128)
        rows.append(LayerQuality(tensor.name, names[tensor.name], float(sqnr), float(edge.mean())))
    return tuple(rows)


def summary_rows(verification: Verification) -> Iterable[tuple[str, ...]]:
    """The matrix as text: target, rule, verdict, bytes, accuracy, flash, RAM, instructions."""
    for r in verification.results:
        f = r.figures
        ram = None if f is None else f.arena_bytes + (f.static_ram_bytes or 0) + (f.stack_bytes or 0)
        yield (
            r.target,
            r.rounding or "",
            r.status,
            f"{r.bytes_different:,} of {r.bytes_compared:,}" if r.bytes_compared else "",
            f"{r.accuracy:.1%} of {r.accuracy_clips}" if r.accuracy is not None else "",
            f"{r.float_agreement:.1%}" if r.float_agreement is not None else "",
            f"{f.flash_bytes:,}" if f and f.flash_bytes else "",
            f"{ram:,}" if ram else "",
            f"{f.instructions / 1e6:,.1f} M" if f and f.instructions else "",
        )
