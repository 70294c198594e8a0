"""Turn a float network into steps that have an integer form.

``torch.export`` gives the network as calls of operators, of which :mod:`.aten` has a table; BatchNorm, ReLU and zero
pads are merged with the steps before and behind them. The steps keep references to the network's weights; none is
computed here. Refuses networks that torch.export refuses, with several inputs or outputs, or with an operator that has
no integer form, by name.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from ..errors import ExportError
from .aten import ROWS, Reader
from .aten.values import BATCH, View
from .float_steps import Folded


def fold(model: nn.Module, input_shape: tuple[int, int], input_name: str = "log_mel") -> Folded:
    """Steps of ``model``, in evaluation mode, for inputs (batch, 1, *input_shape).

    Raises:
        ExportError: see the module's refusals.
    """
    model = model.eval()
    program = _exported(model, input_shape)
    constants, reader = _constants(program), Reader(model, ROWS)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in constants:
                reader.values[node] = constants[node.name]
            else:
                reader.take_input(node, input_name)
        elif node.op == "call_function":
            with torch.no_grad():
                reader.take(node)
        elif node.op == "output":
            return reader.folded(input_name, _output(reader, node))
    raise AssertionError("an exported program ends with its output")


def _exported(model: nn.Module, input_shape: tuple[int, int]) -> ExportedProgram:
    weight = next(model.parameters())
    example = torch.zeros(BATCH, 1, *input_shape, dtype=weight.dtype, device=weight.device)
    try:
        return torch.export.export(model, (example,), strict=False)
    except Exception as error:  # torch.export runs the network's own code, which raises any type
        raise ExportError(
            "network",
            "torch.export cannot export it",
            expected=f"a module that takes float32 {tuple(example.shape)}, without control flow that depends on values",
            got=(str(error).splitlines() or [type(error).__name__])[0][:300],
            next_step="run torch.export.export on it to see the whole error",
        ) from error


def _constants(program: ExportedProgram) -> dict[str, Any]:
    """Parameters, buffers and other constants by the name of the program's input."""
    constants: dict[str, Any] = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind != InputKind.USER_INPUT:
            assert spec.target is not None
            stored = program.state_dict if spec.target in program.state_dict else program.constants
            constants[spec.arg.name] = stored[spec.target]
    return constants


def _output(reader: Reader, node: fx.Node) -> View:
    results = node.args[0]
    if not isinstance(results, tuple) or len(results) != 1 or not isinstance(results[0], fx.Node):
        raise ExportError("network", "has several outputs", expected="one tensor of logits")
    value = reader.values[results[0]]
    if not isinstance(value, View):
        raise ExportError("network", "its output does not depend on its input", expected="logits of the input")
    return value
