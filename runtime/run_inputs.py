"""The inputs of ``tinyscene run``: files, a pipe, a microphone, and a folder that is watched.

Results go to standard output, notes, errors and progress bars to standard error. A file that cannot be classified is
one line there; the other files are still classified, and each function returns whether all of them were.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .audio import AudioReader, Samples
from .classify import Classification, Hop, SceneClassifier
from .errors import RuntimeFailure
from .incoming_audio import RAW_SAMPLES, AudioPieces, Pipe, RawPcm
from .run_output import (
    clip_record,
    event_line,
    event_record,
    headline,
    hop_line,
    mean_line,
    quiet_event_line,
    quiet_line,
    silent_note,
)
from .stream import Gap, SceneStream
from .system_errors import about
from .terminal import bars, echo, echo_document, notes

if TYPE_CHECKING:
    from rich.progress import Progress

    from .microphone import LiveClock, LiveHealth


@dataclass(frozen=True)
class LiveOptions:
    """Options of audio without an end; None where an option was not given."""

    hop_s: float | None = None
    seconds: float | None = None
    rate_hz: int | None = None
    channels: int | None = None
    encoding: str | None = None
    device: str | None = None


class Output:
    """Prints results as lines, as few lines (``quiet``), or as JSON."""

    def __init__(self, classifier: SceneClassifier, *, quiet: bool, as_json: bool) -> None:
        self.classifier, self.quiet, self.as_json = classifier, quiet, as_json

    @property
    def as_lines(self) -> bool:
        return not self.quiet and not self.as_json

    def classified(self, clip: Path, progress: Progress) -> dict[str, object]:
        """Classify one file and print the result; return its JSON record, or one with the error."""
        labels = self.classifier.labels
        try:
            with AudioReader(clip, self.classifier.frontend.sample_rate_hz) as reader:
                notes(str(clip), reader.notes)
                hops = self._hops(reader, progress)
                found = reader.findings
        except RuntimeFailure as failure:
            echo(f"error: {failure}", err=True)
            return {"path": str(clip), "error": str(failure)}
        whole = Classification.of(labels, hops)
        found += silent_note(whole.silent_hops)
        if self.as_lines and len(hops) > 1:
            echo(mean_line(labels, whole))
        elif self.quiet and not self.as_json:
            echo_document(quiet_line(clip, whole))
        notes(str(clip), found)
        return clip_record(labels, reader.info, (*reader.notes, *found), whole)

    def _hops(self, reader: AudioReader, progress: Progress) -> list[Hop]:
        """The hops of a file, printed as they are computed."""
        total = self.classifier.n_hops(reader.info.seconds)
        task = progress.add_task(reader.path.name, total=total, visible=total > 1)
        hops: list[Hop] = []
        try:
            for hop in self.classifier.classify_file(reader):
                if self.as_lines and not hops:
                    echo(headline(reader.info))
                if self.as_lines:
                    echo(hop_line(self.classifier.labels, hop))
                hops.append(hop)
                progress.advance(task)
        finally:
            progress.remove_task(task)
        return hops

    def events(self, stream: SceneStream, pieces: Iterable[Samples | Gap], clock: LiveClock | None = None) -> None:
        """Print the events of continuous audio as they occur."""
        labels = self.classifier.labels
        for event in stream.events(pieces):
            wall_s = event.time_s if clock is None else clock.wall_s(event.time_s)
            if self.as_json:
                echo(json.dumps(event_record(labels, event)))
            elif not self.quiet:
                echo(event_line(labels, event, wall_s))
            elif event.changed:
                echo_document(quiet_event_line(event, wall_s))
                sys.stdout.flush()


def classify_files(output: Output, clips: Sequence[Path], model: str, engine: str) -> bool:
    """Classify files; returns whether all of them could be."""
    with bars() as progress:
        records = [output.classified(clip, progress) for clip in clips]
    if output.as_json:
        engine_notes = list(output.classifier.engine.notes)
        document = {"model": model, "engine": engine, "notes": engine_notes, "clips": records}
        echo_document(json.dumps(document, indent=1))
    return not any("error" in record for record in records)


def classify_folder(output: Output, folder: Path, options: LiveOptions) -> bool:
    """Classify the recordings of a folder as they become whole; returns whether all of them could be."""
    from .watched_folder import arriving_files

    failed = False
    with bars() as progress:
        for clip in arriving_files(folder, options.seconds):
            record = output.classified(clip, progress)
            failed |= "error" in record
            if output.as_json:
                echo(json.dumps(record))
            sys.stdout.flush()
    return not failed


def classify_pipe(output: Output, options: LiveOptions) -> bool:
    """Classify standard input; raises RuntimeFailure for what cannot be read, and for too little of it."""
    with about("standard input"):
        pipe, model_hz = Pipe(sys.stdin.buffer), output.classifier.frontend.sample_rate_hz
        source = _file_on_pipe(pipe, model_hz, options) if pipe.container else _raw(pipe, model_hz, options)
        stream = output.classifier.stream(source.rate_hz, options.hop_s)
        try:
            output.events(stream, source.pieces(options.seconds))
        finally:
            notes("-", (*source.notes, *silent_note(stream.health.silent_hops)))
    if stream.health.hops + stream.health.silent_hops == 0:
        raise RuntimeFailure(
            RAW_SAMPLES if pipe.container is None else "-",
            "too short for this model",
            expected=f"at least {0.95 * stream.first_event_s:g} s",
            got=f"{stream.health.samples / model_hz:g} s",
            next_step="send more samples" + ("" if pipe.container else ", or check --rate, --channels and --encoding"),
        )
    return True


def _raw(pipe: Pipe, model_hz: int, options: LiveOptions) -> RawPcm:
    rate_hz = model_hz if options.rate_hz is None else options.rate_hz
    channels = 1 if options.channels is None else options.channels
    return RawPcm(pipe, rate_hz, channels, options.encoding or "s16")


def _file_on_pipe(pipe: Pipe, model_hz: int, options: LiveOptions) -> AudioPieces:
    for name, value in (("rate", options.rate_hz), ("channels", options.channels), ("encoding", options.encoding)):
        if value is not None:
            raise does_not_apply(f"--{name}", f"a {pipe.container} file on standard input", "raw samples")
    return pipe.decoded(model_hz)


def does_not_apply(option: str, source: str, sources: str) -> RuntimeFailure:
    """The refusal of an option that has no effect on the given input."""
    what, expected = f"does not apply to {source}", f"{option} with {sources}"
    return RuntimeFailure(f"run {option}", what, expected=expected, next_step=f"remove {option}")


def classify_microphone(output: Output, options: LiveOptions) -> bool:
    """Classify a microphone until the end of ``seconds`` or Ctrl-C."""
    from .microphone import Microphone

    microphone = Microphone(options.rate_hz, options.device)
    stream = output.classifier.stream(microphone.rate_hz, options.hop_s)
    notes(microphone.name, [f"{microphone.rate_hz:,} Hz; stop with Ctrl-C"])
    try:
        with microphone:
            output.events(stream, microphone.pieces(options.seconds), microphone.clock)
    finally:
        notes(microphone.name, (*_lost(microphone.health), *silent_note(stream.health.silent_hops)))
    return True


def _lost(health: LiveHealth) -> list[str]:
    parts = [f"{health.captured_s:.1f} s captured"]
    if health.overruns or health.gaps:
        parts.append(f"{health.overruns} overruns, {health.gaps} gaps, {health.lost_s:.2f} s lost")
    if health.drift_ppm is not None:
        parts.append(f"its clock is {abs(health.drift_ppm):.0f} ppm {'slow' if health.drift_ppm > 0 else 'fast'}")
    return ["; ".join(parts)]
