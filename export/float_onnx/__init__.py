"""Read a float ONNX file as a program: the network that calibration and training take.

Nodes whose inputs are constant are folded. Refuses quantised files, sizes that vary other than in the batch, operators
without a row in :data:`ROWS`, by number and name, and a program that does not answer as onnx's reference implementation
does.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator

from tinyscene.runtime.graph import MOST_ENDS
from tinyscene.training.models.program import ProgramNetwork

from ..errors import ExportError
from ..formats.onnx_file import OnnxFile, read_onnx
from ..formats.onnx_read.folding import folded
from ..formats.onnx_shapes import ON_CODES
from . import elementwise, movement, products, recurrent, reductions, windows
from .builder import ProgramBuilder, Row

ROWS: dict[str, Row] = {
    **windows.ROWS,
    **products.ROWS,
    **recurrent.ROWS,
    **elementwise.ROWS,
    **reductions.ROWS,
    **movement.ROWS,
}
TOLERANCE = 1e-3  # of the outputs, absolute and relative: float32 sums in different order


def onnx_network(data: bytes, where: str) -> ProgramNetwork:
    """The network of a file, from its float32 inputs (batch, ...) to its outputs.

    Raises:
        ExportError: see the module's refusals. TrainingError: a result is too large.
    """
    file = read_onnx(data, where)
    b = ProgramBuilder(where, file.opset)
    b.constants |= file.constants
    if any(node.op_type == "QuantizeLinear" or node.op_type in ON_CODES for node in file.graph.node):
        step = "it needs no import: 'verify' and other commands take it as it is"
        raise ExportError(where, "a quantised file", expected="a float network", next_step=step)
    _take_inputs(b, file)
    for index, node in enumerate(file.graph.node):
        b.begin(node, index)
        _read(b, node)
    network = b.network([str(output.name) for output in file.graph.output])
    _require_same_outputs(network, file, where)
    return network


def _take_inputs(b: ProgramBuilder, file: OnnxFile) -> None:
    for ends, what in ((file.inputs, "inputs"), (file.graph.output, "outputs")):
        if not 1 <= len(ends) <= MOST_ENDS:
            raise ExportError(b.where, f"limit: {len(ends)} {what}", expected=f"1 to {MOST_ENDS}")
    for value in file.inputs:
        _take_input(b, value)


def _take_input(b: ProgramBuilder, value: onnx.ValueInfoProto) -> None:
    kind = value.type.tensor_type
    sizes = [dim.dim_value for dim in kind.shape.dim]
    where = f"{b.where}, input '{value.name}'"
    if kind.elem_type != onnx.TensorProto.FLOAT:
        got = next((name for name, each in onnx.TensorProto.DataType.items() if each == kind.elem_type), kind.elem_type)
        raise ExportError(where, "limit: its type", expected="FLOAT", got=got)
    if len(sizes) < 2 or sizes[0] > 1 or min(sizes[1:]) < 1:
        got = [dim.dim_value or dim.dim_param or "?" for dim in kind.shape.dim]
        raise ExportError(where, "its sizes are not fixed", expected="a batch of 1 or any, and fixed sizes", got=got)
    b.take_input(str(value.name), tuple(sizes[1:]))


def _read(b: ProgramBuilder, node: onnx.NodeProto) -> None:
    """Fold a node, or append the calls of its row."""
    if all(name == "" or name in b.constants for name in node.input):
        output = folded(node, [b.constants.get(name) for name in node.input], b.opset)
        if output is not None:
            b.constants[node.output[0]] = output
            return
    if node.domain not in ("", "ai.onnx") or node.op_type not in ROWS:
        kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        b.refuse(f"limit: {kind} is not supported", expected=", ".join(sorted(ROWS)))
    try:
        ROWS[node.op_type](b)
    except (TypeError, ValueError, LookupError, ArithmeticError) as problem:  # onnx's checker does not compare sizes
        b.refuse("its inputs and attributes do not fit", got=f"{problem}"[:160])


@torch.no_grad()
def _require_same_outputs(network: ProgramNetwork, file: OnnxFile, where: str) -> None:
    """The answers of onnx's reference, in NumPy, for two clips one after the other, and the program's for both."""
    random, program = torch.Generator().manual_seed(0), network.program
    inputs = {end.name: torch.randn(2, *end.shape, generator=random) for end in program.inputs}
    try:
        reference = ReferenceEvaluator(file.model)
        answers = [reference.run(None, {name: x[at : at + 1].numpy() for name, x in inputs.items()}) for at in (0, 1)]
    except Exception as problem:  # whatever an operator's implementation raises
        what, got = "onnx's reference implementation cannot run it", f"{type(problem).__name__}: {problem}"[:160]
        raise ExportError(where, what, got=got) from problem
    outputs = network(*inputs.values())
    outputs = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
    for output, both in zip(outputs, zip(*answers, strict=True), strict=True):
        expected, got_scores = np.concatenate(both), output.numpy()
        if got_scores.shape == expected.shape and np.allclose(got_scores, expected, rtol=TOLERANCE, atol=TOLERANCE):
            continue
        what = "is read as a network with other outputs than those of onnx's reference implementation"
        raise ExportError(where, what, expected=f"within {TOLERANCE}", next_step="report it with this file")


__all__ = ["ROWS", "onnx_network"]
