"""The runtime's sub-command: ``tinyscene run BUNDLE CLIP...``.

Answers go to standard output, notes, errors and the progress bar to standard error. A clip that cannot be used costs
one line there and exit code 2; the other clips are still answered.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

    from .audio import AudioReader
    from .classify import Hop, SceneClassifier

SHOWN_SCORES = 3


def run(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.", show_default=False)],
    clips: Annotated[list[Path], typer.Argument(help="Audio files: WAV, FLAC or OGG, any rate.", show_default=False)],
    engine: Annotated[
        str, typer.Option(help="litert, litert-reference, ort, tflm, numpy-double or numpy-single.")
    ] = "litert",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of lines.")] = False,
) -> None:
    """Classify audio files with a bundle: label, best scores and time per stage for every second."""
    from .classify import SceneClassifier
    from .errors import RuntimeFailure

    classifier = SceneClassifier.open(bundle, engine)
    for note in classifier.engine.notes:
        _note(engine, note)
    records = []
    with _progress() as progress:
        for clip in clips:
            try:
                records.append(_classified(classifier, clip, progress, quiet=as_json))
            except RuntimeFailure as failure:
                print(f"error: {failure}", file=sys.stderr)
                records.append({"path": str(clip), "error": str(failure)})
    if as_json:
        notes = list(classifier.engine.notes)
        print(json.dumps({"bundle": str(bundle), "engine": engine, "notes": notes, "clips": records}, indent=1))
    if any("error" in record for record in records):
        raise typer.Exit(2)


def _classified(classifier: SceneClassifier, clip: Path, progress: Progress, *, quiet: bool) -> dict[str, Any]:
    """Answer one clip; print its lines unless ``quiet``; return its JSON record."""
    from .audio import AudioReader

    with AudioReader(clip, classifier.frontend.sample_rate_hz) as reader:
        for note in reader.notes:
            _note(str(clip), note)
        total = classifier.n_hops(reader.info.seconds)
        task = progress.add_task(clip.name, total=total, visible=total > 1)
        hops: list[Hop] = []
        for hop in classifier.classify_file(reader):
            if not quiet:
                if not hops:
                    print(_headline(reader))
                print(_line(classifier, hop))
            hops.append(hop)
            progress.advance(task)
        progress.remove_task(task)
    record = _record(classifier, reader, hops)
    if not quiet and len(hops) > 1:
        mean = sorted(record["scores"].items(), key=lambda item: -item[1])[:SHOWN_SCORES]
        print(f"  mean of {len(hops)} hops   {_scores(mean)}")
    return record


def _record(classifier: SceneClassifier, reader: AudioReader, hops: list[Hop]) -> dict[str, Any]:
    """``scores`` and ``label`` of the whole clip are those of the mean over its hops."""
    mean = [sum(column) / len(hops) for column in zip(*(hop.scores for hop in hops), strict=True)]
    return {
        "path": str(reader.path),
        "seconds": reader.info.seconds,
        "notes": list(reader.notes),
        "label": classifier.labels[mean.index(max(mean))],
        "scores": dict(zip(classifier.labels, mean, strict=True)),
        "hops": [
            {
                "start_s": hop.start_s,
                "label": hop.label,
                "scores": dict(zip(classifier.labels, hop.scores, strict=True)),
                "times_s": {
                    "read": hop.times.read_s,
                    "log_mel": hop.times.log_mel_s,
                    "network": hop.times.network_s,
                },
            }
            for hop in hops
        ],
    }


def _headline(reader: AudioReader) -> str:
    info = reader.info
    return f"{info.path}  {info.seconds:.2f} s, {info.sample_rate_hz:,} Hz, {info.encoding}"


def _line(classifier: SceneClassifier, hop: Hop) -> str:
    best = sorted(zip(classifier.labels, hop.scores, strict=True), key=lambda item: -item[1])[:SHOWN_SCORES]
    times = hop.times
    return (
        f"  {hop.start_s:9.2f} s   {_scores(best)}   "
        f"read {1e3 * times.read_s:.1f} ms, log-mel {1e3 * times.log_mel_s:.1f} ms, "
        f"network {1e3 * times.network_s:.1f} ms"
    )


def _scores(best: list[tuple[str, float]]) -> str:
    return "  ".join(f"{label} {score:.3f}" for label, score in best)


def _note(where: str, note: str) -> None:
    print(f"note: {where}: {note}", file=sys.stderr)


def _progress() -> Progress:
    """A bar on standard error, only where that is a terminal; it must not take over a piped standard output."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),
    )
