"""TFLite files made elsewhere, as check, inspect and verify read them; mutated as bytes and as objects."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.tflite_models import Net, half_precision
from tests.export.formats.tflite_streaming import StreamingNet
from tests.graphs import OP_KINDS, one_op
from tinyscene.export.check.count import artefact_cost
from tinyscene.export.formats.file_model import FileModel
from tinyscene.export.formats.tflite_model import open_tflite
from tinyscene.export.inspect.read import inspect_model
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.tflite_write import to_tflite

from .bundles import run_graph
from .mutate import mutate_bytes, mutate_object
from .readers import Reader, written

BYTES_SHARE = 0.2  # of the mutations, of bytes without regard to the format


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
    net = Net(np.random.default_rng(0), (6, 5, 2), per_channel=False)
    x = net.depthwise(net.conv(net.input, 3, (2, 2)), (3, 3), (2, 2))
    x = net.softmax(net.dense(net.flat(net.pool(x, "AVERAGE", (3, 3), (1, 1))), 3))
    net.become_uint8(117)
    yield net.finish(x)
    net = Net(np.random.default_rng(0), (6, 5, 2))
    x = net.pair("ADD", net.input, net.new_input((6, 5, 2)))
    yield net.finish(x, net.conv(x, 3), x, net.input)
    net = StreamingNet(np.random.default_rng(0), (2, 1, 3))
    x = net.joined("first", net.conv(net.joined("first/states", net.input, 1), 3, (2, 1)), 2)
    yield net.streaming_file(net.dense(net.flat(x), 2))
    yield half_precision()


def _read_tflite(data: bytes) -> None:
    path, refusals, model = written("m.tflite", data), [], None
    for use in (lambda: artefact_cost(path, "stored"), lambda: inspect_model(path), lambda: open_tflite(path)):
        try:
            result = use()
        except TinysceneError as refusal:
            refusals.append(refusal)
        else:
            model = result if isinstance(result, FileModel) else None
    if model is not None:
        run_graph(model.graph)
        model.file("m.tflite")
    if refusals:
        raise refusals[0]


def mutate_tflite(data: bytes, rng: random.Random) -> bytes:
    """A file with fields changed as objects and packed again, or with its bytes changed."""
    if rng.random() < BYTES_SHARE:
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


TFLITE = Reader(_read_tflite, _tflite_seeds, mutate_tflite, 65_536)
