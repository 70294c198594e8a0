"""The runtime's commands: ``tinyscene run`` and ``tinyscene bench``.

Results go to standard output, notes, errors and progress bars to standard error. A file that cannot be classified is
one line there and exit code 2; the other files are still classified.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, BundleFolder, Engine, Quiet, RecordFile, one_of, quietened
from .terminal import bars, echo, echo_document, notes

if TYPE_CHECKING:
    from rich.progress import Progress

    from .audio import Samples
    from .classify import Hop, SceneClassifier
    from .microphone import LiveClock, LiveHealth
    from .stream import Gap, SceneStream

STANDARD_INPUT = Path("-")
Threads = Annotated[int, typer.Option(metavar="N", help="Number of engine threads (LiteRT, ONNX Runtime).")]


def run(
    bundle: BundleFolder,
    clips: Annotated[
        list[Path] | None,
        typer.Argument(metavar="CLIP", help="Audio files (WAV, FLAC, OGG), or - for raw samples.", show_default=False),
    ] = None,
    mic: Annotated[bool, typer.Option("--mic", help="Classify audio from a microphone.")] = False,
    watch: Annotated[Path | None, typer.Option(metavar="DIR", help="Classify new files in a folder.")] = None,
    engine: Engine = "litert",
    threads: Threads = 1,
    hop: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Interval between results, with - or --mic.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Stop after this time, with -, --mic or --watch.")
    ] = None,
    rate: Annotated[
        int | None, typer.Option(metavar="HZ", help="Sampling rate of raw samples or the microphone.")
    ] = None,
    channels: Annotated[int, typer.Option(metavar="N", help="Number of interleaved channels of raw samples.")] = 1,
    encoding: Annotated[
        str,
        typer.Option(metavar="NAME", help="Format of raw samples: s16 or f32.", autocompletion=one_of(("s16", "f32"))),
    ] = "s16",
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Microphone, by number or part of its name.")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print one line per file or scene change, no notes.", callback=quietened)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with -, --mic or --watch one object per line.")
    ] = False,
) -> None:
    """Classify audio: files, raw samples from a pipe, a microphone, or new files in a folder."""
    from .classify import SceneClassifier
    from .errors import RuntimeFailure

    files = clips or []
    piped = files == [STANDARD_INPUT]
    if sum([bool(files), mic, watch is not None]) != 1 or (STANDARD_INPUT in files and not piped):
        raise RuntimeFailure(
            "run", "expected files, or - alone, or --mic, or --watch DIR", next_step="give exactly one of them"
        )
    if (hop is not None and not (piped or mic)) or (seconds is not None and bool(files) and not piped):
        raise RuntimeFailure("run", "--hop and --seconds do not apply to files", next_step="remove them")
    classifier = SceneClassifier.open(bundle, engine, threads)
    output = Output(classifier, quiet=quiet, as_json=as_json)
    notes(engine, classifier.engine.notes)
    if piped:
        _classify_pipe(
            output, classifier.frontend.sample_rate_hz if rate is None else rate, channels, encoding, hop, seconds
        )
    elif mic:
        _classify_microphone(output, rate, device, hop, seconds)
    elif watch is not None:
        _watch(output, watch, seconds)
    else:
        _classify_files(output, files, str(bundle), engine)


class Output:
    """Prints results as lines, as few lines (``quiet``), or as JSON."""

    def __init__(self, classifier: SceneClassifier, *, quiet: bool, as_json: bool) -> None:
        self.classifier, self.quiet, self.as_json = classifier, quiet, as_json

    @property
    def as_lines(self) -> bool:
        return not self.quiet and not self.as_json

    def classified(self, clip: Path, progress: Progress) -> dict[str, object]:
        """Classify one file and print the result; return its JSON record, or one with the error."""
        from .audio import AudioReader
        from .classify import Classification
        from .errors import RuntimeFailure
        from .run_output import clip_record, headline, hop_line, mean_line, quiet_line

        labels = self.classifier.labels
        try:
            with AudioReader(clip, self.classifier.frontend.sample_rate_hz) as reader:
                notes(str(clip), reader.notes)
                total = self.classifier.n_hops(reader.info.seconds)
                task = progress.add_task(clip.name, total=total, visible=total > 1)
                hops: list[Hop] = []
                for hop in self.classifier.classify_file(reader):
                    if self.as_lines and not hops:
                        echo(headline(reader.info))
                    if self.as_lines:
                        echo(hop_line(labels, hop))
                    hops.append(hop)
                    progress.advance(task)
                progress.remove_task(task)
        except RuntimeFailure as failure:
            echo(f"error: {failure}", err=True)
            return {"path": str(clip), "error": str(failure)}
        whole = Classification.of(labels, hops)
        if self.as_lines and len(hops) > 1:
            echo(mean_line(labels, whole))
        elif self.quiet and not self.as_json:
            echo_document(quiet_line(clip, whole))
        return clip_record(labels, reader.info, reader.notes, whole)

    def events(self, stream: SceneStream, pieces: Iterable[Samples | Gap], clock: LiveClock | None = None) -> None:
        """Print the events of continuous audio as they occur."""
        from .run_output import event_line, event_record, quiet_event_line

        labels = self.classifier.labels
        for event in stream.events(pieces):
            wall_s = event.time_s if clock is None else clock.wall_s(event.time_s)
            if self.as_json:
                echo(json.dumps(event_record(labels, event)))
            elif not self.quiet:
                echo(event_line(labels, event, wall_s))
            elif event.changed:
                echo_document(quiet_event_line(event, wall_s))


def _classify_files(output: Output, clips: list[Path], bundle: str, engine: str) -> None:
    with bars() as progress:
        records = [output.classified(clip, progress) for clip in clips]
    if output.as_json:
        notes = list(output.classifier.engine.notes)
        echo_document(json.dumps({"bundle": bundle, "engine": engine, "notes": notes, "clips": records}, indent=1))
    if any("error" in record for record in records):
        raise typer.Exit(2)


def _watch(output: Output, folder: Path, seconds: float | None) -> None:
    from .incoming_audio import arriving_files

    failed = False
    with bars() as progress:
        for clip in arriving_files(folder, seconds):
            record = output.classified(clip, progress)
            failed |= "error" in record
            if output.as_json:
                echo(json.dumps(record))
    if failed:
        raise typer.Exit(2)


def _classify_pipe(
    output: Output, rate_hz: int, channels: int, encoding: str, hop_s: float | None, seconds: float | None
) -> None:
    from .errors import RuntimeFailure
    from .incoming_audio import RawPcm

    pcm = RawPcm(sys.stdin.buffer, rate_hz, channels, encoding)
    stream = output.classifier.stream(rate_hz, hop_s)
    output.events(stream, pcm.pieces(seconds))
    notes("-", pcm.notes)
    health = stream.health
    notes("-", _silence(health.silent_hops))
    if health.hops + health.silent_hops == 0:
        raise RuntimeFailure(
            "raw samples",
            "too short for this model",
            expected=f"at least {stream.first_event_s:g} s",
            got=f"{health.samples / output.classifier.frontend.sample_rate_hz:g} s",
            next_step="send more samples, or check --rate, --channels and --encoding",
        )


def _classify_microphone(
    output: Output, rate_hz: int | None, device: str | None, hop_s: float | None, seconds: float | None
) -> None:
    from .microphone import Microphone

    microphone = Microphone(rate_hz, device)
    stream = output.classifier.stream(microphone.rate_hz, hop_s)
    notes(microphone.name, [f"{microphone.rate_hz:,} Hz; stop with Ctrl-C"])
    try:
        with microphone:
            output.events(stream, microphone.pieces(seconds), microphone.clock)
    finally:
        notes(microphone.name, [*_lost(microphone.health), *_silence(stream.health.silent_hops)])


def _silence(hops: int) -> list[str]:
    return [f"{hops} hops were silent and have no scene"] if hops else []


def _lost(health: LiveHealth) -> list[str]:
    parts = [f"{health.captured_s:.1f} s captured"]
    if health.overruns or health.gaps:
        parts.append(f"{health.overruns} overruns, {health.gaps} gaps, {health.lost_s:.2f} s lost")
    if health.drift_ppm is not None:
        parts.append(f"its clock is {abs(health.drift_ppm):.0f} ppm {'slow' if health.drift_ppm > 0 else 'fast'}")
    return ["; ".join(parts)]


def bench(
    bundle: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE", help="A bundle folder.", show_default=False, autocompletion=one_of(("compare",))
        ),
    ],
    engine: Engine = "litert",
    threads: Threads = 1,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="Measuring time, after half a second of warm-up.")
    ] = 5.0,
    out: RecordFile = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Benchmark a bundle: latency, throughput, memory, clock, temperature, energy."""
    from .bench import BLOCKS, lines
    from .bench import bench as measure
    from .bundle import read_bundle
    from .files import write_file

    opened = read_bundle(bundle)
    with bars() as progress:
        task = progress.add_task("measuring", total=BLOCKS)
        result = measure(opened, engine, threads, seconds, lambda: progress.advance(task))
    record = json.dumps(result.to_json(), indent=1)
    notes(engine, result.notes)
    if out is not None:
        write_file(out, (record + "\n").encode())
    if as_json:
        echo_document(record)
        return
    for line in lines(result):
        echo(line)


def bench_compare(
    a: Annotated[
        Path, typer.Argument(metavar="A.json", help="Benchmark record of tinyscene bench --out.", show_default=False)
    ],
    b: Annotated[
        Path, typer.Argument(metavar="B.json", help="Benchmark record to compare with A.", show_default=False)
    ],
    tolerance: Annotated[
        float, typer.Option(metavar="SHARE", help="Largest relative difference that counts as equal.")
    ] = 0.03,
    as_json: AsJson = False,
) -> None:
    """Compare two benchmark records, allowing for noise. Exit code 1 if B is slower."""
    from .bench_compare import compare, lines, read_result

    comparison = compare(read_result(a), read_result(b), tolerance)
    if as_json:
        echo_document(json.dumps(comparison.to_json(), indent=1))
    else:
        for line in lines(comparison):
            echo(line)
    if comparison.verdict == "slower":
        raise typer.Exit(1)
