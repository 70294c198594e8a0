"""What each section of the report says, worked out from the inputs; the template only sets it out.

Refuses nothing: a section without data says so. A target that was skipped is never counted as one that agrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from runtime.cost import RULES, Cost, Verdict
from runtime.graph import OPS, Graph
from runtime.plan import Plan

if TYPE_CHECKING:
    from firmware_harness.engine import Figures
    from training.metrics import Metrics

    from ..quality import LayerQuality
    from ..verify import TargetResult, Verification

State = Literal["pass", "warn", "skip", "fail"]
ACCURACY_MARGIN = 0.01  # what 8 bits may cost before the page calls it a warning
INT8 = "int8"  # the accuracy row of the model that ships


@dataclass(frozen=True, eq=False)
class AccuracyRow:
    """One model on the labelled clips: ``float``, ``int8``, ``no teacher``, a teacher."""

    name: str
    metrics: Metrics


@dataclass(frozen=True)
class Line:
    """One sentence of the verdict."""

    state: State
    text: str


@dataclass(frozen=True)
class Tile:
    """One key figure; ``share`` in [0, 1] of its limit draws a gauge."""

    label: str
    value: str
    unit: str
    notes: tuple[str, ...]
    state: State | None = None
    share: float | None = None


@dataclass(frozen=True)
class LayerRow:
    """One step of the network; step 0 is the input. ``quality`` where the float network shows this activation too."""

    step: int
    name: str
    op: str
    shape: tuple[int, ...]
    parameters: int
    n_bytes: int
    macs: int
    quality: LayerQuality | None


@dataclass(frozen=True)
class ConfusionCell:
    """Clips of one label that got one answer, and their share of that label's clips (None if it has none)."""

    count: int
    share: float | None


def headline(lines: Sequence[Line]) -> Line:
    """The verdict in a few words, as bad as its worst line."""
    states = {line.state for line in lines}
    if "fail" in states:
        return Line("fail", "Fails")
    if "skip" in states:
        return Line("skip", "Incomplete")
    return Line("warn", "Passes, with a warning") if "warn" in states else Line("pass", "Passes")


def verdict_lines(
    verification: Verification, budget: Sequence[Verdict], accuracy: Sequence[AccuracyRow]
) -> tuple[Line, ...]:
    """Targets, limits and the cost of 8 bits, each with its state."""
    lines = [*_target_lines(verification), *map(_budget_line, budget)]
    both = float_and_int8(accuracy)
    if both:
        before, after = both
        fits = before.accuracy - after.accuracy <= ACCURACY_MARGIN
        text = f"int8 answers {after.accuracy:.1%} of {after.clips:,} clips rightly, float {before.accuracy:.1%}: "
        text += f"{_points(before, after)}"
        lines.append(Line("pass" if fits else "warn", text if fits else f"{text}, more than 1 point lost"))
    return tuple(lines)


def _target_lines(verification: Verification) -> list[Line]:
    results = verification.results
    agree = [r for r in results if r.passed]
    named = [r.target for r in agree if r.status == "named exception"]
    lines = [
        Line("fail", f"{r.target} differs in {r.bytes_different:,} of {r.bytes_compared:,} bytes{_first_at(r)}")
        if r.status == "different"
        else Line("fail", f"{r.target} could not be run: {r.note}")
        for r in verification.failed
    ]
    if agree:
        text = f"{len(agree)} of {len(results)} targets agree with the integer graph, op by op"
        text += f"; of these {', '.join(named)} with named exceptions" if named else ", in every byte"
        lines.append(Line("pass", text))
    if verification.skipped:
        names = ", ".join(r.target for r in verification.skipped)
        lines.append(Line("skip", f"{len(verification.skipped)} of {len(results)} targets did not run: {names}"))
    return lines or [Line("skip", "No target was run")]


def _first_at(result: TargetResult) -> str:
    first = result.first_difference
    return f", first in layer {first.layer} '{first.name}' ({first.op})" if first else ""


def _budget_line(verdict: Verdict) -> Line:
    what = "Parameters take" if verdict.limit_name == "size" else "One clip takes"
    text = f"{what} {verdict.measured:,} {verdict.unit} of at most {verdict.limit:,} {verdict.unit}"
    over = verdict.measured - verdict.limit
    return Line("pass", text) if verdict.passed else Line("fail", f"{text}: {over:,} {verdict.unit} too many")


def float_and_int8(accuracy: Sequence[AccuracyRow]) -> tuple[Metrics, Metrics] | None:
    """Metrics of the float model and of the int8 one, if both were measured."""
    by_name = {row.name: row.metrics for row in accuracy}
    return (by_name["float"], by_name[INT8]) if {"float", INT8} <= by_name.keys() else None


def _points(before: Metrics, after: Metrics) -> str:
    lost = 100 * (after.accuracy - before.accuracy)
    return f"{lost:+.1f} points".replace("-", "−")


def tiles(
    verification: Verification, budget: Sequence[Verdict], accuracy: Sequence[AccuracyRow], memory: Plan
) -> tuple[Tile, ...]:
    """The key figures at the top."""
    size, macs = budget
    return (
        _accuracy_tile(accuracy),
        _budget_tile("Parameters", size, f"{size.measured:,}"),
        _budget_tile("MACs per clip", macs, f"{macs.measured:,}"),
        Tile(
            "Activation RAM",
            f"{memory.arena_bytes:,}",
            "B",
            (f"arena as planned; at most {memory.floor_bytes:,} B are alive at once",),
        ),
        _instruction_tile(verification),
        _targets_tile(verification),
    )


def _accuracy_tile(accuracy: Sequence[AccuracyRow]) -> Tile:
    row = shipped_row(accuracy)
    if row is None:
        return Tile("Accuracy", "–", "", ("no answers on labelled clips were given",))
    both = float_and_int8(accuracy)
    notes = (f"float {both[0].accuracy:.1%}, so {_points(*both)}",) if both else ()
    return Tile(
        f"Accuracy, {row.name}", f"{100 * row.metrics.accuracy:.1f}", "%", (*notes, f"of {row.metrics.clips:,} clips")
    )


def _budget_tile(label: str, verdict: Verdict, value: str) -> Tile:
    share = verdict.measured / verdict.limit
    notes = (f"{share:.1%} of {verdict.limit:,} {verdict.unit}",)
    unit = verdict.unit if verdict.unit == "B" else ""
    return Tile(label, value, unit, notes, "pass" if verdict.passed else "fail", min(share, 1.0))


def _instruction_tile(verification: Verification) -> Tile:
    measured = [(r, r.figures.instructions) for r in verification.results if r.figures and r.figures.instructions]
    if not measured:
        return Tile("Instructions per clip", "–", "", ("no emulated target ran",))
    first, instructions = measured[0]
    notes = [first.target] + [f"{r.target} {count / 1e6:,.1f} M" for r, count in measured[1:]]
    return Tile("Instructions per clip", f"{instructions / 1e6:,.1f}", "M", tuple(notes))


def _targets_tile(verification: Verification) -> Tile:
    results = verification.results
    counts = {status: sum(r.status == status for r in results) for status in ("equal", "named exception")}
    agree = sum(counts.values())
    others = {"different": len(verification.failed), "skipped": len(verification.skipped), **counts}
    words = {"equal": "in every byte", "named exception": "with a named exception"}
    notes = tuple(f"{n} {words.get(status, status)}" for status, n in others.items() if n)
    state: State = "fail" if verification.failed else "skip" if agree < len(results) or not results else "pass"
    return Tile("Targets that agree", f"{agree}", f"of {len(results)}", notes, state)


def ram_bytes(figures: Figures | None) -> int | None:
    """Arena, static data and the deepest stack together, as far as they are known."""
    if figures is None:
        return None
    return figures.arena_bytes + (figures.static_ram_bytes or 0) + (figures.stack_bytes or 0)


def shipped_row(accuracy: Sequence[AccuracyRow]) -> AccuracyRow | None:
    """The int8 model's row; the first one if there is none of that name; None without any."""
    return next((row for row in accuracy if row.name == INT8), accuracy[0] if accuracy else None)


def devices(accuracy: Sequence[AccuracyRow]) -> tuple[str, ...]:
    """Every device that any model was measured on, sorted."""
    return tuple(sorted({device for row in accuracy for device in row.metrics.per_device}))


def confusion_cells(metrics: Metrics) -> tuple[tuple[ConfusionCell, ...], ...]:
    """Counts and shares; one row per true label, one column per answer."""
    return tuple(
        tuple(ConfusionCell(count, count / sum(row) if sum(row) else None) for count in row)
        for row in metrics.confusion
    )


def layer_rows(graph: Graph, cost: Cost, quality: Sequence[LayerQuality]) -> tuple[LayerRow, ...]:
    """The input and every node, with what it costs and what its activation lost to 8 bits."""
    by_tensor = {q.name: q for q in quality}
    source = graph.tensors[graph.input]
    rows = [LayerRow(0, source.name, "input", source.shape[1:], 0, 0, 0, by_tensor.get(source.name))]
    for step, (node, layer) in enumerate(zip(graph.nodes, cost.layers, strict=True), start=1):
        op, shape = OPS[type(node.op)].name, graph.out(node).shape[1:]
        quality_here = by_tensor.get(node.output)
        rows.append(LayerRow(step, node.name, op, shape, layer.parameters, layer.n_bytes, layer.macs, quality_here))
    return tuple(rows)


def peak_step(memory: Plan) -> int:
    """The first step at which most bytes are alive."""
    return memory.live_bytes().index(memory.floor_bytes)


def rule_text(cost: Cost) -> str:
    """The counting rule in words."""
    return RULES[cost.rule]
