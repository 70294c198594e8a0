"""Open a model of any kind as the integer graph with its files: a bundle folder, a TFLite file or an ONNX file.

The base install reads bundles and TFLite files; what a kind needs beyond it is imported when such a file is opened.
Refuses checkpoints, which have no integer graph, and what the reader of the kind refuses.
"""

from __future__ import annotations

from pathlib import Path

from tinyscene.runtime.bundle import read_bundle
from tinyscene.runtime.model import Model

from ..errors import ExportError
from .missing_package import needs_export
from .model_kind import model_kind

EXPECTED = "a bundle folder, or an int8 .tflite or .onnx file"


def open_model(path: Path) -> Model:
    """Open the model at ``path``.

    Raises:
        RuntimeFailure: it is missing or cannot be read, or a bundle is damaged.
        ExportError: a file is not an int8 network of supported operators, or the package that reads it is missing.
    """
    kind = model_kind(path)
    if kind == "tflite":
        with needs_export(str(path)):
            from .tflite_model import open_tflite

            return open_tflite(path)
    if kind == "onnx":
        with needs_export(str(path)):
            from .onnx_model import open_onnx

            return open_onnx(path)
    if kind == "checkpoint" and path.exists():
        step = f"quantise it: tinyscene export {path.name} --ptq RECORDINGS --out BUNDLE"
        raise ExportError(str(path), "a checkpoint has no integer graph", expected=EXPECTED, next_step=step)
    if path.is_file():
        raise ExportError(str(path), "not a model that can be opened", expected=EXPECTED, next_step="check the path")
    return read_bundle(path)
