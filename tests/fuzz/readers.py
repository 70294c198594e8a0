"""Every Python reader of untrusted content, and the web page's of WAV files, as a function of bytes.

It returns or raises the package's error; anything else that it raises is an escape. The table names where each one is;
a module is imported only when its reader runs, so that its imports are instrumented. What a reader accepts is also run:
interpreter, emitter, writers, blocks.
"""

from __future__ import annotations

import importlib
import random
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .mutate import mutate_bytes

READERS = {
    "manifest": "bundles:MANIFEST",
    "graph": "bundles:GRAPH",
    "npz": "bundles:ARRAYS",
    "golden": "bundles:GOLDEN",
    "front-end": "bundles:FRONT_END",
    "tflite": "tflite_files:TFLITE",
    "onnx": "onnx_files:ONNX",
    "checkpoint": "checkpoints:CHECKPOINT",
    "safetensors": "checkpoints:SAFETENSORS",
    "program": "programs:PROGRAM",
    "float-onnx": "programs:FLOAT_ONNX",
    "recipe": "tables:RECIPE",
    "tau-table": "tables:TAU_TABLE",
    "baseline": "tables:BASELINE",
    "bench": "tables:BENCH",
    "evaluation": "tables:EVALUATION",
    "inputs": "given:INPUTS",
    "labels": "given:LABELS",
    "audio": "sounds:AUDIO",
    "pcm": "sounds:PCM",
    "names": "sounds:NAMES",
    "page-wav": "page_files:PAGE_WAV",
}


@dataclass(frozen=True)
class Reader:
    """``read`` takes content made by ``seeds`` or by ``mutate``; ``max_bytes`` limits mutated content."""

    read: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    mutate: Callable[[bytes, random.Random], bytes] = mutate_bytes
    max_bytes: int = 16_384


def reader_named(name: str) -> Reader:
    """The reader of a row of the table; raises KeyError for another name."""
    module, _, attribute = READERS[name].partition(":")
    reader = getattr(importlib.import_module(f"tests.fuzz.{module}"), attribute)
    assert isinstance(reader, Reader)
    return reader


@lru_cache(maxsize=1)
def _folder() -> tempfile.TemporaryDirectory[str]:
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="tinyscene-fuzz-", dir=memory if memory.is_dir() else None)


def scratch() -> Path:
    """A folder of this process, in memory where the system has one, deleted when the process ends."""
    return Path(_folder().name)


def written(name: str, data: bytes) -> Path:
    """A file in the scratch folder with this content."""
    path = scratch() / name
    path.write_bytes(data)
    return path
