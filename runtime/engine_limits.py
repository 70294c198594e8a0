"""Limits of TFLite engines: operators that they do not run with many dimensions or inputs.

Found by running each operator alone with 2 to 6 dimensions. TensorFlow Lite Micro ends the process where SLICE has 6;
the others only fail when they load the file. Refuses such a file for the one engine, naming the operator: the graph is
valid, and other engines and the firmware run it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import RuntimeFailure
from .ops import HIGHEST_RANK
from .tflite_schema import MOST_ITEMS, PLAIN_OPERATORS, Options, StridedSliceOptions, TfliteTables


@dataclass(frozen=True)
class Limit:
    """Most dimensions of an operator's first input, and most inputs; whether a slice must state every axis itself."""

    dimensions: int = HIGHEST_RANK
    inputs: int = MOST_ITEMS
    whole_positions: bool = False


LIMITS: dict[str, dict[str, Limit]] = {
    "tflm": {
        "TRANSPOSE": Limit(dimensions=5),
        "PAD": Limit(dimensions=5),
        "PADV2": Limit(dimensions=5),
        "SLICE": Limit(dimensions=5),
        "STRIDED_SLICE": Limit(dimensions=4, whole_positions=True),
        "CONCATENATION": Limit(inputs=10),
    },
    "litert": {"PADV2": Limit(dimensions=5)},
    "litert-reference": {"PAD": Limit(dimensions=5), "PADV2": Limit(dimensions=5)},
}
NEXT = "run the network on another engine, or as firmware: both run it"


def require_within_limits(model: TfliteTables, engine: str) -> None:
    """Refuse an operator beyond what the engine runs.

    Raises:
        RuntimeFailure: names the engine, the operator, its output and the limit.
    """
    limits = LIMITS.get(engine, {})
    for number, operator in enumerate(model.graph.operators):
        kind = PLAIN_OPERATORS[model.operator_codes[operator.opcode_index].code]
        limit = limits.get(kind)
        if limit is None:
            continue
        tensors = model.graph.tensors
        where = f"engine {engine}, operator {number} ({kind}) '{tensors[operator.outputs[0]].name[:80]}'"
        shape, count = tensors[operator.inputs[0]].shape.tolist(), len(operator.inputs)
        for what, most, got in (("dimensions", limit.dimensions, len(shape)), ("inputs", limit.inputs, count)):
            if got > most:
                limited = f"beyond the engine's limit of {what}"
                raise RuntimeFailure(where, limited, expected=f"at most {most}", got=got, next_step=NEXT)
        stated = math.prod(tensors[operator.inputs[1]].shape.tolist()) if count > 1 else 0
        if limit.whole_positions and (stated != len(shape) or _is_abbreviated(operator.options)):
            expected = f"begin and end of {len(shape)} axes, without ellipsis, new axes and offset"
            raise RuntimeFailure(where, "beyond the engine's limit of slices", expected=expected, next_step=NEXT)


def _is_abbreviated(options: Options | None) -> bool:
    assert isinstance(options, StridedSliceOptions)
    return bool(options.ellipsis_mask or options.new_axis_mask or options.offset)
