"""`tinyscene firmware export`, `tinyscene firmware serial` and `tinyscene flash`: from a model to a board.

`firmware export` gives a model with a front end from samples to labels, and any other from codes to codes. Refuses
`--hop` for the latter, and several inputs or outputs on the serial line.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene import __version__
from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import AsJson, Description, ModelOpener, ModelPath, Quiet, one_of
from tinyscene.runtime.temporaries import temporary_folder
from tinyscene.runtime.terminal import echo, echo_document, waiting

from ..emit.schedule import SHIPPED
from ..errors import FirmwareError
from .options import Hop, RoundingRule, ShippedCalls, TargetName

if TYPE_CHECKING:
    from ..ship.formats import Format, Measured
    from ..ship.product import Product

FORMATS = ("cmake", "makefile", "arduino", "zephyr", "cmsis-pack", "platformio", "esp-idf", "pico-sdk", "wasm")
FORMAT_NAMES = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
SENT_AS, RESULTS = ("codes", "uint8", "float32"), ("probabilities", "values")
CPU_NAMES = "c99 (any), dsp (Cortex-M4, M7, M33) or mve (Cortex-M55)"


@dataclass(frozen=True, kw_only=True)
class ProductOptions:
    """What the exported C contains, and how it is named."""

    cpu: Annotated[
        str,
        typer.Option(metavar="KERNELS", help=f"Kernel set: {CPU_NAMES}.", autocompletion=one_of(("c99", "dsp", "mve"))),
    ] = "c99"
    optimise: ShippedCalls = SHIPPED
    rounding: RoundingRule = "double"
    prefix: Annotated[
        str | None, typer.Option(metavar="NAME", help="Prefix of the public C names: scene or neural by default.")
    ] = None
    release: Annotated[str, typer.Option(metavar="VERSION", help="Release of the model, three numbers.")] = "1.0.0"
    hop_s: Hop = None


@dataclass(frozen=True, kw_only=True)
class ProjectOptions:
    """The folder that is written."""

    form: Annotated[
        str,
        typer.Option(
            "--as", metavar="FORMAT", help=f"Kind of project: {FORMAT_NAMES}.", autocompletion=one_of(FORMATS)
        ),
    ]
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write; MODEL-FORMAT by default.")] = None
    measure: Annotated[bool, typer.Option("--measure", help="Measure in the emulator, for the README's figures.")] = (
        False
    )


@grouped
def export(
    model: ModelPath,
    project: ProjectOptions,
    description: Description,
    contents: ProductOptions,
    open_model: ModelOpener,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Export a model as a folder for your own project: two C files, an example and a README."""
    from ..firmware_folder import folder_beside
    from ..ship.formats import export as write
    from ..ship.formats import format_named
    from ..ship.product import Options, Product

    chosen = format_named(project.form)
    options = Options(**asdict(contents))
    product = Product(description.of(open_model(model)), options, f"tinyscene {__version__}")
    folder = project.out if project.out is not None else folder_beside(model, project.form)
    measured = _measured(product, chosen) if project.measure else None
    write(product, chosen, folder, measured)
    sizes = {f"{name}_bytes": getattr(product, f"{name}_bytes") for name in ("constant", "arena", "state")}
    if as_json:
        bounds = {} if measured is None else {"stack_bound_bytes": measured.stack_bound_bytes}
        record = {
            "folder": str(folder),
            "format": project.form,
            "kernels": contents.cpu,
            "audio": product.has_audio,
            **sizes,
            **bounds,
        }
        echo_document(json.dumps(record, indent=1))
        return
    extent = "" if product.has_audio else "network alone, from codes to codes, "
    echo(
        f"{folder}: {project.form}, {extent}kernels {contents.cpu}, constants {product.constant_bytes:,} B, "
        f"arena {product.arena_bytes:,} B, state {product.state_bytes:,} B; next: read its README.md"
    )


@dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """What the runner sends and receives."""

    model_id: Annotated[
        str | None, typer.Option("--model-id", metavar="ID", help="Id that the runner looks for, such as ic01.")
    ] = None
    sent_as: Annotated[
        str,
        typer.Option(
            "--sent-as", metavar="FORM", help="Inputs: codes (int8), uint8 or float32.", autocompletion=one_of(SENT_AS)
        ),
    ] = "codes"
    results: Annotated[
        str,
        typer.Option(metavar="FORM", help="Results: probabilities or values.", autocompletion=one_of(RESULTS)),
    ] = "probabilities"


@grouped
def serial(
    model: ModelPath,
    runner: RunnerOptions,
    open_model: ModelOpener,
    target: TargetName = "cortex-m4",
    optimise: ShippedCalls = SHIPPED,
    rounding: RoundingRule = "double",
) -> None:
    """Emulate a board with the serial protocol of the MLPerf Tiny runner, until interrupted."""
    from ..build.targets import target_named
    from ..ship.serial_board import SerialBoard, build_serial
    from ..ship.serial_program import SerialOptions, SerialProgram

    machine, options = target_named(target), SerialOptions(**asdict(runner))
    program = SerialProgram(open_model(model).graph, machine.cpu, optimise, rounding, options)
    with temporary_folder("serial") as folder:
        image = build_serial(program, machine, folder)
        with SerialBoard(image, machine) as board:
            echo(f"{board.path}: {machine.title}, {program.graph.name}; a microsecond is 1,000 instructions")
            code = board.wait()
    raise FirmwareError(f"emulating {machine.name}", f"the board stopped with code {code}")


def flash(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image: ELF, Intel HEX, or bare bytes (.bin).")],
    chip: Annotated[str, typer.Option(metavar="NAME", help="Chip, as listed by 'pyocd list --targets'.")],
    probe: Annotated[
        str | None, typer.Option(metavar="ID", help="Serial number of the probe, or a part of it.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address of bare bytes, such as 0x08000000.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the image without a board; write nothing.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write an image to a board's flash with pyOCD and a debug probe."""
    from ..ship.flash import refuse_unless_inside, write_flash
    from ..ship.images import read_image

    parts = read_image(image, None if address is None else _address(address))
    refuse_unless_inside(parts, chip)
    if not as_json:
        for part in parts:
            echo(f"{part.address:#010x}-{part.end - 1:#010x}  {len(part.data):,} B")
    written = None
    if not dry_run:
        with waiting(f"writing to {chip}"):
            written = write_flash(parts, chip, probe)
    if as_json:
        ranges = [{"address": part.address, "bytes": len(part.data)} for part in parts]
        echo_document(json.dumps({"chip": chip, "parts": ranges, "written_through": written}, indent=1))
    elif written is None:
        echo(f"dry run: nothing was written to {chip}")
    else:
        echo(f"written, read back and started: {chip}, {written}")


def _address(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 2**32:
        expected = "a 32-bit number such as 0x08000000"
        raise FirmwareError("--address", "not an address", expected=expected, got=text)
    return value


def _measured(product: Product, form: Format) -> Measured:
    """Figures of the network alone and bounds of the product's stack, on a machine with the product's kernel set, and
    instructions for a second of audio on the boards of the format."""
    from ..build.targets import TARGETS
    from ..run.engine import FirmwareEngine
    from ..ship.board_rates import board_rates
    from ..ship.formats import Measured
    from ..ship.product_stack import product_stack
    from ..ship.self_test import golden_input

    cpu = product.options.cpu
    machine = next(target for target in TARGETS.values() if target.cpu == cpu and target.emulator is not None)
    engine = FirmwareEngine(product.graph, machine, product.options.rounding, optimise=product.options.optimise)
    with waiting(f"emulating {machine.name}"):
        bounds = {name: bound.bytes for name, bound in product_stack(product, machine).items()}
        figures = engine.measure(golden_input(product.graph))
    with waiting("emulating the boards of the example"):
        return Measured(figures, bounds, board_rates(product, form.boards))
