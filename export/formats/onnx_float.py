"""Write the float network as a simplified ONNX file, the float reference in ONNX Runtime.

Refuses a simplification that onnxsim cannot confirm, and a file whose outputs differ from those of the network.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import torch
from torch import nn

from tinyscene.runtime.graph import OUTPUT_NAME

from ..errors import ExportError

OPSET = 18
TOLERANCE = 1e-4  # of the logits, absolute and relative: float32 sums in different order


def float_onnx(
    model: nn.Module, input_shapes: Mapping[str, tuple[int, ...]], outputs: Sequence[str] = (OUTPUT_NAME,)
) -> bytes:
    """ONNX bytes of ``model`` for one entry of each input, float32 (1, ...), checked in ONNX Runtime.

    Args:
        input_shapes: without the batch, by the names that the inputs get.
        outputs: the names that the outputs get.

    Raises:
        ExportError: onnxsim cannot confirm its result, or outputs differ by more than :data:`TOLERANCE`.
    """
    import onnxsim

    random = torch.Generator().manual_seed(0)
    examples = tuple(torch.randn(1, *shape, generator=random) for shape in input_shapes.values())
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model.eval(),
            examples,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(input_shapes),
            output_names=list(outputs),
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
    _require_same(model, data, dict(zip(input_shapes, examples, strict=True)))
    return data


def _strip_traces(model: onnx.ModelProto) -> None:
    """Remove the Python stack traces that torch writes into the file, with paths of the build machine."""
    graph = model.graph
    for record in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        record.ClearField("metadata_props")
        record.ClearField("doc_string")


def _require_same(model: nn.Module, data: bytes, examples: Mapping[str, torch.Tensor]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {name: example.numpy() for name, example in examples.items()})
    with torch.no_grad():
        expected = model(*examples.values())
    references = (expected,) if isinstance(expected, torch.Tensor) else expected
    for output, reference in zip(outputs, references, strict=True):
        if not np.allclose(output, reference.numpy(), rtol=TOLERANCE, atol=TOLERANCE):
            what = "outputs differ from those of the network"
            largest = float(np.abs(output - reference.numpy()).max())
            raise ExportError("float ONNX", what, expected=f"within {TOLERANCE}", got=largest)
