"""The operator UNIDIRECTIONAL_SEQUENCE_LSTM of a TFLite file: its parts by name, and what no engine or reader takes.

Accepts the form of int8 activations and weights and a 16-bit cell state, as TensorFlow's converter writes it for a
Keras layer. Refuses nothing itself: :func:`lstm_fault` has the reason against peepholes, projection, layer
normalisation, coupled gates, other activations, states that are no variables of this operator alone, and tensors of
other types and shapes, with which engines read beyond their memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .tflite_options import UnidirectionalSequenceLSTMOptions
from .tflite_schema import TYPES, Buffer, Operator, Tensor

KIND = "UNIDIRECTIONAL_SEQUENCE_LSTM"
STATES = (18, 19)  # positions of hidden and cell state among the inputs
INPUTS, _HIDDEN, _TANH = 24, 4, 4  # number of inputs, the intermediate of the hidden state, the activation's number
_OF_INPUT, _OF_HIDDEN, BIASES = range(1, 5), range(5, 9), range(12, 16)
WEIGHTS = (*_OF_INPUT, *_OF_HIDDEN)
_ABSENT = {
    **dict.fromkeys(range(9, 12), "peepholes"),
    **dict.fromkeys((16, 17), "a projection"),
    **dict.fromkeys(range(20, 24), "layer normalisation"),
}
_CELL_BITS = range(9, 16)
Fault = tuple[str, object, object]  # what, expected, got


@dataclass(frozen=True)
class LstmParts:
    """Tensor numbers; the weights and biases are in the order of :data:`.ops.GATES`."""

    x: int
    weights: tuple[int, ...]
    recurrent: tuple[int, ...]
    biases: tuple[int, ...]
    hidden_state: int
    cell_state: int

    @staticmethod
    def of(inputs: Sequence[int]) -> LstmParts:
        weights, recurrent, biases = (tuple(inputs[at] for at in places) for places in (_OF_INPUT, _OF_HIDDEN, BIASES))
        return LstmParts(inputs[0], weights, recurrent, biases, *(inputs[at] for at in STATES))


def lstm_fault(operator: Operator, tensors: Sequence[Tensor], buffers: Sequence[Buffer]) -> Fault | None:
    """Why the operator is not of the accepted form: what, expected and got, or None."""
    inputs = operator.inputs.tolist()
    if len(inputs) != INPUTS or len(operator.outputs) != 1:
        return "inputs and outputs", f"{INPUTS} and 1", (len(inputs), len(operator.outputs))
    extra = next((name for at, name in _ABSENT.items() if inputs[at] >= 0), None)
    if extra is not None:
        return f"an LSTM with {extra}", "one without", None
    if inputs[1] < 0 or inputs[5] < 0:
        return "an LSTM with coupled input and forget gate", "weights of the input gate", None
    missing = [at for at in (0, *WEIGHTS, *BIASES, *STATES) if inputs[at] < 0]
    if missing:
        return "inputs are missing", "input, weights, biases and states", missing
    return _options_fault(operator) or _tensor_fault(operator, tensors, buffers)


def _options_fault(operator: Operator) -> Fault | None:
    options = operator.options
    assert isinstance(options, UnidirectionalSequenceLSTMOptions)
    if options.fused_activation_function != _TANH:
        return "activation of the cell", "TANH", options.fused_activation_function
    if options.proj_clip > 0 or options.diagonal_recurrent_tensors:
        return "an LSTM with a clipped projection or diagonal weights", "one without", None
    return None


def _tensor_fault(operator: Operator, tensors: Sequence[Tensor], buffers: Sequence[Buffer]) -> Fault | None:
    parts, out = LstmParts.of(operator.inputs.tolist()), tensors[operator.outputs[0]]
    x, hidden, cell = (tensors[i] for i in (parts.x, parts.hidden_state, parts.cell_state))
    if len(x.shape) != 3 or len(out.shape) != 3 or out.shape[:2].tolist() != x.shape[:2].tolist():
        return "shapes of input and output", "(batch, steps, elements)", (x.shape.tolist(), out.shape.tolist())
    units, states = int(out.shape[2]), math.prod(out.shape.tolist()) // _steps(operator, out)
    groups = ((parts.weights, (units, int(x.shape[2]))), (parts.recurrent, (units, units)), (parts.biases, (units,)))
    for index, shape in ((index, shape) for group, shape in groups for index in group):
        tensor, kind = tensors[index], "int32" if index in parts.biases else "int8"
        if _form(tensor) != (kind, shape) or not len(buffers[tensor.buffer].data):
            return f"tensor {index}", f"a constant {kind} {shape}", _form(tensor)
        if kind == "int8" and _quantisation(tensor) is None:
            return f"scales of tensor {index}", "one", "none, or one for each channel"
    for tensor, kind in ((x, "int8"), (out, "int8"), (hidden, "int8"), (cell, "int16")):
        if _form(tensor)[0] != kind or _quantisation(tensor) is None:
            return f"tensor '{tensor.name[:80]}'", f"{kind} with one scale", _form(tensor)
    if not (hidden.is_variable and cell.is_variable):
        return "states", "variable tensors", "others"
    if any(math.prod(state.shape.tolist()) != states for state in (hidden, cell)):
        return "sizes of the states", states, (hidden.shape.tolist(), cell.shape.tolist())
    return _scale_fault(operator, tensors, parts)


def _scale_fault(operator: Operator, tensors: Sequence[Tensor], parts: LstmParts) -> Fault | None:
    """Hidden state and output have one scale, also among the intermediates; the cell state a power of two."""
    expected, numbers = _quantisation(tensors[operator.outputs[0]]), operator.intermediates.tolist()
    if len(numbers) <= _HIDDEN:
        return "intermediates", f"{_HIDDEN + 1}", len(numbers)
    for index in (parts.hidden_state, numbers[_HIDDEN]):
        if _quantisation(tensors[index]) != expected:
            what = "engines disagree where hidden state and output differ in scale, as TensorFlow writes two directions"
            return what, expected, _quantisation(tensors[index])
    cell = _quantisation(tensors[parts.cell_state])
    if cell not in [(2.0**-bits, 0) for bits in _CELL_BITS]:
        return "scale and zero point of the cell state", "a scale of 2^-9 to 2^-15, and 0", cell
    return None


def cell_bits(cell: Tensor) -> int:
    """Fractional bits of a cell state that :func:`lstm_fault` accepts."""
    quantisation = _quantisation(cell)
    assert quantisation is not None
    return 1 - math.frexp(quantisation[0])[1]


def _steps(operator: Operator, out: Tensor) -> int:
    assert isinstance(operator.options, UnidirectionalSequenceLSTMOptions)
    return max(1, int(out.shape[0 if operator.options.time_major else 1]))


def _form(tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    return TYPES[tensor.type] if tensor.type < len(TYPES) else f"type {tensor.type}", tuple(tensor.shape.tolist())


def _quantisation(tensor: Tensor) -> tuple[float, int] | None:
    """The only scale, above 0, and the zero point."""
    q = tensor.quantization
    if q is None or len(q.scale) != 1 or not q.scale[0] > 0:
        return None
    return float(q.scale[0]), int(q.zero_point[0]) if len(q.zero_point) else 0
