"""Turn a float network into steps that have an integer form.

``torch.export`` gives the network as calls of operators, of which :mod:`.aten` has a table; BatchNorm, ReLU and zero
pads are merged with the steps before and behind them. The steps keep references to the network's weights; none is
computed here. Refuses networks that torch.export refuses, outputs that do not depend on an input, and operators without
an integer form, by name.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import fx, nn

from tinyscene.training.models.exported import constants, exported

from ..errors import ExportError
from .aten import ROWS, Reader
from .aten.values import BATCH, View
from .float_steps import Folded


def fold(model: nn.Module, input_shapes: Mapping[str, tuple[int, ...]]) -> Folded:
    """Steps of ``model``, in evaluation mode.

    Args:
        input_shapes: the shape of each input, without the batch, by the name that the graph gives it.

    Raises:
        ExportError: see the module's refusals. TrainingError: torch.export refuses the network.
    """
    some = next(model.parameters(), torch.empty(0))
    program = exported(model, *(some.new_zeros(BATCH, *shape) for shape in input_shapes.values()))
    known, reader, names = constants(program), Reader(model, ROWS), iter(input_shapes)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in known:
                reader.values[node] = known[node.name][1]
            else:
                reader.take_input(node, next(names))
        elif node.op == "call_function":
            with torch.no_grad():
                reader.take(node)
        elif node.op == "output":
            return reader.folded(tuple(input_shapes), [_output(reader, result) for result in node.args[0]])
    raise AssertionError("an exported program ends with its output")


def _output(reader: Reader, result: object) -> View:
    value = reader.values[result] if isinstance(result, fx.Node) else result
    if not isinstance(value, View):
        expected = "tensors that are computed from the inputs"
        raise ExportError("network", "an output does not depend on an input", expected=expected, got=result)
    return value
