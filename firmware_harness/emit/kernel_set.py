"""Kernel sets: the hand-written kernels of one kind of CPU, and the ops and shapes they support.

A kernel set is a folder of C with a table op -> row. A row returns None for a shape that its kernel does not support,
and the portable kernel runs instead. A set may also run several nodes in one call (:data:`Fuser`), so that the
activations between them are never stored.
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
    """``count`` consecutive nodes as one call.

    ``inputs`` are the activations the call reads, ``output`` is the last node's; activations between them are read by
    these nodes only.
    """

    count: int
    inputs: tuple[str, ...]
    output: str
    layer: Layer


ShapeRow = Callable[[Graph, Node], Layer | None]
Fuser = Callable[[Graph, int], Fused | None]


@dataclass(frozen=True)
class KernelSet:
    """Kernels of one kind of CPU. ``folder`` contains its C files, compiled together with the portable ones.

    Calls of ``lean_fusers`` save memory and cost time; they are used only when memory is optimised.
    """

    name: str
    folder: Path | None = None
    rows: Mapping[type, ShapeRow] = field(default_factory=dict)
    fusers: tuple[Fuser, ...] = ()
    lean_fusers: tuple[Fuser, ...] = ()

    def folders(self) -> list[Path]:
        """Folders with the C files, the portable ones first."""
        return [C_FOLDER] if self.folder is None else [C_FOLDER, self.folder]

    def sources(self) -> list[Path]:
        """The C files and headers that a model for this CPU needs, in a fixed order."""
        return [path for folder in self.folders() for path in sorted(folder.glob("*.[ch]"))]


PORTABLE = KernelSet("c99")
