"""Streaming TFLite files as TensorFlow's converter writes them: variables that a run reads and assigns, and a second
graph that assigns them first."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.test_tflite_movement import options
from tests.export.formats.tflite_models import OPS, TYPES, Edge, Net, Rng


class StreamingNet(Net):
    """A net with variables, each with the codes that it begins with."""

    def __init__(self, rng: Rng, shape: tuple[int, ...]) -> None:
        super().__init__(rng, shape)
        self.versions |= dict.fromkeys(("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"), 1)
        self.first: list[tuple[str, np.ndarray, Edge]] = []  # name, codes and a tensor of the variable's kind
        self.operator_without_output(OPS.CALL_ONCE, [], options("CallOnce", initSubgraphIndex=1))

    def operator_without_output(self, code: int, inputs: list[int], made: Any = None) -> None:
        self.operator(code, inputs, -1, made)
        self.operators[-1].outputs = []

    def handle(self, name: str) -> int:
        index = self.tensor(f"{name}_handle_{len(self.tensors)}", (), TYPES.RESOURCE)
        self.operator(OPS.VAR_HANDLE, [], index, options("VarHandle", sharedName=name))
        return index

    def begins(self, name: str, codes: np.ndarray, like: Edge) -> None:
        """The codes of a variable before the first run; ``like``: a tensor with its scale."""
        self.first.append((name, codes, like))

    def read(self, handle: int, shape: tuple[int, ...], like: Edge) -> Edge:
        out = self.edge(f"read_{len(self.tensors)}", shape, like.scale, like.zero_point)
        return self.apply(OPS.READ_VARIABLE, [handle], out, options("ReadVariable"))

    def assign(self, handle: int, x: Edge) -> None:
        self.operator_without_output(OPS.ASSIGN_VARIABLE, [handle, x.index], options("AssignVariable"))

    def last_rows(self, x: Edge, rows: int) -> Edge:
        made = options("StridedSlice", beginMask=13, endMask=15)
        out = self.out((1, rows, *x.shape[2:]), like=x)
        places = [self.constant(np.array(values, np.int32)) for values in ([0, -rows, 0, 0], [0] * 4, [1] * 4)]
        return self.apply(OPS.STRIDED_SLICE, [x.index, *places], out, made)

    def joined(self, name: str, x: Edge, rows: int) -> Edge:
        """The last ``rows`` of earlier runs before those of this one, which are kept for the next."""
        codes = self.rng.integers(-128, 128, (1, rows, *x.shape[2:])).astype(np.int8)
        self.begins(name, codes, x)
        handle = self.handle(name)
        both = self.concat([self.read(handle, codes.shape, x), x], 1)
        self.assign(handle, self.last_rows(both, rows))
        return both

    def streaming_file(self, *outputs: Edge, graphs: int = 2) -> bytes:
        """The file of both graphs; ``graphs``: more of them are empty."""
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(self.finish(*outputs), 0))
        once = schema.SubGraphT()
        once.name, once.inputs, once.outputs, once.tensors, once.operators = "NoOp", [], [], [], []
        for name, codes, like in self.first:
            self._first(model, once, name, codes, like)
        model.subgraphs += [once] * (graphs - 1)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _first(self, model: Any, once: Any, name: str, codes: np.ndarray, like: Edge) -> None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(codes.tobytes(), np.uint8)
        model.buffers.append(buffer)
        handle, value = schema.TensorT(), schema.TensorT()
        handle.name, handle.shape, handle.type, handle.buffer = f"{name}1", [], TYPES.RESOURCE, 0
        kind = getattr(TYPES, codes.dtype.name.upper())
        value.name, value.shape, value.type, value.buffer = (
            f"first_{name}",
            list(codes.shape),
            kind,
            len(model.buffers) - 1,
        )
        value.quantization = q = schema.QuantizationParametersT()
        q.scale, q.zeroPoint = np.float32([like.scale]), np.array([like.zero_point], np.int64)
        at = len(once.tensors)
        once.tensors += [handle, value]
        for code, inputs, outs, made in (
            (OPS.VAR_HANDLE, [], [at], options("VarHandle", sharedName=name)),
            (OPS.ASSIGN_VARIABLE, [at, at + 1], [], options("AssignVariable")),
        ):
            operator = schema.OperatorT()
            operator.opcodeIndex, operator.inputs, operator.outputs = self.codes.index(code), inputs, outs
            operator.builtinOptions = made
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(made).__name__.removesuffix("T"))
            once.operators.append(operator)


def wake_word(rng: Rng) -> tuple[StreamingNet, Edge]:
    """Three frames a run: a convolution over five, two over eight of its rows, a dense layer over four."""
    net = StreamingNet(rng, (3, 1, 10))
    x = net.conv(net.joined("first/states", net.input, 2), 12, (5, 1), (3, 1), padding="VALID")
    x = net.depthwise(net.joined("second/states", x, 7), (3, 1), (1, 1), "NONE")
    x = net.joined("third/states", net.conv(x, 9, (8, 1), padding="VALID"), 3)
    x = net.dense(net.flat(x), 1)
    return net, net.alone("LOGISTIC", x, net.edge("probability", x.shape, 1 / 256, -128))
