"""Write the integer graph as a TFLite file, op by op, with the graph's own quantisation parameters.

No converter is involved: the reference kernels compute on this file what :mod:`..interpreter` computes
under ``double``. Padding that is neither SAME nor VALID becomes a PAD op. Constant data is 16-byte aligned, so that a
microcontroller can read it in place. Refuses graphs that are not valid, and pools with padding that TFLite lacks.
"""

from __future__ import annotations

from .. import ops
from ..graph import Graph
from . import elementwise, movement, products, recurrent, reductions, windows
from .writer import Emitter, TfliteWriter, finished

__all__ = ["EMITTERS", "finished", "to_tflite"]

EMITTERS: dict[type[ops.Op], Emitter] = {
    **windows.ROWS,
    **products.ROWS,
    **elementwise.ROWS,
    **reductions.ROWS,
    **recurrent.ROWS,
    **movement.ROWS,
}


def to_tflite(graph: Graph, *, expose_all: bool = False) -> bytes:
    """TFLite bytes of a checked graph.

    Args:
        expose_all: make every activation an output of the file, in graph order.

    Raises:
        RuntimeFailure: the graph is not valid, or a pool has padding that TFLite cannot express.
    """
    return TfliteWriter(graph.check()).finish(EMITTERS, expose_all)
