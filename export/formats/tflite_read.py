"""Read an int8 TFLite file, made here or elsewhere, as an integer graph.

What a file may hold beyond the op set is lowered to it exactly, byte for byte as TFLite's kernels compute it: a PAD
goes into the pads of the convolution behind it, one scale for a whole weight becomes one per channel, a missing bias
becomes zeros. Refuses operators that :mod:`tinyscene.export.formats.tflite_operators` has no row for, with their number
and name.
"""

from __future__ import annotations

from tinyscene.runtime.graph import Graph

from .tflite_builder import Importer
from .tflite_file import DAMAGE, Int8File
from .tflite_operators import READERS


def from_tflite(data: bytes, *, where: str = "TFLite file", name: str | None = None) -> Graph:
    """The checked graph of a file.

    Args:
        where: what messages call the file.
        name: of the graph; the file's own if left out.

    Raises:
        ExportError: unreadable, not int8 throughout, or an operator that is not supported.
    """
    return graph_of(Int8File(data, where), name)


def graph_of(file: Int8File, name: str | None = None) -> Graph:
    """As :func:`from_tflite`, for a file that is open."""
    importer = Importer(file)
    importer.activation(file.inputs[0])
    for operator in file.operators:
        reader = READERS.get(operator.kind)
        if reader is None:
            raise importer.refusal(operator, "not supported", expected=", ".join(sorted(READERS)))
        try:
            reader(importer, operator)
        except DAMAGE as problem:
            raise importer.refusal(operator, "not understood", got=f"{type(problem).__name__}: {problem}") from problem
    return importer.graph(name)
