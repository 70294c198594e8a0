"""Why an operator or a tensor of a valid TFLite file has no place in the integer graph, and what helps.

Operators without a row here are refused with the list of those that are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_MOST_NAMES = 4  # operators in one message


@dataclass(frozen=True)
class Limit:
    """What is not supported, and what the owner of the file can do.

    ``of_codes``: of int8 codes; of float32 the type is the limit.
    """

    what: str
    next_step: str
    of_codes: bool = False


_SCORES = Limit(
    "its output is the number of an element, and a graph ends with int8 scores",
    "end the network with the scores that this operator reads: `run` and the firmware take the largest",
)
_LOOP = Limit(
    "a loop or a condition in another graph of the file, as a converter writes a GRU or an LSTM of Keras 3",
    "convert an LSTM of Keras 2 (tf_keras), which becomes one UNIDIRECTIONAL_SEQUENCE_LSTM, or unroll the layer",
)
_STATE = Limit(
    "it keeps a state of its own from one run to the next, with 16 bits or in float32",
    "keep the last inputs in a variable that convolutions read, or use a UNIDIRECTIONAL_SEQUENCE_LSTM",
)
LIMITS: dict[str, Limit] = {
    **dict.fromkeys(("ARG_MAX", "ARG_MIN", "TOPK_V2"), _SCORES),
    **dict.fromkeys(("WHILE", "IF", "CALL"), _LOOP),
    **dict.fromkeys(("SVDF", "RNN", "UNIDIRECTIONAL_SEQUENCE_RNN", "LSTM"), _STATE),
    **dict.fromkeys(("BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN"), _STATE),
    "CUSTOM": Limit("its arithmetic is not in the file", "replace it by built-in operators, and convert again"),
    "DIV": Limit(
        "a division of codes, whose divisor may be 0, with which engines fail",
        "multiply by the reciprocal, which a converter computes for constants",
        of_codes=True,
    ),
    **dict.fromkeys(
        ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL", "SELECT", "SELECT_V2", "WHERE"),
        Limit(
            "truth values are no int8 activations",
            "replace the choice by MAXIMUM, MINIMUM, RELU or a product",
            of_codes=True,
        ),
    ),
}
_QUANTISE = "convert the float network with int8 activations and weights"
EVEN_AVERAGE = Limit(
    "the average of an even number of uint8 codes rounds halves up, that of int8 codes away from 0", _QUANTISE
)
# What LiteRT computes with uint8 codes as it does with the int8 codes 128 lower, to a bit.
UINT8_OPERATORS = frozenset(
    {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "AVERAGE_POOL_2D", "MAX_POOL_2D", "ADD", "SUB", "MUL"),
        *("CONCATENATION", "MEAN", "PAD", "RELU", "RELU6", "LOGISTIC", "TANH", "SOFTMAX", "QUANTIZE", "DEQUANTIZE"),
        *("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V"),
        *("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"),
    }
)
UINT8 = Limit("this operator on uint8 codes", _QUANTISE)
TYPES: dict[str, Limit] = {
    "float32": Limit("limit: activations of float32", f"{_QUANTISE}, or quantise its checkpoint with `export`"),
    "uint8": Limit("limit: uint8 values without a scale", _QUANTISE),
    "int16": Limit("limit: activations of 16 bits", f"{_QUANTISE}: the kernels of the graph are those of int8"),
}


def float_part(kinds: Iterable[str]) -> Limit:
    """The limit of a DEQUANTIZE within the network; ``kinds``: the operators that write float32."""
    named = [kind for kind in dict.fromkeys(kinds) if kind != "DEQUANTIZE"]
    what = f"a part of the network is float32: {', '.join(named[:_MOST_NAMES]) or 'an output'}"
    return Limit(what, "replace these operators by ones that the converter quantises, or end the network before them")
