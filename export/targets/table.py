"""The table of targets: those that execute the graph, as engines, and those that convert it.

Opening a target may raise an error with the command that installs what is missing; that is a named skip, never a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from tinyscene.firmware_harness.build.targets import TARGETS as MACHINES
from tinyscene.firmware_harness.build.targets import Target
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engine_names import EngineName
from tinyscene.runtime.engines import ENGINES, Engine, ModelFiles, OrtEngine
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.file_names import ONNX_MODEL, TFLITE_MODEL
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.spec import FrontendSpec
from tinyscene.runtime.tflite_write import to_tflite

from ..formats.file_model import original_of
from ..formats.onnx_original import OnnxOriginal
from ..formats.onnx_write import to_onnx
from ..formats.tflite_original import TfliteOriginal
from ..labelled.codes import FrontEnd
from .audio_inputs import FLOAT_ONLY, c_front_end, onnx_front_end, pytorch_front_end
from .conversion import Conversion
from .coreml import converted_for_coreml
from .hexagon import HexagonEngine
from .isolated import MODEL_OF as WORKER_ENGINES
from .isolated import Isolated, WorkerEngine
from .ort_original import NAMES as OF_ONNX
from .ort_original import Arithmetic, ort_original
from .other_tflite import Kernels, Module, OtherTfliteEngine
from .raspberry_pi import MODEL_OF, PROCESSORS, PiEngine
from .tensorflow_converter import converted_by_tensorflow
from .tflite_original import LITERT, TFLM, litert_original, tflm_original
from .tosa import TosaEngine
from .web import Name as WebName
from .web import WebEngine

HOST_CLIPS = 200  # clips for accuracy with sanitizers on
PI_CLIPS = 500
TOSA_CLIPS = 20  # a second each for a large net
EMULATED_CLIPS = 60  # some seconds for a small net, a minute for the largest
SOFT_FLOAT_CLIPS = 8  # without an FPU the front end takes longer than the largest net
Means = Literal["executes", "emulates", "converts"]


@dataclass(frozen=True)
class TargetRow:
    """How to open a target as an engine.

    Attributes:
        open: opens it on a model's files.
        reads_files: whether it runs the model's files; then the shipped ones are run too.
        reads_original: whether it runs the file that a user gave, which not every model is.
        max_clips: most clips to measure accuracy on.
        means: whether an emulator replaces its processor.
        front_end: its own front end, if it does not use the runtime's.
    """

    open: Callable[[ModelFiles], Engine]
    reads_files: bool = True
    max_clips: int | None = None
    means: Means = "executes"
    front_end: FrontEnd | None = None
    reads_original: bool = False

    def own_front_end(self, spec: FrontendSpec) -> FrontEnd | None:
        """The target's front end for the arithmetic of ``spec``, if it does not use the runtime's."""
        return None if spec.arithmetic == "integer" and self.front_end in FLOAT_ONLY else self.front_end


@dataclass(frozen=True)
class ConverterRow:
    """How to convert the network with another maker's converter and compare the result, for inputs (n, H, W, C).

    The network has one input and one output.
    """

    convert: Callable[[ModelFiles, I8], Conversion]
    means: Means = "converts"


class Exposed:
    """A graph as :class:`~tinyscene.runtime.engines.ModelFiles` with every activation as an output."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._files: dict[str, bytes] = {}

    @property
    def graph(self) -> Graph:
        return self._graph

    def file(self, name: str) -> bytes:
        if name not in self._files:
            writer = to_tflite if name.endswith(".tflite") else to_onnx
            self._files[name] = writer(self._graph, expose_all=True)
        return self._files[name]


@dataclass(frozen=True, eq=False)
class Int8Onnx:
    """A graph as :class:`~tinyscene.runtime.engines.ModelFiles`: an ONNX file with int8 activations as outputs."""

    graph: Graph

    def file(self, name: str) -> bytes:
        return to_onnx(self.graph, expose_all=True, codes="int8")


def own_files(files: ModelFiles) -> bool:
    """Whether the model files are byte for byte those that this version writes for the graph."""
    try:
        tflite, onnx = to_tflite(files.graph), to_onnx(files.graph)
        return files.file(TFLITE_MODEL) == tflite and files.file(ONNX_MODEL) == onnx
    except TinysceneError as problem:  # a format that lacks something is the affair of its targets
        if not problem.unsupported:
            raise
        return False


def _engine(name: EngineName) -> TargetRow:
    def opened(files: ModelFiles) -> Engine:
        isolated = isinstance(files, Isolated) and name in WORKER_ENGINES
        return WorkerEngine(name, files) if isolated else ENGINES[name].open(files, 1)

    return TargetRow(opened, front_end=onnx_front_end if name == "ort" else None)


def _ort_int8(files: ModelFiles) -> Engine:
    """The file with int8 activations, as other exporters write it; a bundle ships the one with uint8."""
    if isinstance(files, Isolated):
        return WorkerEngine("ort", Int8Onnx(files.graph), "int8")
    return OrtEngine(files.graph, to_onnx(files.graph, expose_all=True, codes="int8"), codes="int8")


def _pytorch(files: ModelFiles) -> Engine:
    from ..quantise.simulate import PytorchEngine

    return PytorchEngine(files.graph)


def _other_tflite(module: Module, kernels: Kernels) -> TargetRow:
    return TargetRow(lambda files: OtherTfliteEngine(files.graph, files.file(TFLITE_MODEL), module, kernels))


def _original(open_original: Callable[[ModelFiles], Engine]) -> TargetRow:
    return TargetRow(open_original, reads_files=False, reads_original=True)


def _ort_original(arithmetic: Arithmetic) -> TargetRow:
    return _original(lambda files: ort_original(files, arithmetic))


def _web(name: WebName) -> TargetRow:
    return TargetRow(lambda files: WebEngine(files, name))


def _pi(board: str, engine: str) -> TargetRow:
    return TargetRow(lambda files: PiEngine(files, PROCESSORS[board], engine), max_clips=PI_CLIPS, means="emulates")


def _firmware(machine: Target, rounding: Rounding, front_end: FrontEnd) -> TargetRow:
    row = TargetRow(
        lambda files: FirmwareEngine(files.graph, machine, rounding), False, HOST_CLIPS, front_end=front_end
    )
    if machine.emulator is None:
        return row
    return replace(row, max_clips=SOFT_FLOAT_CLIPS if machine.soft_float else EMULATED_CLIPS, means="emulates")


def _firmware_rows(machine: str) -> dict[str, TargetRow]:
    """Both rules on one machine; they share a front end, whose codes are computed once."""
    target = MACHINES[machine]
    front_end = c_front_end(target)
    return {
        f"c-{machine}": _firmware(target, "double", front_end),
        f"c-{machine}-single": _firmware(target, "single", front_end),
    }


# The targets of the demo, which every installation for development has.
CORE_TARGETS: dict[str, TargetRow] = {
    **{name: _engine(name) for name in ENGINES},
    **_firmware_rows("host"),
    **_firmware_rows("cortex-m4"),
}
TARGETS: dict[str, TargetRow | ConverterRow] = {
    **CORE_TARGETS,
    "pytorch": TargetRow(_pytorch, reads_files=False, front_end=pytorch_front_end),
    "ort-int8": TargetRow(_ort_int8, reads_files=False, front_end=onnx_front_end),
    **{name: _ort_original(arithmetic) for arithmetic, name in OF_ONNX.items()},
    LITERT: _original(litert_original),
    TFLM: _original(tflm_original),
    "tflite-runtime": _other_tflite("tflite_runtime", "default"),
    "tflite-runtime-reference": _other_tflite("tflite_runtime", "reference"),
    **{f"{board}-{engine}": _pi(board, engine) for board in PROCESSORS for engine in MODEL_OF},
    "tensorflow": _other_tflite("tensorflow", "default"),
    "tensorflow-reference": _other_tflite("tensorflow", "reference"),
    "tensorflow-converter": ConverterRow(converted_by_tensorflow),
    "coreml": ConverterRow(converted_for_coreml),
    "hexagon": TargetRow(HexagonEngine, means="emulates"),
    "ort-web": _web("ort-web"),
    "litert-web": _web("litert-web"),
    "tosa": TargetRow(TosaEngine, max_clips=TOSA_CLIPS, means="emulates"),
    **{name: row for machine in MACHINES for name, row in _firmware_rows(machine).items() if name not in CORE_TARGETS},
}


# The targets that run an original, by its kind.
ORIGINALS: dict[type[OnnxOriginal | TfliteOriginal], tuple[str, ...]] = {
    OnnxOriginal: tuple(OF_ONNX.values()),
    TfliteOriginal: (LITERT, TFLM),
}


def targets_of(files: ModelFiles | None) -> tuple[str, ...]:
    """Every target of a model: of those that run an original only the ones of its kind."""
    original = original_of(files)
    others = {name for kind, names in ORIGINALS.items() if not isinstance(original, kind) for name in names}
    return tuple(name for name in TARGETS if name not in others)
