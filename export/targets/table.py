"""Every target by name: those that execute the graph, behind the engine interface, and those that convert it.

Opening one may raise an error with the command that installs what it lacks; that is a named skip, never a pass.
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
from tinyscene.runtime.engines import ENGINES, Engine, ModelFiles, OrtEngine, open_engine
from tinyscene.runtime.file_names import TFLITE_MODEL
from tinyscene.runtime.graph import Graph

from ..formats.onnx_write import to_onnx
from ..formats.tflite_write import to_tflite
from ..labelled.codes import FrontEnd
from .audio_inputs import in_c, in_onnx, in_pytorch
from .conversion import Conversion
from .coreml import converted_for_coreml
from .hexagon import HexagonEngine
from .other_tflite import ForeignTflite, Kernels
from .raspberry_pi import MODEL_OF, PROCESSORS, PiEngine
from .tensorflow_converter import converted_by_tensorflow

HOST_CLIPS = 200  # for accuracy with sanitizers on
PI_CLIPS = 500
EMULATED_CLIPS = 60  # some seconds for a small net, a minute for the largest
SOFT_FLOAT_CLIPS = 8  # there the front end takes longer than the largest net


Means = Literal["executes", "emulates", "converts"]


@dataclass(frozen=True)
class TargetRow:
    """How to open a target, whether it reads a model's files (then it also runs those that ship), its cap on clips
    for accuracy, whether an emulator stands in for its processor, and how it hears if not through the runtime."""

    open: Callable[[ModelFiles], Engine]
    reads_files: bool = True
    max_clips: int | None = None
    means: Means = "executes"
    front_end: FrontEnd | None = None


@dataclass(frozen=True)
class ConverterRow:
    """How to have another maker's converter take the network, and compare what it wrote, for inputs (n, H, W, C)."""

    convert: Callable[[ModelFiles, I8], Conversion]
    means: Means = "converts"


class Exposed:
    """A graph as :class:`~tinyscene.runtime.engines.ModelFiles`, every activation an output."""

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


def _engine(name: str) -> TargetRow:
    return TargetRow(lambda files: open_engine(name, files), front_end=in_onnx if name == "ort" else None)


def _ort_int8(files: ModelFiles) -> Engine:
    """The same file with int8 activations, as models made elsewhere have it; a bundle ships the other."""
    return OrtEngine(files.graph, to_onnx(files.graph, expose_all=True, codes="int8"), name="ort-int8")


def _pytorch(files: ModelFiles) -> Engine:
    from ..quantise.simulate import PytorchEngine

    return PytorchEngine(files.graph)


def _foreign(module: str, kernels: Kernels) -> TargetRow:
    return TargetRow(lambda files: ForeignTflite(files.graph, files.file(TFLITE_MODEL), module, kernels))


def _pi(board: str, engine: str) -> TargetRow:
    return TargetRow(lambda files: PiEngine(files, PROCESSORS[board], engine), max_clips=PI_CLIPS, means="emulates")


def _firmware(machine: Target, rounding: Rounding, front_end: FrontEnd) -> TargetRow:
    row = TargetRow(
        lambda files: FirmwareEngine(files.graph, machine, rounding), False, HOST_CLIPS, front_end=front_end
    )
    if machine.emulator is None:
        return row
    return replace(row, max_clips=SOFT_FLOAT_CLIPS if machine.soft_float else EMULATED_CLIPS, means="emulates")


def _named(machine: str) -> dict[str, TargetRow]:
    target = MACHINES[machine]
    hear = in_c(target)  # one for both, whose codes are computed once
    return {f"c-{machine}": _firmware(target, "double", hear), f"c-{machine}-single": _firmware(target, "single", hear)}


# What the demonstration shows, and every installation for development has.
CORE_TARGETS: dict[str, TargetRow] = {
    **{name: _engine(name) for name in ENGINES},
    **_named("host"),
    **_named("cortex-m4"),
}
TARGETS: dict[str, TargetRow | ConverterRow] = {
    **CORE_TARGETS,
    "pytorch": TargetRow(_pytorch, reads_files=False, front_end=in_pytorch),
    "ort-int8": TargetRow(_ort_int8, reads_files=False, front_end=in_onnx),
    "tflite-runtime": _foreign("tflite_runtime", "default"),
    "tflite-runtime-reference": _foreign("tflite_runtime", "reference"),
    **{f"{board}-{engine}": _pi(board, engine) for board in PROCESSORS for engine in MODEL_OF},
    "tensorflow": _foreign("tensorflow", "default"),
    "tensorflow-reference": _foreign("tensorflow", "reference"),
    "tensorflow-converter": ConverterRow(converted_by_tensorflow),
    "coreml": ConverterRow(converted_for_coreml),
    "hexagon": TargetRow(HexagonEngine, means="emulates"),
    **{name: row for machine in MACHINES for name, row in _named(machine).items() if name not in CORE_TARGETS},
}
