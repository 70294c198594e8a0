"""``tinyscene inspect``: a model layer by layer, as a table, a JSON document or a picture.

Any model that ``tinyscene check`` takes. Exit code 2 for a file that cannot be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tinyscene.firmware_harness.build.targets import TARGETS, target_named
from tinyscene.firmware_harness.commands.options import ShippedCalls
from tinyscene.firmware_harness.emit.schedule import SHIPPED
from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import AsJson, Quiet, file_to_write, one_of
from tinyscene.runtime.terminal import echo, echo_document, waiting

from ..errors import ExportError

CPUS = ("c99", "dsp", "mve")
DEFAULT_CPU = "dsp"


@dataclass(frozen=True, kw_only=True)
class KernelOptions:
    """The processor whose kernels are shown, and how calls are selected."""

    cpu: Annotated[
        str | None,
        typer.Option(metavar="KERNELS", help="c99, dsp (default) or mve.", autocompletion=one_of(CPUS)),
    ] = None
    target: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The kernels of this target instead.", autocompletion=one_of(TARGETS)),
    ] = None
    optimise: ShippedCalls = SHIPPED

    def kernel_set(self) -> str:
        """Name of the kernel set; raises ExportError when both a set and a target are given."""
        if self.cpu is not None and self.target is not None:
            what = "--cpu and --target exclude each other"
            raise ExportError("arguments", what, expected="one of them", next_step="leave one out")
        return target_named(self.target).cpu if self.target is not None else self.cpu or DEFAULT_CPU


@grouped
def inspect(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="A bundle folder, .tflite, .onnx or a checkpoint.", show_default=False),
    ],
    kernels: KernelOptions,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a picture of the network.", callback=file_to_write("<"))
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="Show every column.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Show a model layer by layer: shapes, scales, bytes, MACs and firmware kernels."""
    from tinyscene.runtime.files import write_file

    from ..inspect.read import inspect_model

    kernel_set = kernels.kernel_set()
    with waiting(f"reading {model.name}"):
        inspection = inspect_model(model, kernel_set, kernels.optimise)
    if svg is not None:
        from ..inspect.drawing import to_svg

        write_file(svg, to_svg(inspection).encode())
    if as_json:
        echo_document(inspection.to_json())
        return
    from ..inspect.table import print_inspection

    print_inspection(inspection, wide=wide)
    if svg is not None and not quiet:
        echo(f"picture     {svg}")
