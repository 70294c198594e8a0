"""Text lines and JSON records of results, for ``tinyscene run``."""

from __future__ import annotations

from collections.abc import Sequence

from .audio import AudioInfo
from .classify import Classification, Hop
from .stream import SceneEvent
from .terminal import printable

SHOWN_SCORES = 3


def headline(info: AudioInfo) -> str:
    return f"{info.path}  {info.seconds:.2f} s, {info.sample_rate_hz:,} Hz, {info.encoding}"


def hop_line(labels: Sequence[str], hop: Hop) -> str:
    times = hop.times
    return (
        f"  {hop.start_s:9.2f} s   {_best(labels, hop.scores)}   "
        f"read {1e3 * times.read_s:.1f} ms, log-mel {1e3 * times.log_mel_s:.1f} ms, "
        f"network {1e3 * times.network_s:.1f} ms"
    )


def mean_line(labels: Sequence[str], whole: Classification) -> str:
    return f"  mean of {len(whole.hops)} hops   {_best(labels, whole.scores)}"


def quiet_line(path: object, whole: Classification) -> str:
    """One line for a whole recording, tab-separated."""
    return f"{printable(str(path))}\t{printable(whole.label)}\t{whole.probability:.3f}"


def event_line(labels: Sequence[str], event: SceneEvent, wall_s: float) -> str:
    """``wall_s``: the event's time by this machine's clock."""
    sign = ">" if event.changed else " "
    return f"{sign} {wall_s:9.2f} s   {event.label} {event.probability:.3f}   {_best(labels, event.scores)}"


def quiet_event_line(event: SceneEvent, wall_s: float) -> str:
    return f"{wall_s:.2f}\t{printable(event.label)}\t{event.probability:.3f}"


def clip_record(
    labels: Sequence[str], info: AudioInfo, notes: Sequence[str], whole: Classification
) -> dict[str, object]:
    """JSON record of a file; ``scores`` and ``label`` are those of the mean over its hops."""
    return {
        "path": str(info.path),
        "seconds": info.seconds,
        "notes": list(notes),
        "label": whole.label,
        "scores": dict(zip(labels, whole.scores, strict=True)),
        "hops": [
            {
                "start_s": hop.start_s,
                "label": hop.label,
                "scores": dict(zip(labels, hop.scores, strict=True)),
                "times_s": {
                    "read": hop.times.read_s,
                    "log_mel": hop.times.log_mel_s,
                    "network": hop.times.network_s,
                },
            }
            for hop in whole.hops
        ],
    }


def event_record(labels: Sequence[str], event: SceneEvent) -> dict[str, object]:
    return {
        "time_s": event.time_s,
        "label": event.label,
        "probability": event.probability,
        "changed": event.changed,
        "scores": dict(zip(labels, event.scores, strict=True)),
    }


def _best(labels: Sequence[str], scores: Sequence[float]) -> str:
    best = sorted(zip(labels, scores, strict=True), key=lambda item: -item[1])[:SHOWN_SCORES]
    return "  ".join(f"{label} {score:.3f}" for label, score in best)
