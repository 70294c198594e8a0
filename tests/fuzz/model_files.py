"""Readers of model files made elsewhere: TFLite and ONNX as check, inspect and verify read them, and checkpoints.

TFLite files are mutated as bytes and as objects of the schema, ONNX files as messages, checkpoints as members of their
zip file and as the values that their pickle holds.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterable
from typing import Any

import flatbuffers
import numpy as np
import onnx
import torch
from ai_edge_litert import schema_py_generated as schema
from google.protobuf.descriptor import FieldDescriptor
from onnx import TensorProto, helper

from tests.export.formats.tflite_models import Net, half_precision
from tests.graphs import OP_KINDS, one_op
from tinyscene.export.check.count import artefact_cost
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.export.formats.tflite_model import TfliteModel, open_tflite
from tinyscene.export.formats.tflite_write import to_tflite
from tinyscene.export.inspect.read import inspect_model
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.spec import preset
from tinyscene.training.models.build import build_model
from tinyscene.training.models.checkpoint import load_any, save_model
from tinyscene.training.models.config import named_config

from .bundles import run_graph
from .mutate import FLOATS, INTEGERS, mutate_bytes, mutate_json, mutate_object, mutate_zip
from .readers import Reader, scratch, written

_BYTES_SHARE = 0.2  # of the mutations, of bytes without regard to the format


def small_graphs() -> Iterable[Graph]:
    """Two graphs of every op, at most about 2 kB of constants each."""
    for seed in range(40):
        for kind in OP_KINDS:
            graph = one_op(np.random.default_rng(100 + seed), kind)
            elements = sum(tensor.n_bytes for tensor in (*graph.constants(), *graph.activations()))
            if elements < 1500 and seed % 2 == len(kind) % 2:
                yield graph


def _tflite_seeds() -> Iterable[bytes]:
    seen: dict[str, int] = {}
    for graph in small_graphs():
        seen[graph.name] = seen.get(graph.name, 0) + 1
        if seen[graph.name] <= 2:
            yield to_tflite(graph)
    yield from _foreign()


def _foreign() -> Iterable[bytes]:
    """Small nets of the other writer of the tests: float ends, PAD, and operators that are lowered."""
    for ends in ("int8", "float32", "uint8"):
        net = Net(np.random.default_rng(0), (6, 5, 2), per_channel=ends != "uint8")
        x = net.conv(net.pad(net.input, [[0, 0], [1, 1], [1, 0], [0, 0]]), 3, (2, 2), padding="VALID")
        x = net.depthwise(x, (2, 2), (1, 1), "RELU6", multiplier=2)
        x = net.concat([x, net.pool(x, "MAX", (2, 2), (1, 1), "SAME"), x], 3)
        yield net.finish(net.softmax(net.dense(net.flat(x), 3)), ends=ends)
    yield half_precision()


def _read_tflite(data: bytes) -> None:
    path, refusals, model = written("m.tflite", data), [], None
    for use in (lambda: artefact_cost(path, "stored"), lambda: inspect_model(path), lambda: open_tflite(path)):
        try:
            result = use()
        except TinysceneError as refusal:
            refusals.append(refusal)
        else:
            model = result if isinstance(result, TfliteModel) else None
    if model is not None:
        run_graph(model.graph)
        model.file("m.tflite")
    if refusals:
        raise refusals[0]


def mutate_tflite(data: bytes, rng: random.Random) -> bytes:
    """A file with fields changed as objects and packed again, or with its bytes changed."""
    if rng.random() < _BYTES_SHARE:
        return mutate_bytes(data, rng)
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
        _mutate_model(model, rng)
        builder = flatbuffers.Builder(len(data))
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
    except Exception:  # a file that is damaged already, or a value that a field cannot hold
        return mutate_bytes(data, rng)


def _mutate_model(model: Any, rng: random.Random) -> None:
    def is_record(value: object) -> bool:
        return type(value).__module__ == schema.__name__

    graph = rng.choice(model.subgraphs)
    roots = [model, graph, rng.choice(graph.tensors), rng.choice(graph.operators or graph.tensors)]
    roots += [root for root in (roots[2].quantization, getattr(roots[3], "builtinOptions", None)) if root is not None]
    mutate_object(rng.choice(roots), rng, is_record)


def _onnx_seeds() -> Iterable[bytes]:
    seen: set[str] = set()
    for graph in small_graphs():
        if graph.name not in seen:
            seen.add(graph.name)
            yield to_onnx(graph)
    yield _float_onnx()


def _float_onnx() -> bytes:
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
    path, refusals = written("m.onnx", data), []
    for use in (lambda: artefact_cost(path, "stored"), lambda: inspect_model(path)):
        try:
            use()
        except TinysceneError as refusal:
            refusals.append(refusal)
    if refusals:
        raise refusals[0]


def _mutate_onnx(data: bytes, rng: random.Random) -> bytes:
    """A message with one to three fields changed anywhere in it."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        if rng.random() < _BYTES_SHARE or not data:
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


def _checkpoint_seeds() -> Iterable[bytes]:
    config, frontend = named_config("cpm23-8", n_classes=2), preset("cpm23")
    model = build_model(config).eval()
    path = scratch() / "seed.pt"
    save_model(path, model, config, frontend, ("a", "b"), {"accuracy": 0.5})
    yield path.read_bytes()
    small = torch.load(path, weights_only=True)
    small["state"] = dict(list(small["state"].items())[:2])
    public = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for content in (small, {"state_dict": public}, {"state_dict": dict(list(public.items())[:3])}, {"a": [1, None]}):
        yield _saved(content)


def _saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _mutate_checkpoint(data: bytes, rng: random.Random) -> bytes:
    """The content saved again with one value changed, or a member of the zip file changed as bytes."""
    kind = rng.random()
    if kind < 0.5:
        return mutate_zip(data, rng, lambda _, content, rng: mutate_bytes(content, rng))
    try:
        content = torch.load(io.BytesIO(data), weights_only=True)
        _change_content(content, rng)
        return _saved(content)
    except Exception:  # damaged already
        return mutate_bytes(data, rng)


def _change_content(content: dict[str, Any], rng: random.Random) -> None:
    if isinstance(content.get("record"), str) and rng.random() < 0.6:
        content["record"] = mutate_json(content["record"].encode(), rng).decode(errors="replace")
        return
    state = next((content[key] for key in ("state", "state_dict") if isinstance(content.get(key), dict)), content)
    name = rng.choice(list(state))
    kind, old = rng.randrange(7), state[name]
    if kind == 0:
        del state[name]
    elif kind == 1:
        state[rng.choice(("x", "model.x", 5, None, json.dumps(name)))] = old
    elif not isinstance(old, torch.Tensor):
        state[name] = rng.choice((None, 3, "x", [1], {"a": 1}, *FLOATS, torch.zeros(2)))
    elif kind == 2:
        state[name] = old.expand(rng.choice((0, 2, 2**20, 2**40)), *old.shape)
    elif kind == 3:
        state[name] = old.to(rng.choice((torch.float64, torch.int8, torch.bool, torch.complex64, torch.bfloat16)))
    elif kind == 4:
        state[name] = rng.choice((old.reshape(-1), old.unsqueeze(0), old[:0] if old.ndim else old, old.to_sparse()))
    elif kind == 5:
        state[name] = torch.full_like(old, rng.choice((0, 1, 2))) / 0
    else:
        state[name] = rng.choice((None, 3, "x", [old], torch.nn.Parameter(old.float()), torch.zeros(1, device="meta")))


TFLITE = Reader(_read_tflite, _tflite_seeds, mutate_tflite, 65_536)
ONNX = Reader(_read_onnx, _onnx_seeds, _mutate_onnx, 65_536)
CHECKPOINT = Reader(lambda data: _use(written("m.pt", data)), _checkpoint_seeds, _mutate_checkpoint, 262_144)


def _use(path: Any) -> None:
    loaded = load_any(path)
    with torch.no_grad():
        loaded.model(torch.zeros(1, 1, 32, 16))
