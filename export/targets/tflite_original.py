"""LiteRT on a uint8 TFLite file itself, in a worker process, whose death is an error of this target alone.

The file is written again from its validated records with its own types; codes are 128 higher than the graph's. Its
outputs are those of this file; activations come from a second run, of the file with them as further outputs. Refuses
models that are not a TFLite file of uint8, and files that LiteRT does not load. TensorFlow Lite Micro is skipped.
"""

from __future__ import annotations

from typing import NoReturn

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engines import ModelFiles
from tinyscene.runtime.file_names import TFLITE_MODEL
from tinyscene.runtime.vectors import joined, require_codes

from ..errors import ExportError
from ..formats.file_model import original_of
from ..formats.tflite_original import TfliteOriginal
from .isolated import TIMEOUT_SECONDS, require_installed
from .subprocesses import Failure
from .worker import JobInput, LocalPython, Worker
from .workers.records import TfliteRecord

LITERT, TFLM = "litert-original", "tflm-original"


class LiteRTOriginalEngine:
    """See :class:`tinyscene.runtime.engines.Engine`.

    Raises:
        ExportError: the package is not installed.
    """

    name = LITERT
    rounding: Rounding = "single"
    notes: tuple[str, ...] = ()

    def __init__(self, original: TfliteOriginal) -> None:
        self._original = original
        require_installed("litert", LITERT)
        self._worker = Worker("other_tflite", LocalPython(), TfliteRecord, Failure(LITERT), TIMEOUT_SECONDS)

    def outputs(self, codes: I8) -> dict[str, I8]:
        """The outputs, and the activations that the file and the graph have."""
        return self._run(self._original.with_activations(), codes)

    def output_codes(self, codes: I8) -> I8:
        """The outputs of the file."""
        graph = self._original.reduced.graph
        return joined(graph, graph.outputs, self._run(self._original.data(), codes))

    def _run(self, data: bytes, codes: I8) -> dict[str, I8]:
        require_codes(self._original.reduced.graph, codes, f"engine {LITERT}")
        job = JobInput(("ai_edge_litert", "default"), inputs=codes, files={TFLITE_MODEL: data})
        return self._original.codes(self._worker.run(job).arrays, len(codes))


def litert_original(files: ModelFiles) -> LiteRTOriginalEngine:
    """The engine on a model.

    Raises:
        ExportError: it is no TFLite file of uint8, or the package is not installed.
    """
    return LiteRTOriginalEngine(_original(files, LITERT))


def tflm_original(files: ModelFiles) -> NoReturn:
    """TensorFlow Lite Micro, which cannot run such a file.

    Raises:
        ExportError: always; a TFLite file of uint8 is skipped.
    """
    _original(files, TFLM)
    what = "TensorFlow Lite Micro has no uint8 kernels; the target `tflm` runs the int8 form of the file"
    raise ExportError(f"engine {TFLM}", what, missing=True)


def _original(files: ModelFiles, name: str) -> TfliteOriginal:
    original = original_of(files)
    if not isinstance(original, TfliteOriginal):
        what, expected = "the model is no TFLite file of uint8", "a .tflite file with uint8 activations"
        raise ExportError(f"engine {name}", what, expected=expected, unsupported=True)
    return original
