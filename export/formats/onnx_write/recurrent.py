"""ONNX operators: layers with a state from one step to the next. Refuses them: ONNX has no LSTM of integers."""

from __future__ import annotations

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Node

from ...errors import ExportError
from .writer import Emitter, OnnxWriter


def _lstm(w: OnnxWriter, node: Node) -> None:
    what = "ONNX has an LSTM of real numbers only, which is another arithmetic"
    step = "run the network with TensorFlow Lite Micro or LiteRT, or as firmware"
    raise ExportError(f"'{node.name}'", what, next_step=step, unsupported=True)


ROWS: dict[type[ops.Op], Emitter] = {ops.Lstm: _lstm}
