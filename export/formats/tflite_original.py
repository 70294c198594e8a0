"""A TFLite file of uint8 with its own types, for LiteRT: written again from its validated records, not as int8.

:mod:`.tflite_read` has read the file as a graph of int8 codes, which are 128 lower. Refuses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyscene.runtime.arrays import I8
from tinyscene.runtime.npz import Arrays
from tinyscene.runtime.without_constants import WithoutConstants

from .tflite_file import Int8File
from .tflite_rebuild import rebuilt


def has_uint8(file: Int8File) -> bool:
    """Whether codes between the ends of a file are uint8."""
    return any(file.is_uint8(index) for index in file.used())


@dataclass(frozen=True, eq=False)
class TfliteOriginal:
    """A file of uint8, and what was read from it."""

    file: Int8File
    reduced: WithoutConstants
    notes = ("`litert-original` runs the file's uint8 codes, every other target the int8 codes 128 lower",)

    def data(self) -> bytes:
        """The file's operators and types, from codes to codes."""
        return rebuilt(self.file)

    def with_activations(self) -> bytes:
        """The same file with the graph's activations as further outputs."""
        activations = self._activations()
        return rebuilt(self.file, [*self.file.outputs, *(i for i in activations if i not in self.file.outputs)])

    def codes(self, shown: Arrays, vectors: int) -> dict[str, I8]:
        """The graph's codes of tensors that the file shows by name, for this number of vectors."""
        names, graph = self.file.names, self.reduced.graph
        ends = zip(graph.outputs, self.file.outputs, strict=True)
        numbers = {names[index]: index for index in self._activations()} | dict(ends)
        return {
            name: self.reduced.left(name, codes).reshape(vectors, *graph.tensors[name].shape[1:])
            for name, index in numbers.items()
            if (codes := self._rows(shown, index, vectors)) is not None
        }

    def _rows(self, shown: Arrays, index: int, vectors: int) -> I8 | None:
        codes = shown.get(self.file.names[index])
        return None if codes is None else codes.astype(np.int8).reshape(vectors, -1, *self.file.shape(index)[-1:])

    def _activations(self) -> list[int]:
        """Numbers of the file's tensors that are outputs of the graph's nodes."""
        written = {node.output for node in self.reduced.graph.nodes}
        return [i for i in self.file.used() if self.file.names[i] in written and not self.file.is_moved_real(i)]
