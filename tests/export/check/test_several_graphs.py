"""TFLite files of several graphs, as loops, conditions and networks with a state have: counted, and refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import flatbuffers
import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.tflite_models import OPS, TYPES, Edge, Net
from tinyscene import command_line
from tinyscene.export.check.count_tflite import tflite_layers
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.export.inspect.read import inspect_model
from tinyscene.runtime.cost import count

Packed = schema.ModelT


def joined(*files: bytes) -> Packed:
    """One model with the graphs of all."""
    first, *others = (schema.ModelT.InitFromPackedBuf(data, 0) for data in files)
    for other in others:
        (graph,) = other.subgraphs
        for tensor in graph.tensors:
            tensor.buffer += len(first.buffers)
        for operator in graph.operators:
            operator.opcodeIndex += len(first.operatorCodes)
        first.buffers += other.buffers
        first.operatorCodes += other.operatorCodes
        first.subgraphs.append(graph)
    return first


def written(model: Packed) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def net(seed: int = 0) -> Net:
    return Net(np.random.default_rng(seed), (8, 9, 6))


def convolution(channels: int = 6) -> bytes:
    each = net()
    return each.finish(each.conv(each.input, channels, (3, 3)))


def running(kind: str, **graphs: int) -> bytes:
    """A convolution, then an operator that runs other graphs."""
    main = net(1)
    x = main.conv(main.input, 6)
    options = getattr(schema, f"{kind.title()}OptionsT")()
    for name, number in graphs.items():
        setattr(options, f"{name}SubgraphIndex", number)
    return main.finish(main.apply(getattr(OPS, kind), [x.index], main.out(x.shape, like=x), options))


def with_state() -> bytes:
    """A keyword network that keeps the frames before: a variable that another graph sets to zeros, once."""
    main = net(2)
    options = schema.CallOnceOptionsT()
    options.initSubgraphIndex = 1
    main.operator(OPS.CALL_ONCE, [], 0, options)
    main.operators[-1].outputs = []
    handle = Edge(main.tensor("state", (), TYPES.RESOURCE), (), 0.0, 0)
    main.apply(OPS.VAR_HANDLE, [], handle, schema.VarHandleOptionsT())
    before = main.apply(OPS.READ_VARIABLE, [handle.index], main.out((1, 8, 9, 6), like=main.input))
    window = main.concat([before, main.input], 1)
    main.operator(OPS.ASSIGN_VARIABLE, [handle.index, main.input.index], 0)
    main.operators[-1].outputs = []
    initial = Net(np.random.default_rng(0), (8, 9, 6))
    start = initial.apply(OPS.VAR_HANDLE, [], Edge(initial.tensor("state", (), TYPES.RESOURCE), (), 0.0, 0))
    initial.operator(OPS.ASSIGN_VARIABLE, [start.index, initial.constant(np.zeros((1, 8, 9, 6), np.int8), 0.1)], 0)
    initial.operators[-1].outputs = []
    other = schema.ModelT.InitFromPackedBuf(initial.finish(), 0)
    other.subgraphs[0].inputs = []
    return written(joined(main.finish(main.conv(window, 4, (3, 3))), written(other)))


LOOP = written(joined(running("WHILE", cond=1, body=2), convolution(2), convolution(), convolution(40)))
CHOICE = written(joined(running("IF", then=1, **{"else": 1}), convolution()))


@pytest.mark.parametrize(
    ("data", "macs", "uncounted"),
    [
        (LOOP, 72 * 36 + 72 * 54 * (2 + 6), ("WHILE",)),  # the graph that no operator runs is left out
        (CHOICE, 72 * 36 + 72 * 54 * 6, ("IF",)),  # one graph in both cases
        (with_state(), 144 * 54 * 4, ()),
    ],
    ids=["loop", "condition", "state"],
)
def test_the_graphs_that_run_are_counted_once(data: bytes, macs: int, uncounted: tuple[str, ...]) -> None:
    cost = count(tflite_layers(data, Path("net.tflite")), "stored", source="")
    assert cost.macs == macs
    assert tuple(name.rsplit("(")[-1].rstrip(")") for name in cost.uncounted) == uncounted


def test_a_constant_that_two_graphs_read_is_one_parameter() -> None:
    model = joined(running("WHILE", cond=1, body=2), convolution(), convolution())
    one = count(tflite_layers(written(model), Path("net.tflite")), "dcase", source="").parameters
    first, second = model.subgraphs[1:]
    for tensor, same in zip(second.tensors, first.tensors, strict=True):
        tensor.buffer = same.buffer
    shared = count(tflite_layers(written(model), Path("net.tflite")), "dcase", source="").parameters
    assert one - shared == 6 * 54 + 6


def test_commands_count_and_list_such_files_or_refuse_them_by_name(tmp_path: Path, capfd) -> None:
    paths = {name: tmp_path / f"{name}.tflite" for name in ("loop", "state")}
    paths["loop"].write_bytes(LOOP)
    paths["state"].write_bytes(with_state())
    assert command_line.main(["check", str(paths["loop"]), "--max-macs", "1M"]) == 1
    printed = " ".join(capfd.readouterr().out.split())
    assert "(WHILE)" in printed
    assert "TFLite file; 2 graphs that operators run are counted once, however often they run" in printed
    assert command_line.main(["check", str(paths["state"]), "--max-macs", "1M", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["uncounted"] == []
    assert command_line.main(["firmware", str(paths["loop"])]) == 2
    assert "operator 1 (WHILE): limit: a loop or a condition" in capfd.readouterr().err
    assert command_line.main(["firmware", str(paths["state"]), "--out", str(tmp_path / "firmware")]) == 0
    capfd.readouterr()
    nodes = inspect_model(paths["loop"]).nodes
    assert [node.op for node in nodes] == ["CONV_2D", "WHILE", "CONV_2D", "CONV_2D"]
    assert [node.name.split("/")[0] for node in nodes[2:]] == ["main 1", "main 2"]
    state = inspect_model(paths["state"])
    assert state.notes == ("1 state of 432 B: the last output of a run is the last input of the next one",)
    assert command_line.main(["inspect", str(paths["loop"]), "--svg", str(tmp_path / "loop.svg")]) == 0


def test_a_graph_that_does_not_exist_and_a_fault_of_another_graph_are_named() -> None:
    with pytest.raises(ExportError, match=r"operator 1, options: not a readable TFLite file.*0 to 1; got 7"):
        tflite_layers(written(joined(running("WHILE", cond=1, body=7), convolution())), Path("net.tflite"))
    model = joined(running("WHILE", cond=1, body=1), convolution())
    model.subgraphs[1].operators[0].inputs = [99, 1, 2]
    with pytest.raises(ExportError, match=r"subgraph 1, operator 0, inputs and outputs: .*0 to 3; got 99"):
        tflite_layers(written(model), Path("net.tflite"))
    with pytest.raises(ExportError, match=r"subgraph 1, operator 0, inputs and outputs: .*0 to 3; got 99"):
        tflite_model(written(model), "net.tflite")
