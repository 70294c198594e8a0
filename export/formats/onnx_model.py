"""An int8 ONNX file as a model. Refuses what :mod:`tinyscene.export.formats.onnx_read` refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tinyscene.runtime.bounded_files import read_model

from .file_model import FileModel
from .onnx_read import from_onnx

CHANNELS_LAST = (0, 2, 3, 1)  # the graph's axes of an image, whose axes in the file are batch, channels, height, width


def open_onnx(path: Path) -> FileModel:
    """Read a file; engines get its graph, written again.

    Raises:
        RuntimeFailure: the file cannot be read.
        ExportError: it is not an int8 network of supported operators.
    """
    data = read_model(path)
    graph = from_onnx(data, where=str(path), name=path.stem)
    axes = {name: CHANNELS_LAST for name in graph.inputs if len(graph.tensors[name].shape) == len(CHANNELS_LAST)}
    return replace(FileModel.of(data, path, graph, {}), input_axes=axes)
