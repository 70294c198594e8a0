"""The runtime's commands: ``tinyscene run`` and ``tinyscene bench``.

Refuses options that have no effect on the given input, and numbers outside their bounds, before a model is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .option_groups import grouped
from .options import (
    MODELS,
    AsJson,
    Description,
    Engine,
    InputsPath,
    ModelOpener,
    ModelPath,
    Quiet,
    RecordFile,
    one_of,
    quietened,
)
from .terminal import bars, echo, echo_document, notes

if TYPE_CHECKING:
    from .model import Model
    from .run_inputs import LiveOptions

STANDARD_INPUT = Path("-")
FILES, MICROPHONE, WATCH, INPUTS = "files", "--mic", "--watch", "--inputs"
APPLIES_TO = {  # options that have an effect on some inputs only
    "--hop": ("-", MICROPHONE),
    "--seconds": ("-", MICROPHONE, WATCH),
    "--rate": ("-", MICROPHONE),
    "--channels": ("-",),
    "--encoding": ("-",),
    "--device": (MICROPHONE,),
    "--frontend": ("-", FILES, MICROPHONE, WATCH),
}
Threads = Annotated[int, typer.Option(metavar="N", help="Threads of LiteRT or ONNX Runtime.")]


@dataclass(frozen=True, kw_only=True)
class LiveAudio:
    """Options of audio without an end."""

    hop: Annotated[float | None, typer.Option(metavar="SECONDS", help="Interval between results, with - or --mic.")] = (
        None
    )
    seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Stop after this time, with -, --mic or --watch.")
    ] = None
    rate: Annotated[int | None, typer.Option(metavar="HZ", help="Sampling rate of raw samples or the microphone.")] = (
        None
    )
    channels: Annotated[
        int | None, typer.Option(metavar="N", help="Interleaved channels of raw samples; 1 if not given.")
    ] = None
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Format of raw samples: s16 or f32; s16 if not given.",
            autocompletion=one_of(("s16", "f32")),
        ),
    ] = None
    device: Annotated[str | None, typer.Option(metavar="NAME", help="Microphone, by number or part of its name.")] = (
        None
    )

    def options(self) -> LiveOptions:
        from .run_inputs import LiveOptions

        return LiveOptions(self.hop, self.seconds, self.rate, self.channels, self.encoding, self.device)


@dataclass(frozen=True, kw_only=True)
class RunEngine:
    """The engine and its threads."""

    engine: Engine = "litert"
    threads: Threads = 1


@dataclass(frozen=True, kw_only=True)
class RunForm:
    """The form of the results."""

    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print one line per file or scene change, no notes.", callback=quietened)
    ] = False
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with -, --mic or --watch one object per line.")
    ] = False


@grouped
def run(
    model: ModelPath,
    description: Description,
    opened_by: RunEngine,
    live: LiveAudio,
    form: RunForm,
    open_model: ModelOpener,
    clips: Annotated[
        list[Path] | None,
        typer.Argument(metavar="CLIP", help="Audio files, or - for standard input.", show_default=False),
    ] = None,
    inputs: InputsPath = None,
    mic: Annotated[bool, typer.Option("--mic", help="Classify audio from a microphone.")] = False,
    watch: Annotated[Path | None, typer.Option(metavar="DIR", help="Classify new files in a folder.")] = None,
) -> None:
    """Classify audio from files, a pipe, a microphone or a folder; or inputs."""
    files = clips or []
    source = _source(files, {MICROPHONE: mic, WATCH: watch is not None, INPUTS: inputs is not None})
    given: dict[str, object] = {f"--{name}": value for name, value in asdict(live).items()}
    _refuse_unused(source, {**given, "--frontend": description.frontend})
    _check_numbers(given, opened_by.threads)
    described = description.of(open_model(model))
    if inputs is not None:
        _run_inputs(described, inputs, opened_by, form)
        return
    from .classify import SceneClassifier
    from .run_inputs import Output, classify_files, classify_folder, classify_microphone, classify_pipe

    classifier = SceneClassifier.open(described, opened_by.engine, opened_by.threads)
    output = Output(classifier, quiet=form.quiet, as_json=form.as_json)
    notes(opened_by.engine, classifier.engine.notes)
    if watch is not None:
        complete = classify_folder(output, watch, live.options())
    elif source == FILES:
        complete = classify_files(output, files, str(model), opened_by.engine)
    else:
        complete = (classify_microphone if mic else classify_pipe)(output, live.options())
    if not complete:
        raise typer.Exit(2)


def _run_inputs(model: Model, path: Path, opened_by: RunEngine, form: RunForm) -> None:
    """Run network inputs, of a network with states in their order, and print the scores and the label of each."""
    from .engines import open_engine
    from .network_inputs import read_inputs
    from .run_output import input_rows
    from .states import in_turn, results_of

    inputs = read_inputs(path, model)
    engine = open_engine(opened_by.engine, model, opened_by.threads)
    notes(opened_by.engine, engine.notes)
    outputs = in_turn(model.graph, inputs.codes, engine.output_codes)[1]
    rows = input_rows(model, inputs.names, results_of(model.graph, outputs))
    if form.as_json:
        document = {"model": str(model.path), "engine": engine.name, "notes": list(engine.notes)}
        echo_document(json.dumps({**document, "inputs": [row.to_json() for row in rows]}, indent=1))
        return
    for row in rows:
        echo_document(row.quiet_line()) if form.quiet else echo(row.line())


def _source(files: list[Path], options: Mapping[str, bool]) -> str:
    """The one input: files, ``-``, or one of the options; raises RuntimeFailure for none or several."""
    from .errors import RuntimeFailure

    given, piped = [name for name, is_given in options.items() if is_given], files == [STANDARD_INPUT]
    if bool(files) + len(given) != 1 or (STANDARD_INPUT in files and not piped):
        what = "expected files, or - alone, or --mic, or --watch DIR, or --inputs PATH"
        raise RuntimeFailure("run", what, next_step="give exactly one of them")
    return given[0] if given else "-" if piped else FILES


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
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help=MODELS, show_default=False, autocompletion=one_of(("compare",)))
    ],
    open_model: ModelOpener,
    engine: Engine = "litert",
    threads: Threads = 1,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="Measuring time, after half a second of warm-up.")
    ] = 5.0,
    out: RecordFile = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Benchmark a model: latency, throughput, memory, clock, temperature, energy.

    A bundle is measured from samples to scores, a file without a front end on
    random codes.
    """
    from .bench import BLOCKS, lines
    from .bench import bench as measure
    from .files import write_file
    from .limits import MAX_THREADS, checked_seconds, whole_number

    checked_seconds("bench --seconds", seconds)
    whole_number("bench --threads", threads, 1, MAX_THREADS, "threads")
    opened = open_model(model)
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
