"""What a folder of clips holds, evaluations, and networks of single devices, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.faults import by_kind

if TYPE_CHECKING:
    from ..data.tau22 import Inspection
    from ..device_models import DeviceModel, DeviceReport, OnTest
    from ..evaluation.evaluation import Difference, Evaluation

COLUMNS = ("clips", "scenes", "devices", "cities", "places", "hours")


def inspection_record(found: Inspection) -> dict[str, Any]:
    """The faults by kind, and what each part holds, for ``tinyscene data check --json``."""
    parts = {"training": found.train, "validation": found.validation, "test": found.test}
    counts = {
        name: {
            "clips": len(records),
            "scenes": len({r.scene for r in records}),
            "devices": len({r.device for r in records}),
            "cities": len({r.city for r in records}),
            "places": len({r.place for r in records}),
            "hours": len(records) / 3600,
        }
        for name, records in parts.items()
    }
    return {"faults": by_kind(found.faults), "parts": counts}


def inspection_lines(folder: Path, found: Inspection) -> Iterator[str]:
    """Every fault in a line of its own below its kind; or a table of the parts if there is none."""
    if found.faults:
        yield f"{folder}: {len(found.faults):,} fault{'s' if len(found.faults) > 1 else ''}"
        for kind, lines in by_kind(found.faults).items():
            yield f"{kind}: {len(lines):,}"
            yield from (f"  {line}" for line in lines)
        return
    yield f"{folder}: nothing is wrong"
    yield f"{'':10}" + "".join(f"{name:>9}" for name in COLUMNS)
    for name, counts in inspection_record(found)["parts"].items():
        cells = [f"{n:9.2f}" if column == "hours" else f"{n:9,}" for column, n in counts.items()]
        yield f"{name:10}" + "".join(cells)


def evaluation_lines(found: Evaluation, compared: Difference | None) -> Iterator[str]:
    """What ``tinyscene eval`` prints: the whole, the groups, the confusions, and the comparison if there is one."""
    m = found.metrics
    yield f"{found.model} ({found.engine}): accuracy {m.accuracy:.1%} ({_bounds(m.interval)}), {m.clips} clips"
    yield f"  mean over classes {m.class_accuracy:.1%}"
    yield f"  log loss {m.log_loss:.3f}, calibration error {m.calibration_error:.3f}"
    for name, group in (("seen", found.seen), ("unseen", found.unseen)):
        if group is not None:
            devices = " ".join(group.devices)
            yield f"  {name} devices {group.accuracy:.1%} ({_bounds(group.interval)}), {group.clips} clips: {devices}"
    for title, part in (("device", m.per_device), ("class", m.per_class), ("city", m.per_city)):
        yield f"  by {title}: " + ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in part.items())
    yield f"  most often confused: {_confused(found)}"
    if compared is not None:
        only = f"{compared.only_this} clips only here, {compared.only_other} only there"
        yield f"  against the other: {_gain(compared)}, {only}, McNemar p = {compared.p:.2g}"


def device_lines(report: DeviceReport) -> Iterator[str]:
    """What ``tinyscene train devices`` prints: every device, the test clips together, and the limits."""
    for found in report.devices:
        yield f"device {found.device}: {found.checkpoint}, {_judged(found)}"
        if found.test is not None:
            yield f"  test: {_tested(found.test)}"
    if report.together is not None:
        yield f"together, by device: {_tested(report.together)}"
    for verdict in report.limits:
        sign, held = ("<=", "within the limit") if verdict.passed else (">", "beyond the limit before export")
        measured = f"{verdict.measured:,} {verdict.unit} {sign} {verdict.limit:,} {verdict.unit}"
        yield f"each network by itself, {verdict.limit_name}: {measured}, {held} (int8, rule {verdict.rule})"


def _judged(found: DeviceModel) -> str:
    if found.validation is None:
        return found.why
    general, own = found.validation
    clips = f"{found.validation_clips} clips, general {general:.1%}, own {own:.1%}"
    return f"{found.why} ({clips}); {found.train_clips} training clips"


def _tested(test: OnTest) -> str:
    gain = f"{_gain(test.difference)}, McNemar p = {test.difference.p:.2g}"
    accuracy = f"{test.chosen.accuracy:.1%} ({_bounds(test.chosen.interval)}), {test.clips} clips"
    return f"{accuracy}; against the general network's {test.general.accuracy:.1%}: {gain}"


def _gain(compared: Difference) -> str:
    return f"{100 * compared.gain:+.1f} points ({_bounds(compared.interval)})"


def _confused(found: Evaluation) -> str:
    rows = zip(found.labels, found.metrics.confusion, strict=True)
    pairs = [
        (count, truth, guess)
        for truth, row in rows
        for guess, count in zip(found.labels, row, strict=True)
        if truth != guess and count
    ]
    named = [f"{truth} for {guess} ({count})" for count, truth, guess in sorted(pairs, reverse=True)[:3]]
    return ", ".join(named) or "nothing"


def _bounds(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
