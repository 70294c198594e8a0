"""The page of an evaluation: everything in ``tinyscene eval --json`` except the single clips.

The same evaluation gives the same bytes.
"""

from __future__ import annotations

import math

from ..evaluation.evaluation import Difference, Evaluation, Group
from . import charts
from .template import Tile, interval_text, templates


def render(evaluation: Evaluation, difference: Difference | None = None) -> bytes:
    """The page as UTF-8, with the comparison if given."""
    page = templates()
    page.globals["charts"] = charts
    text = page.get_template("evaluation.html.j2").render(
        evaluation=evaluation, difference=difference, tiles=tiles(evaluation)
    )
    return text.encode()


def tiles(evaluation: Evaluation) -> tuple[Tile, ...]:
    """The key figures at the top of the page."""
    m = evaluation.metrics
    places = len(set(evaluation.places))
    return (
        _percent("Accuracy", m.accuracy, f"of {m.clips:,} clips", f"95 %: {interval_text(m.interval)}"),
        _percent("Mean over classes", m.class_accuracy, f"{len(m.per_class)} scenes, each of equal weight"),
        Tile("Log loss", f"{m.log_loss:.3f}", "nats", (f"{_uniform(evaluation):.3f} for equal probabilities",)),
        _group("Seen devices", evaluation.seen),
        _group("Unseen devices", evaluation.unseen),
        Tile(
            "Calibration error", f"{100 * m.calibration_error:.1f}", "points", (f"intervals resample {places} places",)
        ),
    )


def _percent(label: str, share: float, *notes: str) -> Tile:
    return Tile(label, f"{100 * share:.1f}", "%", notes)


def _group(label: str, group: Group | None) -> Tile:
    if group is None:
        return Tile(label, "–", "", ("no clips of such devices",))
    interval = () if group.interval is None else (f"95 %: {interval_text(group.interval)}",)
    return _percent(label, group.accuracy, f"{group.clips:,} clips of {' '.join(group.devices)}", *interval)


def _uniform(evaluation: Evaluation) -> float:
    """Log loss of equal probabilities for all labels."""
    return math.log(len(evaluation.labels))
