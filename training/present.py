"""An evaluation as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from .evaluation import Difference, Evaluation


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
        gain = f"{100 * compared.gain:+.1f} points ({_bounds(compared.interval)})"
        only = f"{compared.only_this} clips only here, {compared.only_other} only there"
        yield f"  against the other: {gain}, {only}, McNemar p = {compared.p:.2g}"


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
