"""``tinyscene npu``: ops, cycles and memory of a model on Arm Ethos-U NPUs, estimated by Vela.

The base install with the extra ``npu`` is enough: nothing here imports PyTorch. Refuses checkpoints.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from tinyscene.runtime.file_names import TFLITE_MODEL
from tinyscene.runtime.options import AsJson, ModelPath, Quiet, some_of

from ..errors import ExportError
from ..targets.ethos_u import NPUS, Estimates, estimate, npu_named, vela_path


def npu(
    model: ModelPath,
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
    from tinyscene.runtime.terminal import echo_document, steps

    if math.isnan(min_npu_share):  # which is in no range, and out of none
        raise ExportError("--min-npu-share", "invalid value", expected="0 to 100 percent", got=min_npu_share)
    vela_path()
    npus = list(NPUS.values()) if targets == "all" else [npu_named(name) for name in targets.split(",")]
    content = _tflite_content(model)
    rows = []
    with steps("compiling with Vela", len(npus)) as step:
        for each in npus:
            step(each.name)
            rows.append(estimate(content, each))
    if as_json:
        echo_document(json.dumps([row.to_json() for row in rows], indent=1))
    else:
        print_estimates(model.name, Estimates(tuple(rows)))
    if any(100 * row.npu_share < min_npu_share for row in rows):
        raise typer.Exit(1)


def print_estimates(model: str, estimates: Estimates) -> None:
    """Print Vela's estimates side by side, then every op that an NPU leaves to the CPU, and what was left out."""
    from tinyscene.runtime.terminal import Column, print_table, say, wide

    columns = (
        *(Column("NPU"), Column("ops on NPU", right=True), Column("cycles", right=True), Column("ms", right=True)),
        *(Column("SRAM B", right=True, priority=1), Column("flash B", right=True, priority=1)),
    )
    rows = [
        (
            *(
                e.npu,
                f"{e.ops_on_npu} of {e.ops_on_npu + e.ops_on_cpu} ({e.npu_share:.0%})",
                f"{e.cycles:,}",
                f"{e.milliseconds:.2f}",
            ),
            *(f"{e.sram_bytes:,}", f"{e.flash_bytes:,}"),
        )
        for e in estimates.rows
    ]
    print_table(f"{model} on Ethos-U, estimated by Vela", columns, rows)
    console = wide()
    for e in estimates.rows:
        for refused in e.refused:
            say(console, f"{e.npu}: on the CPU: {refused}")
    for name, reason in estimates.left_out.items():
        say(console, f"{name}: skipped: {reason}")


def _tflite_content(model: Path) -> bytes:
    """What Vela compiles: a file of its format itself, validated; it may have operators that no integer graph has.

    States of a network are inputs and outputs: variables, and the graph that assigns them first, are left to the CPU.
    """
    from tinyscene.runtime.bounded_files import read_model
    from tinyscene.runtime.tflite_tables import read_graphs, require_one_graph

    from ..formats.model_kind import model_kind
    from ..formats.open_model import open_model

    data = read_model(model) if model_kind(model) == "tflite" else open_model(model).file(TFLITE_MODEL)
    tables = read_graphs(data, str(model), ExportError)
    if len(tables.subgraphs) > 1:
        return open_model(model).file(TFLITE_MODEL)
    require_one_graph(tables, str(model), ExportError)
    return data
