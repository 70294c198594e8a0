"""An int8 ONNX file as a model. Refuses what :mod:`tinyscene.export.formats.onnx_read` refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tinyscene.runtime.bounded_files import read_model

from .file_model import FileModel
from .onnx_file import read_onnx
from .onnx_original import OnnxOriginal
from .onnx_read import graph_of


def open_onnx(path: Path) -> FileModel:
    """Read a file; engines get its graph, written again, and ONNX Runtime in a worker the file itself.

    Raises:
        RuntimeFailure: the file cannot be read.
        ExportError: it is not an int8 network of supported operators.
    """
    data = read_model(path)
    graph, places = graph_of(read_onnx(data, str(path)), str(path), path.stem)
    axes = {name: tuple(int(axis) for axis in np.argsort(place.order)) for name, place in places.inputs.items()}
    moved = {name: each for name, each in axes.items() if each != tuple(range(len(each)))}
    model = FileModel.of(data, path, graph, {})
    return replace(model, input_axes=moved, original=OnnxOriginal(data, graph, places, model.reduced))
