"""Write small quantised ONNX files by hand, and compare what is read from them with ONNX Runtime's answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tinyscene.export.formats.onnx_file import read_onnx
from tinyscene.export.formats.onnx_original import OnnxOriginal
from tinyscene.export.formats.onnx_read import graph_of
from tinyscene.export.targets.workers.ort_original import DROPS_ROUNDINGS, file_inputs
from tinyscene.runtime.engines import ORT_SESSION_CONFIG, NumpyEngine
from tinyscene.runtime.vectors import joined
from tinyscene.runtime.without_constants import WithoutConstants

Form = Literal["codes", "real", "clipped"]  # of a weight: stored codes, or real numbers before QuantizeLinear
Shape = Sequence[int | str]


class File:
    """Nodes, constants and ends; every method returns the name of what it adds."""

    def __init__(self, *, opset: int = 17, dtype: str = "uint8", scale_shape: tuple[int, ...] = ()) -> None:
        self.rng, self.opset, self.dtype, self.scale_shape = np.random.default_rng(0), opset, dtype, scale_shape
        self.real: npt.DTypeLike = np.float32
        self.constants_as_nodes = False
        self.axis_of_codes: dict[str, Any] = {}
        self.steps = np.ones((), np.float32)  # scale or scales of the last weight
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.count = 0

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}_{self.count}"

    def input(self, shape: Shape, name: str = "x", dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> str:
        name, array = self.name("constant"), np.asarray(values, dtype)
        if self.constants_as_nodes:
            self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)))
        else:
            self.constants.append(numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = self.name(kind)
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"node_{name}", domain=domain, **attributes))
        return name

    def stated(self, scale: float, zero: int, dtype: str = "") -> tuple[str, str]:
        """Names of a scale and a zero point; ``zero`` is that of int8 codes."""
        kind = dtype or self.dtype
        stored = np.full(self.scale_shape, zero + 128 * (kind == "uint8"), kind)
        return self.constant(np.full(self.scale_shape, scale, self.real)), self.constant(stored)

    def codes(self, x: str, scale: float = 0.05, zero: int = 3) -> str:
        return self.node("QuantizeLinear", x, *self.stated(scale, zero))

    def quantised(self, x: str, scale: float = 0.05, zero: int = 3) -> str:
        """x behind QuantizeLinear and DequantizeLinear."""
        stated = self.stated(scale, zero)
        axis = self.axis_of_codes
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *stated, **axis), *stated, **axis)

    def weight(
        self,
        shape: tuple[int, ...],
        *,
        axis: int | None = 0,
        form: Form = "codes",
        dtype: str = "int8",
        zero: int = 0,
    ) -> str:
        """A weight behind DequantizeLinear, with a scale per slice along an axis, or one; ``zero``: of int8 codes."""
        codes = self.rng.integers(-127, 128, shape)
        steps = self.rng.uniform(0.002, 0.01, () if axis is None else shape[axis]).astype(np.float32)
        self.steps = steps
        scale, point = self.constant(steps), self.constant(np.full(steps.shape, zero + 128 * (dtype == "uint8")), dtype)
        options: dict[str, Any] = {} if axis is None else {"axis": axis}
        if form == "codes":
            stored = self.constant(codes + 128 * (dtype == "uint8"), dtype)
            return self.node("DequantizeLinear", stored, scale, point, **options)
        spread = [1] * len(shape)
        spread[axis or 0] = -1
        noise = self.rng.uniform(-0.4, 0.4, shape)
        real = self.constant((codes + noise) * (steps if axis is None else steps.reshape(spread)), np.float32)
        given = self.node("QuantizeLinear", real, scale, point, **options)
        if form == "clipped":
            given = self.node("Clip", given, self.constant(-127, "int8"), self.constant(127, "int8"))
        return self.node("DequantizeLinear", given, scale, point, **options)

    def bias(self, channels: int, scale_of_x: float = 0.05) -> str:
        """int32 codes behind DequantizeLinear, for the last weight."""
        codes, scale = self.rng.integers(-2000, 2000, channels), np.float32(scale_of_x) * self.steps
        options: dict[str, Any] = {"axis": 0} if scale.ndim else {}
        zero = self.constant(np.zeros(scale.shape), np.int32)
        return self.node("DequantizeLinear", self.constant(codes, np.int32), self.constant(scale), zero, **options)

    def bytes(self, *outputs: str, initializers_are_inputs: bool = False) -> bytes:
        kinds = [self.dtype if name.startswith("QuantizeLinear") else np.dtype(self.real).name for name in outputs]
        types = [helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for kind in kinds]
        ends = [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(outputs, types, strict=True)]
        stored = [helper.make_tensor_value_info(each.name, each.data_type, each.dims) for each in self.constants]
        inputs = [*self.inputs, *(stored if initializers_are_inputs else [])]
        graph = helper.make_graph(self.nodes, "made", inputs, ends, self.constants)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        for end, known in zip(graph.output, onnx.shape_inference.infer_shapes(model).graph.output, strict=True):
            dims = (known if known.type.tensor_type.HasField("shape") else self.inputs[0]).type.tensor_type.shape.dim
            end.CopyFrom(helper.make_tensor_value_info(end.name, end.type.tensor_type.elem_type, [None] * len(dims)))
        model.graph.CopyFrom(graph)
        return bytes(model.SerializeToString())


def differences(data: bytes, count: int = 8, *, optimised: bool = True) -> np.ndarray:
    """The graph's output codes less those of ONNX Runtime on the file, for random inputs with extremes."""
    graph, places = graph_of(read_onnx(data, "made"), "made")
    original = OnnxOriginal(data, graph, places, WithoutConstants(graph))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(ORT_SESSION_CONFIG[places.codes], "1")
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        data, options, providers=["CPUExecutionProvider"], disabled_optimizers=DROPS_ROUNDINGS
    )
    shape = (count, *(graph.tensors[graph.input].shape[1:] if len(graph.inputs) == 1 else ()))
    if len(graph.inputs) > 1:
        shape = (count, sum(graph.tensors[name].n_bytes for name in graph.inputs))
    rng = np.random.default_rng(1)
    codes = np.where(rng.random(shape) < 0.1, rng.choice([-128, 127], shape), rng.integers(-128, 128, shape))
    codes = codes.astype(np.int8)
    orders = tuple(",".join(map(str, place.order)) for place in places.inputs.values())
    rows = []
    for vector in codes:
        arrays = session.run(None, file_inputs(session, graph, orders, vector[None]))
        shown = {
            name: original.codes(name, place, array)
            for (name, place), array in zip(places.outputs.items(), arrays, strict=True)
        }
        rows.append(joined(graph, graph.outputs, shown))
    return NumpyEngine(graph, "single").output_codes(codes).astype(int) - np.concatenate(rows)
