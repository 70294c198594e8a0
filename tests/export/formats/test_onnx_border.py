"""The border of ONNX files: no other file is read, nothing is allocated by declaration, refusals are one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.inliner import inline_local_functions

from tests.graphs import small_net
from tinyscene import command_line
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.onnx_file import read_onnx
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.onnx_tables import read_summary

GRAPH = small_net(np.random.default_rng(0), grn=False)
DATA = to_onnx(GRAPH)


def changed(change: Callable[[onnx.ModelProto], object]) -> bytes:
    model = onnx.load_model_from_string(DATA)
    change(model)
    return model.SerializeToString()


def external(tensor: TensorProto, location: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location


def nested(model: onnx.ModelProto, depth: int) -> None:
    graph = helper.make_graph([], "innermost", [], [])
    for level in range(depth):
        node = helper.make_node("If", ["condition"], [f"out_{level}"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], f"level_{level}", [], [])
    model.graph.node.append(graph.node[0])


def sized(field: str, values: list[int]) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        del tensor.dims[:]
        tensor.dims.extend(values)
        if field == "float_data":
            tensor.ClearField("raw_data")
            tensor.float_data.extend([1.0])

    return change


REFUSED: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "sizes beyond the bytes": (sized("raw_data", [1000, 1000]), "initializer '.*its data have another size"),
    "sizes beyond the floats": (
        sized("float_data", [2**16, 2**14]),
        "its data have another size; expected 1,073,741,824",
    ),
    "10^12 elements": (sized("raw_data", [10**6, 10**6]), "sizes out of range"),
    "negative size": (sized("raw_data", [-1]), r"sizes out of range; .*got \(-1\)"),
    "nested graphs": (lambda model: nested(model, 9), "graphs nested deeper than 8"),
    "functions": (lambda model: model.functions.add(), "limit: functions of its own are not supported"),
    "circle": (lambda model: model.graph.node[0].input.__setitem__(0, model.graph.node[-1].output[0]), "ONNX file"),
    "unknown type of constant": (
        lambda model: setattr(model.graph.initializer[0], "data_type", 99),
        "expected a type of fixed size",
    ),
    "negative size of an input": (
        lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", -4),
        "not a readable ONNX file|size out of range",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_refused(fault):
    change, message = REFUSED[fault]
    with pytest.raises(ExportError, match=f"^net.*{message}") as refusal:
        read_onnx(changed(change), "net")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("command", ["check", "inspect"])
def test_weights_in_other_files_are_never_read(command, tmp_path: Path, monkeypatch, capfd):
    """Neither beside the model, nor above it, nor in the working folder, though the file exists and would fit."""
    folder = tmp_path / "models"
    folder.mkdir()
    size = len(onnx.load_model_from_string(DATA).graph.initializer[0].raw_data)
    for place in (tmp_path, folder):
        (place / "secret.bin").write_bytes(bytes(size))
        monkeypatch.chdir(place)
    for location in ("secret.bin", "../secret.bin", str(tmp_path / "secret.bin")):
        path = folder / "net.onnx"
        path.write_bytes(changed(lambda model, at=location: external(model.graph.initializer[0], at)))
        assert command_line.main([command, str(path)]) == 2
        (line,) = capfd.readouterr().err.strip().splitlines()
        assert "limit: its data are in another file, which is never read" in line
        assert "next: save it as one file" in line


def test_the_advice_on_weights_in_another_file_gives_a_file_that_is_read(tmp_path: Path):
    onnx.save_model(
        onnx.load_model_from_string(DATA),
        str(tmp_path / "two.onnx"),
        save_as_external_data=True,
        location="weights",
        size_threshold=0,
    )
    with pytest.raises(
        ExportError, match=r"next: save it as one file: onnx\.save_model\(onnx\.load\(FILE\), NEW_FILE, save"
    ):
        read_onnx((tmp_path / "two.onnx").read_bytes(), "two.onnx")
    onnx.save_model(onnx.load(tmp_path / "two.onnx"), tmp_path / "one.onnx", save_as_external_data=False)
    assert len(read_onnx((tmp_path / "one.onnx").read_bytes(), "one.onnx").constants) > 10


def test_the_advice_on_functions_gives_a_file_that_is_read():
    doubled = helper.make_function(
        "own", "Double", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 17)]
    )
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Double", ["x"], ["y"], domain="own")], "net", [x], [y])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, functions=[doubled], opset_imports=opsets)
    with pytest.raises(
        ExportError,
        match=r"limit: functions of its own .*next: .*inline_local_functions\(onnx\.load\(FILE\)\), .*onnx.inliner",
    ):
        read_onnx(model.SerializeToString(), "net")
    inlined = read_onnx(inline_local_functions(model).SerializeToString(), "net")
    assert [node.op_type for node in inlined.graph.node] == ["Add"]


@pytest.mark.parametrize("part", ["shape", "type"])
def test_the_shape_of_an_output_follows_from_the_graph(part: str):
    """ONNX Runtime loads such files; only where no shape follows, the output is a limit."""

    def change(model: onnx.ModelProto) -> None:
        output = model.graph.output[0]
        (output.type.tensor_type if part == "shape" else output).ClearField(part)

    outputs = [read_onnx(data, "net").graph.output for data in (DATA, changed(change))]
    assert outputs[0] == outputs[1]
    with pytest.raises(ExportError, match=r"net, output '.*': limit: the file has no shape of this output"):
        read_onnx(changed(lambda model: unknown(model, change)), "net")


def unknown(model: onnx.ModelProto, change: Callable[[onnx.ModelProto], None]) -> None:
    """With an operator at the end that onnx does not know."""
    change(model)
    model.graph.node[-1].op_type, model.graph.node[-1].domain = "Other", "own"
    model.opset_import.append(helper.make_opsetid("own", 1))


def test_an_input_without_a_shape_is_a_limit():
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.ClearField("shape")

    with pytest.raises(ExportError, match=r"input '.*': limit: the file has no shape of this input; expected a shape"):
        read_onnx(changed(change), "net")


def test_weights_in_other_files_are_found_in_attributes_too():
    def change(model: onnx.ModelProto) -> None:
        node = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("inner", 1, [1], [0.0]))
        external(node.attribute[0].t, "/etc/hostname")
        model.graph.node.insert(0, node)

    with pytest.raises(RuntimeFailure, match=r"attribute 'inner': .*in another file"):
        read_summary(changed(change), "net")


def test_parts_that_protobuf_would_merge_are_refused():
    with pytest.raises(RuntimeFailure, match="field 7 occurs more than once"):
        read_summary(DATA + DATA, "net")


def test_our_own_files_are_read():
    file = read_onnx(DATA, "net")
    assert len(file.constants) == len(file.graph.initializer) > 10
    assert not file.incomplete


def mutants(seed: int, count: int) -> tuple[int, int]:
    rng, messages = np.random.default_rng(seed), []
    for _ in range(count):
        mutant = bytearray(DATA)
        for _ in range(int(rng.integers(1, 4))):
            mutant[rng.integers(len(mutant))] = int(rng.integers(256))
        try:
            read_onnx(bytes(mutant[: rng.integers(len(mutant))] if rng.random() < 0.1 else mutant), "net")
        except ExportError as problem:
            messages.append(str(problem))
    assert all(len(message.splitlines()) == 1 for message in messages)
    return count - len(messages), len(messages)


def test_mutants_are_refused_in_words_or_read():
    accepted, refused = mutants(0, 60)
    assert accepted > 5
    assert refused > 5


@pytest.mark.slow
def test_many_mutants_are_refused_in_words_or_read():
    assert sum(mutants(1, 5000)) == 5000


@pytest.mark.parametrize(
    "name", ["gru", "shared", "bn_qdq", "bn_qop", "grouped_qdq", "conv1d_qdq", "deconv", "linear3d_dynq"]
)
def test_files_of_other_makers_are_counted_or_refused_in_a_line(name, shared_data: Path, capfd):
    path = shared_data.parent / "cases" / "onnx" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    for command in ("check", "inspect"):
        code = command_line.main([command, str(path)])
        err = capfd.readouterr().err.strip()
        assert code in (0, 1, 2)
        assert "defect" not in err
        assert len(err.splitlines()) == (1 if code == 2 else 0) or command == "inspect"
