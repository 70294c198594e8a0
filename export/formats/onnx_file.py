"""Read an ONNX file, float or quantised: nodes, constants as arrays, and shapes as far as they are known.

Refuses what :mod:`tinyscene.runtime.onnx_tables` refuses (weights in other files are never read), what onnx's checker
refuses, weights without their zeros, inputs without a shape and outputs whose shape is unknown, and shapes with
negative or absurd sizes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from tinyscene.runtime.onnx_tables import LARGEST_SIZE, read_summary

from ..errors import ExportError, unreadable
from .onnx_shapes import ON_CODES, inferred_values

MOST_PROPAGATED = 2**20  # elements of a declared tensor


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A checked model. ``incomplete``: why shapes are not all known, or nothing.

    ``behind_codes``: shapes behind operators on codes, of float tensors; where onnx knows one, that follows.
    """

    model: onnx.ModelProto
    constants: dict[str, npt.NDArray[np.generic]]
    incomplete: str
    behind_codes: tuple[onnx.ValueInfoProto, ...] = ()

    @property
    def graph(self) -> onnx.GraphProto:
        return self.model.graph

    @property
    def opset(self) -> int:
        """Version of onnx's own operators; 0 if the file does not state it."""
        return next((each.version for each in self.model.opset_import if each.domain in ("", "ai.onnx")), 0)

    @property
    def inputs(self) -> list[onnx.ValueInfoProto]:
        """Inputs without those that are stored: older files list their weights too."""
        stored = {each.name for each in self.graph.initializer}
        return [each for each in self.graph.input if each.name not in stored]

    def values(self) -> list[onnx.ValueInfoProto]:
        """Every tensor with a known type, inputs and outputs included."""
        return [*self.behind_codes, *self.graph.value_info, *self.graph.input, *self.graph.output]


def read_onnx(data: bytes, where: str) -> OnnxFile:
    """Read the bytes of a file; ``where`` names it in messages.

    Raises:
        ExportError: see the module's refusals.
    """
    read_summary(data, where, ExportError)
    try:  # protobuf, the checker, shape inference and the conversion of constants are C++ and raise types of their own
        model = onnx.load_model_from_string(data)
        _require_dense(model.graph, where)
        _clear_unknown_sizes(model.graph)
        _require_sizes([*model.graph.input, *model.graph.value_info, *model.graph.output], where)
        _check(model, where)
        model, incomplete = _inferred(model)
        on_codes = any(node.op_type in ON_CODES and node.domain for node in model.graph.node)
        behind_codes = tuple(inferred_values(model)) if on_codes else ()
        _require_shapes(model.graph.output, "output", where)
        constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    except ExportError:
        raise
    except Exception as problem:
        raise unreadable(where, "ONNX", len(data), problem) from problem
    file = OnnxFile(model, constants, incomplete, behind_codes)
    _require_sizes(file.values(), where)
    return file


def _require_dense(graph: onnx.GraphProto, where: str) -> None:
    attributes = (each for node in graph.node for each in node.attribute if each.HasField("sparse_tensor"))
    names = [*(each.values.name for each in graph.sparse_initializer), *(each.name for each in attributes)]
    if names:
        what = f"limit: tensor '{names[0]}' is stored sparsely"
        raise ExportError(where, what, expected="every element stored", next_step="store it with its zeros")


def _check(model: onnx.ModelProto, where: str) -> None:
    """Refuse what onnx's checker refuses, but for outputs without a type and a shape: these follow from the graph."""
    stored = {each.name for each in model.graph.initializer}
    _require_shapes((value for value in model.graph.input if value.name not in stored), "input", where)
    outputs = model.graph.output
    lacking = [(value, value.type.SerializeToString()) for value in outputs if not _has_shape(value)]
    for value, _ in lacking:
        tensor = value.type.tensor_type
        tensor.elem_type = tensor.elem_type or onnx.TensorProto.FLOAT
        tensor.shape.SetInParent()
    onnx.checker.check_model(model)
    for value, own in lacking:
        value.type.ParseFromString(own)


def _has_shape(value: onnx.ValueInfoProto) -> bool:
    """Whether a tensor has a shape, perhaps of unknown sizes; values of other types are the checker's affair."""
    kind = value.type.WhichOneof("value")
    return kind not in (None, "tensor_type") or (kind is not None and value.type.tensor_type.HasField("shape"))


def _require_shapes(values: Iterable[onnx.ValueInfoProto], end: str, where: str) -> None:
    for value in values:
        if not _has_shape(value):
            what = f"limit: the file has no shape of this {end}{', and none is known' if end == 'output' else ''}"
            step = "export the network with fixed shapes of inputs and outputs"
            raise ExportError(f"{where}, {end} '{value.name}'", what, expected="a shape", next_step=step)


def _require_sizes(values: Iterable[onnx.ValueInfoProto], where: str) -> None:
    for value in values:
        for size in value.type.tensor_type.shape.dim:
            if size.HasField("dim_value") and not 0 <= size.dim_value <= LARGEST_SIZE:
                expected, got = f"0 to {LARGEST_SIZE:,}", size.dim_value
                raise ExportError(f"{where}, tensor '{value.name}'", "size out of range", expected=expected, got=got)


def _clear_unknown_sizes(graph: onnx.GraphProto) -> None:
    """A size of -1, as some converters write it, is one that is not known."""
    for value in (*graph.input, *graph.value_info, *graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_value == -1:
                size.Clear()


def _inferred(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """The model with its shapes; where strict inference fails, with those that are known, and the reason.

    Shapes that are computed are followed too, unless a tensor is large: onnx then keeps over 100 B for each element.
    """
    graph = model.graph
    largest = max((_elements(value) for value in (*graph.input, *graph.value_info, *graph.output)), default=0)
    try:
        small = largest <= MOST_PROPAGATED
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=small), ""
    except Exception as problem:  # as above
        return onnx.shape_inference.infer_shapes(model), " ".join(str(problem).split())[:160]


def _elements(value: onnx.ValueInfoProto) -> int:
    return math.prod(max(1, size.dim_value) for size in value.type.tensor_type.shape.dim)
