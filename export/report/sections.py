"""The texts and figures of the report's sections, computed from its record; the templates only lay them out.

Refuses nothing: a section without data states it. A skipped target never counts as one that agrees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinyscene.firmware_harness.run.engine import Figures
from tinyscene.runtime.cost import Verdict
from tinyscene.training.page.template import Tile, interval_text

from ..targets.ethos_u import Estimate, Estimates
from ..verify.results import TargetResult, Verification
from .firmware_cost import CallCost, FirmwareCost, Profile
from .records import AccuracyRow, Document, LayerRow, Line, State

ACCURACY_MARGIN = 0.01  # accuracy that int8 may lose before it is a warning
INT8 = "int8"  # the accuracy row of the model that ships


def headline(lines: Sequence[Line]) -> Line:
    """The verdict in a few words: the state of its worst line."""
    states = {line.state for line in lines}
    if "fail" in states:
        return Line("fail", "Fails")
    if "skip" in states:
        return Line("skip", "Incomplete")
    return Line("warn", "Passes, with a warning") if "warn" in states else Line("pass", "Passes")


def verdict_lines(
    verification: Verification,
    estimates: Estimates,
    firmware: FirmwareCost,
    budget: Sequence[Verdict],
    accuracy: Sequence[AccuracyRow],
) -> tuple[Line, ...]:
    """Targets, limits and the accuracy of int8, each with its state."""
    lines = [*_target_lines(verification), *_npu_lines(estimates), *map(_budget_line, budget)]
    both = float_and_int8(accuracy)
    if both:
        before, after = both
        fits = before.accuracy - after.accuracy <= ACCURACY_MARGIN
        text = f"int8 classifies {after.accuracy:.1%} of {after.clips:,} clips correctly, float {before.accuracy:.1%}: "
        text += f"{_points(before, after)}"
        lines.append(Line("pass" if fits else "warn", text if fits else f"{text}, more than 1 point lost"))
    if firmware.left_out:
        lines.append(Line("skip", f"Cost as firmware was not measured: {', '.join(firmware.left_out)}"))
    return tuple(lines)


def _target_lines(verification: Verification) -> list[Line]:
    written = [r.target for r in verification.results if r.status == "converted"]
    results = [r for r in verification.results if r.status != "converted"]
    agree = [r for r in results if r.passed]
    named = [r.target for r in agree if r.status == "named exception"]
    lines = [_failed_line(result) for result in verification.failed]
    if agree:
        text = f"{len(agree)} of {len(results)} targets agree with the integer graph, op by op"
        text += f"; with named exceptions: {', '.join(named)}" if named else ", in every byte"
        lines.append(Line("pass", text))
    if written:
        lines.append(Line("pass", f"Converted and read back, but not run: {', '.join(written)}"))
    if verification.refused:
        names = ", ".join(r.target for r in verification.refused)
        lines.append(Line("warn", f"{len(verification.refused)} of {len(results)} targets cannot run it: {names}"))
    if verification.skipped:
        names = ", ".join(r.target for r in verification.skipped)
        lines.append(Line("skip", f"{len(verification.skipped)} of {len(results)} targets did not run: {names}"))
    return lines or [Line("skip", "No target was run")]


def _failed_line(result: TargetResult) -> Line:
    if result.status == "failed" or result.comparison is None:
        return Line("fail", f"{result.target} could not be run: {result.note}")
    c = result.comparison
    text = f"{result.target} differs in {c.bytes_different:,} of {c.bytes_compared:,} bytes"
    first = c.first_difference
    return Line("fail", f"{text}, first in layer {first.layer} '{first.name}' ({first.op})" if first else text)


def _npu_lines(estimates: Estimates) -> Iterator[Line]:
    """Vela's estimates, at worst a warning: an op on the CPU is slow, not wrong."""
    whole = [e.npu for e in estimates.rows if not e.ops_on_cpu]
    if whole:
        yield Line("pass", f"Every op runs on the NPU, estimated by Vela: {', '.join(whole)}")
    for e in estimates.rows:
        if e.ops_on_cpu:
            yield Line("warn", f"{e.npu} leaves {e.ops_on_cpu} of {e.ops_on_npu + e.ops_on_cpu} ops to the CPU")
    if estimates.left_out:
        yield Line("skip", f"NPUs without an estimate: {', '.join(estimates.left_out)}")


def _budget_line(verdict: Verdict) -> Line:
    name = "Parameters" if verdict.limit_name == "size" else "MACs per clip"
    text = f"{name}: {verdict.measured:,} {verdict.unit}, limit {verdict.limit:,} {verdict.unit}"
    over = verdict.measured - verdict.limit
    return Line("pass", text) if verdict.passed else Line("fail", f"{text}: {over:,} {verdict.unit} over the limit")


def float_and_int8(accuracy: Sequence[AccuracyRow]) -> tuple[AccuracyRow, AccuracyRow] | None:
    """The float model and the int8 one, if both were measured."""
    by_name = {row.name: row for row in accuracy}
    return (by_name["float"], by_name[INT8]) if {"float", INT8} <= by_name.keys() else None


def _points(before: AccuracyRow, after: AccuracyRow) -> str:
    change = 100 * (after.accuracy - before.accuracy)
    return f"{change:+.1f} points".replace("-", "−")


def tiles(document: Document) -> tuple[Tile, ...]:
    """The key figures at the top."""
    cost, limits = document.cost, {verdict.limit_name: verdict for verdict in document.cost.limits}
    return (
        _accuracy_tile(document.accuracy),
        _budget_tile("Parameters", cost.n_bytes, "B", limits.get("size")),
        _budget_tile("MACs per clip", cost.macs, "", limits.get("macs")),
        _memory_tile(document),
        _instruction_tile(document.firmware),
        _targets_tile(document.verification),
    )


def _accuracy_tile(accuracy: Sequence[AccuracyRow]) -> Tile:
    row = shipped_row(accuracy)
    if row is None:
        return Tile("Accuracy", "–", "", ("no labelled clips were given",))
    both = float_and_int8(accuracy)
    notes = (f"float {both[0].accuracy:.1%}: {_points(*both)}",) if both else ()
    of = f"of {row.clips:,} clips; 95 %: {interval_text(row.interval)}"
    return Tile(f"Accuracy, {row.name}", f"{100 * row.accuracy:.1f}", "%", (*notes, of))


def _budget_tile(label: str, measured: int, unit: str, verdict: Verdict | None) -> Tile:
    if verdict is None:
        return Tile(label, f"{measured:,}", unit, ("no limit was set",))
    share = verdict.measured / verdict.limit
    notes = (f"{share:.1%} of {verdict.limit:,} {verdict.unit}",)
    return Tile(label, f"{measured:,}", unit, notes, "pass" if verdict.passed else "fail", min(share, 1.0))


def _memory_tile(document: Document) -> Tile:
    """The smallest arena measured as firmware; the planned one if none was measured."""
    planned = document.memory.arena_bytes
    smallest = min(document.firmware.ways, key=lambda way: way.figures.arena_bytes, default=None)
    if smallest is None or smallest.figures.arena_bytes >= planned:
        return Tile("Activation RAM", f"{planned:,}", "B", ("planned arena, layer by layer",))
    notes = (f"{smallest.machine}, {smallest.optimise}", f"{planned:,} B layer by layer")
    return Tile("Activation RAM", f"{smallest.figures.arena_bytes:,}", "B", notes)


def _instruction_tile(firmware: FirmwareCost) -> Tile:
    profiles = firmware.profiles
    if not profiles:
        return Tile("Instructions per clip", "–", "", ("no emulated machine was measured",))
    first, *others = profiles
    notes = [f"{first.machine}, {first.optimise}", *(f"{p.machine} {p.instructions / 1e6:,.1f} M" for p in others)]
    notes += [
        f"{way.modelled.milliseconds} ms on {way.modelled.board}"
        for way in firmware.ways
        if way.modelled is not None and way.optimise == first.optimise
    ]
    return Tile("Instructions per clip", f"{first.instructions / 1e6:,.1f}", "M", tuple(notes))


def _targets_tile(verification: Verification) -> Tile:
    results = [r for r in verification.results if r.status != "converted"]
    counts = {status: sum(r.status == status for r in results) for status in ("equal", "named exception")}
    agree = sum(counts.values())
    others = {"different": verification.failed, "refused": verification.refused, "skipped": verification.skipped}
    count_of = {**{status: len(results) for status, results in others.items()}, **counts}
    words = {"equal": "in every byte", "named exception": "with a named exception"}
    notes = tuple(f"{n} {words.get(status, status)}" for status, n in count_of.items() if n)
    state: State = "fail" if verification.failed else "skip" if agree < len(results) or not results else "pass"
    return Tile("Targets that agree", f"{agree}", f"of {len(results)}", notes, state)


def ram_bytes(figures: Figures | None) -> int | None:
    """Arena, static data and deepest stack together, as far as they were measured."""
    if figures is None:
        return None
    return figures.arena_bytes + (figures.static_ram_bytes or 0) + (figures.stack_bytes or 0)


def shipped_row(accuracy: Sequence[AccuracyRow]) -> AccuracyRow | None:
    """The int8 model's row; the first row if it is missing; None without rows."""
    return next((row for row in accuracy if row.name == INT8), accuracy[0] if accuracy else None)


def devices(accuracy: Sequence[AccuracyRow]) -> tuple[str, ...]:
    """Every recording device of the clips, over all models, sorted."""
    return tuple(sorted({device for row in accuracy for device in row.per_device}))


def target_devices(verification: Verification) -> tuple[str, ...]:
    """Every recording device of the clips, over all targets, sorted."""
    rows = [result.accuracy for result in verification.results if result.accuracy]
    return tuple(sorted({device for row in rows for device in row.per_device}))


@dataclass(frozen=True)
class KernelShare:
    """All calls of one kernel in one inference; ``cycles`` None where none are modelled."""

    kernel: str
    calls: int
    instructions: int
    share: float
    cycles: float | None


def kernel_shares(profile: Profile) -> tuple[KernelShare, ...]:
    """Work per kernel, largest share first: of modelled cycles, or of instructions where none are modelled."""
    calls: dict[str, list[CallCost]] = {}
    for call in profile.calls:
        calls.setdefault(call.kernel, []).append(call)
    total = max(sum(map(work, profile.calls)), 1)
    rows = [
        KernelShare(
            name,
            len(each),
            sum(call.instructions for call in each),
            sum(map(work, each)) / total,
            None if profile.board is None else sum(map(work, each)),
        )
        for name, each in calls.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.share, row.kernel)))


def work(call: CallCost) -> float:
    """Modelled cycles of a call, or its instructions where none are modelled."""
    return call.instructions if call.cycles is None else call.cycles


def work_share(call: CallCost, profile: Profile) -> float:
    """Share of an inference."""
    return work(call) / max(sum(map(work, profile.calls)), 1)


def heaviest(layers: Sequence[LayerRow], first: int, last: int) -> LayerRow:
    """The layer with most MACs of those that one call runs; it gives a fused call its colour."""
    return max((row for row in layers if first <= row.step <= last), key=lambda row: row.macs)


def npu_share_text(estimate: Estimate) -> str:
    """The share of ops that an NPU runs."""
    return f"{estimate.npu_share:.0%} on NPU".replace("%", " %")
