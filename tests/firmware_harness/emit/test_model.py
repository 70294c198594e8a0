"""Emitted C, and refusals."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.firmware_harness.random_graphs import convolution, random_net, with_quant
from tests.graphs import OP_KINDS, one_op, random_input, small_net
from tinyscene.firmware_harness.build.targets import C_FLAGS, HOST, TARGETS
from tinyscene.firmware_harness.emit.c_text import float_literal, header_name, identifier, integer, string
from tinyscene.firmware_harness.emit.constant_block import ConstantBlock
from tinyscene.firmware_harness.emit.kernel_set import C_FOLDER
from tinyscene.firmware_harness.emit.layers import C_ROWS, layer_of
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.firmware_harness.emit.schedule import Call
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.runtime import ops
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor
from tinyscene.runtime.interpreter import run


def test_every_op_has_a_row() -> None:
    assert set(C_ROWS) == set(ops.OPS)


@pytest.mark.needs_tool("gcc")
def test_a_weight_of_two_layers_is_emitted_once(tmp_path: Path) -> None:
    once = convolution(np.random.default_rng(0), (5, 4, 3), (1, 1), channels=3, out_quant=Quant.per_tensor(0.03, 5))
    (node,) = once.nodes
    y = once.out(node)
    again = Node("again", node.op, (y.name, *node.inputs[1:]), "z")
    tensors = {**once.tensors, y.name: y, "z": replace(y, name="z")}
    twice = replace(once, tensors=tensors, nodes=(node, again), outputs=("z",)).check()
    emitted = emit(twice)
    assert "layer_1_weight" not in emitted.model_c
    assert emitted.constant_bytes == emit(once).constant_bytes
    inputs = random_input(np.random.default_rng(1), twice, 3)
    for rounding in ("double", "single"):
        expected = run(twice, inputs, rounding=rounding)
        assert np.array_equal(FirmwareEngine(twice, HOST, rounding).output_codes(inputs), expected)


def test_every_kernel_is_used_by_an_emitted_net() -> None:
    graphs = [random_net(np.random.default_rng(seed)) for seed in range(3)]
    graphs += [one_op(np.random.default_rng(seed), kind) for kind in OP_KINDS for seed in range(4)]
    graphs += [one_op(np.random.default_rng(seed), "broadcast") for seed in range(4, 24)]
    text = "".join(emit(graph).model_c for graph in graphs)
    declared = re.findall(r"^void (ts_\w+)\(", (C_FOLDER / "ts_kernels.h").read_text(), re.MULTILINE)
    assert declared
    assert all(f"{name}(&ts_model_constants.layer_" in text for name in declared)


def test_an_op_without_a_row_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(C_ROWS, ops.Add)
    graph = one_op(np.random.default_rng(1), "add")
    node = next(node for node in graph.nodes if isinstance(node.op, ops.Add))
    with pytest.raises(FirmwareError, match=rf"'add', {node.name}: no C kernel for this op; expected Conv2D.*got Add"):
        layer_of(graph, node)


def test_an_inconsistent_graph_is_refused() -> None:
    graph = one_op(np.random.default_rng(1), "conv2d")
    with pytest.raises(RuntimeFailure, match="not written by any node"):
        emit(replace(graph, outputs=("weight_0",)))


def _with_constant_summand(dtype: str) -> Graph:
    rng = np.random.default_rng(4)
    data = rng.integers(-128, 128, (1, 3, 2, 5)).astype(dtype)
    tensors = [
        Tensor("x", data.shape, "int8", Quant.per_tensor(0.1, 1)),
        Tensor("k", data.shape, "int8" if dtype == "int8" else "int32", Quant.per_tensor(0.2, -5), data),
        Tensor("y", data.shape, "int8", Quant.per_tensor(0.2, 0)),
    ]
    return Graph("constant", {t.name: t for t in tensors}, (Node("sum", ops.Add(), ("x", "k"), "y"),), ("x",), ("y",))


@pytest.mark.needs_tool("gcc")
def test_a_constant_summand_is_emitted() -> None:
    graph = _with_constant_summand("int8")
    codes = random_input(np.random.default_rng(0), graph, 3)
    assert np.array_equal(FirmwareEngine(graph, HOST).output_codes(codes), run(graph, codes))


def test_a_constant_summand_of_another_type_is_refused() -> None:
    with pytest.raises(RuntimeFailure, match=r"sum: constant input 'k'; expected int8 with one scale; got int32"):
        emit(_with_constant_summand("int32"))


def test_the_digest_depends_on_weights_and_scales() -> None:
    graph = small_net(np.random.default_rng(1), grn=False)
    weight = graph.tensors["weight_0"]
    assert weight.data is not None
    changed = weight.data.copy()
    changed.flat[0] ^= 1
    other = replace(graph, tensors={**graph.tensors, "weight_0": replace(weight, data=changed)})
    scaled = with_quant(graph, {graph.output: Quant.per_tensor(0.5, 0)})
    digests = {emit(g).digest for g in (graph, other, scaled, replace(graph, labels=tuple("abcdefghij")))}
    assert len(digests) == 4
    assert f'TS_MODEL_DIGEST "{emit(graph).digest}"' in emit(graph).model_h
    assert emit(graph).model_c == emit(small_net(np.random.default_rng(1), grn=False)).model_c


def test_float_literals_are_exact() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(1, 0x7F800000, 2000, dtype=np.uint32).view(np.float32)
    for value in [np.float32(1), np.float32(0.1), *values]:
        assert np.float32(float.fromhex(float_literal(float(value)).removesuffix("f"))) == value


ONCE = {(t.compiler, t.compile_flags): t for t in reversed(TARGETS.values())}  # the first target of each compiler
COMPILERS = [pytest.param(t, id=t.name, marks=pytest.mark.needs_tool(t.compiler)) for t in ONCE.values()]


@pytest.mark.parametrize("target", COMPILERS)
@pytest.mark.parametrize("macros", [(), ("-DTS_ROUNDING_SINGLE",), ("-DTS_OBSERVE", "-DTS_ROUNDING_SINGLE")])
def test_the_folder_compiles_without_warnings(target, macros: tuple[str, ...], tmp_path: Path) -> None:
    """In the written folder alone, as a user would, with hostile names, and with -pedantic besides the usual flags."""
    graph = random_net(np.random.default_rng(6))
    hostile = replace(graph.nodes[0], name='/* "evil" */ \\\n ü ??/')
    labels = ('tram "7"', "a\\b", "Geräusch", "??/")[: graph.tensors[graph.output].shape[-1]]
    fits = labels if len(labels) == graph.tensors[graph.output].shape[-1] else ()
    emit(replace(graph, nodes=(hostile, *graph.nodes[1:]), labels=fits)).write(tmp_path)
    assert {"-Wall", "-Wextra", "-Werror", "-Wconversion"} < set(C_FLAGS)
    sources = [path.name for path in tmp_path.glob("*.c")]
    command = [target.compiler, *C_FLAGS, *target.compile_flags, "-Wpedantic", *macros, "-c", *sources]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]


HOSTILE = (
    *(
        'tram "7"',
        "a\\b",
        "Geräusch",
        "??/ %s %n",
        "new\nline",
        "*/ #error",
        "/*",
        "\\",
        "\r\x1b[31m",
        "\u2028",
        "'",
        "\t",
    ),
    *(
        "*/ int system(const char*); /*",
        "??/\n",
        "#define",
        "a\\\nb",
        "日本",
        "x" * 200,
        " ",
        "\x85",
        "product_x",
        "ts_x",
    ),
)


@pytest.mark.needs_tool("gcc")
def test_labels_survive_as_c_strings(tmp_path: Path) -> None:
    """With every other name of the graph hostile too, under all warnings; -std=c99 has trigraphs."""
    graph = convolution(np.random.default_rng(0), (2, 2, 1), (1, 1), channels=len(HOSTILE))
    for name in HOSTILE:
        other = replace(graph, name=name, labels=HOSTILE, nodes=(replace(graph.nodes[0], name=name),))
        emit(other).write(tmp_path / "one")
        text = (tmp_path / "one" / "model.c").read_text() + (tmp_path / "one" / "model.h").read_text()
        assert text.isascii()
        assert text.count("/*") == text.count("*/")
    emit(replace(graph, name="??/\n*/", labels=HOSTILE)).write(tmp_path)
    program = '#include <stdio.h>\n#include "model.h"\nint main(void) { const char* const l[] = TS_MODEL_LABELS; '
    program = (
        program + f"for (int i = 0; i < {len(HOSTILE)}; ++i) {{ fputs(l[i], stdout); putchar(0); }} return 0; }}\n"
    )
    (tmp_path / "main.c").write_text(program)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-Wpedantic"]
    subprocess.run(["gcc", *flags, "main.c", "model.c", "-c"], cwd=tmp_path, check=True)
    subprocess.run(["gcc", "-std=c99", "main.c", "-o", "main"], cwd=tmp_path, check=True)
    printed = subprocess.run(["./main"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert printed == "".join(f"{label}\0" for label in HOSTILE).encode()


@pytest.mark.parametrize("word", ["", "a b", "a;", "1a", "é", "a\n", "a)(", "a\0"])
def test_only_identifiers_become_identifiers(word: str) -> None:
    assert identifier("ts_conv2d") == "ts_conv2d"
    with pytest.raises(FirmwareError, match="invalid word"):
        identifier(word)
    with pytest.raises(FirmwareError, match="invalid word"):
        header_name(f"{word}.h")
    with pytest.raises(FirmwareError, match="invalid word"):
        ConstantBlock().array("int8_t", word, [])


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 2**63, np.int8(1)])
def test_only_integers_become_integers(value: Any) -> None:
    assert integer(-128) == "-128"
    with pytest.raises(FirmwareError, match="not an integer"):
        integer(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e39])
def test_only_float32_numbers_become_float_literals(value: float) -> None:
    with pytest.raises(FirmwareError, match="not a float32 number"):
        float_literal(value)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_c_cannot_hold_is_no_string(text: str) -> None:
    with pytest.raises(FirmwareError, match="that a C string cannot hold"):
        string(text)


def test_the_kind_of_a_pool_that_no_reader_checked_is_not_emitted() -> None:
    """The emitter's own list, behind the schema: here the check of the graph is not called."""
    graph = one_op(np.random.default_rng(0), "pool2d")
    node = replace(graph.nodes[-1], op=replace(graph.nodes[-1].op, kind="max_pool(0); int main"))
    call = Call(range(1), node.inputs, node.output, layer_of(graph, node))
    with pytest.raises(FirmwareError, match="invalid word; expected a C identifier"):
        emit(graph, calls=(call,))
