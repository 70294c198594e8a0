"""`tinyscene firmware`: C for a bundle, an image for a target, and the proof that it computes what the bundle says.

Beside it `tinyscene doctor`, which looks at what is installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene.runtime.options import AsJson, Quiet, one_of

from ..build.targets import Target, target_named
from ..emit.schedule import Mode
from ..errors import FirmwareError
from ..ship.images import ImageFormat
from .options import Calls, Hop, Images, RoundingRule, Sources, TargetName, Tune

if TYPE_CHECKING:
    from tinyscene.runtime.arith import Rounding
    from tinyscene.runtime.graph import Graph

    from ..application import Application, Heard
    from ..firmware_folder import Vectors


def firmware(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A bundle folder, or an int8 .tflite file.",
            autocompletion=one_of(("export", "serial")),
        ),
    ],
    clips: Annotated[
        list[Path] | None, typer.Argument(metavar="CLIP", help="With --frontend --run: recordings to hear.")
    ] = None,
    target: TargetName = "cortex-m4",
    run: Annotated[bool, typer.Option("--run", help="Run the golden vectors and compare every byte.")] = False,
    frontend: Annotated[bool, typer.Option("--frontend", help="The application, from samples to labels.")] = False,
    hop: Hop = None,
    out: Sources = None,
    rounding: RoundingRule = "double",
    optimise: Calls = None,
    tune: Tune = False,
    image: Images = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Emit C for a bundle, build it, run it, compare it.

    With --frontend, --run CLIP... compares labels with Python's. Exit code 1 when anything differs.
    """
    from tinyscene.runtime.bundle import read_bundle
    from tinyscene.runtime.terminal import waiting

    from ..application import Application
    from .output import show_counts

    bundle = read_bundle(model)
    folder = out if out is not None else model.resolve().with_name(f"{model.resolve().name}-firmware")
    if frontend:
        machine, recordings = _machine(target, image), _recordings(clips, run)
        with waiting(f"building for {machine.name}"):
            application = Application(bundle, machine, rounding, hop_s=hop, optimise=_mode(optimise, tune))
        if tune and not as_json:
            show_counts(bundle.graph, application.tuned)
        code = _application(application, folder, recordings, as_json)
        _convert(folder, machine, image)
        return code
    if clips or hop is not None:
        raise FirmwareError("arguments", "recordings and --hop belong to --frontend", next_step="add --frontend")
    return deliver_and_show(
        bundle.graph,
        bundle.golden() if run else None,
        target,
        rounding,
        folder,
        optimise,
        tune,
        image,
        constant_channels_removed=bundle.constant_channels_removed,
        as_json=as_json,
    )


def deliver_and_show(
    graph: Graph,
    golden: Vectors | None,
    target: str,
    rounding: Rounding,
    folder: Path,
    optimise: Mode | None,
    tune: bool,
    image: list[ImageFormat] | None,
    *,
    constant_channels_removed: int | None = None,
    as_json: bool,
) -> int:
    """What ``tinyscene firmware`` does with a graph, whatever it was read from; returns the exit code.

    Raises:
        FirmwareError: options that contradict each other, and see
        :func:`tinyscene.firmware_harness.firmware_folder.deliver`.
    """
    from ..firmware_folder import deliver
    from .output import as_json as delivery_json
    from .output import show, show_counts

    machine = _machine(target, image)
    delivery = deliver(graph, golden, machine, rounding, folder, _mode(optimise, tune))
    _convert(folder, machine, image)
    if as_json:
        print(delivery_json(delivery, constant_channels_removed))
    else:
        if tune:
            show_counts(graph, delivery.tuned)
        show(delivery, constant_channels_removed)
    return 0 if delivery.matches else 1


def doctor(as_json: AsJson = False) -> None:
    """Say which engines, extras and targets work here, and what to install for the rest."""
    import json

    from ..doctor import as_json as record
    from ..doctor import findings, lines

    found = findings()
    print(json.dumps(record(found), indent=1) if as_json else "\n".join(lines(found)))


def _machine(name: str, image: list[ImageFormat] | None) -> Target:
    machine = target_named(name)
    if image and machine.emulator is None:
        raise FirmwareError("--image", f"there is no image for {machine.title}", next_step="choose another --target")
    return machine


def _mode(optimise: Mode | None, tune: bool) -> Mode:
    """What is asked for: layer by layer when nothing is, `balanced` when its counts are to be shown."""
    if tune and optimise not in (None, "balanced"):
        raise FirmwareError("--tune", "counts choose", expected="--optimise balanced, or none", got=optimise)
    return "balanced" if tune else optimise or "layers"


def _recordings(clips: list[Path] | None, run: bool) -> list[Path]:
    if run != bool(clips):
        raise FirmwareError(
            "arguments", "--frontend hears recordings", expected="--run and one CLIP or more, or neither"
        )
    return clips or []


def _convert(folder: Path, machine: Target, formats: list[ImageFormat] | None) -> None:
    """The image beside itself in other formats."""
    from ..firmware_folder import IMAGE_NAME
    from ..ship.images import convert

    for form in formats or []:
        convert(folder / IMAGE_NAME, machine, form, (folder / IMAGE_NAME).with_suffix(f".{form}"))


def _application(application: Application, folder: Path, clips: list[Path], as_json: bool) -> int:
    """Write the application, let it hear the clips, and say what it said."""
    from tinyscene.runtime.terminal import bar

    from ..application import as_json as heard_json
    from ..application import report

    application.write(folder)
    heard: list[Heard] = [application.hear(clip) for clip in bar(clips, f"listening on {application.target.name}")]
    print(heard_json(application, folder, heard) if as_json else "\n".join(report(application, folder, heard)))
    return 0 if all(one.equal == len(one.hops) for one in heard) else 1
