"""`tinyscene firmware`: C for a model, an image for a target, and a byte-by-byte comparison with the interpreter.

The model is a bundle or an int8 TFLite file. A bundle needs no more than the base install; the reader of TFLite files
is imported for those alone. Refuses options that contradict each other, and an application (``--frontend``) of a model
without a front end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene.firmware_harness.build.targets import Target, target_named
from tinyscene.firmware_harness.commands.options import (
    Calls,
    Hop,
    Images,
    RoundingRule,
    Sources,
    TargetName,
    Tune,
)
from tinyscene.firmware_harness.emit.schedule import Mode
from tinyscene.firmware_harness.ship.images import ImageFormat
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import AsJson, Quiet, one_of

from ..errors import ExportError

if TYPE_CHECKING:
    from tinyscene.runtime.bundle import Bundle, Golden
    from tinyscene.runtime.graph import Graph

TFLITE_IDENTIFIER = b"TFL3"  # bytes 4 to 7 of a TFLite file


@dataclass(frozen=True, eq=False)
class _Model:
    """A model as this command needs it; ``bundle`` is None for a TFLite file, which has no front end and no labels."""

    path: Path
    graph: Graph
    golden: Callable[[], Golden]
    bundle: Bundle | None


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What is built, and where it is written."""

    target: TargetName = "cortex-m4"
    out: Sources = None
    rounding: RoundingRule = "double"
    optimise: Calls = None
    tune: Tune = False
    image: Images = None


@dataclass(frozen=True, kw_only=True)
class ApplicationOptions:
    """Whether the whole application is built, and how often it classifies."""

    frontend: Annotated[
        bool, typer.Option("--frontend", help="Build the whole application, from samples to labels.")
    ] = False
    hop: Hop = None


@dataclass(frozen=True)
class _Build:
    """How firmware is built, where it is written, and how the result is printed."""

    target: Target
    rounding: Rounding
    mode: Mode
    folder: Path
    images: tuple[ImageFormat, ...]
    tune: bool
    as_json: bool


@grouped
def firmware(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A bundle folder, or an int8 .tflite file.",
            autocompletion=one_of(("export", "serial")),
        ),
    ],
    options: BuildOptions,
    application: ApplicationOptions,
    clips: Annotated[
        list[Path] | None, typer.Argument(metavar="CLIP", help="Recordings to classify; with --frontend --run.")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Run the golden vectors and compare every byte.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Emit C for a model, build it and, with --run, compare every byte.

    With --frontend, --run CLIP... compares labels with those of `tinyscene
    run`. A .tflite file has no golden vectors; --run draws random inputs.
    Exit code 1 when anything differs.
    """
    build = _Build(
        target=_target(options.target, options.image),
        rounding=options.rounding,
        mode=_mode(options.optimise, options.tune),
        folder=options.out if options.out is not None else _default_folder(model),
        images=tuple(options.image or ()),
        tune=options.tune,
        as_json=as_json,
    )
    opened = _read_model(model)
    if application.frontend:
        return _build_application(opened, build, application.hop, _recordings(clips, run))
    if clips or application.hop is not None:
        raise ExportError("arguments", "recordings and --hop belong to --frontend", next_step="add --frontend")
    return _build_network(opened, build, run)


def _read_model(path: Path) -> _Model:
    """Read a bundle or a TFLite file.

    Raises:
        RuntimeFailure: the bundle is missing or damaged.
        ExportError: the TFLite file is missing, damaged, or not an int8 network of known operators.
    """
    if _is_tflite(path):
        from ..formats.tflite_model import open_tflite

        file = open_tflite(path)
        return _Model(path, file.graph, file.golden, None)
    from tinyscene.runtime.bundle import read_bundle

    bundle = read_bundle(path)
    return _Model(path, bundle.graph, bundle.golden, bundle)


def _is_tflite(path: Path) -> bool:
    """Whether the file has the TFLite identifier, or, when it cannot be read, the name of such a file."""
    if not path.is_file():
        return path.suffix == ".tflite" and not path.is_dir()
    with path.open("rb") as file:
        return file.read(8)[4:] == TFLITE_IDENTIFIER or path.suffix == ".tflite"


def _default_folder(model: Path) -> Path:
    """MODEL-firmware beside the model, without the suffix of a file."""
    path = model.resolve()
    return path.with_name(f"{path.stem if path.suffix == '.tflite' else path.name}-firmware")


def _target(name: str, image: list[ImageFormat] | None) -> Target:
    target = target_named(name)
    if image and target.emulator is None:
        raise ExportError("--image", f"no image is written for {target.title}", next_step="choose another --target")
    return target


def _mode(optimise: Mode | None, tune: bool) -> Mode:
    """`layers` by default, `balanced` with ``--tune``, which prints the counts that `balanced` chooses by."""
    if tune and optimise not in (None, "balanced"):
        raise ExportError("--tune", "chooses by counts", expected="--optimise balanced, or no --optimise", got=optimise)
    return "balanced" if tune else optimise or "layers"


def _recordings(clips: list[Path] | None, run: bool) -> list[Path]:
    if run != bool(clips):
        raise ExportError(
            "arguments",
            "with --frontend, --run needs recordings, and recordings need --run",
            expected="--run and at least one CLIP, or neither",
        )
    return clips or []


def _build_network(model: _Model, build: _Build, run: bool) -> int:
    """Write the network alone; with ``run``, compare every activation. Returns the exit code."""
    from tinyscene.firmware_harness.commands.output import as_json, show, show_counts
    from tinyscene.firmware_harness.firmware_folder import deliver
    from tinyscene.runtime.terminal import echo_document

    golden = model.golden() if run else None
    delivery = deliver(model.graph, golden, build.target, build.rounding, build.folder, build.mode)
    _convert_image(build)
    removed = model.bundle.constant_channels_removed if model.bundle is not None else None
    if build.as_json:
        echo_document(as_json(delivery, removed))
    else:
        if build.tune:
            show_counts(model.graph, delivery.tuned)
        show(delivery, removed)
    return 0 if delivery.matches else 1


def _build_application(model: _Model, build: _Build, hop: float | None, recordings: list[Path]) -> int:
    """Write the application and classify the recordings with it. Returns the exit code."""
    from tinyscene.firmware_harness.application import Application
    from tinyscene.firmware_harness.commands.application_output import as_json, report
    from tinyscene.firmware_harness.commands.output import show_counts
    from tinyscene.runtime.terminal import bar, echo, echo_document, waiting

    if model.bundle is None:
        raise ExportError(
            str(model.path),
            "a TFLite file has no front end and no labels",
            expected="a bundle folder for --frontend",
            next_step="leave out --frontend for the network alone",
        )
    with waiting(f"building for {build.target.name}"):
        application = Application(model.bundle, build.target, build.rounding, hop_s=hop, optimise=build.mode)
    if build.tune and not build.as_json:
        show_counts(model.graph, application.tuned)
    application.write(build.folder)
    results = [application.classify(recording) for recording in bar(recordings, f"classifying on {build.target.name}")]
    if build.as_json:
        echo_document(as_json(application, build.folder, results))
    else:
        for line in report(application, build.folder, results):
            echo(line)
    _convert_image(build)
    return 0 if all(result.matches for result in results) else 1


def _convert_image(build: _Build) -> None:
    """Write the image in further formats beside the ELF file."""
    from tinyscene.firmware_harness.firmware_folder import IMAGE_NAME
    from tinyscene.firmware_harness.ship.images import convert

    elf = build.folder / IMAGE_NAME
    for image_format in build.images:
        convert(elf, build.target, image_format, elf.with_suffix(f".{image_format}"))
