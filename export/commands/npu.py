"""``tinyscene npu``: an estimate of cycles and memory on Arm Ethos-U. Needs Vela; imports nothing of PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tinyscene.runtime.options import AsJson, Quiet, some_of


def _npus(incomplete: str) -> list[str]:
    from ..targets.ethos_u import NPUS

    return some_of(NPUS)(incomplete)


def npu(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle folder or an int8 .tflite file.")],
    targets: Annotated[
        str, typer.Option(metavar="NAMES", help="With commas between, or all.", autocompletion=_npus)
    ] = "all",
    min_npu_share: Annotated[
        float, typer.Option(metavar="PERCENT", min=0, max=100, help="Of the ops each NPU must take.")
    ] = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Estimate cycles and memory on Arm Ethos-U with Vela, and say which ops would fall back to the CPU.

    Exit code 1 when an NPU takes less than --min-npu-share.
    """
    from tinyscene.runtime.terminal import steps

    from ..targets.ethos_u import NPUS, Estimates, estimate, npu_named, vela_path
    from .output import print_estimates

    vela_path()
    chosen = list(NPUS.values()) if targets == "all" else [npu_named(name) for name in targets.split(",")]
    content = _tflite_of(model)
    rows = []
    with steps("compiling with Vela", len(chosen)) as step:
        for each in chosen:
            step(each.name)
            rows.append(estimate(content, each))
    if as_json:
        typer.echo(json.dumps([e.to_json() for e in rows], indent=1))
    else:
        print_estimates(model.name, Estimates(tuple(rows)))
    if any(100 * e.npu_share < min_npu_share for e in rows):
        raise typer.Exit(1)


def _tflite_of(model: Path) -> bytes:
    """The TFLite file's content, out of a bundle whose digests hold or as it is."""
    from tinyscene.runtime.bundle import read_bundle

    from ..errors import ExportError

    if model.suffix != ".tflite":
        return read_bundle(model).file("model.tflite")
    if not model.is_file():
        raise ExportError(str(model), "no such file", next_step="check the path")
    return model.read_bytes()
