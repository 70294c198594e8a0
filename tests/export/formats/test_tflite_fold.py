"""Shape arithmetic of a TFLite file is computed when it is read; engines compute it themselves and agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.test_tflite_movement import options
from tests.export.formats.tflite_models import OPS, TYPES, Edge, Net
from tests.graphs import random_input
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.runtime import ops
from tinyscene.runtime.interpreter import run


class ShapeNet(Net):
    """A net with operators on integers; tensors are named by their numbers."""

    def integers(
        self, kind: str, inputs: list[int], shape: tuple[int, ...], made: Any = None, wide: bool = False
    ) -> int:
        number = self.tensor(f"shape_{len(self.tensors)}", shape, TYPES.INT64 if wide else TYPES.INT32)
        self.operator(getattr(OPS, kind), inputs, number, made)
        return number

    def numbers(self, *values: int) -> int:
        return self.constant(np.array(values, np.int32))

    def scalar(self, value: int) -> int:
        return self.constant(np.array(value, np.int32))

    def place(self, shape: int, at: int) -> int:
        """One size of a shape, as Keras writes it."""
        made = options("StridedSlice", ellipsisMask=0, newAxisMask=0, beginMask=0, endMask=0, shrinkAxisMask=1)
        parts = [self.numbers(at), self.numbers(at + 1), self.numbers(1)]
        return self.integers("STRIDED_SLICE", [shape, *parts], (), made)


def flattened(net: ShapeNet, x: Edge) -> int:
    """(batch, height * width, -1), all of them computed from the input's shape."""
    shape = net.integers("SHAPE", [x.index], (4,), options("Shape", outType=TYPES.INT32))
    batch, height, width = (net.place(shape, at) for at in range(3))
    pixels = net.integers("MUL", [height, width], (), options("Mul", fusedActivationFunction=0))
    rest = net.integers("SUB", [net.scalar(0), net.scalar(1)], (), options("Sub", fusedActivationFunction=0))
    return net.integers("PACK", [batch, pixels, rest], (3,), options("Pack", valuesCount=3, axis=0))


def halved(net: ShapeNet, x: Edge) -> int:
    """(1, height / 2, 2 * width, channels) by way of int64."""
    wide = options("Shape", outType=TYPES.INT64)
    shape = net.integers("SHAPE", [x.index], (4,), wide, wide=True)
    plain = net.integers("CAST", [shape], (4,), options("Cast", inDataType=TYPES.INT64, outDataType=TYPES.INT32))
    made = options("Gather", axis=0, batchDims=0)
    size = net.integers("GATHER", [plain, net.numbers(1, 2)], (2,), made)
    ends = [net.integers("SLICE", [plain, net.numbers(at), net.numbers(1)], (1,), options("Slice")) for at in (0, 3)]
    height = net.integers("FLOOR_DIV", [size, net.numbers(2, 1)], (2,), options("FloorDiv"))
    both = net.integers("MUL", [height, net.numbers(1, 2)], (2,), options("Mul", fusedActivationFunction=0))
    joined = options("Concatenation", axis=0, fusedActivationFunction=0)
    return net.integers("CONCATENATION", [ends[0], both, ends[1]], (4,), joined)


SHAPES = {"flattened": (flattened, (1, 24, 3)), "halved": (halved, (1, 2, 12, 3))}


@pytest.mark.parametrize("name", SHAPES)
def test_a_computed_shape_is_folded(name: str) -> None:
    """LiteRT on the file as it was made, which it is not after it was read: only the reshape is left."""
    import ai_edge_litert.interpreter as litert

    arithmetic, shape = SHAPES[name]
    net = ShapeNet(np.random.default_rng(0), (4, 6, 3))
    stated = arithmetic(net, net.input)
    out = net.out(shape, like=net.input)
    net.operator(OPS.RESHAPE, [net.input.index, stated], out.index, schema.ReshapeOptionsT())
    data = net.finish(out)
    model = tflite_model(data, "net.tflite")
    assert [node.op for node in model.graph.nodes] == [ops.Reshape(shape)]
    interpreter, codes = litert.Interpreter(model_content=data), random_input(np.random.default_rng(1), model.graph)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], codes)
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert np.array_equal(got, run(model.graph, codes))
    assert len(tflite_model(model.file("m.tflite"), "rebuilt").graph.nodes) == 1


def test_arithmetic_that_is_malformed_is_refused_by_its_operator() -> None:
    net = ShapeNet(np.random.default_rng(0), (4, 6, 3))
    stated = net.integers("FLOOR_DIV", [net.numbers(1, 24), net.numbers(0, 1)], (2,), options("FloorDiv"))
    out = net.out((1, 72), like=net.input)
    net.operator(OPS.RESHAPE, [net.input.index, stated], out.index, schema.ReshapeOptionsT())
    with pytest.raises(ExportError, match=r"operator 0 \(FLOOR_DIV\): limit: not supported"):
        tflite_model(net.finish(out), "net.tflite")
