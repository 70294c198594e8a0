"""An int8 ONNX file as a model. Refuses what :mod:`tinyscene.export.formats.onnx_read` refuses."""

from __future__ import annotations

from pathlib import Path

from tinyscene.runtime.bounded_files import read_model

from .file_model import FileModel
from .onnx_read import from_onnx


def open_onnx(path: Path) -> FileModel:
    """Read a file; engines get its graph, written again.

    Raises:
        RuntimeFailure: the file cannot be read.
        ExportError: it is not an int8 network of supported operators.
    """
    data = read_model(path)
    return FileModel.of(data, path, from_onnx(data, where=str(path), name=path.stem), {})
