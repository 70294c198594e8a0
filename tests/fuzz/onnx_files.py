"""ONNX files made elsewhere, as check, inspect and verify read them; mutated as bytes and as messages."""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from onnx import TensorProto, helper

from tests.export.formats.onnx_networks import NETWORKS, float_onnx, quantised_onnx
from tests.graphs import Builder
from tinyscene.export.check.count import artefact_cost
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.onnx_read import from_onnx
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.export.inspect.read import inspect_model
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.graph import Graph

from .bundles import run_graph
from .mutate import FLOATS, INTEGERS, mutate_bytes
from .readers import Reader, written
from .tflite_files import BYTES_SHARE, small_graphs


def _onnx_seeds() -> Iterable[bytes]:
    seen: set[str] = set()
    for graph in small_graphs():
        if graph.name not in seen:
            seen.add(graph.name)
            with suppress(ExportError):  # an LSTM, which ONNX has of real numbers only
                yield to_onnx(graph)
    b = Builder(np.random.default_rng(0), "several", (4, 3, 2))
    total = b.add(b.input, b.new_input("other", (4, 3, 2)), False)
    yield to_onnx(b.graph(b.mean(total), total))
    yield small_float_onnx()
    for name, form in (("squeeze", "QDQ"), ("branches", "QOperator"), ("attention", "QDQ"), ("shuffle", "QDQ")):
        yield quantised_onnx(float_onnx(*NETWORKS[name]), form=form)


def small_float_onnx() -> bytes:
    """A float network of common operators."""
    rng = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> TensorProto:
        return onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)

    constants = [constant("w", 2, 1, 3, 3), constant("m", 2, 3), constant("b", 3)]
    constants += [constant(name, 2) for name in ("gamma", "beta", "mean", "var")]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "var"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "m", "b"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 1, 6, 6]), ("y", [1, 3]))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def _read_onnx(data: bytes) -> None:
    path, refusals, graph = written("m.onnx", data), [], None
    for use in (lambda: artefact_cost(path, "stored"), lambda: inspect_model(path), lambda: from_onnx(data)):
        try:
            result = use()
        except TinysceneError as refusal:
            refusals.append(refusal)
        else:
            graph = result if isinstance(result, Graph) else None
    if graph is not None:
        run_graph(graph)
    if refusals:
        raise refusals[0]


def mutate_onnx(data: bytes, rng: random.Random) -> bytes:
    """A message with one to three fields changed anywhere in it."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        if rng.random() < BYTES_SHARE or not data:
            return mutate_bytes(data, rng)
        for _ in range(rng.choice((1, 1, 2, 3))):
            _change_message(_some_message(model, rng), rng)
        return model.SerializeToString()
    except Exception:  # damaged already, or a value that a field cannot hold
        return mutate_bytes(data, rng)


def _some_message(message: Any, rng: random.Random) -> Any:
    """A message inside this one, at a random depth."""
    while True:
        children: list[Any] = []
        for field, value in message.ListFields():
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                children += list(value) if field.is_repeated else [value]
        if not children or rng.random() < 0.1:
            return message
        message = rng.choice(children)


def _change_message(message: Any, rng: random.Random) -> None:
    present = [field for field, _ in message.ListFields()]
    field = rng.choice(present if present and rng.random() < 0.8 else message.DESCRIPTOR.fields)
    if field.is_repeated:
        values = getattr(message, field.name)
        if len(values) and rng.random() < 0.4:
            del values[rng.randrange(len(values))]
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            values.add().CopyFrom(rng.choice(list(values))) if len(values) else values.add()
        elif len(values) and rng.random() < 0.7:
            values[rng.randrange(len(values))] = _scalar(field, values[0], rng)
        else:
            values.append(_scalar(field, None, rng))
    elif field.type == FieldDescriptor.TYPE_MESSAGE or rng.random() < 0.2:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _scalar(field, getattr(message, field.name), rng))


def _scalar(field: Any, old: Any, rng: random.Random) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        text = old if isinstance(old, bytes) else (old or "x").encode()
        changed = mutate_bytes(text, rng) if rng.random() < 0.7 else b""
        return changed if field.type == FieldDescriptor.TYPE_BYTES else changed.decode(errors="replace")
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice(FLOATS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice(field.enum_type.values).number
    bits = 31 if field.cpp_type == FieldDescriptor.CPPTYPE_INT32 else 63
    number = rng.choice((*INTEGERS, *range(20)))
    return max(-(2**bits), min(2**bits - 1, number))


ONNX = Reader(_read_onnx, _onnx_seeds, mutate_onnx, 65_536)
