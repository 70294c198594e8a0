"""A file made elsewhere as a model: its graph, files for engines, and golden vectors computed on demand.

It has no front end and no labels (:func:`tinyscene.runtime.model.described` adds them), so the golden vectors are
random codes over the whole range, with its extremes. Refuses nothing itself: its reader has checked the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np

from tinyscene.runtime.bundle import Golden
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.scores import labels_of
from tinyscene.runtime.states import states_note
from tinyscene.runtime.vectors import row_shape
from tinyscene.runtime.without_constants import WithoutConstants, without_constants

from .missing_package import needs_export

if TYPE_CHECKING:
    from tinyscene.runtime.engines import ModelFiles

    from .onnx_original import OnnxOriginal
    from .tflite_original import TfliteOriginal

GOLDEN_VECTORS = 8


@dataclass(frozen=True, eq=False)
class FileModel:
    """A file that a reader has checked.

    Attributes:
        reduced: the file's graph without layers and channels that are the same for every input; the file keeps them.
        files: by suffix, the model's own file, written again from its validated records; codes in, codes out.
        input_axes: by input, the axes of the file's in the order of the graph's; not of those where they are the same.
        original: an ONNX file as it came, or a TFLite file of uint8 with its own types; no engine in this process gets
            it. Of a TFLite file of int8 ``files`` has it.
    """

    path: Path
    reduced: WithoutConstants
    digest: str
    files: dict[str, bytes]
    input_axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    original: OnnxOriginal | TfliteOriginal | None = None
    frontend: None = None

    @staticmethod
    def of(data: bytes, path: Path, graph: Graph, files: dict[str, bytes]) -> FileModel:
        """``data``: the bytes of the file at ``path``; ``graph``: what was read from them."""
        return FileModel(path, without_constants(graph), hashlib.sha256(data).hexdigest(), files)

    @property
    def graph(self) -> Graph:
        return self.reduced.graph

    @property
    def constant_channels_removed(self) -> int:
        return self.reduced.channels

    @property
    def labels(self) -> tuple[str, ...]:
        return labels_of(self.graph)

    def notes(self) -> tuple[str, ...]:
        """Sentences about layers and channels that the graph lacks, and about what targets run."""
        return (*self.reduced.notes(), *states_note(self.graph), *(self.original.notes if self.original else ()))

    def file(self, name: str) -> bytes:
        """The model's own file in this format, otherwise its graph in this format.

        Raises:
            ExportError: ONNX has no form for the graph, or its package is not installed.
            RuntimeFailure: TFLite has no form for the graph.
        """
        suffix = PurePath(name).suffix
        if suffix not in self.files:
            with needs_export(str(self.path)):
                if suffix == ".tflite":
                    from tinyscene.runtime.tflite_write import to_tflite as written
                else:
                    from .onnx_write import to_onnx as written
                self.files[suffix] = written(self.graph)
        return self.files[suffix]

    def golden(self, count: int = GOLDEN_VECTORS, seed: int = 0) -> Golden:
        """Random codes, one in ten of them an extreme of the range, with the interpreter's activations for them."""
        rng = np.random.default_rng(seed)
        shape = (count, *row_shape(self.graph, self.graph.inputs))
        codes = rng.integers(-128, 128, shape)
        extremes = rng.random(shape) < 0.1
        return Golden.of(self.graph, np.where(extremes, rng.choice([-128, 127], shape), codes).astype(np.int8))


def original_of(files: ModelFiles | None) -> OnnxOriginal | TfliteOriginal | None:
    """The original that a model was read from; None for bundles and TFLite files of int8."""
    return files.original if isinstance(files, FileModel) else None
