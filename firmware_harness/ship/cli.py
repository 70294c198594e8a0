"""`tinyscene firmware export`, `tinyscene firmware serial` and `tinyscene flash`: a model on its way to a board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.arith import Rounding

from ..errors import FirmwareError
from ..schedule import Optimise

if TYPE_CHECKING:
    from ..engine import Figures
    from .product import Product

FORMAT_NAMES = "cmake, makefile, arduino, zephyr, cmsis-pack or platformio"
CPU_NAMES = "c99 (any), dsp (Cortex-M4, M7, M33) or mve (Cortex-M55)"


def export(
    model: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    form: Annotated[str, typer.Option("--as", help=f"{FORMAT_NAMES}.")],
    out: Annotated[Path | None, typer.Option(help="The new folder; BUNDLE-FORMAT by default.")] = None,
    cpu: Annotated[str, typer.Option(help=f"Kernels: {CPU_NAMES}.")] = "c99",
    optimise: Annotated[Optimise, typer.Option(help="layers: one call for each layer; speed, ram: fused.")] = "speed",
    rounding: Annotated[Rounding, typer.Option(help="double as TFLite Micro, single as XNNPACK.")] = "double",
    prefix: Annotated[str, typer.Option(help="What the public names begin with, a C identifier.")] = "scene",
    release: Annotated[str, typer.Option(help="Version of the model, three numbers.")] = "1.0.0",
    hop: Annotated[float | None, typer.Option(help="Seconds from answer to answer; a clip by default.")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Emulate the network for the README's figures.")] = False,
) -> None:
    """Write a bundle as a folder for a project of your own: two files of C, an example, a README."""
    from runtime.bundle import read_bundle

    from .formats import export as write
    from .formats import format_named
    from .product import Options, Product

    chosen = format_named(form)
    options = Options(cpu, optimise, rounding, prefix, release, hop)
    product = Product(read_bundle(model), options, _generator())
    folder = out if out is not None else model.resolve().with_name(f"{model.resolve().name}-{form}")
    write(product, chosen, folder, _figures(product) if measure else None)
    print(
        f"{folder}: {form}, kernels {cpu}, constants {product.constant_bytes:,} B, arena {product.arena_bytes:,} B, "
        f"state {product.state_bytes:,} B; begin with its README.md"
    )


def serial(
    model: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    target: Annotated[str, typer.Option(help="A machine with a serial port.")] = "cortex-m4",
    optimise: Annotated[Optimise, typer.Option(help="layers: one call for each layer; speed, ram: fused.")] = "speed",
    rounding: Annotated[Rounding, typer.Option(help="double as TFLite Micro, single as XNNPACK.")] = "double",
) -> None:
    """Emulate a board that speaks the serial protocol of the MLPerf Tiny runner, until interrupted."""
    import tempfile

    from runtime.bundle import read_bundle

    from ..targets import target_named
    from .product import Options, Product
    from .serial_board import SerialBoard, build_serial

    machine = target_named(target)
    product = Product(read_bundle(model), Options(machine.cpu, optimise, rounding), _generator())
    with tempfile.TemporaryDirectory(prefix="tinyscene-serial-") as folder:
        image = build_serial(product, machine, Path(folder))
        with SerialBoard(image, machine) as board:
            print(
                f"{board.path}: {machine.title}, {product.graph.name}; a microsecond is 1,000 instructions", flush=True
            )
            code = board.wait()
    raise FirmwareError(f"emulating {machine.name}", f"the board stopped with code {code}")


def flash(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="ELF, Intel HEX, or bare bytes (.bin).")],
    chip: Annotated[str, typer.Option(help="The board's chip, as 'pyocd list --targets' names it.")],
    probe: Annotated[str | None, typer.Option(help="Number of the debug probe, or a part of it.")] = None,
    address: Annotated[str | None, typer.Option(help="Where bare bytes go, such as 0x08000000.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything that needs no board, write nothing.")
    ] = False,
) -> None:
    """Write an image into a board's flash through pyOCD and a debug probe."""
    from .flash import refuse_unless_inside, write_flash
    from .images import read_image

    parts = read_image(image, None if address is None else _address(address))
    refuse_unless_inside(parts, chip)
    for part in parts:
        print(f"{part.address:#010x}-{part.end - 1:#010x}  {len(part.data):,} B")
    if dry_run:
        print(f"dry run: nothing was written to {chip}")
        return
    print(f"written, read back and started: {chip}, {write_flash(parts, chip, probe)}")


def _address(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 2**32:
        raise FirmwareError("--address", "no address", expected="a number of 32 bits, such as 0x08000000", got=text)
    return value


def _generator() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"tinyscene {version('tinyscene')}"
    except PackageNotFoundError:  # run from a clone that was never installed
        return "tinyscene"


def _figures(product: Product) -> Figures:
    """The network alone, on the emulated machine that has the product's kernels."""
    from ..engine import FirmwareEngine
    from ..targets import TARGETS
    from .self_test import golden_input

    cpu = product.options.cpu
    machine = next(target for target in TARGETS.values() if target.cpu == cpu and target.emulator is not None)
    engine = FirmwareEngine(product.graph, machine, product.options.rounding, optimise=product.options.optimise)
    return engine.measure(golden_input(product.graph))
