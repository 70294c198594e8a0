"""Verify that every target computes the integer graph, and measure the accuracy of each.

Each target returns all its activations for the golden inputs (:mod:`tinyscene.export.verify.op_comparison`), and then
runs the file that the bundle ships. A target whose tool is missing is skipped with the command that installs it, and
one that cannot run the network is reported as refused, with the reason; neither passes, and the others still run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.firmware_harness.run.modelled import on_reference_board
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.bundle import Bundle, Golden
from tinyscene.runtime.engines import Engine, ModelFiles, NumpyEngine
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.host import usable_cores
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.manifest import ADVICE
from tinyscene.runtime.plan import plan
from tinyscene.runtime.vectors import joined
from tinyscene.training.statistics import mcnemar_p, wilson_interval

from ..errors import ExportError
from ..labelled.codes import LabelledCodes
from ..targets.conversion import Conversion
from ..targets.isolated import Isolated
from ..targets.table import TARGETS, ConverterRow, Exposed, TargetRow, own_files, targets_of
from .op_comparison import Comparison, compare
from .results import Accuracy, FrontEndComparison, Predictions, Status, TargetResult, Verification
from .signals import Signals

EXPLAINED_CLIPS = 4  # clips whose scores are not the graph's, of which every op is compared


def verify(
    graph: Graph,
    inputs: I8,
    *,
    targets: Sequence[str] | None = None,
    labelled: LabelledCodes | None = None,
    shipped: ModelFiles | None = None,
    signals: Signals | None = None,
    on_target: Callable[[str], None] | None = None,
) -> Verification:
    """Run every target on ``inputs``, vectors int8 (n, ...), and, if given, on labelled clips.

    Args:
        targets: every target of the model if left out.
        shipped: the files that users get, a bundle; their output is compared and their accuracy is measured. Where
            they are not what this version writes for the graph, native engines run in worker processes.
        signals: samples for the front ends of targets that have their own, where every code must be equal.
        on_target: called with the name of each target before it runs, in the thread that runs it.

    Raises:
        ExportError: unknown target.
    """
    targets = targets_of(shipped) if targets is None else targets
    unknown = [name for name in targets if name not in TARGETS]
    if unknown:
        raise ExportError(f"target '{unknown[0]}'", "unknown", expected=" | ".join(TARGETS))
    exposed = Exposed(graph.check())
    if shipped is None or own_files(shipped):
        subject = _Subject(exposed, inputs, labelled, shipped, shipped, signals)
    else:
        subject = _Subject(Isolated(exposed), inputs, labelled, Isolated(shipped), shipped, signals)

    def timed(name: str) -> TargetResult:
        if on_target:
            on_target(name)
        start = time.perf_counter()
        result = _run_target(name, subject)
        return replace(result, means=TARGETS[name].means, seconds=time.perf_counter() - start)

    results = _side_by_side(timed, targets)
    accuracy = None
    if labelled is not None and labelled.labels is not None:
        accuracy = float(np.mean(labelled.float_labels == labelled.labels))
    return Verification(graph.name, tuple(results), labelled.data if labelled else "", accuracy)


def _side_by_side(timed: Callable[[str], TargetResult], targets: Sequence[str]) -> list[TargetResult]:
    """The results in the order of ``targets``, which run in as many threads as this process has processors.

    Compilers and emulators are other processes, most of the time. After an exception no further target begins.
    """
    at_once = min(len(targets), usable_cores())
    if at_once < 2:
        return [timed(name) for name in targets]
    pool = ThreadPoolExecutor(at_once)
    try:
        return list(pool.map(timed, targets))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def verify_bundle(
    bundle: Bundle,
    *,
    targets: Sequence[str] | None = None,
    labelled: LabelledCodes | None = None,
    on_target: Callable[[str], None] | None = None,
) -> Verification:
    """Verify a bundle on its golden vectors, after comparing these with what the graph computes.

    Raises:
        ExportError: the golden activations are not the interpreter's (the bundle is from another version).
    """
    golden = bundle.golden()
    for rounding, activations in Golden.of(bundle.graph, golden.inputs).activations.items():
        for name, expected in golden.activations[rounding].items():
            if not np.array_equal(activations[name], expected):
                raise ExportError(
                    f"{bundle.path}, golden.npz, {rounding}/{name}",
                    "is not what this version computes",
                    next_step=ADVICE,
                )
    return verify(
        bundle.graph,
        golden.inputs,
        targets=targets,
        labelled=labelled,
        shipped=bundle,
        signals=Signals.of(bundle),
        on_target=on_target,
    )


@dataclass(frozen=True, eq=False)
class _Subject:
    """What every target runs: the graph's files with all activations as outputs, inputs, clips, the shipped files.

    ``given`` is the model itself, for the targets that run the file that a user gave; ``signals`` go through front ends
    that must agree.
    """

    files: Exposed | Isolated
    inputs: I8
    labelled: LabelledCodes | None
    shipped: ModelFiles | None
    given: ModelFiles | None
    signals: Signals | None

    @property
    def graph(self) -> Graph:
        return self.files.graph


@dataclass(frozen=True, eq=False)
class _ClipResults:
    """``unequal``: the codes int8 (n, H, W, C) of clips whose scores are not the graph's."""

    predictions: Predictions
    front_end: FrontEndComparison | None
    unequal: I8


def _run_target(name: str, subject: _Subject) -> TargetResult:
    row, rounding = TARGETS[name], None
    try:
        if isinstance(row, ConverterRow):
            subject.graph.require_one_each()
            return _converted(name, row.convert(subject.files, subject.inputs), len(subject.inputs))
        engine = row.open((subject.given or subject.files) if row.reads_original else subject.files)
        rounding = engine.rounding
        return _compared(name, row, engine, subject)
    except TinysceneError as problem:  # the other targets still run
        return TargetResult(name, rounding, _status_of(problem), note=str(problem))


def _status_of(problem: TinysceneError) -> Status:
    if problem.missing:
        return "skipped"
    return "refused" if problem.unsupported else "failed"


def _converted(name: str, conversion: Conversion, vectors: int) -> TargetResult:
    c = conversion
    note = "; ".join(filter(None, (c.fault, c.note)))
    comparison = Comparison(vectors, c.bytes_compared, c.bytes_different, c.max_lsb, c.exceptions)
    return TargetResult(name, None, c.status, note=note, comparison=comparison)


def _compared(name: str, row: TargetRow, engine: Engine, subject: _Subject) -> TargetResult:
    """Run an engine on the inputs, on the clips, and on some of the clips where its scores are not the graph's."""
    graph, inputs = subject.graph, subject.inputs
    product = row.open(subject.shipped) if subject.shipped is not None and row.reads_files else engine
    clips = None if subject.labelled is None else _run_clips(row, product, subject.labelled, graph)
    if clips is not None:
        inputs = np.concatenate([inputs, clips.unequal[:EXPLAINED_CLIPS]])
    activations = engine.outputs(inputs)
    comparison = compare(name, engine.rounding, graph, inputs, activations)
    output_differs = not np.array_equal(product.output_codes(inputs), joined(graph, graph.outputs, activations))
    notes = [*engine.notes]
    front_end = _front_end(row, subject, clips)
    wrong_codes = subject.signals is not None and front_end is not None and front_end.codes_different > 0
    if front_end is not None:
        notes.append(_front_end_note(front_end))
    if output_differs:
        notes.append("the file gives other scores than the same file with all activations as outputs")
    if isinstance(engine, NumpyEngine):
        notes.append(_arena_note(graph, inputs, engine.rounding, joined(graph, graph.outputs, activations)))
    return TargetResult(
        name,
        engine.rounding,
        _status(comparison, output_differs or wrong_codes),
        note="; ".join(notes),
        comparison=comparison,
        predictions=clips.predictions if clips else None,
        front_end=front_end,
        cost=engine.figures if isinstance(engine, FirmwareEngine) else None,
        modelled=on_reference_board(engine, engine.zeros) if isinstance(engine, FirmwareEngine) else None,
    )


def _front_end(row: TargetRow, subject: _Subject, clips: _ClipResults | None) -> FrontEndComparison | None:
    """The target's own front end on the user's clips, or on test signals."""
    if clips is not None and clips.front_end is not None:
        return clips.front_end
    own = row.own_front_end(subject.signals.spec) if subject.signals else None
    return subject.signals.through(own) if subject.signals and own else None


def _run_clips(row: TargetRow, engine: Engine, labelled: LabelledCodes, graph: Graph) -> _ClipResults:
    """Run an engine on labelled clips, through the target's own front end if it has one."""
    clips = labelled if row.max_clips is None else labelled.sample(row.max_clips)
    codes = clips.inputs_of(row.own_front_end(clips.audio.frontend) if clips.audio else None, graph)
    scores, expected = engine.output_codes(codes), clips.oracle(graph, engine.rounding).copy()
    front_end = None
    if codes is not clips.codes:
        front_end = FrontEndComparison.of(codes, clips.codes)
        rows = (codes != clips.codes).reshape(len(codes), -1).any(axis=1)
        if rows.any():  # the network is not charged for what its front end changed
            expected[rows] = NumpyEngine(graph, engine.rounding).output_codes(codes[rows])
    unequal = (scores != expected).reshape(len(scores), -1)
    labels = scores.reshape(len(scores), -1).argmax(axis=1)
    predictions = Predictions(
        clips=len(labels),
        scores_different=int(np.count_nonzero(unequal)),
        float_agreement=float(np.mean(labels == clips.float_labels)),
        accuracy=_accuracy(labels, clips),
    )
    return _ClipResults(predictions, front_end, codes[unequal.any(axis=1)])


def _accuracy(labels: np.ndarray, clips: LabelledCodes) -> Accuracy | None:
    if clips.labels is None:
        return None
    correct, float_correct = labels == clips.labels, clips.float_labels == clips.labels
    return Accuracy(
        share=float(np.mean(correct)),
        interval=wilson_interval(int(correct.sum()), len(correct)),
        float_share=float(np.mean(float_correct)),
        mcnemar_p=mcnemar_p(correct, float_correct),
        per_device={str(d): float(np.mean(correct[clips.devices == d])) for d in np.unique(clips.devices)},
    )


def _front_end_note(comparison: FrontEndComparison) -> str:
    c = comparison
    text = f"own front end: {c.codes_different:,} of {c.codes_compared:,} codes differ from the runtime's"
    return f"{text}, by at most {c.max_lsb}" if c.codes_different else text


def _status(comparison: Comparison, output_differs: bool) -> Status:
    if comparison.first_difference or (output_differs and not comparison.exceptions):
        return "different"
    return "named exception" if comparison.exceptions else "equal"


def _arena_note(graph: Graph, inputs: I8, rounding: Rounding, expected: I8) -> str:
    """Run the interpreter once more in its planned arena, filled with other values first."""
    arena = plan(graph)
    if not np.array_equal(run(graph, inputs, rounding=rounding, arena=arena), expected):
        raise ExportError(f"graph '{graph.name}'", "the arena plan overwrites an activation that is still needed")
    return f"equal in its planned arena of {arena.arena_bytes:,} B"
