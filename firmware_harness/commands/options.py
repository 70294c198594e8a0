"""Options of the commands that make firmware, of a bundle and of a TFLite file alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.options import one_of

from ..build.targets import TARGETS
from ..emit.schedule import Mode, Optimise
from ..ship.images import ImageFormat

TargetName = Annotated[
    str, typer.Option("--target", metavar="NAME", help=f"{', '.join(TARGETS)}.", autocompletion=one_of(TARGETS))
]
RoundingRule = Annotated[
    Rounding, typer.Option("--rounding", metavar="RULE", help="double as TFLite Micro, single as XNNPACK.")
]
Calls = Annotated[
    Mode | None,
    typer.Option("--optimise", metavar="MODE", help="layers (the default), speed, ram or balanced (see --tune)."),
]
ShippedCalls = Annotated[Optimise, typer.Option("--optimise", metavar="MODE", help="layers, speed or ram.")]
Tune = Annotated[bool, typer.Option("--tune", help="Choose by counting instructions; show every count.")]
Images = Annotated[
    list[ImageFormat] | None, typer.Option("--image", metavar="FORMAT", help="Also as bin or hex; may be repeated.")
]
Sources = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="For the C sources; MODEL-firmware by default.")
]
Hop = Annotated[
    float | None, typer.Option("--hop", metavar="SECONDS", help="From answer to answer; a clip by default.")
]
