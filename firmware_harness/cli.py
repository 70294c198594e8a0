"""`tinyscene firmware`: C for a bundle, an image for a target, and the proof that it computes what the bundle says.

Beside it `tinyscene doctor`, which looks at what is installed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.arith import Rounding

from .errors import FirmwareError
from .schedule import Mode
from .ship.images import ImageFormat
from .targets import TARGETS, Target, target_named

if TYPE_CHECKING:
    from .application import Application, Heard


def firmware(
    model: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    clips: Annotated[
        list[Path] | None, typer.Argument(metavar="[CLIP]...", help="With --frontend --run: recordings to hear.")
    ] = None,
    target: Annotated[str, typer.Option(help=f"{', '.join(TARGETS)}.")] = "cortex-m4",
    run: Annotated[bool, typer.Option("--run", help="Run the golden vectors and compare every byte.")] = False,
    frontend: Annotated[
        bool, typer.Option("--frontend", help="The whole application, from samples to smoothed labels.")
    ] = False,
    hop: Annotated[
        float | None, typer.Option(help="With --frontend: seconds from answer to answer; a clip by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the C sources; BUNDLE-firmware by default.")] = None,
    rounding: Annotated[Rounding, typer.Option(help="double as TFLite Micro, single as XNNPACK.")] = "double",
    optimise: Annotated[
        Mode | None, typer.Option(help="layers: one by one, the default; speed; ram; balanced: by counts, see --tune.")
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Choose by counting in the emulator (balanced), and show every count.")
    ] = False,
    image: Annotated[
        list[ImageFormat] | None, typer.Option(help="The image in other formats too; may stand several times.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> int:
    """Emit C for a bundle, build it, run it, compare it.

    With --frontend the C takes audio, and --run CLIP... compares the label of each hop with Python's.
    Exit code 0 when everything that was run matches, 1 when a byte or a label differs, 2 for an error.
    """
    from runtime.bundle import read_bundle

    from .application import Application
    from .deliver import deliver
    from .present import as_json, show, show_counts

    machine = target_named(target)
    if image and machine.emulator is None:
        raise FirmwareError("--image", f"there is no image for {machine.title}", next_step="choose another --target")
    mode, bundle = _mode(optimise, tune), read_bundle(model)
    folder = out if out is not None else model.resolve().with_name(f"{model.resolve().name}-firmware")
    if frontend:
        recordings = _recordings(clips, run)
        application = Application(bundle, machine, rounding, hop_s=hop, optimise=mode)
        if tune and not json:
            show_counts(bundle.graph, application.tuned)
        code = _application(application, folder, recordings, json)
        _convert(folder, machine, image)
        return code
    if clips or hop is not None:
        raise FirmwareError("arguments", "recordings and --hop belong to --frontend", next_step="add --frontend")
    graph = replace(bundle.graph, labels=bundle.labels)
    delivery = deliver(graph, bundle.golden() if run else None, machine, rounding, folder, mode)
    _convert(folder, machine, image)
    if json:
        print(as_json(delivery, bundle.constant_channels_removed))
    else:
        if tune:
            show_counts(graph, delivery.tuned)
        show(delivery, bundle.constant_channels_removed)
    return 0 if delivery.matches else 1


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Say which engines, extras and targets work here, and what to install for the rest."""
    from json import dumps

    from .doctor import as_json, findings, lines

    found = findings()
    print(dumps(as_json(found), indent=1) if json else "\n".join(lines(found)))


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
    from .deliver import IMAGE_NAME
    from .ship.images import convert

    for form in formats or []:
        convert(folder / IMAGE_NAME, machine, form, (folder / IMAGE_NAME).with_suffix(f".{form}"))


def _application(application: Application, folder: Path, clips: list[Path], json: bool) -> int:
    """Write the application, let it hear the clips, and say what it said."""
    from runtime.terminal import bar

    from .application import as_json, report

    application.write(folder)
    heard: list[Heard] = [application.hear(clip) for clip in bar(clips, f"listening on {application.target.name}")]
    print(as_json(application, folder, heard) if json else "\n".join(report(application, folder, heard)))
    return 0 if all(one.equal == len(one.hops) for one in heard) else 1
