"""Limits of single TFLite engines: operators that they do not run, or not of every size.

Found by running each operator alone (tests/runtime/test_engine_limits.py). Refuses a file for the one engine, naming
the operator: the graph is valid, and other engines and the firmware run it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import RuntimeFailure
from .ops import HIGHEST_RANK, LARGEST_TENSOR_ELEMENTS
from .tflite_options import MOST_ITEMS, StridedSliceOptions, TransposeConvOptions
from .tflite_schema import PLAIN_OPERATORS, Operator, Tensor, TfliteTables

PADDING_SAME = 0  # its number in the schema


@dataclass(frozen=True)
class Limit:
    """Most dimensions and longest row of an operator's first input, and most inputs; or why the operator is refused
    whatever it is."""

    dimensions: int = HIGHEST_RANK
    row: int = LARGEST_TENSOR_ELEMENTS
    inputs: int = MOST_ITEMS
    fault: str = ""
    every_axis: bool = False  # a slice must state each axis itself, without ellipsis, new axes and offset


# A softmax shifts right by 23 + log2 of the sum of exponentials, and the process ends where that is more than 31: with
# 512 equal codes.
_SOFTMAX = Limit(row=511)
_NO_KERNEL = Limit(fault="has no int8 kernel in this engine")
_WRONG_SUM = Limit(fault="TensorFlow Lite's reference kernel of int8 sums returns wrong codes for most of them")
_OF_LITERT = ("EXP", "GELU", "LOG", "NEG", "RELU_0_TO_1", "RELU_N1_TO_1", "SQRT")
LIMITS: dict[str, dict[str, Limit]] = {
    "tflm": {
        "BROADCAST_TO": Limit(dimensions=5),
        "TILE": Limit(fault="TensorFlow Lite Micro's Python interpreter has no kernel of TILE"),
        "BATCH_MATMUL": Limit(dimensions=5),
        "L2_NORMALIZATION": Limit(dimensions=4),
        "SOFTMAX": _SOFTMAX,
        "TRANSPOSE": Limit(dimensions=5),
        "PAD": Limit(dimensions=5),
        "PADV2": Limit(dimensions=5),
        "SLICE": Limit(dimensions=5),  # the process ends with 6
        "STRIDED_SLICE": Limit(dimensions=4, every_axis=True),
        "CONCATENATION": Limit(inputs=10),
        **dict.fromkeys(_OF_LITERT, _NO_KERNEL),
    },
    "litert": {"BATCH_MATMUL": Limit(dimensions=5), "PADV2": Limit(dimensions=5)},
    "litert-reference": {
        "BATCH_MATMUL": Limit(dimensions=5),
        "ELU": _NO_KERNEL,
        "SOFTMAX": _SOFTMAX,
        "PAD": Limit(dimensions=5),
        "PADV2": Limit(dimensions=5),
        "SUM": _WRONG_SUM,
    },
    "tensorflow-reference": {"SUM": _WRONG_SUM},
    "tflite-runtime": {"L2_NORMALIZATION": Limit(dimensions=4)},
    "tflite-runtime-reference": {"SUM": _WRONG_SUM, "L2_NORMALIZATION": Limit(dimensions=4)},
}
NEXT = "run the network on another engine, or as firmware: both run it"


def require_within_limits(model: TfliteTables, engine: str) -> None:
    """Refuse an operator beyond what the engine runs.

    Raises:
        RuntimeFailure: names the engine, the operator, its output and the limit; it is marked as unsupported.
    """
    if engine == "tflm":
        _require_no_padded_batch(model)
    if engine == "litert":
        _require_covered_stride(model)
    limits = LIMITS.get(engine, {})
    for number, operator in enumerate(model.graph.operators):
        kind = PLAIN_OPERATORS.get(model.operator_codes[operator.opcode_index].code, "")
        limit = limits.get(kind)
        if limit is None:
            continue
        tensors = model.graph.tensors
        where = f"engine {engine}, operator {number} ({kind}) '{tensors[operator.outputs[0]].name[:80]}'"
        if limit.fault:
            raise RuntimeFailure(where, limit.fault, next_step=NEXT, unsupported=True)
        shape, count = tensors[operator.inputs[0]].shape.tolist(), len(operator.inputs)
        for what, most, got in (
            ("dimensions", limit.dimensions, len(shape)),
            ("elements in a row", limit.row, shape[-1] if shape else 1),
            ("inputs", limit.inputs, count),
        ):
            if got > most:
                limited = f"beyond the engine's limit of {what}"
                raise RuntimeFailure(
                    where, limited, expected=f"at most {most}", got=got, next_step=NEXT, unsupported=True
                )
        if limit.every_axis and not _states_every_axis(operator, tensors):
            limited = "beyond the engine's limit of slices"
            expected = "every axis stated, without ellipsis, new axes and offset"
            raise RuntimeFailure(where, limited, expected=expected, next_step=NEXT, unsupported=True)


def _states_every_axis(operator: Operator, tensors: Sequence[Tensor]) -> bool:
    options, (x, *begin) = operator.options, operator.inputs[:2].tolist()
    assert isinstance(options, StridedSliceOptions)
    abbreviated = options.ellipsis_mask or options.new_axis_mask or options.offset
    axes = [math.prod(tensors[index].shape.tolist()) for index in begin]
    return not abbreviated and axes == [len(tensors[x].shape)]


def _require_no_padded_batch(model: TfliteTables) -> None:
    """Refuse a SPACE_TO_BATCH_ND with padding, which TFLite Micro fills with other codes than the zero point."""
    for number, operator in enumerate(model.graph.operators):
        if PLAIN_OPERATORS.get(model.operator_codes[operator.opcode_index].code) != "SPACE_TO_BATCH_ND":
            continue
        if model.buffers[model.graph.tensors[operator.inputs[2]].buffer].data.any():
            where = f"engine tflm, operator {number} (SPACE_TO_BATCH_ND)"
            what = "its padding has other codes than the zero point"
            raise RuntimeFailure(where, what, next_step=NEXT, unsupported=True)


def _require_covered_stride(model: TfliteTables) -> None:
    """Refuse a TRANSPOSE_CONV of padding SAME whose kernel is smaller than its stride: XNNPACK does not run it."""
    for number, operator in enumerate(model.graph.operators):
        options = operator.options
        if not isinstance(options, TransposeConvOptions) or options.padding != PADDING_SAME:
            continue
        kernel = model.graph.tensors[operator.inputs[1]].shape[1:3].tolist()
        if kernel[0] < options.stride_h or kernel[1] < options.stride_w:
            where = f"engine litert, operator {number} (TRANSPOSE_CONV)"
            what = "with padding SAME and a kernel smaller than the stride another kernel than XNNPACK's runs"
            raise RuntimeFailure(where, what, next_step=NEXT, unsupported=True)
