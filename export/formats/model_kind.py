"""The kind of a model by its content first and its name second: bundle, TFLite, ONNX or checkpoint.

Reads the first bytes only, of a regular file. Refuses nothing: the reader of the kind does.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal

from tinyscene.runtime.bounded_files import READ_ONLY
from tinyscene.runtime.tflite_schema import IDENTIFIER

ModelKind = Literal["bundle", "tflite", "onnx", "checkpoint"]
EXPECTED = "a bundle folder, .tflite, .onnx, or .ckpt .pt .pth .safetensors (checkpoint)"
_BY_NAME: dict[str, ModelKind] = {
    ".tflite": "tflite",
    ".onnx": "onnx",
    **dict.fromkeys((".ckpt", ".pt", ".pth", ".safetensors"), "checkpoint"),
}
# An ONNX file has no identifier. It begins with field 1, the version of the format, and then one of the fields 2 to 8.
_ONNX_VERSIONS = range(3, 33)
_ONNX_NEXT_FIELDS = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)


def model_kind(path: Path) -> ModelKind | None:
    """The kind of the model at ``path`` by its content, otherwise by its name; None if neither has one."""
    if path.is_dir():
        return "bundle"
    head = _head(path)
    if head[4:8] == IDENTIFIER:
        return "tflite"
    if len(head) > 2 and head[0] == 0x08 and head[1] in _ONNX_VERSIONS and head[2] in _ONNX_NEXT_FIELDS:
        return "onnx"
    return _BY_NAME.get(path.suffix.lower())


def _head(path: Path) -> bytes:
    """The first 8 bytes of a regular file; nothing of anything else."""
    try:
        descriptor = os.open(path, READ_ONLY)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(descriptor, 8) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)
