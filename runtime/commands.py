"""The runtime's commands: ``tinyscene run`` and ``tinyscene bench``.

Refuses options that have no effect on the given input, and numbers outside their bounds, before a bundle is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, BundleFolder, Engine, Quiet, RecordFile, one_of, quietened
from .terminal import bars, notes

STANDARD_INPUT = Path("-")
FILES, MICROPHONE, WATCH = "files", "--mic", "--watch"
APPLIES_TO = {  # options that have an effect on some inputs only
    "--hop": ("-", MICROPHONE),
    "--seconds": ("-", MICROPHONE, WATCH),
    "--rate": ("-", MICROPHONE),
    "--channels": ("-",),
    "--encoding": ("-",),
    "--device": (MICROPHONE,),
}
Threads = Annotated[int, typer.Option(metavar="N", help="Number of engine threads (LiteRT, ONNX Runtime).")]


def run(
    bundle: BundleFolder,
    clips: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="CLIP", help="Audio files, or - for raw samples or a file through a pipe.", show_default=False
        ),
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
    channels: Annotated[
        int | None, typer.Option(metavar="N", help="Number of interleaved channels of raw samples; 1 if not given.")
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Format of raw samples: s16 or f32; s16 if not given.",
            autocompletion=one_of(("s16", "f32")),
        ),
    ] = None,
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
    files = clips or []
    source = _source(files, mic, watch)
    given = dict(zip(APPLIES_TO, (hop, seconds, rate, channels, encoding, device), strict=True))
    _refuse_unused(source, given)
    _check_numbers(given, threads)
    from .classify import SceneClassifier
    from .run_inputs import LiveOptions, Output, classify_files, classify_folder, classify_microphone, classify_pipe

    classifier = SceneClassifier.open(bundle, engine, threads)
    output = Output(classifier, quiet=quiet, as_json=as_json)
    options = LiveOptions(hop, seconds, rate, channels, encoding, device)
    notes(engine, classifier.engine.notes)
    if watch is not None:
        complete = classify_folder(output, watch, options)
    elif source == FILES:
        complete = classify_files(output, files, str(bundle), engine)
    else:
        complete = (classify_microphone if mic else classify_pipe)(output, options)
    if not complete:
        raise typer.Exit(2)


def _source(files: list[Path], mic: bool, watch: Path | None) -> str:
    """The one input: files, ``-``, ``--mic`` or ``--watch``; raises RuntimeFailure for none or several."""
    from .errors import RuntimeFailure

    piped = files == [STANDARD_INPUT]
    if sum([bool(files), mic, watch is not None]) != 1 or (STANDARD_INPUT in files and not piped):
        raise RuntimeFailure(
            "run", "expected files, or - alone, or --mic, or --watch DIR", next_step="give exactly one of them"
        )
    return "-" if piped else FILES if files else MICROPHONE if mic else WATCH


def _refuse_unused(source: str, given: Mapping[str, object]) -> None:
    from .run_inputs import does_not_apply

    for option, sources in APPLIES_TO.items():
        if given[option] is not None and source not in sources:
            raise does_not_apply(option, source, " or ".join(sources))


def _check_numbers(given: Mapping[str, object], threads: int) -> None:
    from .limits import MAX_THREADS, checked_channels, checked_rate, checked_seconds, whole_number

    checks = {
        "--hop": checked_seconds,
        "--seconds": checked_seconds,
        "--rate": checked_rate,
        "--channels": checked_channels,
    }
    for option, check in checks.items():
        if given[option] is not None:
            check(f"run {option}", given[option])
    whole_number("run --threads", threads, 1, MAX_THREADS, "threads")


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
    from .limits import MAX_THREADS, checked_seconds, whole_number

    checked_seconds("bench --seconds", seconds)
    whole_number("bench --threads", threads, 1, MAX_THREADS, "threads")
    opened = read_bundle(bundle)
    with bars() as progress:
        task = progress.add_task("measuring", total=BLOCKS)
        result = measure(opened, engine, threads, seconds, lambda: progress.advance(task))
    record = json.dumps(result.to_json(), indent=1)
    notes(engine, result.notes)
    if out is not None:
        write_file(out, (record + "\n").encode())
    print(record if as_json else "\n".join(lines(result)))


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
    print(json.dumps(comparison.to_json(), indent=1) if as_json else "\n".join(lines(comparison)))
    if comparison.verdict == "slower":
        raise typer.Exit(1)
