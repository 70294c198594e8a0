"""The float network as ONNX, simplified: what people put on phones before quantising, and our float reference in ORT.

Refuses a simplification that onnxsim itself cannot confirm and a file that does not give the network's own answers.
"""

from __future__ import annotations

import logging
import warnings

import numpy as np
import torch
from torch import nn

from tinyscene.runtime.graph import OUTPUT_NAME

from ..errors import ExportError

OPSET = 18
TOLERANCE = 1e-4  # of the logits, absolute and relative; float32 sums in another order


def float_onnx(model: nn.Module, input_shape: tuple[int, int]) -> bytes:
    """ONNX bytes of ``model`` for float32 (1, 1, *input_shape) to logits (1, classes), checked in ONNX Runtime.

    Raises:
        ExportError: onnxsim refuses, or the answers differ by more than 1e-4.
    """
    import onnx
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
        raise ExportError("float ONNX", "onnxsim could not confirm its simplification", next_step="report this model")
    _strip_traces(simplified)
    onnx.checker.check_model(simplified)
    data = bytes(simplified.SerializeToString())
    _require_same(model, data, example)
    return data


def _strip_traces(model: object) -> None:
    """Drop the Python stack traces that torch leaves in the file: paths of the machine it was made on."""
    graph = model.graph  # type: ignore[attr-defined]
    for record in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        for name in ("metadata_props", "doc_string"):
            if hasattr(record, name):
                record.ClearField(name)  # type: ignore[attr-defined]


def _require_same(model: nn.Module, data: bytes, example: torch.Tensor) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"log_mel": example.numpy()})
    with torch.no_grad():
        wanted = model(example).numpy()
    if not np.allclose(got, wanted, rtol=TOLERANCE, atol=TOLERANCE):
        worst = float(np.abs(got - wanted).max())
        raise ExportError("float ONNX", "does not answer as the network", expected=f"within {TOLERANCE}", got=worst)
