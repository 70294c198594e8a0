"""Options that several firmware commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.options import one_of

from ..build.targets import TARGETS
from ..cycles.boards import BOARDS
from ..emit.schedule import SHIPPED, Mode, Optimise
from ..ship.images import ImageFormat

TARGET_HELP = "Target, such as cortex-m4; 'tinyscene doctor' lists them all."
CPUS = tuple(target.name for target in TARGETS.values() if target.family)

TargetName = Annotated[
    str,
    typer.Option("--target", metavar="NAME", help=TARGET_HELP, autocompletion=one_of(TARGETS)),
]
ChosenTarget = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="NAME",
        help=TARGET_HELP,
        autocompletion=one_of(TARGETS),
    ),
]
BoardName = Annotated[
    str | None,
    typer.Option(
        "--board",
        metavar="NAME",
        help="Model cycles, time and energy on this board.",
        autocompletion=one_of(BOARDS),
    ),
]
CpuName = Annotated[
    str | None,
    typer.Option(
        "--cpu",
        metavar="NAME",
        help="Model cycles of this target, without wait states.",
        autocompletion=one_of(CPUS),
    ),
]
RoundingRule = Annotated[
    Rounding,
    typer.Option("--rounding", metavar="RULE", help="double (TFLM) or single (XNNPACK)."),
]
Calls = Annotated[
    Mode | None,
    typer.Option("--optimise", metavar="MODE", help=f"Calls: {SHIPPED} (default), speed, balanced or layers."),
]
ShippedCalls = Annotated[Optimise, typer.Option("--optimise", metavar="MODE", help="Calls: ram, speed or layers.")]
Tune = Annotated[bool, typer.Option("--tune", help="Choose calls by modelled cycles; show the counts.")]
Images = Annotated[
    list[ImageFormat] | None,
    typer.Option("--image", metavar="FORMAT", help="Also write the image as bin or hex; repeatable."),
]
Sources = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder for the C sources; MODEL-firmware by default.")
]
Hop = Annotated[
    float | None, typer.Option("--hop", metavar="SECONDS", help="Seconds between results; a clip by default.")
]
