"""`tinyscene firmware`: C for a bundle, an image for a target, and the proof that it computes what the bundle says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from runtime.arith import Rounding


def firmware(
    model: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    target: Annotated[str, typer.Option(help="host or cortex-m4.")] = "cortex-m4",
    run: Annotated[bool, typer.Option("--run", help="Run the golden vectors and compare every byte.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the C sources; BUNDLE-firmware by default.")] = None,
    rounding: Annotated[Rounding, typer.Option(help="double as TFLite Micro, single as XNNPACK.")] = "double",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> int:
    """Emit C for a bundle, build it, run it, compare it.

    Exit code 0 when everything that was run matches, 1 when a byte differs, 2 for an error.
    """
    from runtime.bundle import read_bundle

    from .deliver import deliver
    from .present import as_json, show
    from .targets import target_named

    machine = target_named(target)
    bundle = read_bundle(model)
    folder = out if out is not None else model.resolve().with_name(f"{model.resolve().name}-firmware")
    graph = replace(bundle.graph, labels=bundle.labels)
    delivery = deliver(graph, bundle.golden() if run else None, machine, rounding, folder)
    if json:
        print(as_json(delivery))
    else:
        show(delivery)
    return 0 if delivery.matches else 1
