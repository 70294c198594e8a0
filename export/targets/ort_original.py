"""ONNX Runtime on the very file that a user gave, in a worker process, whose death is an error of this target alone.

The file passed its border (:mod:`tinyscene.export.formats.onnx_file`) and was read. Its outputs are those of its own
bytes; activations between them come from a second run, of the file with its codes as further outputs. Refuses models
that are not an ONNX file made elsewhere, and files that ONNX Runtime does not load.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engines import ModelFiles
from tinyscene.runtime.file_names import ONNX_MODEL
from tinyscene.runtime.vectors import joined, require_codes

from ..errors import ExportError
from ..formats.file_model import original_of
from ..formats.onnx_original import OnnxOriginal
from ..formats.onnx_read.values import Place
from .isolated import TIMEOUT_SECONDS, require_installed
from .subprocesses import Failure
from .worker import JobInput, LocalPython, Worker
from .workers.records import EngineRecord

Arithmetic = Literal["integer", "float"]
NAMES: dict[Arithmetic, str] = {"integer": "ort-original", "float": "ort-original-float"}


class OrtOriginalEngine:
    """See :class:`tinyscene.runtime.engines.Engine`; ``arithmetic``: of operators between quantisers.

    Raises:
        ExportError: the package is not installed.
    """

    rounding: Rounding = "single"
    notes: tuple[str, ...] = ()

    def __init__(self, original: OnnxOriginal, arithmetic: Arithmetic = "integer") -> None:
        self.name, self._original, self._arithmetic = NAMES[arithmetic], original, arithmetic
        require_installed("ort", self.name)
        self._worker = Worker("ort_original", LocalPython(), EngineRecord, Failure(self.name), TIMEOUT_SECONDS)

    def outputs(self, codes: I8) -> dict[str, I8]:
        """The outputs, and the activations whose codes the file has."""
        places = self._original.places
        return self._run(self._original.with_activations(), {**places.outputs, **places.activations}, codes)

    def output_codes(self, codes: I8) -> I8:
        """The outputs of the file's own bytes."""
        original = self._original
        return joined(original.graph, original.graph.outputs, self._run(original.data, original.places.outputs, codes))

    def _run(self, data: bytes, shown: Mapping[str, Place], codes: I8) -> dict[str, I8]:
        original = self._original
        require_codes(original.graph, codes, f"engine {self.name}")
        orders = (",".join(map(str, place.order)) for place in original.places.inputs.values())
        arithmetic = original.places.codes if self._arithmetic == "integer" else "float"
        job = JobInput((arithmetic, *orders), original.graph, codes, {ONNX_MODEL: data})
        arrays = self._worker.run(job).arrays
        return {
            name: np.concatenate([original.codes(name, place, arrays[f"{at}.{number}"]) for at in range(len(codes))])
            for number, (name, place) in enumerate(shown.items())
        }


def ort_original(files: ModelFiles, arithmetic: Arithmetic) -> OrtOriginalEngine:
    """The engine on a model.

    Raises:
        ExportError: it is no ONNX file made elsewhere, or the package is not installed.
    """
    original = original_of(files)
    if not isinstance(original, OnnxOriginal):
        what, expected = "the model is no ONNX file made elsewhere", "an .onnx file"
        raise ExportError(f"engine {NAMES[arithmetic]}", what, expected=expected, unsupported=True)
    return OrtOriginalEngine(original, arithmetic)
