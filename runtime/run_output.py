"""Text lines and JSON records of results, for ``tinyscene run``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .arith import dequantise
from .arrays import F32, I8
from .audio import AudioInfo
from .classify import Classification, Hop
from .model import Model
from .printable import printable
from .scores import has_scores, scores_of
from .stream import SceneEvent
from .vectors import parted

SILENT = "silent, no scene"
NO_LABEL = "-"
SHOWN_SCORES = 3


def headline(info: AudioInfo) -> str:
    return f"{info.path}  {info.seconds:.2f} s, {info.sample_rate_hz:,} Hz, {info.encoding}"


def hop_line(labels: Sequence[str], hop: Hop) -> str:
    times = hop.times
    if hop.label is None:
        return f"  {hop.start_s:9.2f} s   {SILENT}"
    return (
        f"  {hop.start_s:9.2f} s   {_best(labels, hop.scores)}   "
        f"read {1e3 * times.read_s:.1f} ms, log-mel {1e3 * times.log_mel_s:.1f} ms, "
        f"network {1e3 * times.network_s:.1f} ms"
    )


def mean_line(labels: Sequence[str], whole: Classification) -> str:
    if whole.label is None:
        return f"  all {len(whole.hops)} hops are {SILENT}"
    return f"  mean of {len(whole.hops) - whole.silent_hops} hops   {_best(labels, whole.scores)}"


def quiet_line(path: object, whole: Classification) -> str:
    """One line for a whole recording, tab-separated; ``-`` and 0.000 for a silent one."""
    label = NO_LABEL if whole.label is None else printable(whole.label)
    return f"{printable(str(path))}\t{label}\t{whole.probability:.3f}"


def silent_note(hops: int) -> tuple[str, ...]:
    """A note about silent hops, if there are any."""
    return (f"{hops} hops were silent and have no scene",) if hops else ()


def event_line(labels: Sequence[str], event: SceneEvent, wall_s: float) -> str:
    """``wall_s``: the event's time by this machine's clock."""
    sign = ">" if event.changed else " "
    return f"{sign} {wall_s:9.2f} s   {event.label} {event.probability:.3f}   {_best(labels, event.scores)}"


def quiet_event_line(event: SceneEvent, wall_s: float) -> str:
    return f"{wall_s:.2f}\t{printable(event.label)}\t{event.probability:.3f}"


def clip_record(
    labels: Sequence[str], info: AudioInfo, notes: Sequence[str], whole: Classification
) -> dict[str, object]:
    """JSON record of a file; ``scores`` and ``label`` are those of the mean over its hops.

    For silence ``label`` is null and ``scores`` is empty, of a hop as of the whole file.
    """
    return {
        "path": str(info.path),
        "seconds": info.seconds,
        "notes": list(notes),
        "label": whole.label,
        "scores": _by_label(labels, whole.scores),
        "hops": [
            {
                "start_s": hop.start_s,
                "label": hop.label,
                "scores": _by_label(labels, hop.scores),
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
        "scores": _by_label(labels, event.scores),
    }


@dataclass(frozen=True)
class InputRow:
    """The result for one network input: the output's codes, and the scores by label."""

    name: str
    labels: tuple[str, ...]
    codes: tuple[int, ...]
    scores: tuple[float, ...]

    @property
    def index(self) -> int:
        """Number of the best label."""
        return self.scores.index(max(self.scores))

    def line(self) -> str:
        return f"  {self.name}   {self.index}   {_best(self.labels, self.scores)}"

    def quiet_line(self) -> str:
        """Name, label and score, tab-separated."""
        return f"{printable(self.name)}\t{printable(self.labels[self.index])}\t{max(self.scores):.3f}"

    def to_json(self) -> dict[str, object]:
        record = {"name": self.name, "index": self.index, "label": self.labels[self.index]}
        return {**record, "codes": list(self.codes), "scores": list(self.scores)}


@dataclass(frozen=True, eq=False)
class OutputRow:
    """The result for one network input of a network without scores: codes and real values of each output, by name."""

    name: str
    codes: Mapping[str, I8]
    values: Mapping[str, F32]

    def line(self) -> str:
        return "   ".join(["", self.name, *(f"{end}: {_range(values)}" for end, values in self.values.items())])

    def quiet_line(self) -> str:
        """Name, and name, smallest and largest value of each output, tab-separated."""
        ends = (f"{printable(end)}\t{x.min():.6g}\t{x.max():.6g}" for end, x in self.values.items())
        return "\t".join([printable(self.name), *ends])

    def to_json(self) -> dict[str, object]:
        ends = {end: {"codes": self.codes[end].tolist(), "values": x.tolist()} for end, x in self.values.items()}
        return {"name": self.name, "outputs": ends}


def _range(values: F32) -> str:
    sizes = "x".join(map(str, values.shape))
    return f"{sizes} from {values.min():.3f} to {values.max():.3f}"


def input_rows(model: Model, names: Sequence[str], codes: I8) -> list[InputRow] | list[OutputRow]:
    """One row for each input; ``codes``: vectors of the graph's results int8 (n, ...).

    A network with one row of scores has labels for them, if only numbers; of any other, the outputs are shown, and so
    is a score alone, which has no others to be a share of.
    """
    graph = model.graph
    if not has_scores(graph) or graph.tensors[graph.output].n_bytes == 1:
        by_name = parted(graph, graph.results, codes)
        real = {end: dequantise(part, graph.tensors[end].quant) for end, part in by_name.items()}
        return [
            OutputRow(name, {end: x[at] for end, x in by_name.items()}, {end: x[at] for end, x in real.items()})
            for at, name in enumerate(names)
        ]
    scores = scores_of(model.graph, codes).tolist()
    rows = codes.reshape(len(codes), -1).tolist()
    return [
        InputRow(name, model.labels, tuple(row), tuple(shares))
        for name, row, shares in zip(names, rows, scores, strict=True)
    ]


def _by_label(labels: Sequence[str], scores: Sequence[float]) -> dict[str, float]:
    return dict(zip(labels, scores, strict=True)) if scores else {}


def _best(labels: Sequence[str], scores: Sequence[float]) -> str:
    best = sorted(zip(labels, scores, strict=True), key=lambda item: -item[1])[:SHOWN_SCORES]
    return "  ".join(f"{label} {score:.3f}" for label, score in best)
