"""Write the integer graph as an ONNX file in QDQ form, with the graph's own quantisation parameters.

Input and output are float32: ``log_mel`` (1, 1, mel, time) and scores (1, classes). Activations between them are uint8
codes (the int8 code + 128), which ONNX Runtime fuses into integer kernels, or int8 codes. RSQRT, for which ONNX has no
operator, and every other function of one code are tables of 256 codes. The layout is NCHW, that of ONNX convolutions.
Refuses graphs that are not valid, and tensors that have the name of one that this writer adds.
"""

from __future__ import annotations

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.onnx_tensors import OnnxCodes

from . import elementwise, movement, products, recurrent, reductions, windows
from .writer import IR_VERSION, OPSET, Attribute, Emitter, OnnxWriter, onnx_node

__all__ = ["EMITTERS", "IR_VERSION", "OPSET", "Attribute", "onnx_node", "to_onnx"]

EMITTERS: dict[type[ops.Op], Emitter] = {
    **windows.ROWS,
    **products.ROWS,
    **elementwise.ROWS,
    **reductions.ROWS,
    **recurrent.ROWS,
    **movement.ROWS,
}


def to_onnx(graph: Graph, *, expose_all: bool = False, codes: OnnxCodes = "uint8") -> bytes:
    """ONNX bytes of a checked graph, its activations of type ``codes``.

    Args:
        expose_all: also output the codes of every activation, under the graph's tensor names (the codes of the graph's
            input and output are called ``<name>_codes``).
    """
    return OnnxWriter(graph.check(), codes).finish(EMITTERS, expose_all)
