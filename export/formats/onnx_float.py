"""Write the float network as a simplified ONNX file, the float reference in ONNX Runtime.

Refuses a simplification that onnxsim cannot confirm, and a file whose scores differ from those of the network.
"""

from __future__ import annotations

import logging
import warnings

import numpy as np
import onnx
import torch
from torch import nn

from tinyscene.runtime.graph import OUTPUT_NAME

from ..errors import ExportError

OPSET = 18
TOLERANCE = 1e-4  # of the logits, absolute and relative: float32 sums in different order


def float_onnx(model: nn.Module, input_shape: tuple[int, int]) -> bytes:
    """ONNX bytes of ``model`` for float32 (1, 1, *input_shape) to logits (1, classes), checked in ONNX Runtime.

    Raises:
        ExportError: onnxsim cannot confirm its result, or scores differ by more than :data:`TOLERANCE`.
    """
    import onnxsim

    example = torch.randn(1, 1, *input_shape, generator=torch.Generator().manual_seed(0))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["log_mel"],
            output_names=[OUTPUT_NAME],
            verbose=False,
        )
    assert program is not None
    simplified, confirmed = onnxsim.simplify(program.model_proto)
    if not confirmed:
        raise ExportError(
            "float ONNX", "onnxsim could not confirm its simplification", next_step="report it with this checkpoint"
        )
    _strip_traces(simplified)
    onnx.checker.check_model(simplified)
    data = bytes(simplified.SerializeToString())
    _require_same(model, data, example)
    return data


def _strip_traces(model: onnx.ModelProto) -> None:
    """Remove the Python stack traces that torch writes into the file, with paths of the build machine."""
    graph = model.graph
    for record in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        record.ClearField("metadata_props")
        record.ClearField("doc_string")


def _require_same(model: nn.Module, data: bytes, example: torch.Tensor) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"log_mel": example.numpy()})
    with torch.no_grad():
        reference = model(example).numpy()
    if not np.allclose(scores, reference, rtol=TOLERANCE, atol=TOLERANCE):
        largest = float(np.abs(scores - reference).max())
        raise ExportError(
            "float ONNX", "scores differ from those of the network", expected=f"within {TOLERANCE}", got=largest
        )
