"""float32 tensors of an int8 file that are codes, only moved: between a DEQUANTIZE and a QUANTIZE of one scale.

TensorFlow's converter writes such a SPLIT for unrolled recurrent layers. In every engine a real value is the scale
times the code minus the zero point, and the QUANTIZE returns the code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinyscene.runtime.graph import Quant

if TYPE_CHECKING:
    from .tflite_file import TfliteFile

_MOVING = {
    *{"CONCATENATION", "EXPAND_DIMS", "GATHER", "PACK", "RESHAPE", "REVERSE_V2", "SLICE", "SPLIT", "SPLIT_V"},
    *{"SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE", "UNPACK"},
}


def moved_reals(file: TfliteFile) -> dict[int, Quant]:
    """Scale and zero point of each such tensor by number; none where an operator computes with one of them."""
    quants: dict[int, Quant] = {}
    for operator in file.operators:
        read = {quants[index] for index in operator.inputs if index in quants}
        source = operator.inputs[0] if operator.inputs else -1
        if operator.kind == "DEQUANTIZE" and file.type(source) == "int8" and not file.is_stored(source):
            quant = file.quant(source)
            if quant is None or quant.axis is not None:
                return {}
            quants[operator.output] = quant
        elif operator.kind == "QUANTIZE" and read:
            if file.quant(operator.output) not in read:
                return {}
        elif read:
            others = [i for i in operator.inputs if i not in quants and file.type(i) == "float32"]
            if operator.kind not in _MOVING or len(read) > 1 or others:
                return {}
            quants |= dict.fromkeys(operator.outputs, *read)
    return {} if quants.keys() & set(file.outputs) else quants
