"""Prove that every target computes what the integer graph means, and measure the accuracy each one has.

Each target shows all its activations for the golden inputs (:mod:`tinyscene.export.verify.op_comparison`), and then
runs the file that the bundle really ships. A target whose tool is missing is a skip with the command that installs it,
never a pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tinyscene.firmware_harness.run.engine import Figures, FirmwareEngine
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.bundle import Bundle, Golden
from tinyscene.runtime.engines import Engine, ModelFiles, NumpyEngine
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.plan import plan
from tinyscene.training.statistics import mcnemar_p, wilson_interval

from ..errors import ExportError
from ..labelled.codes import LabelledCodes
from ..targets.conversion import Conversion
from ..targets.table import TARGETS, ConverterRow, Exposed, Means, TargetRow
from .op_comparison import Comparison, Difference, compare

EXPLAINED_CLIPS = 4  # of those whose scores are not the graph's
Status = Literal["equal", "named exception", "converted", "different", "failed", "skipped"]


@dataclass(frozen=True)
class TargetResult:
    """What one target did. ``bytes_*`` count op outputs over all vectors, the first few clips whose scores are not the
    graph's among them; ``exceptions`` name tolerated ops.

    ``means`` says whether it executes on this machine's processor, an emulator stands in for its own, or the network
    is converted for it. ``converted`` is the status of what was written and compared, but could not be run here.

    ``accuracy`` and ``float_accuracy``, that of the float network, are on the same ``accuracy_clips`` clips;
    ``accuracy_interval`` holds with 95 %, ``differs_from_float_p`` is McNemar's; ``scores_different`` counts the output
    codes of these clips that are not the graph's. A target with a front end of its own hears the clips through it;
    ``front_end_codes_different`` of its codes are not those of the runtime, by ``front_end_max_lsb`` at most.
    """

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
    float_accuracy: float | None = None
    accuracy_interval: tuple[float, float] | None = None
    accuracy_by_device: dict[str, float] | None = None
    differs_from_float_p: float | None = None
    scores_different: int | None = None
    accuracy_clips: int = 0
    float_agreement: float | None = None
    front_end_codes_different: int | None = None
    front_end_max_lsb: int | None = None
    means: Means = "executes"

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
        return tuple(r for r in self.results if r.status in ("different", "failed"))

    @property
    def skipped(self) -> tuple[TargetResult, ...]:
        return tuple(r for r in self.results if r.status == "skipped")


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
    files = Exposed(graph.check())
    results = []
    for name in targets:
        if on_target:
            on_target(name)
        result = _run_target(name, files, inputs, labelled, shipped)
        results.append(replace(result, means=TARGETS[name].means))
    accuracy = None
    if labelled is not None and labelled.labels is not None:
        accuracy = float(np.mean(labelled.float_labels == labelled.labels))
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
    for rounding, activations in Golden.of(bundle.graph, golden.inputs).activations.items():
        for name, wanted in golden.activations[rounding].items():
            if not np.array_equal(activations[name], wanted):
                raise ExportError(
                    f"{bundle.path}, golden.npz, {rounding}/{name}",
                    "is not what this version computes",
                    next_step=bundle.manifest.rebuild,
                )
    return verify(bundle.graph, golden.inputs, targets=targets, labelled=labelled, shipped=bundle, on_target=on_target)


def _run_target(
    name: str, files: Exposed, inputs: I8, labelled: LabelledCodes | None, shipped: ModelFiles | None
) -> TargetResult:
    start = time.perf_counter()
    row = TARGETS[name]
    try:
        if isinstance(row, ConverterRow):
            return _converted(name, row.convert(files, inputs), len(inputs), start)
        engine = row.open(files)
    except TinysceneError as problem:
        return TargetResult(name, None, "skipped" if problem.missing else "failed", note=str(problem))
    try:
        return _compared(name, row, engine, files, inputs, labelled, shipped, start)
    except TinysceneError as problem:  # the other targets still have their say
        return TargetResult(name, engine.rounding, "skipped" if problem.missing else "failed", note=str(problem))


def _converted(name: str, found: Conversion, vectors: int, start: float) -> TargetResult:
    return TargetResult(
        name,
        None,
        found.status,
        note="; ".join(filter(None, (found.fault, found.note))),
        vectors=vectors,
        bytes_compared=found.bytes_compared,
        bytes_different=found.bytes_different,
        max_lsb=found.max_lsb,
        exceptions=found.exceptions,
        seconds=time.perf_counter() - start,
    )


def _compared(
    name: str,
    row: TargetRow,
    engine: Engine,
    files: Exposed,
    inputs: I8,
    labelled: LabelledCodes | None,
    shipped: ModelFiles | None,
    start: float,
) -> TargetResult:
    product = row.open(shipped) if shipped is not None and row.reads_files else engine
    measured: dict[str, Any] = {}
    if labelled is not None:  # what the golden vectors do not show is looked at where it shows
        clips = labelled if row.max_clips is None else labelled.sample(row.max_clips)
        codes = clips.heard(row.front_end, files.graph)
        measured, off = _answered(product, codes, clips, files.graph)
        if codes is not clips.codes:
            measured |= _parted(codes, clips.codes)
        inputs = np.concatenate([inputs, off[:EXPLAINED_CLIPS]])
    shown = engine.outputs(inputs)
    comparison = compare(name, engine.rounding, files.graph, inputs, shown)
    output_differs = not np.array_equal(product.output_codes(inputs), shown[files.graph.output])
    notes = [*engine.notes, *_front_end_note(measured, labelled)]
    if output_differs:
        notes.append("the shipped file does not answer as the same file with all activations exposed")
    if isinstance(engine, NumpyEngine):
        notes.append(_arena_note(files.graph, inputs, engine.rounding, shown[files.graph.output]))
    return TargetResult(
        name,
        engine.rounding,
        _status(comparison, output_differs),
        note="; ".join(notes),
        vectors=len(inputs),
        **vars(comparison),
        figures=engine.figures if isinstance(engine, FirmwareEngine) else None,
        seconds=time.perf_counter() - start,
        **measured,
    )


def _front_end_note(measured: Mapping[str, Any], labelled: LabelledCodes | None) -> Iterator[str]:
    off = measured.get("front_end_codes_different")
    if off is not None and labelled is not None:
        total = measured["accuracy_clips"] * labelled.codes[0].size
        largest = measured["front_end_max_lsb"]
        yield f"hears through its own front end: {off:,} of {total:,} codes are not the runtime's, by {largest} at most"


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


def _parted(codes: I8, runtimes: I8) -> dict[str, Any]:
    """How the inputs that a front end made part from those of the runtime's."""
    off = np.abs(codes.astype(np.int16) - runtimes)
    return {"front_end_codes_different": int(np.count_nonzero(off)), "front_end_max_lsb": int(off.max())}


def _answered(engine: Engine, codes: I8, labelled: LabelledCodes, graph: Graph) -> tuple[dict[str, Any], I8]:
    """What the clips say of a target, and the codes of those whose scores are not the graph's."""
    scores, wanted = engine.output_codes(codes), labelled.oracle(graph, engine.rounding).copy()
    others = (codes != labelled.codes).reshape(len(codes), -1).any(axis=1)
    if others.any():
        wanted[others] = NumpyEngine(graph, engine.rounding).output_codes(codes[others])
    wrong = (scores != wanted).reshape(len(scores), -1)
    off = codes[wrong.any(axis=1)]
    answers = scores.reshape(len(scores), -1).argmax(axis=1)
    found = {
        "scores_different": int(np.count_nonzero(wrong)),
        "accuracy_clips": len(answers),
        "float_agreement": float(np.mean(answers == labelled.float_labels)),
    }
    if labelled.labels is None:
        return found, off
    right, float_right = answers == labelled.labels, labelled.float_labels == labelled.labels
    devices = np.unique(labelled.devices)
    found |= {
        "accuracy": float(np.mean(right)),
        "float_accuracy": float(np.mean(float_right)),
        "accuracy_interval": wilson_interval(int(right.sum()), len(right)),
        "accuracy_by_device": {str(d): float(np.mean(right[labelled.devices == d])) for d in devices},
        "differs_from_float_p": mcnemar_p(right, float_right),
    }
    return found, off
