"""TFLite operators that move elements, in files made elsewhere: read, and engines give the bytes of our graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.tflite_models import OPS, Edge, Net
from tests.graphs import Builder, random_input
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.file_model import FileModel
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.runtime import ops
from tinyscene.runtime.engines import Engine, LiteRTEngine, TFLMEngine
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.tflite_write import to_tflite


def options(kind: str, **values: Any) -> Any:
    made = getattr(schema, f"{kind}OptionsT")()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def read(net: Net, out: Edge) -> FileModel:
    return tflite_model(net.finish(out), "net.tflite")


def require_equal(model: FileModel, *, without_tflm: bool = False) -> None:
    """LiteRT's default and reference kernels and TFLite Micro on the file, the interpreter on the graph."""
    codes = random_input(np.random.default_rng(0), model.graph, 3)
    engines: list[Engine] = [
        LiteRTEngine(model.graph, model.file("m.tflite")),
        LiteRTEngine(model.graph, model.file("m.tflite"), "reference"),
    ]
    if not without_tflm:
        engines.append(TFLMEngine(model.graph, model.file("m.tflite")))
    for engine in engines:
        assert np.array_equal(engine.output_codes(codes), run(model.graph, codes, rounding=engine.rounding)), (
            engine.name
        )


ORDERS = [((4, 6, 3), (0, 2, 1, 3)), ((4, 6, 3), (0, 3, 1, 2)), ((5, 7), (0, 2, 1)), ((2, 3, 4, 5), (0, 4, 2, 1, 3))]


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize(("shape", "order"), ORDERS)
def test_transpose(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    net = Net(np.random.default_rng(0), shape)
    turned = tuple((1, *shape)[axis] for axis in order)
    model = read(net, net.view("TRANSPOSE", net.input, turned, order, options=options("Transpose")))
    assert model.graph.nodes[0].op == ops.Transpose(order)
    require_equal(model)


@pytest.mark.needs_module("tflite_micro")
def test_transpose_that_moves_the_batch() -> None:
    net = Net(np.random.default_rng(0), (1, 4, 3))
    model = read(net, net.view("TRANSPOSE", net.input, (1, 3, 4, 1), [1, 3, 2, 0], options=options("Transpose")))
    require_equal(model)


@pytest.mark.needs_module("tflite_micro")
def test_more_dimensions_than_an_engine_runs_are_refused_for_it_by_name() -> None:
    b = Builder(np.random.default_rng(0), "many_axes", (4, 6, 8))
    split = b.reshape(b.input, (1, 2, 2, 6, 4, 2))
    graph = b.graph(b.moved(ops.Transpose((0, 5, 1, 4, 2, 3)), split))
    data, codes = to_tflite(graph), random_input(np.random.default_rng(0), graph, 2)
    assert np.array_equal(LiteRTEngine(graph, data).output_codes(codes), run(graph, codes))
    refusal = r"engine tflm, operator 1 \(TRANSPOSE\) .*limit of dimensions.*most 5; got 6"
    with pytest.raises(RuntimeFailure, match=refusal):
        TFLMEngine(graph, data)


MASKS = ("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask")
STRIDED: dict[str, tuple[list[int], list[int], list[int], dict[str, int], tuple[int, ...]]] = {
    "a part": ([0, 2, 1, 0], [1, 6, 5, 3], [1, 1, 1, 1], {}, (1, 4, 4, 3)),
    "from behind": ([0, -3, 0, -2], [1, -1, 5, 3], [1, 1, 1, 1], {}, (1, 2, 5, 2)),
    "steps and masks": ([0, 5, 1, 2], [0, 9, 0, 0], [1, 2, 3, 1], {"beginMask": 3, "endMask": 15}, (1, 3, 2, 1)),
    "backwards": ([0, 9, 3, 0], [1, 0, 0, 3], [1, -1, -2, 1], {"endMask": 4}, (1, 5, 2, 3)),
    "a place of an axis": ([0, 0, -2, 0], [1, 6, 0, 3], [1, 1, 1, 1], {"shrinkAxisMask": 4}, (1, 6, 3)),
    "a place and masks": (
        [0, 2, 2, 0],
        [1, 3, 0, 3],
        [1] * 4,
        {"beginMask": 4, "endMask": 2, "shrinkAxisMask": 6},
        (1, 3),
    ),
    "the first axes": ([0, 1], [1, 3], [1, 1], {}, (1, 2, 5, 3)),
    "with a new axis": ([0, 1, 0], [1, 3, 0], [1, 1, 1], {"newAxisMask": 4}, (1, 2, 1, 5, 3)),
    "with an ellipsis": ([0, 0, 1], [1, 0, 3], [1, 1, 1], {"ellipsisMask": 2}, (1, 6, 5, 2)),
    "with an offset": ([0, 2, 1, 0], [1, 3, 2, 3], [1, 1, 1, 1], {"offset": 1}, (1, 3, 2, 3)),
    "with an offset from behind": (
        [0, -3, 2, 0],
        [1, 3, 4, 3],
        [1, 2, 1, 1],
        {"offset": 1, "beginMask": 4},
        (1, 2, 4, 3),
    ),
}
NOT_IN_TFLM = ("the first axes", "with a new axis", "with an ellipsis", "with an offset", "with an offset from behind")


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("name", STRIDED)
def test_strided_slice(name: str) -> None:
    begin, end, step, masks, shape = STRIDED[name]
    net = Net(np.random.default_rng(0), (6, 5, 3))
    made = options("StridedSlice", **dict.fromkeys(MASKS, 0) | masks)
    model = read(net, net.view("STRIDED_SLICE", net.input, shape, begin, end, step, options=made))
    require_equal(model, without_tflm=name in NOT_IN_TFLM)
    if name in NOT_IN_TFLM:
        with pytest.raises(RuntimeFailure, match=r"engine tflm, operator 0 \(STRIDED_SLICE\).*limit of slices"):
            TFLMEngine(model.graph, model.file("m.tflite"))


OUTSIDE: dict[str, tuple[list[int], list[int], list[int], int]] = {  # begin, number, step, mask of the ends
    "masked backwards": ([0, 5, 4, 2], [1, -1, -1, -1], [1, -1, -1, -1], 14),  # found by fuzzing: LiteRT died of it
    "masked": ([0, 2, 0, 0], [1, 2, 5, 3], [1, 1, 1, 1], 2),
    "backwards": ([0, 5, 0, 0], [1, -6, 5, 3], [1, -1, 1, 1], 0),
    "over the end": ([0, 2, 0, 0], [1, 20, 5, 3], [1, 1, 1, 1], 0),
    "before the first": ([0, -7, 0, 0], [1, 2, 5, 3], [1, 1, 1, 1], 0),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_offsets_with_which_litert_leaves_the_tensor_are_refused(name: str) -> None:
    begin, number, step, masked = OUTSIDE[name]
    net = Net(np.random.default_rng(0), (6, 5, 3))
    made = options("StridedSlice", **dict.fromkeys(MASKS, 0) | {"offset": 1, "endMask": masked})
    out = net.view("STRIDED_SLICE", net.input, (1, 6, 5, 3), begin, number, step, options=made)
    with pytest.raises(ExportError, match=r"STRIDED_SLICE.*part with an offset"):
        read(net, out)


VIEWS: dict[str, tuple[str, tuple[int, ...], list[Any], Any]] = {
    "slice": ("SLICE", (1, 3, 4, 3), [[0, 2, 1, 0], [1, 3, -1, -1]], options("Slice")),
    "gather of places": ("GATHER", (1, 4, 5, 3), [[5, 3, 1, 1]], options("Gather", axis=1, batchDims=0)),
    "gather of a run": ("GATHER", (1, 6, 3, 3), [[0, 2, 4]], options("Gather", axis=-2, batchDims=0)),
    "gather of one place": ("GATHER", (1, 6, 3), [4], options("Gather", axis=2, batchDims=0)),
    "reflected": ("MIRROR_PAD", (1, 11, 5, 4), [[[0, 0], [5, 0], [0, 0], [0, 1]]], options("MirrorPad", mode=0)),
    "mirrored": ("MIRROR_PAD", (1, 7, 15, 3), [[[0, 0], [0, 1], [5, 5], [0, 0]]], options("MirrorPad", mode=1)),
    "reversed": ("REVERSE_V2", (1, 6, 5, 3), [[-2, 3]], options("ReverseV2")),
    "pad of all axes": ("PAD", (1, 7, 8, 5), [[[0, 0], [0, 1], [1, 2], [2, 0]]], options("Pad")),
}


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("name", VIEWS)
def test_parts_and_pads(name: str) -> None:
    kind, shape, constants, made = VIEWS[name]
    net = Net(np.random.default_rng(0), (6, 5, 3))
    require_equal(read(net, net.view(kind, net.input, shape, *constants, options=made)))


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("kind", ["AVERAGE", "MAX"])
def test_a_pad_before_a_pool_is_counted(kind: str) -> None:
    net = Net(np.random.default_rng(0), (6, 5, 3))
    model = read(net, net.pool(net.pad(net.input, [[0, 0], [1, 1], [1, 1], [0, 0]]), kind, (3, 3), (2, 2)))
    assert [type(node.op) for node in model.graph.nodes] == [ops.Pad, ops.Pool2D]
    require_equal(model)


def test_a_pad_is_taken_over_by_convolutions_and_a_node_for_other_readers() -> None:
    net = Net(np.random.default_rng(0), (6, 5, 3))
    padded = net.pad(net.input, [[0, 0], [1, 1], [1, 1], [0, 0]])
    narrow = net.conv(padded, 3, (1, 1), padding="VALID", activation="NONE")
    model = read(net, net.pair("ADD", narrow, padded))
    assert [type(node.op) for node in model.graph.nodes] == [ops.Conv2D, ops.Pad, ops.Add]
    assert model.graph.nodes[0].op.pads == (1, 1, 1, 1)
    require_equal(model)


def code_around(net: Net, code: int) -> Edge:
    out = net.edge("padded", (1, 8, 5, 4), net.input.scale, net.input.zero_point)
    amounts = net.constant(np.array([[0, 0], [1, 1], [0, 0], [0, 1]], np.int32))
    value = net.constant(np.array(code, np.int8), net.input.scale)
    net.tensors[value].quantization.zeroPoint = np.array([net.input.zero_point])
    return net.apply(OPS.PADV2, [net.input.index, amounts, value], out, options("PadV2"))


@pytest.mark.needs_module("tflite_micro")
def test_pad_with_a_code() -> None:
    net = Net(np.random.default_rng(0), (6, 5, 3))
    model = read(net, net.conv(code_around(net, -77), 4, (3, 3)))
    assert model.graph.nodes[0].op == ops.Pad((0, 1, 0, 0), (0, 1, 0, 1), -77)
    require_equal(model)


SPLITS = {
    "split": ("SPLIT", [[2]], "Split", [(1, 6, 2, 3)] * 3, "numSplits"),
    "split of sizes": (
        "SPLIT_V",
        [[1, -1, 3], [-2]],
        "SplitV",
        [(1, 6, 1, 3), (1, 6, 2, 3), (1, 6, 3, 3)],
        "numSplits",
    ),
    "unpack": ("UNPACK", [], "Unpack", [(1, 6, 3)] * 6, "num"),
}


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("name", SPLITS)
def test_several_outputs_are_a_node_each(name: str) -> None:
    """The parts are joined again in another order, without the second."""
    kind, constants, option, shapes, count = SPLITS[name]
    net = Net(np.random.default_rng(0), (6, 6, 3))
    parts = [net.out(shape, like=net.input) for shape in shapes]
    stored = [net.constant(np.array(values, np.int32)) for values in constants]
    inputs = [*stored, net.input.index] if kind == "SPLIT" else [net.input.index, *stored]
    made = options(option, **{count: len(parts)} | ({"axis": 2} if kind == "UNPACK" else {}))
    net.operator(getattr(OPS, kind), inputs, parts[0].index, made)
    net.operators[-1].outputs = [part.index for part in parts]
    model = read(net, net.concat([parts[-1], *parts[2:], parts[0]], 2 if kind != "UNPACK" else 1))
    assert sum(isinstance(node.op, ops.Slice) for node in model.graph.nodes) == len(parts) - 1
    require_equal(model)


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_pack(axis: int) -> None:
    net = Net(np.random.default_rng(0), (6, 5))
    shape = list(net.input.shape)
    shape.insert(axis % 4 if axis < 0 else axis, 3)
    other = net.alone("RELU", net.input, net.out((1, 6, 5), like=net.input))
    out = net.out(tuple(shape), like=net.input)
    inputs = [net.input.index, other.index, net.input.index]
    require_equal(read(net, net.apply(OPS.PACK, inputs, out, options("Pack", valuesCount=3, axis=axis))))


@pytest.mark.needs_module("tflite_micro")
def test_a_concatenation_of_many_is_one_node() -> None:
    net = Net(np.random.default_rng(0), (6, 5, 3))
    pooled = [net.pool(net.input, "MAX", (1, 1), (1, 1)) for _ in range(4)]
    model = read(net, net.concat([*pooled, net.input], 3))
    assert [type(node.op) for node in model.graph.nodes] == [ops.Pool2D] * 4 + [ops.Concat]
    require_equal(model)
