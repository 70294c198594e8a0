"""Engines: one interface to every interpreter of the integer graph, int8 codes in, named int8 codes out.

NumPy (both rounding rules), ONNX Runtime, LiteRT (XNNPACK or reference kernels) and TFLite Micro's Python interpreter.
Each package is imported when its engine is opened; the error for a missing one has the command that installs it.
:func:`open_engine` gives LiteRT and TFLite Micro the graph as this version writes it, never a file made elsewhere; the
rows of ``ENGINES`` open a file as it is. Refuses files that :mod:`tinyscene.runtime.tflite_tables` and
:mod:`tinyscene.runtime.onnx_tables` refuse, before an engine reads them, model files whose input or outputs are not the
graph's, and codes of another shape or type.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from . import onnx_tables, ops
from .arith import Rounding
from .arrays import I8
from .engine_limits import require_within_limits
from .engine_names import ENGINE_NAMES, EngineName
from .engine_ranges import require_supported
from .errors import GET_ANOTHER, RuntimeFailure
from .file_names import ONNX_MODEL, TFLITE_MODEL
from .graph import Graph
from .interpreter import run
from .limits import MAX_THREADS, whole_number
from .onnx_tensors import OnnxCodes, codes_name, from_onnx_outputs, nchw, to_onnx_inputs
from .system_errors import cause_in_system, is_of_environment, mentioned_in, system_error
from .tflite_schema import TfliteTables
from .tflite_tables import read_tables
from .vectors import joined, parted, require_codes

CODES_AT_ONCE = 16  # inputs per NumPy run: enough for efficient matrix products in little memory


class Engine(Protocol):
    """Runs a graph. ``notes``: sentences about this run that belong beside its results."""

    name: str
    rounding: Rounding
    notes: tuple[str, ...]

    def outputs(self, codes: I8) -> dict[str, I8]:
        """Every output of the model file for input vectors, int8 (batch, ...) by the graph's name and in its layout.

        Vectors are those of :mod:`tinyscene.runtime.vectors`: (batch, H, W, C) for one input, several side by side.
        """

    def output_codes(self, codes: I8) -> I8:
        """The graph's outputs alone as vectors, int8 (batch, ...), for any number of input vectors."""


class NumpyEngine:
    """The executable specification; ``outputs`` returns every activation."""

    notes: tuple[str, ...] = ()

    def __init__(self, graph: Graph, rounding: Rounding) -> None:
        self.graph, self.rounding, self.name = graph, rounding, f"numpy-{rounding}"

    def outputs(self, codes: I8) -> dict[str, I8]:
        trace: dict[str, I8] = {}
        run(self.graph, codes, rounding=self.rounding, trace=trace)
        return trace

    def output_codes(self, codes: I8) -> I8:
        parts = [codes[at : at + CODES_AT_ONCE] for at in range(0, max(len(codes), 1), CODES_AT_ONCE)]
        return np.concatenate([run(self.graph, part, rounding=self.rounding) for part in parts])


class _OneByOne:
    """An engine whose model file has batch 1; larger batches are run input by input."""

    def __init__(self, graph: Graph, name: str, rounding: Rounding) -> None:
        require_supported(graph, name)
        self.graph, self.name, self.rounding = graph, name, rounding
        self.notes: tuple[str, ...] = ()
        self._has_state = any(isinstance(node.op, ops.Lstm) for node in graph.nodes)  # that the engine would keep

    def outputs(self, codes: I8) -> dict[str, I8]:
        singles = [self._answer(one) for one in self._split(codes)]
        return {name: np.concatenate([single[name] for single in singles]) for name in singles[0]}

    def output_codes(self, codes: I8) -> I8:
        outputs = self.graph.outputs
        return np.concatenate([joined(self.graph, outputs, self._answer(one)) for one in self._split(codes)])

    def _answer(self, codes: I8) -> dict[str, I8]:
        """Outputs by name for one vector, of the graph's shapes; refused where the file is another network."""
        with _model_errors(self.name, runs=True):
            arrays = self._run(parted(self.graph, self.graph.inputs, codes))
        for name, array in arrays.items():
            shape = (1, *self.graph.tensors[name].shape[1:])
            if array.shape == shape[1:]:  # a file may have the rows of its one input in the first axis
                array = arrays[name] = array[None]
            self._require(f"output '{name[:80]}'", f"int8 {shape}", f"{array.dtype} {array.shape}")
        return arrays

    def _run(self, inputs: dict[str, I8]) -> dict[str, I8]:
        """Outputs by name for int8 (1, ...) by name."""
        raise NotImplementedError

    def _split(self, codes: I8) -> list[I8]:
        require_codes(self.graph, codes, f"engine {self.name}")
        return [codes[i : i + 1] for i in range(len(codes))]

    def _require(self, what: str, expected: object, got: object) -> None:
        if expected != got:
            what = f"the model file's {what} differs from the graph's"
            raise RuntimeFailure(f"engine {self.name}", what, expected=expected, got=got, next_step=GET_ANOTHER)

    def _tables(self, model_bytes: bytes) -> TfliteTables:
        """The TFLite file, validated before the engine reads it."""
        where = f"engine {self.name}, model file"
        tables = read_tables(model_bytes, where)
        require_within_limits(tables, self.name)
        return tables

    def _require_inputs(self, shapes: list[tuple[int, ...]]) -> None:
        """Compare the shapes of the file's inputs, in its order, which is the graph's."""
        self._require("input shapes", [self.graph.tensors[name].shape for name in self.graph.inputs], shapes)

    def _require_outputs(self, names: list[str]) -> None:
        known, outputs = {t.name for t in self.graph.activations()}, self.graph.outputs
        if not set(outputs) <= set(names) <= known:
            self._require("list of outputs", outputs, names)


# Session options of ONNX Runtime by the type of the file's activations. int8 activations stay in float without theirs.
# For uint8 ones, kernels of x86-64 processors without VNNI instructions saturate 16-bit sums of two products without
# theirs; other processors ignore it.
ORT_SESSION_CONFIG = {"int8": "session.qdqisint8allowed", "uint8": "session.x64quantprecision"}


class OrtEngine(_OneByOne):
    """ONNX Runtime on the CPU, for the QDQ file of :mod:`tinyscene.export.formats.onnx_write` (uint8 or int8).

    The file's input and output are float32: codes are dequantised before, which is exact, and quantised afterwards.
    ``codes`` is the type of the file's activations in between.
    """

    def __init__(self, graph: Graph, model_bytes: bytes, threads: int = 1, codes: OnnxCodes = "uint8") -> None:
        super().__init__(graph, "ort" if codes == "uint8" else f"ort-{codes}", "single")
        where = f"engine {self.name}, model file"
        onnx_tables.require_plain(onnx_tables.read_summary(model_bytes, where), where)
        ort = _package("onnxruntime", "onnxruntime", self.name)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4  # errors are raised as well
        options.add_session_config_entry(ORT_SESSION_CONFIG[codes], "1")
        with (
            _model_errors(self.name),
            redirect_stdout(io.StringIO()),
        ):  # its wrapper prints errors before it raises them
            self._session = ort.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])
        file_inputs = {each.name: tuple(each.shape) for each in self._session.get_inputs()}
        self._require("inputs", {name: nchw(graph.tensors[name].shape) for name in graph.inputs}, file_inputs)
        self._names = [output.name for output in self._session.get_outputs()]
        duplicates = {codes_name(graph, name) for name in graph.outputs}
        self._require_outputs([name for name in self._names if name not in duplicates])

    def _run(self, inputs: dict[str, I8]) -> dict[str, I8]:
        arrays = self._session.run(None, to_onnx_inputs(self.graph, inputs))
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("the network has values that are not finite")
        return from_onnx_outputs(self.graph, dict(zip(self._names, arrays, strict=True)))


class LiteRTEngine(_OneByOne):
    """LiteRT on the CPU.

    ``default`` kernels are XNNPACK's, ``reference`` the plain C++ ones. Where XNNPACK does not start, as in a container
    without /sys, LiteRT silently uses a third set of kernels with another rounding; ``notes`` reports that.
    """

    def __init__(
        self,
        graph: Graph,
        model_bytes: bytes,
        kernels: Literal["default", "reference"] = "default",
        threads: int = 1,
    ) -> None:
        reference = kernels == "reference"
        super().__init__(graph, "litert-reference" if reference else "litert", "double" if reference else "single")
        self._tables(model_bytes)
        litert = _package("ai_edge_litert.interpreter", "ai-edge-litert", self.name)
        resolver = litert.OpResolverType.BUILTIN_REF if reference else litert.OpResolverType.AUTO
        with _model_errors(self.name), _silent_stderr():
            self._interpreter = litert.Interpreter(
                model_content=model_bytes, num_threads=threads, experimental_op_resolver_type=resolver
            )
            self._interpreter.allocate_tensors()
            details, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
            delegated = self._delegated()
        self._require_inputs([tuple(detail["shape"].tolist()) for detail in details])
        for detail in details:
            self._require("input type", "int8", np.dtype(detail["dtype"]).name)
        self._input_index = dict(zip(graph.inputs, (detail["index"] for detail in details), strict=True))
        self._index = {detail["name"]: detail["index"] for detail in outputs}
        self._require_outputs(list(self._index))
        if not reference and not delegated:
            self.notes = (
                "LiteRT runs without XNNPACK here (is /sys mounted?): results differ from XNNPACK's by rounding",
            )

    def _delegated(self) -> bool:
        """Whether XNNPACK runs a part of the graph, as it does for every graph with a convolution.

        Assumed with older packages, which do not list delegated ops.
        """
        details = getattr(self._interpreter, "_get_ops_details", None)
        if details is None or not any(ops.is_conv(node.op) for node in self.graph.nodes):
            return True
        return any(op["op_name"] == "DELEGATE" for op in details())

    def _run(self, inputs: dict[str, I8]) -> dict[str, I8]:
        if self._has_state:
            self._interpreter.reset_all_variables()
        for name, codes in inputs.items():
            self._interpreter.set_tensor(self._input_index[name], codes)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(index) for name, index in self._index.items()}


class TFLMEngine(_OneByOne):
    """TFLite Micro's Python interpreter on the host: the same results as TFLM on a microcontroller."""

    def __init__(self, graph: Graph, model_bytes: bytes) -> None:
        super().__init__(graph, "tflm", "double")
        runtime = _package("tflite_micro.python.tflite_micro.runtime", "--pre tflite-micro", self.name)
        file = self._tables(model_bytes).graph
        self._require_inputs([tuple(file.tensors[i].shape.tolist()) for i in file.inputs.tolist()])
        self._names = [file.tensors[i].name for i in file.outputs.tolist()]
        self._require_outputs(self._names)
        # Exposed activations live all at once, some with a padded copy, and each op has its own records. The indices of
        # a table are two tensors of int32.
        indices_bytes = sum(8 * graph.out(node).n_bytes for node in graph.nodes if isinstance(node.op, ops.Table))
        activation_bytes = 2 * sum(t.n_bytes for t in graph.activations()) + indices_bytes
        arena_bytes = activation_bytes + 4096 * len(graph.nodes) + 65_536
        with _model_errors(self.name), _silent_stderr():
            self._interpreter = runtime.Interpreter.from_bytes(model_bytes, arena_size=arena_bytes)

    def _run(self, inputs: dict[str, I8]) -> dict[str, I8]:
        if self._has_state:
            self._interpreter.reset()
        for at, codes in enumerate(inputs.values()):
            self._interpreter.set_input(np.ascontiguousarray(codes), at)
        self._interpreter.invoke()
        return {name: self._interpreter.get_output(i).copy() for i, name in enumerate(self._names)}


class ModelFiles(Protocol):
    """A model to open an engine on, such as a :class:`tinyscene.runtime.bundle.Bundle`."""

    @property
    def graph(self) -> Graph: ...

    def file(self, name: str) -> bytes: ...


@dataclass(frozen=True, eq=False)
class _Written:
    """A model whose TFLite file is its graph, written by this version: no engine reads one from elsewhere."""

    model: ModelFiles
    engine: str

    @property
    def graph(self) -> Graph:
        return self.model.graph

    def file(self, name: str) -> bytes:
        if name != TFLITE_MODEL:
            return self.model.file(name)
        _package("ai_edge_litert.schema_py_generated", "ai-edge-litert", self.engine)  # the writer's
        from .tflite_write import to_tflite

        return to_tflite(self.graph)


@dataclass(frozen=True)
class EngineRow:
    """How to open an engine on the files as they are, given a number of threads; ``module`` must be importable.

    The files are this version's own, or the process is a worker that may die.
    """

    open: Callable[[ModelFiles, int], Engine]
    module: str = ""
    pip: str = ""


_LITERT = ("ai_edge_litert", "ai-edge-litert")
ENGINES: dict[EngineName, EngineRow] = {
    "numpy-double": EngineRow(lambda files, _: NumpyEngine(files.graph, "double")),
    "numpy-single": EngineRow(lambda files, _: NumpyEngine(files.graph, "single")),
    "ort": EngineRow(
        lambda files, threads: OrtEngine(files.graph, files.file(ONNX_MODEL), threads), "onnxruntime", "onnxruntime"
    ),
    "litert": EngineRow(
        lambda files, threads: LiteRTEngine(files.graph, files.file(TFLITE_MODEL), "default", threads), *_LITERT
    ),
    "litert-reference": EngineRow(
        lambda files, threads: LiteRTEngine(files.graph, files.file(TFLITE_MODEL), "reference", threads), *_LITERT
    ),
    "tflm": EngineRow(
        lambda files, _: TFLMEngine(files.graph, files.file(TFLITE_MODEL)), "tflite_micro", "--pre tflite-micro"
    ),
}


def engine_row(name: str) -> EngineRow:
    """The row of an engine; raises RuntimeFailure for another name."""
    row = next((row for known, row in ENGINES.items() if known == name), None)
    if row is None:
        expected, step = " | ".join(ENGINE_NAMES), "pick one of these with --engine"
        raise RuntimeFailure(f"engine '{name}'", "unknown", expected=expected, next_step=step)
    return row


def open_engine(name: str, model: ModelFiles, threads: int = 1) -> Engine:
    """Open an engine on a model: LiteRT and TFLite Micro on its graph, ONNX Runtime on its file.

    Args:
        name: one of ``ENGINE_NAMES``.
        threads: used by ONNX Runtime and LiteRT; the others run on one thread, except for NumPy's matrix products.

    Raises:
        RuntimeFailure: unknown name, threads outside 1 to 256, missing package, a graph that TFLite cannot express, or
            an ONNX file that is not the graph's.
    """
    row = engine_row(name)
    threads = whole_number(f"engine '{name}', threads", threads, 1, MAX_THREADS, "threads")
    return row.open(_Written(model, name), threads)


def available_engines() -> dict[str, str]:
    """By engine name, why it cannot be opened here; an empty string if it can. Imports no engine."""
    missing = {row.module for row in ENGINES.values() if row.module and not importlib.util.find_spec(row.module)}
    return {
        name: f"{row.module} is not installed: pip install {row.pip}" if row.module in missing else ""
        for name, row in ENGINES.items()
    }


def _package(module: str, pip: str, engine: str) -> Any:
    """Import an engine's package; the RuntimeFailure for a missing one has the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        what, step = "its package cannot be imported", f"pip install {pip}"
        raise RuntimeFailure(f"engine {engine}", what, got=str(problem), next_step=step, missing=True) from problem


@contextmanager
def _model_errors(engine: str, *, runs: bool = False) -> Iterator[None]:
    """Turn an engine's error about a model file into a RuntimeFailure; one while loading it concerns this engine."""
    try:
        yield
    except Exception as problem:  # engines raise their own types, and also RuntimeError and ValueError
        cause = cause_in_system(problem) or mentioned_in(str(problem))
        if is_of_environment(cause):
            raise system_error(f"engine {engine}", cause) from problem
        raise RuntimeFailure(
            f"engine {engine}",
            "cannot run the model file" if runs else "cannot load the model file",
            got=(str(problem).strip().splitlines() or [type(problem).__name__])[0],
            next_step=GET_ANOTHER if runs else "use another engine; where all refuse it, get the file again",
            unsupported=not runs,
        ) from problem


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep the C++ messages of LiteRT and TFLM at start-up off the terminal; errors are raised as exceptions as well.

    Nothing is redirected where standard error is closed, or no descriptor is left.
    """
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
