"""Text output of the training commands: data sets, training results, evaluations, and networks of single devices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinyscene.runtime import terminal

from ..data.faults import by_kind
from ..fit.processes import is_first

if TYPE_CHECKING:
    from ..data.tau22 import Inspection
    from ..device_models import DeviceModel, DeviceReport, TestComparison
    from ..evaluation.evaluation import Difference, Evaluation
    from ..pipeline import StudentResult, TeacherReport
    from ..recipe import Recipe

Interval = tuple[float, float]


@dataclass(frozen=True)
class PartSize:
    """Size of one part of a data set; ``hours`` of audio."""

    clips: int
    scenes: int
    devices: int
    cities: int
    places: int
    hours: float


def echo(text: str, *, err: bool = False) -> None:
    """Print a line, in the first of several training processes only."""
    if is_first():
        terminal.echo(text, err=err)


def echo_json(record: object) -> None:
    """Print a JSON document, in the first of several training processes only."""
    echo_document(json.dumps(record, indent=1))


def echo_document(text: str) -> None:
    """Print JSON or Markdown, in the first of several training processes only."""
    if is_first():
        terminal.echo_document(text)


def part_sizes(inspection: Inspection) -> dict[str, PartSize]:
    """Size of each part, by name."""
    parts = {"training": inspection.train, "validation": inspection.validation, "test": inspection.test}
    return {
        name: PartSize(
            clips=len(records),
            scenes=len({r.scene for r in records}),
            devices=len({r.device for r in records}),
            cities=len({r.city for r in records}),
            places=len({r.place for r in records}),
            hours=len(records) / 3600,
        )
        for name, records in parts.items()
    }


def inspection_record(inspection: Inspection) -> dict[str, object]:
    """The faults and doubts by kind, and the size of each part, for ``tinyscene data check --json``."""
    parts = {name: asdict(size) for name, size in part_sizes(inspection).items()}
    return {"faults": by_kind(inspection.faults), "doubts": by_kind(inspection.doubts), "parts": parts}


def inspection_lines(folder: Path, inspection: Inspection) -> Iterator[str]:
    """Every fault below its kind, or a table of the parts if there are none; then every doubt."""
    faults, doubts = len(inspection.faults), len(inspection.doubts)
    doubtful = f", {doubts:,} doubt{'s' if doubts > 1 else ''}" if doubts else ""
    yield f"{folder}: {f'{faults:,}' if faults else 'no'} fault{'' if faults == 1 else 's'}{doubtful}"
    if not faults:
        yield from _part_lines(inspection)
    for kind, lines in by_kind((*inspection.faults, *inspection.doubts)).items():
        yield f"{kind}: {len(lines):,}"
        yield from (f"  {line}" for line in lines)


def _part_lines(inspection: Inspection) -> Iterator[str]:
    yield f"{'':10}" + "".join(f"{name:>9}" for name in PartSize.__annotations__)
    for name, size in part_sizes(inspection).items():
        counts = (size.clips, size.scenes, size.devices, size.cities, size.places)
        yield f"{name:10}" + "".join(f"{count:9,}" for count in counts) + f"{size.hours:9.2f}"


def teacher_lines(report: TeacherReport) -> Iterator[str]:
    """Test accuracy of every teacher and of their ensemble."""
    for teacher in report.teachers:
        yield f"teacher {teacher.name}: test accuracy {teacher.metrics.accuracy:.1%}"
    yield f"teacher ensemble ({report.choice}): test accuracy {report.ensemble.accuracy:.1%}"


def student_lines(recipe: Recipe, student: StudentResult) -> Iterator[str]:
    """Test metrics of a student."""
    metrics = student.metrics
    low, high = metrics.interval
    yield f"student {recipe.network}: test accuracy {metrics.accuracy:.1%} ({low:.1%} to {high:.1%}), {student.path}"
    yield f"  mean over classes {metrics.class_accuracy:.1%}, calibration error {metrics.calibration_error:.3f}"
    for name, accuracy in metrics.per_device.items():
        yield f"  device {name}: {accuracy:.1%}"


def evaluation_lines(evaluation: Evaluation, difference: Difference | None) -> Iterator[str]:
    """The output of ``tinyscene eval``: overall metrics, groups, confusions, and the comparison if given."""
    m = evaluation.metrics
    head = f"{evaluation.model} ({evaluation.engine}): accuracy"
    yield f"{head} {m.accuracy:.1%} ({_interval(m.interval)}), {m.clips} clips"
    yield f"  mean over classes {m.class_accuracy:.1%}"
    yield f"  log loss {m.log_loss:.3f}, calibration error {m.calibration_error:.3f}"
    for name, group in (("seen", evaluation.seen), ("unseen", evaluation.unseen)):
        if group is not None:
            interval = "one place" if group.interval is None else _interval(group.interval)
            devices = " ".join(group.devices)
            yield f"  {name} devices {group.accuracy:.1%} ({interval}), {group.clips} clips: {devices}"
    for title, part in (("device", m.per_device), ("class", m.per_class), ("city", m.per_city)):
        yield f"  by {title}: " + ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in part.items())
    yield f"  most frequent confusions: {_confusions(evaluation)}"
    if difference is not None:
        only = f"{difference.only_this} clips correct only here, {difference.only_other} only there"
        yield f"  compared with {difference.other}: {_gain(difference)}, {only}, McNemar p = {difference.p:.2g}"


def device_lines(report: DeviceReport) -> Iterator[str]:
    """The output of ``tinyscene train devices``: every device, all test clips, and the limits."""
    for model in report.devices:
        yield f"device {model.device}: {model.checkpoint}, {_reason(model)}"
        if model.test is not None:
            yield f"  test: {_comparison(model.test)}"
    if report.together is not None:
        yield f"all test clips: {_comparison(report.together)}"
    for verdict in report.limits:
        sign, relation = ("<=", "within the limit") if verdict.passed else (">", "above the limit before the export")
        measured = f"{verdict.measured:,} {verdict.unit} {sign} {verdict.limit:,} {verdict.unit}"
        yield f"each single network, {verdict.limit_name}: {measured}, {relation} (int8, rule {verdict.rule})"


def _reason(model: DeviceModel) -> str:
    if model.validation is None:
        return model.why
    general, own = model.validation
    clips = f"{model.validation_clips} clips, general {general:.1%}, own {own:.1%}"
    return f"{model.why} ({clips}); {model.train_clips} training clips"


def _comparison(test: TestComparison) -> str:
    gain = f"{_gain(test.difference)}, McNemar p = {test.difference.p:.2g}"
    accuracy = f"{test.chosen.accuracy:.1%} ({_interval(test.chosen.interval)}), {test.clips} clips"
    return f"{accuracy}; general network {test.general.accuracy:.1%}: {gain}"


def _gain(difference: Difference) -> str:
    return f"{100 * difference.gain:+.1f} points ({_interval(difference.interval)})"


def _confusions(evaluation: Evaluation) -> str:
    rows = zip(evaluation.labels, evaluation.metrics.confusion, strict=True)
    pairs = [
        (count, truth, prediction)
        for truth, row in rows
        for prediction, count in zip(evaluation.labels, row, strict=True)
        if truth != prediction and count
    ]
    named = [f"{truth} as {prediction} ({count})" for count, truth, prediction in sorted(pairs, reverse=True)[:3]]
    return ", ".join(named) or "none"


def _interval(interval: Interval) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
