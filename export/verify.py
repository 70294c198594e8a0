"""Prove that every target computes what the integer graph means, and measure the accuracy each one has.

Each target shows all its activations for the golden inputs (:mod:`export.compare`), and then runs the file that the
bundle really ships. A target whose tool is missing is a skip with the command that installs it, never a pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from firmware_harness.engine import Figures, HostC, QemuM4
from runtime.arith import I8, Rounding
from runtime.bundle import Bundle
from runtime.engines import ENGINES, Engine, ModelFiles, open_engine
from runtime.errors import TinysceneError
from runtime.graph import Graph
from runtime.interpreter import run
from runtime.plan import plan

from .compare import Comparison, Difference, compare
from .errors import ExportError
from .to_onnx import to_onnx
from .to_tflite import to_tflite

Status = Literal["equal", "named exception", "different", "skipped"]


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
    shipped: ModelFiles | None = None,
    on_target: Callable[[str], None] | None = None,
) -> Verification:
    """Run every target on ``inputs`` int8 (n, H, W, C) and, if given, on labelled clips.

    Args:
        shipped: the files a user gets, a bundle; their answers are compared and their accuracy is measured.
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
        results.append(_run_target(name, files, inputs, labelled, shipped))
    accuracy = None if labelled is None else float(np.mean(labelled.float_labels == labelled.labels))
    return Verification(graph.name, tuple(results), labelled.data if labelled else "", accuracy)


def verify_bundle(
    bundle: Bundle,
    *,
    targets: Sequence[str] = tuple(TARGETS),
    labelled: LabelledCodes | None = None,
    on_target: Callable[[str], None] | None = None,
) -> Verification:
    """Verify a bundle on its golden vectors, after checking that they still are what the graph computes.

    Raises:
        ExportError: the golden activations are not the interpreter's (another version made the bundle).
    """
    golden = bundle.golden()
    for rounding in ("double", "single"):
        trace: dict[str, I8] = {}
        run(bundle.graph, golden.inputs, rounding=rounding, trace=trace)
        for name, wanted in golden.activations[rounding].items():
            if not np.array_equal(trace[name], wanted):
                raise ExportError(
                    f"{bundle.path}, golden.npz, {rounding}/{name}",
                    "is not what this version computes",
                    next_step=bundle.manifest["rebuild"],
                )
    return verify(bundle.graph, golden.inputs, targets=targets, labelled=labelled, shipped=bundle, on_target=on_target)


def _run_target(
    name: str, files: _Exposed, inputs: I8, labelled: LabelledCodes | None, shipped: ModelFiles | None
) -> TargetResult:
    start = time.perf_counter()
    row = TARGETS[name]
    try:
        engine = row.open(files)
    except TinysceneError as problem:
        if problem.next_step:  # a missing tool says how to get it; everything else is a fault of ours
            return TargetResult(name, None, "skipped", note=str(problem))
        raise
    shown = engine.outputs(inputs)
    comparison = compare(name, engine.rounding, files.graph, inputs, shown)
    product = open_engine(name, shipped) if shipped is not None and name in ENGINES else engine
    output_differs = not np.array_equal(product.output_codes(inputs), shown[files.graph.output])
    notes = list(engine.notes)
    if output_differs:
        notes.append("the shipped file does not answer as the same file with all activations exposed")
    if name.startswith("numpy-"):
        notes.append(_arena_note(files.graph, inputs, engine.rounding, shown[files.graph.output]))
    measured: dict[str, Any] = {}
    if labelled is not None:
        measured = _accuracy(product, labelled if row.max_clips is None else labelled.sample(row.max_clips))
    return TargetResult(
        name,
        engine.rounding,
        _status(comparison, output_differs),
        note="; ".join(notes),
        vectors=len(inputs),
        **vars(comparison),
        figures=getattr(engine, "figures", None),
        seconds=time.perf_counter() - start,
        **measured,
    )


def _status(comparison: Comparison, output_differs: bool) -> Status:
    if comparison.first_difference or (output_differs and not comparison.exceptions):
        return "different"
    return "named exception" if comparison.exceptions else "equal"


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
