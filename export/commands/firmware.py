"""`tinyscene firmware`: C for a model, an image for a target, and a byte-by-byte comparison with the interpreter.

A bundle needs no more than the base install. Refuses options that contradict each other, and an application
(``--application``) of a model without a front end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene.firmware_harness.build.targets import Target, target_named
from tinyscene.firmware_harness.commands.options import (
    BoardName,
    Calls,
    ChosenTarget,
    CpuName,
    Hop,
    Images,
    RoundingRule,
    Sources,
    Tune,
)
from tinyscene.firmware_harness.emit.schedule import SHIPPED, Mode
from tinyscene.firmware_harness.ship.images import ImageFormat
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import MODELS, AsJson, Description, InputsPath, Quiet, one_of

from ..errors import ExportError

if TYPE_CHECKING:
    from tinyscene.firmware_harness.cycles.estimate import Machine
    from tinyscene.runtime.bundle import Golden
    from tinyscene.runtime.model import Model


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What is built, and where it is written."""

    target: ChosenTarget = None
    board: BoardName = None
    cpu: CpuName = None
    out: Sources = None
    rounding: RoundingRule = "double"
    optimise: Calls = None
    tune: Tune = False
    image: Images = None


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What is built and run: the network on inputs, or the whole application, which classifies every hop."""

    application: Annotated[
        bool, typer.Option("--application", help="Build the whole application, from samples to labels.")
    ] = False
    hop: Hop = None
    run: Annotated[bool, typer.Option("--run", help="Run the golden vectors and compare every byte.")] = False
    inputs: InputsPath = None


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
    machine: Machine | None = None


@grouped
def firmware(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help=MODELS,
            autocompletion=one_of(("export", "serial")),
        ),
    ],
    options: BuildOptions,
    running: RunOptions,
    description: Description,
    clips: Annotated[
        list[Path] | None, typer.Argument(metavar="CLIP", help="Recordings to classify; with --application --run.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Emit C for a model, build it, run it; exit code 1 when any byte differs."""
    from tinyscene.firmware_harness.firmware_folder import folder_beside

    from ..formats.open_model import open_model

    target = _target(options)
    build = _Build(
        target=target,
        rounding=options.rounding,
        mode=_mode(options.optimise, options.tune),
        folder=options.out if options.out is not None else folder_beside(model, "firmware"),
        images=tuple(options.image or ()),
        tune=options.tune,
        as_json=as_json,
        machine=_machine(options, target),
    )
    opened = description.of(open_model(model))
    if running.application and build.machine is not None:
        step = "leave out --application: cycles of a second of audio include the front end"
        raise ExportError("--application", "cycles are modelled for the network", next_step=step)
    if running.application or (description.frontend is not None and build.machine is None):
        if running.inputs is not None:
            raise ExportError("--inputs", "belongs to a network without a front end", next_step="give CLIPs instead")
        return _build_application(opened, build, running.hop, _recordings(clips, running.run))
    if clips or running.hop is not None:
        raise ExportError("arguments", "recordings and --hop belong to --application", next_step="add --application")
    if running.inputs is not None and not running.run:
        raise ExportError("--inputs", "belongs to --run", next_step="add --run")
    return _build_network(opened, build, _vectors(opened, running.inputs) if running.run else None)


def _vectors(model: Model, inputs: Path | None) -> Golden:
    """What is run and compared: the given inputs, or the golden vectors."""
    from tinyscene.runtime.bundle import Golden
    from tinyscene.runtime.network_inputs import read_inputs
    from tinyscene.runtime.states import with_states

    if inputs is None:
        return model.golden()
    return Golden.of(model.graph, with_states(model.graph, read_inputs(inputs, model).codes))


def _target(options: BuildOptions) -> Target:
    """The target that is given, or that of the board or processor, whose cycles are modelled."""
    from tinyscene.firmware_harness.cycles.boards import board_named

    if options.board is not None and options.cpu is not None:
        raise ExportError("--cpu", "a board has a processor of its own", expected="at most one of --board and --cpu")
    chosen = options.cpu if options.board is None else board_named(options.board).target
    target = target_named(options.target or chosen or "cortex-m4")
    if chosen is not None and target.name != chosen:
        raise ExportError("--target", "differs from the board or --cpu", expected=chosen, got=target.name)
    if options.image and target.emulator is None:
        raise ExportError("--image", f"no image is written for {target.title}", next_step="choose another --target")
    return target


def _machine(options: BuildOptions, target: Target) -> Machine | None:
    """What cycles are modelled for; None where they are not asked for."""
    from tinyscene.firmware_harness.cycles.boards import board_named
    from tinyscene.firmware_harness.run.modelled import machine_for

    if options.board is None and options.cpu is None:
        return None
    return machine_for(target, None if options.board is None else board_named(options.board))


def _mode(optimise: Mode | None, tune: bool) -> Mode:
    """:data:`SHIPPED` by default, `balanced` with ``--tune``, which prints the counts that `balanced` chooses by."""
    if tune and optimise not in (None, "balanced"):
        raise ExportError("--tune", "chooses by counts", expected="--optimise balanced, or no --optimise", got=optimise)
    return "balanced" if tune else optimise or SHIPPED


def _recordings(clips: list[Path] | None, run: bool) -> list[Path]:
    if run != bool(clips):
        raise ExportError(
            "arguments",
            "with --application, --run needs recordings, and recordings need --run",
            expected="--run and at least one CLIP, or neither",
        )
    return clips or []


def _build_network(model: Model, build: _Build, vectors: Golden | None) -> int:
    """Write the network alone; with ``vectors``, compare every activation. Returns the exit code."""
    from tinyscene.firmware_harness.commands.output import as_json, show, show_counts
    from tinyscene.firmware_harness.firmware_folder import deliver
    from tinyscene.firmware_harness.run.modelled import Modelling
    from tinyscene.runtime.terminal import echo_document

    modelling = None if build.machine is None else Modelling(build.machine, model.frontend)
    delivery = deliver(model.graph, vectors, build.target, build.rounding, build.folder, build.mode, modelling)
    _convert_image(build)
    removed = model.constant_channels_removed
    if build.as_json:
        echo_document(as_json(delivery, removed))
    else:
        if build.tune:
            show_counts(model.graph, delivery.tuned)
        show(delivery, removed)
    return 0 if delivery.matches else 1


def _build_application(model: Model, build: _Build, hop: float | None, recordings: list[Path]) -> int:
    """Write the application and classify the recordings with it. Returns the exit code."""
    from tinyscene.firmware_harness.application import Application
    from tinyscene.firmware_harness.commands.application_output import as_json, report
    from tinyscene.firmware_harness.commands.output import show_counts
    from tinyscene.runtime.model import with_frontend
    from tinyscene.runtime.terminal import bar, echo, echo_document, waiting

    audio_model = with_frontend(model, "leave out --application, or use 'tinyscene firmware export'")
    with waiting(f"building for {build.target.name}"):
        application = Application(audio_model, build.target, build.rounding, hop_s=hop, optimise=build.mode)
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
