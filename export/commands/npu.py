"""``tinyscene npu``: ops, cycles and memory of a model on Arm Ethos-U NPUs, estimated by Vela.

The base install with the extra ``npu`` is enough: nothing here imports PyTorch. Refuses models without an int8 .tflite
file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tinyscene.runtime.options import AsJson, Quiet, some_of

from ..targets.ethos_u import NPUS, Estimates, estimate, npu_named, vela_path


def npu(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="A bundle folder or an int8 .tflite file.", show_default=False),
    ],
    targets: Annotated[
        str,
        typer.Option(metavar="NAMES", help='Comma-separated NPU names, or "all".', autocompletion=some_of(NPUS)),
    ] = "all",
    min_npu_share: Annotated[
        float,
        typer.Option(metavar="PERCENT", min=0, max=100, help="Minimum share of ops on each NPU."),
    ] = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Estimate cycles and memory on Arm Ethos-U with Vela, and list the ops left to the CPU.

    Exit code 1 when fewer ops than --min-npu-share run on an NPU.
    """
    from tinyscene.runtime.terminal import steps

    vela_path()
    npus = list(NPUS.values()) if targets == "all" else [npu_named(name) for name in targets.split(",")]
    content = _tflite_content(model)
    rows = []
    with steps("compiling with Vela", len(npus)) as step:
        for each in npus:
            step(each.name)
            rows.append(estimate(content, each))
    if as_json:
        typer.echo(json.dumps([row.to_json() for row in rows], indent=1))
    else:
        print_estimates(model.name, Estimates(tuple(rows)))
    if any(100 * row.npu_share < min_npu_share for row in rows):
        raise typer.Exit(1)


def print_estimates(model: str, estimates: Estimates) -> None:
    """Print the estimates as a table, then each op that an NPU leaves to the CPU and each NPU without an estimate."""
    from rich.table import Table

    from tinyscene.runtime.terminal import say, wide

    console = wide()
    table = Table(title=f"{model} on Ethos-U, estimated by Vela")
    for column in ("NPU", "ops on NPU", "cycles", "ms", "SRAM B", "flash B"):
        table.add_column(column, justify="left" if column == "NPU" else "right", overflow="fold")
    for row in estimates.rows:
        ops = f"{row.ops_on_npu} of {row.ops_on_npu + row.ops_on_cpu} ({row.npu_share:.0%})"
        sizes = (f"{row.sram_bytes:,}", f"{row.flash_bytes:,}")
        table.add_row(row.npu, ops, f"{row.cycles:,}", f"{row.milliseconds:.2f}", *sizes)
    console.print(table)
    for row in estimates.rows:
        for refused in row.refused:
            say(console, f"{row.npu}: on the CPU: {refused}")
    for name, reason in estimates.left_out.items():
        say(console, f"{name}: skipped: {reason}")


def _tflite_content(model: Path) -> bytes:
    """The .tflite file's content, from a bundle with verified digests or from the file itself."""
    from tinyscene.runtime.bundle import read_bundle

    from ..errors import ExportError

    if model.suffix != ".tflite":
        return read_bundle(model).file("model.tflite")
    if not model.is_file():
        raise ExportError(str(model), "no such file", next_step="check the path")
    return model.read_bytes()
