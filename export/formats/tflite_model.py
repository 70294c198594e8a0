"""An int8 or uint8 TFLite file as a model. Refuses what :mod:`tinyscene.export.formats.tflite_read` refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tinyscene.runtime.bounded_files import read_model
from tinyscene.runtime.tflite_write import to_tflite

from .file_model import FileModel
from .tflite_file import Int8File
from .tflite_original import TfliteOriginal, has_uint8
from .tflite_read import builder_of
from .tflite_rebuild import rebuilt


def open_tflite(path: Path) -> FileModel:
    """Read a file.

    Raises:
        RuntimeFailure: the file cannot be read.
        ExportError: it is not an int8 network of supported operators.
    """
    return tflite_model(read_model(path), str(path), path.stem)


def tflite_model(data: bytes, where: str, name: str | None = None) -> FileModel:
    """As :func:`open_tflite`, for the bytes of a file; ``where`` names it in messages."""
    file = Int8File(data, where)
    builder = builder_of(file)
    graph = builder.graph(name)
    # XNNPACK leaves layers with a scale of 0 to kernels that round otherwise; a file without operators has none to run.
    own = to_tflite(graph) if builder.rewritten else rebuilt(file)
    model = FileModel.of(data, Path(where), graph, {".tflite": own})
    return replace(model, original=TfliteOriginal(file, model.reduced)) if has_uint8(file) else model
