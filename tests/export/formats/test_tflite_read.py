"""Files into graphs: our own come back to the byte, and what cannot be read is refused by name."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.export.formats.tflite_models import NETS, OPS, Net, ds_cnn, odd_parts
from tests.firmware_harness.random_graphs import cp_mobile, random_net
from tests.graphs import OP_KINDS, one_op, random_input, small_net
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.tflite_file import Int8File
from tinyscene.export.formats.tflite_read import from_tflite
from tinyscene.export.formats.tflite_rebuild import rebuilt
from tinyscene.export.verify.op_comparison import compare
from tinyscene.firmware_harness.build.targets import HOST
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.runtime.engines import LiteRTEngine, NumpyEngine, TFLMEngine
from tinyscene.runtime.graph import MOST_ENDS
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.tflite_write import to_tflite


@pytest.mark.parametrize("kind", OP_KINDS)
def test_every_op_comes_back_to_the_byte(kind):
    for seed in range(20):
        graph = one_op(np.random.default_rng(seed), kind)
        data = to_tflite(graph)
        read = from_tflite(data)
        assert to_tflite(read) == data
        x = random_input(np.random.default_rng(seed), graph)
        for rounding in ("double", "single"):
            assert np.array_equal(run(read, x, rounding=rounding), run(graph, x, rounding=rounding))


@pytest.mark.parametrize("grn", [False, True])
def test_nets_come_back_to_the_byte(grn):
    rng = np.random.default_rng(3)
    nets = [small_net(rng, grn=grn), cp_mobile(rng, "cpm23" if grn else "dcase25")]
    for graph in [*nets, random_net(np.random.default_rng(int(grn)))]:  # without crops, which are a second operator
        data = to_tflite(graph)
        read = from_tflite(data)
        assert to_tflite(read) == data
        assert read.nodes == graph.nodes


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 20_000), byte=st.integers(0, 255), cut=st.booleans())
def test_damaged_files_are_refused_in_words_or_read(position, byte, cut):
    data = bytearray(to_tflite(small_net(np.random.default_rng(0), grn=False)))
    position %= len(data)
    if cut:
        del data[position:]
    else:
        data[position] = byte
    with contextlib.suppress(ExportError):  # and nothing else
        from_tflite(bytes(data), where="model.tflite")


@pytest.fixture(scope="module")
def nets():
    """Each net of another maker: its file, the same with every activation as an output, and what we read."""
    made = {}
    for name, build in NETS.items():
        net, output = build(np.random.default_rng(12))
        data = net.finish(output)
        made[name] = data, net.finish(output, expose_all=True), from_tflite(data, where=name)
    return made


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("name", NETS)
def test_nets_made_elsewhere_compute_as_their_own_engines(name, nets):
    """Every activation of the file as it was made, byte for byte."""
    data, exposed, graph = nets[name]
    x = random_input(np.random.default_rng(1), graph, 3)
    for kind in (LiteRTEngine, TFLMEngine):
        engine = kind(graph, exposed)
        expected, shown = NumpyEngine(graph, engine.rounding).outputs(x), engine.outputs(x)
        assert len(shown) > 3
        for tensor, got in shown.items():
            assert np.array_equal(got, expected[tensor]), (engine.name, tensor)
            assert len(np.unique(got)) > min(8, got.size // 30), f"{tensor} says little"
        assert np.array_equal(kind(graph, data).output_codes(x), expected[graph.output]), engine.name


@pytest.mark.parametrize("name", NETS)
def test_nets_made_elsewhere_on_reference_kernels(name, nets):
    """In our own file, whose every op can be judged by itself: two of them are known to part from TFLite Micro's."""
    graph = nets[name][2]
    x = random_input(np.random.default_rng(1), graph, 3)
    shown = LiteRTEngine(graph, to_tflite(graph, expose_all=True), "reference").outputs(x)
    found = compare("litert-reference", "double", graph, x, shown)
    assert found.first_difference is None, str(found.first_difference)


@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("rounding", ["double", "single"])
@pytest.mark.parametrize("name", NETS)
def test_nets_made_elsewhere_compile(name, rounding, nets):
    graph = nets[name][2]
    x = random_input(np.random.default_rng(2), graph, 2)
    expected = NumpyEngine(graph, rounding).outputs(x)
    got = FirmwareEngine(graph, HOST, rounding).outputs(x)
    assert set(got) == set(expected)
    for tensor, codes in got.items():
        assert np.array_equal(codes, expected[tensor]), tensor


@pytest.mark.parametrize("name", NETS)
def test_what_was_read_comes_back_from_our_own_file(name, nets):
    graph = nets[name][2]
    data = to_tflite(graph)
    again = from_tflite(data)
    assert to_tflite(again) == data
    x = random_input(np.random.default_rng(3), graph)
    for rounding in ("double", "single"):
        assert np.array_equal(run(again, x, rounding=rounding), run(graph, x, rounding=rounding))


@pytest.mark.parametrize("ends", ["float32", "uint8"])
def test_ends_are_cut_to_int8(ends):
    net, output = odd_parts(np.random.default_rng(4))
    plain, wrapped = net.finish(output), net.finish(output, ends=ends)
    graph = from_tflite(plain)
    assert to_tflite(from_tflite(wrapped)) == to_tflite(graph)
    x = random_input(np.random.default_rng(5), graph, 2)
    wanted = NumpyEngine(graph, "single").output_codes(x)
    for data in (plain, wrapped):
        assert np.array_equal(LiteRTEngine(graph, rebuilt(Int8File(data, "net"))).output_codes(x), wanted)


def _with(change):
    net, output = ds_cnn(np.random.default_rng(0))
    change(net)
    return net.finish(output)


def _operator(net: Net, index: int):
    return net.operators[index]


REFUSED = {
    "unknown op": (
        lambda n: n.codes.__setitem__(0, OPS.FLOOR),
        r"operator 0 \(.*\): limit: not supported; expected .*ADD, ASSIGN_VARIABLE, AVERAGE_POOL",
    ),
    "stride of 0": (
        lambda n: setattr(_operator(n, 0).builtinOptions, "strideH", 0),
        "operator 0, options, stride_h: not a readable",
    ),
    "fused tanh": (lambda n: setattr(_operator(n, 0).builtinOptions, "fusedActivationFunction", 4), "got TANH"),
    "float weight": (
        lambda n: setattr(n.tensors[1], "type", 0),
        "tensor 1 '.*': .* its buffer has another size; expected 10,240 bytes for float32",
    ),
    "weight without scales": (lambda n: setattr(n.tensors[1], "quantization", None), "not symmetric"),
    "float activation": (
        lambda n: setattr(n.tensors[3], "type", 0),
        "CONV_2D.*limit: activations of float32; expected int8 with one scale; got float32 with 1 scale",
    ),
    "softmax of beta 0": (
        lambda n: setattr(_operator(n, -1).builtinOptions, "beta", 0.0),
        "op.beta: not supported: out of range; expected .*; got 0.0",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_read_is_refused_by_name(fault):
    change, message = REFUSED[fault]
    with pytest.raises(ExportError, match=f"^model.tflite.*{message}"):
        from_tflite(_with(change), where="model.tflite")


def test_what_is_no_single_graph_is_refused():
    net, output = ds_cnn(np.random.default_rng(0))
    assert len(net.activations) == 13
    net.activations += net.activations[:1] * (MOST_ENDS + 1 - 13)
    with pytest.raises(ExportError, match=f"{MOST_ENDS + 1} outputs are not supported; expected 1 to {MOST_ENDS}"):
        from_tflite(net.finish(output, expose_all=True))
    with pytest.raises(ExportError, match="without the TFL3 identifier"):
        from_tflite(b"PK" * 50)


def _pool_of(kind, scale, zero_point, activation="RELU6"):
    net = Net(np.random.default_rng(0), (6, 6, 4))
    net.input = net.edge("codes", (1, 6, 6, 4), float(scale), zero_point)
    pooled = net.pool(net.input, kind, (2, 3), (1, 1))
    net.operators[-1].builtinOptions.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation)
    return net.finish(pooled)


@pytest.mark.needs_module("tflite_micro")
def test_six_just_below_half_a_step_has_the_code_of_zero():
    """6 / 12.000001 is 0.49999997 in float32, and 1.0 after adding 0.5 there: LiteRT rounds half away from zero."""
    data = _pool_of("AVERAGE", np.nextafter(np.float32(12), np.float32(13)), -28)
    graph = from_tflite(data)
    x = random_input(np.random.default_rng(1), graph, 2)
    for engine in (LiteRTEngine(graph, data), LiteRTEngine(graph, data, "reference"), TFLMEngine(graph, data)):
        expected = NumpyEngine(graph, engine.rounding).output_codes(x)
        assert np.array_equal(engine.output_codes(x), expected), engine.name


@pytest.mark.needs_module("tflite_micro")
def test_six_between_two_codes_is_refused_where_xnnpack_and_tflite_micro_clip_at_different_codes():
    """The condition is exact: refused files differ between the engines, others do not."""
    differing = 0
    for halves in range(61, 181, 4):
        scale = np.float32(12) / np.float32(halves)
        data, graph = _pool_of("MAX", scale, -100), from_tflite(_pool_of("MAX", scale, -100, "NONE"))
        x = np.full((1, 6, 6, 4), 127, np.int8)
        xnnpack, micro = LiteRTEngine(graph, data).output_codes(x), TFLMEngine(graph, data).output_codes(x)
        if np.array_equal(xnnpack, micro):
            from_tflite(data)
        else:
            differing += 1
            got = f"{micro.max()} on TFLite Micro, {xnnpack.max()} on XNNPACK"
            with pytest.raises(ExportError, match=rf"MAX_POOL_2D\): 6 of the fused RELU6 .* got {got}"):
                from_tflite(data)
    assert 0 < differing < 30


def test_tensors_whose_names_are_those_of_inner_tensors_are_read():
    """A file's names are arbitrary: 'a' and 'a_out' give nodes of different names."""
    net = Net(np.random.default_rng(0), (2, 2, 1))
    first = net.apply(OPS.RELU, [net.input.index], net.edge("a", (1, 2, 2, 1), 0.05, 0))
    second = net.apply(OPS.RELU, [first.index], net.edge("a_out", (1, 2, 2, 1), 0.05, 0))
    graph = from_tflite(net.finish(second))
    assert [node.name for node in graph.nodes] == ["a", "a_1"]
