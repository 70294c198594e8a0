"""Which hand-written kernels a CPU has beside the portable ones, and for which shapes.

A kernel set is a folder of C with a table: op -> row, where a row may say None for a shape it has no kernel for, and
the portable kernel runs it. A set may also run several nodes in one call (:data:`Fuser`), so that what lies between
them never exists. Refuses sets that are not in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinyscene.runtime.graph import Graph, Node

from .records import Layer

C_FOLDER = Path(__file__).resolve().parents[1] / "c"


@dataclass(frozen=True)
class Fused:
    """The nodes from the one offered on, ``count`` of them, as one call.

    ``inputs`` are the activations the call reads, ``output`` the last node's; the others are read by these nodes alone.
    """

    count: int
    inputs: tuple[str, ...]
    output: str
    layer: Layer


ShapeRow = Callable[[Graph, Node], Layer | None]
Fuser = Callable[[Graph, int], Fused | None]


@dataclass(frozen=True)
class KernelSet:
    """Kernels of one kind of CPU. ``folder`` holds its C files, compiled beside the portable ones.

    ``lean_fusers`` make calls that save memory and cost time; they count only where memory comes first.
    """

    name: str
    folder: Path | None = None
    rows: Mapping[type, ShapeRow] = field(default_factory=dict)
    fusers: tuple[Fuser, ...] = ()
    lean_fusers: tuple[Fuser, ...] = ()

    def folders(self) -> list[Path]:
        return [C_FOLDER] if self.folder is None else [C_FOLDER, self.folder]

    def sources(self) -> list[Path]:
        """The C files a model for this CPU needs, headers included, in a fixed order."""
        return [path for folder in self.folders() for path in sorted(folder.glob("*.[ch]"))]


PORTABLE = KernelSet("c99")
