"""Read a float ONNX file as a program: the network that calibration and training take.

Nodes whose inputs are constant are folded. Refuses quantised files, several inputs or outputs, sizes that vary other
than in the batch, operators without a row in :data:`ROWS`, by number and name, and a program that does not answer as
onnx's reference implementation does.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator

from tinyscene.training.models.program import ProgramNetwork

from ..errors import ExportError
from ..formats.onnx_file import OnnxFile, read_onnx
from ..formats.onnx_read.folding import folded
from ..formats.onnx_shapes import ON_CODES
from . import elementwise, movement, products, reductions, windows
from .builder import ProgramBuilder, Row

ROWS: dict[str, Row] = {
    **windows.ROWS,
    **products.ROWS,
    **elementwise.ROWS,
    **reductions.ROWS,
    **movement.ROWS,
}
TOLERANCE = 1e-3  # of the outputs, absolute and relative: float32 sums in different order


def onnx_network(data: bytes, where: str) -> ProgramNetwork:
    """The network of a file, for float32 inputs (batch, ...) to (batch, classes).

    Raises:
        ExportError: see the module's refusals. TrainingError: a result is too large, or the output is not one row.
    """
    file = read_onnx(data, where)
    b = ProgramBuilder(where, file.opset)
    b.constants |= file.constants
    if any(node.op_type == "QuantizeLinear" or node.op_type in ON_CODES for node in file.graph.node):
        step = "it needs no import: 'verify' and other commands take it as it is"
        raise ExportError(where, "a quantised file", expected="a float network", next_step=step)
    name = _input(b, file)
    for index, node in enumerate(file.graph.node):
        b.begin(node, index)
        _read(b, node)
    if len(file.graph.output) != 1:
        raise ExportError(where, f"limit: {len(file.graph.output)} outputs", expected="one")
    network = b.network(name, file.graph.output[0].name)
    _require_same_outputs(network, file, where)
    return network


def _input(b: ProgramBuilder, file: OnnxFile) -> str:
    if len(file.inputs) != 1:
        raise ExportError(b.where, f"limit: {len(file.inputs)} inputs", expected="one")
    (value,) = file.inputs
    kind = value.type.tensor_type
    sizes = [dim.dim_value for dim in kind.shape.dim]
    where = f"{b.where}, input '{value.name}'"
    if kind.elem_type != onnx.TensorProto.FLOAT:
        got = next((name for name, each in onnx.TensorProto.DataType.items() if each == kind.elem_type), kind.elem_type)
        raise ExportError(where, "limit: its type", expected="FLOAT", got=got)
    if len(sizes) < 2 or sizes[0] > 1 or min(sizes[1:]) < 1:
        got = [dim.dim_value or dim.dim_param or "?" for dim in kind.shape.dim]
        raise ExportError(where, "its sizes are not fixed", expected="a batch of 1 or any, and fixed sizes", got=got)
    b.take_input(value.name, tuple(sizes[1:]))
    return str(value.name)


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
    clips = torch.randn(2, *network.program.input_shape, generator=torch.Generator().manual_seed(0))
    (source,) = file.inputs
    try:
        reference = ReferenceEvaluator(file.model)
        answers = [np.asarray(reference.run(None, {source.name: clip[None].numpy()})) for clip in clips]
    except Exception as problem:  # whatever an operator's implementation raises
        what, got = "onnx's reference implementation cannot run it", f"{type(problem).__name__}: {problem}"[:160]
        raise ExportError(where, what, got=got) from problem
    expected, got_scores = np.concatenate(answers, axis=1)[0], network(clips).numpy()
    if got_scores.shape != expected.shape or not np.allclose(got_scores, expected, rtol=TOLERANCE, atol=TOLERANCE):
        what = "is read as a network with other outputs than those of onnx's reference implementation"
        raise ExportError(where, what, expected=f"within {TOLERANCE}", next_step="report it with this file")


__all__ = ["ROWS", "onnx_network"]
