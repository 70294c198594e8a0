"""Turn a float network into steps that have an integer form.

``torch.export`` gives the network as calls of operators, of which :mod:`.aten` has a table; BatchNorm, ReLU and zero
pads are merged with the steps before and behind them. The steps keep references to the network's weights; none is
computed here. Refuses networks that torch.export refuses, with several inputs or outputs, or with an operator that has
no integer form, by name.
"""

from __future__ import annotations

import torch
from torch import fx, nn

from tinyscene.training.models.exported import constants, exported

from ..errors import ExportError
from .aten import ROWS, Reader
from .aten.values import BATCH, View
from .float_steps import Folded


def fold(model: nn.Module, input_shape: tuple[int, int], input_name: str = "log_mel") -> Folded:
    """Steps of ``model``, in evaluation mode, for inputs (batch, 1, *input_shape).

    Raises:
        ExportError: see the module's refusals. TrainingError: torch.export refuses the network.
    """
    weight = next(model.parameters())
    program = exported(model, torch.zeros(BATCH, 1, *input_shape, dtype=weight.dtype, device=weight.device))
    known, reader = constants(program), Reader(model, ROWS)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in known:
                reader.values[node] = known[node.name][1]
            else:
                reader.take_input(node, input_name)
        elif node.op == "call_function":
            with torch.no_grad():
                reader.take(node)
        elif node.op == "output":
            return reader.folded(input_name, _output(reader, node))
    raise AssertionError("an exported program ends with its output")


def _output(reader: Reader, node: fx.Node) -> View:
    results = node.args[0]
    if not isinstance(results, tuple) or len(results) != 1 or not isinstance(results[0], fx.Node):
        raise ExportError("network", "has several outputs", expected="one tensor of logits")
    value = reader.values[results[0]]
    if not isinstance(value, View):
        raise ExportError("network", "its output does not depend on its input", expected="logits of the input")
    return value
