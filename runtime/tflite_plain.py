"""What a validated TFLite file must have beyond :mod:`.tflite_tables` before an engine in this process gets it.

Refuses, naming the operator, what ends an engine's process or lets it leave its memory: operators that no integer graph
has, among them custom ones and control flow; activations in 8 bits without one scale and zero point; variables, but for
the states of an LSTM; and a few forms of single operators. Shapes and constants are compared with the graph only by
:mod:`tinyscene.export`, which reads the whole network.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import tflite_lstm
from .errors import RuntimeFailure
from .tflite_options import SoftmaxOptions, StridedSliceOptions
from .tflite_schema import PLAIN_OPERATORS, TYPES, Operator, Tensor, TfliteTables
from .tflite_slices import strided

Fault = tuple[str, object, object]  # what, expected, got
_CODES = (TYPES.index("int8"), TYPES.index("uint8"))
_INT32 = TYPES.index("int32")
_BLOCKS = ("BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND")


def require_plain(model: TfliteTables, where: str) -> None:
    """Refuse the operators of the module's list.

    Raises:
        RuntimeFailure: names the operator.
    """
    for number, operator in enumerate(model.graph.operators):
        code = model.operator_codes[operator.opcode_index].code
        fault = _form_fault(model, operator, code) or _tensor_fault(model, operator, code)
        if fault is not None:
            raise RuntimeFailure(f"{where}, operator {number}", fault[0], expected=fault[1], got=fault[2])


def _form_fault(model: TfliteTables, operator: Operator, code: int) -> Fault | None:
    """What is wrong with the operator's form, or None."""
    kind = PLAIN_OPERATORS.get(code)
    if kind is None:
        return "not an operator of an integer graph", ", ".join(sorted(PLAIN_OPERATORS.values())), code
    present, options = [index for index in operator.inputs.tolist() if index >= 0], operator.options
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and len(present) != 3:
        return "convolution without a bias, which ends the process", "input, weight and bias", None
    if isinstance(options, StridedSliceOptions):
        return _slice_fault(model, operator, options)
    if kind in _BLOCKS and not _has_blocks(model, operator):
        what = "blocks that are no constants from 1 on, which end the process"
        return what, "input, blocks and pads", None
    if isinstance(options, SoftmaxOptions) and not options.beta > 0:
        return "factor of the softmax, which ends the process", "above 0", options.beta
    if kind == tflite_lstm.KIND:
        return tflite_lstm.lstm_fault(operator, model.graph.tensors, model.buffers)
    return None


def _tensor_fault(model: TfliteTables, operator: Operator, code: int) -> Fault | None:
    """What is wrong with an activation of the operator, or None."""
    is_lstm = PLAIN_OPERATORS[code] == tflite_lstm.KIND
    states = [int(operator.inputs[at]) for at in tflite_lstm.STATES] if is_lstm else []
    for index in (*operator.inputs.tolist(), *operator.outputs.tolist()):
        tensor = model.graph.tensors[index]
        if index in (-1, *states):
            continue
        if tensor.is_variable:
            return f"variable '{tensor.name[:80]}'", "none but the states of an LSTM", None
        stored = len(model.buffers[tensor.buffer].data)
        if not stored and tensor.type in _CODES and not _is_quantised(tensor):
            return f"quantisation of '{tensor.name[:80]}'", "one scale above 0 and one zero point", None
    return None


def _is_quantised(tensor: Tensor) -> bool:
    q = tensor.quantization
    return q is not None and len(q.scale) == len(q.zero_point) == 1 and q.scale[0] > 0


def _slice_fault(model: TfliteTables, operator: Operator, options: StridedSliceOptions) -> Fault | None:
    tensors, places = model.graph.tensors, _stored_places(model, operator)
    if len(places) != 3:
        return "slice without stored places, which ends the process", "input, begin, end and step", None
    size = tuple(tensors[operator.inputs[0]].shape.tolist())
    begins, ends, steps = (place.tolist() for place in places)
    try:
        _, shape = strided(options, size, begins, ends, steps)
    except ValueError as problem:
        return str(problem), f"parts of {size}", None
    got = tuple(tensors[operator.outputs[0]].shape.tolist())
    return None if got == shape else ("shape of the output", shape, got)


def _has_blocks(model: TfliteTables, operator: Operator) -> bool:
    """Whether the second and third input are stored int32, blocks from 1 on and pads from 0 on."""
    places = _stored_places(model, operator)
    return len(places) == 2 and places[0].min(initial=1) > 0 <= places[1].min(initial=0)


def _stored_places(model: TfliteTables, operator: Operator) -> list[npt.NDArray[np.int32]]:
    """The inputs behind the first; none if one of them is missing, computed, or not of int32."""
    inputs = operator.inputs.tolist()[1:]
    tensors = [model.graph.tensors[index] for index in inputs if index >= 0]
    stored = [t for t in tensors if t.type == _INT32 and len(model.buffers[t.buffer].data)]
    return [model.buffers[t.buffer].data.view("<i4") for t in stored] if len(stored) == len(inputs) else []
