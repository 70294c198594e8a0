"""Counts of published networks in every file format against published figures and torchinfo, and the command."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("ai_edge_litert")

import torch
from onnx import TensorProto, helper, numpy_helper

from tests.graphs import random_input, small_net
from tinyscene import command_line
from tinyscene.export.check.count import module_layers
from tinyscene.export.check.count_onnx import onnx_layers
from tinyscene.export.check.count_tflite import tflite_layers
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.onnx_float import float_onnx
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.export.quantise.steps import POST_TRAINING, Work, run_steps
from tinyscene.runtime.bundle import BundleContent, Golden, write_bundle
from tinyscene.runtime.cost import RULES, count, graph_cost
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.graph import LOG_MEL
from tinyscene.runtime.manifest import Provenance
from tinyscene.runtime.spec import preset
from tinyscene.runtime.tflite_write import to_tflite
from tinyscene.training.models.build import build_model
from tinyscene.training.models.checkpoint import save_model
from tinyscene.training.models.config import named_config
from tinyscene.training.models.layers import GRN

# name: frames, parameters unfused / fused, MACs unfused / fused, as the nets' own code counts them.
PUBLISHED = {
    "cpm23-8": (64, 6_086, 5_722, 1_460_952, 1_582_336),
    "cpm23-16": (64, 12_892, 12_310, 4_129_932, 4_354_304),
    "cpm23-24": (64, 31_058, 30_106, 9_291_632, 9_638_144),
    "cpm23-32s": (64, 55_464, 54_182, 16_339_460, 16_803_072),
    "cpm23-32m": (64, 61_160, 59_806, 17_050_260, 17_522_944),
    "cpm23-32l": (64, 126_952, 124_862, 28_893_268, 29_561_088),
    "dcase25": (65, 61_148, 59_794, 29_419_156, 30_216_768),
}
DCASE25_LAYERS = {
    "in_c[0]": (88, 304_144),
    "in_c[1]": (2_368, 2_506_816),
    "b1 expand": (2_176, 2_228_352),
    "b1 depthwise": (704, 626_816),
    "b1 project": (2_112, 2_228_288),
    "b3 depthwise": (704, 331_904),
    "b6 project": (12_688, 3_594_448),
    "head conv": (1_040, 299_520),
    "head BN": (20, 20),
}


def _integer_graph(name, frames):
    """Random weights: the counts depend on shapes only."""
    torch.manual_seed(0)
    model = build_model(named_config(name))
    for grn in (m for m in model.modules() if isinstance(m, GRN)):  # as after training: zeros are the same for all
        torch.nn.init.constant_(grn.gamma, 0.7)
        torch.nn.init.constant_(grn.beta, 0.3)
    return run_steps(POST_TRAINING, Work(model, {LOG_MEL: torch.randn(1, 1, 256, frames)}, name=name)).graph


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("cpm23-8", "cpm23-32l", "dcase25") else pytest.mark.slow)
        for name in PUBLISHED
    ],
)
def test_published_figures(name):
    frames, params, params_fused, macs, macs_fused = PUBLISHED[name]
    unfused = module_layers(build_model(named_config(name)), (1, 256, frames))
    for rule in ("dcase", "torchinfo"):
        cost = count(unfused, rule, source="net")
        assert (cost.parameters, cost.macs, cost.n_bytes) == (params, macs, 4 * params)
    graph = _integer_graph(name, frames)
    fused = graph_cost(graph, "dcase")
    assert (fused.parameters, fused.macs) == (params_fused, macs_fused)
    assert params_fused < fused.n_bytes < 1.4 * params_fused
    files = {
        "TFLite": tflite_layers(to_tflite(graph), Path("m.tflite")),
        "ONNX": onnx_layers(to_onnx(graph), Path("m.onnx")),
    }
    for kind, layers in files.items():
        again = count(layers, "dcase", source=kind)
        assert (again.parameters, again.macs, again.n_bytes) == (params_fused, macs_fused, fused.n_bytes), kind
        for rule in ("nessi", "stored"):
            assert count(layers, rule, source=kind).macs == graph_cost(graph, rule).macs, (kind, rule)


def test_published_figures_layer_by_layer():
    rows = count(module_layers(build_model(named_config("dcase25")), (1, 256, 65)), "dcase", source="").layers

    def grouped(*prefixes):
        """A convolution with the BatchNorm after it."""
        mine = [row for row in rows if row.name in prefixes]
        assert len(mine) == len(prefixes)
        return sum(r.parameters for r in mine), sum(r.macs for r in mine)

    names = [row.name for row in rows]
    b3, b6 = (next(n for n in names if f".{b}.block" in n).split(".block")[0] for b in ("b3", "b6"))
    layers = {
        "in_c[0]": grouped("in_c.0.0", "in_c.0.1"),
        "in_c[1]": grouped("in_c.1.0", "in_c.1.1"),
        "b1 expand": grouped("stages.s1.b1.block.0.0", "stages.s1.b1.block.0.1"),
        "b1 depthwise": grouped("stages.s1.b1.block.1.0", "stages.s1.b1.block.1.1"),
        "b1 project": grouped("stages.s1.b1.block.2.0", "stages.s1.b1.block.2.1"),
        "b3 depthwise": grouped(f"{b3}.block.1.0", f"{b3}.block.1.1"),
        "b6 project": grouped(f"{b6}.block.2.0", f"{b6}.block.2.1"),
        "head conv": grouped("feed_forward.0"),
        "head BN": grouped("feed_forward.1"),
    }
    assert layers == DCASE25_LAYERS


@pytest.mark.needs_module("torchinfo")
@pytest.mark.parametrize("name", ["cpm23-16", "dcase25", "cpresnet-128k"])
def test_torchinfo_counts_the_same(name):
    import torchinfo

    model, frames = build_model(named_config(name)), {"cpresnet-128k": 43}.get(name, 64)
    theirs = torchinfo.summary(model, input_size=(1, 1, 256, frames), verbose=0)
    ours = count(module_layers(model, (1, 256, frames)), "torchinfo", source="")
    assert (ours.parameters, ours.macs, ours.n_bytes) == (
        theirs.total_params,
        theirs.total_mult_adds,
        theirs.total_param_bytes,
    )


def test_cpresnet_as_published():
    cost = count(module_layers(build_model(named_config("cpresnet-128k")), (1, 256, 43)), "dcase", source="")
    assert (cost.parameters, cost.macs) == (127_684, 28_840_396)


def test_a_float_onnx_file_is_the_folded_net():
    torch.manual_seed(1)
    model = build_model(named_config("cpm23-8"))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # zeros, as in a fresh net, would vanish from the file
            torch.nn.init.normal_(module.bias)
        if isinstance(module, GRN):
            torch.nn.init.normal_(module.gamma)
            torch.nn.init.normal_(module.beta)
    data = float_onnx(model, {LOG_MEL: (1, 256, 64)})
    cost = count(onnx_layers(data, Path("f.onnx")), "dcase", source="")
    _, _, params_fused, _, macs_fused = PUBLISHED["cpm23-8"]
    assert cost.macs == macs_fused
    # GRN's gamma and beta are constants of Mul and Add in the file: the same two parameters in each of six blocks
    assert cost.parameters == params_fused


# --- the command


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory):
    """One small network in every format that can be checked."""
    folder = tmp_path_factory.mktemp("artefacts")
    name, config = "cpm23-8", named_config("cpm23-8")
    torch.manual_seed(0)
    save_model(folder / "net.ckpt", build_model(config), config, preset("cpm23"), tuple("abcdefghij"), {})
    graph = _integer_graph(name, 64)
    (folder / "net.tflite").write_bytes(to_tflite(graph))
    (folder / "net.onnx").write_bytes(to_onnx(graph))
    graph = replace(graph, labels=tuple("abcdefghij"))
    golden = Golden.of(graph, random_input(np.random.default_rng(0), graph, 1))
    content = BundleContent(graph, preset("cpm23"), to_tflite(graph), to_onnx(graph), golden)
    write_bundle(folder / "bundle", content, Provenance("none", {}))
    return folder


FORMS = ("net.ckpt", "net.tflite", "net.onnx", "bundle")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rule", RULES)
def test_every_form_by_every_rule(artefacts, capsys, form, rule):
    assert command_line.main(["check", str(artefacts / form), "--rule", rule, "--max-size", "10MB"]) == 0
    printed = capsys.readouterr().out
    assert printed.count(f"({rule})") == 2  # in the headings of MACs and bytes, which may take two lines
    assert f"rule {rule}: MACs" in printed
    verdicts = [line for line in printed.splitlines() if line.startswith("pass  ")]
    assert len(verdicts) == 2
    assert all(f"rule {rule})" in line for line in verdicts)
    if rule == "stored" and form != "bundle":
        assert f"size: {(artefacts / form).stat().st_size:,} B <= 10,000,000 B" in printed


def test_the_same_figures_in_every_file(artefacts, capsys, tmp_path):
    _, _, params, _, macs = PUBLISHED["cpm23-8"]
    out = {kind: tmp_path / f"check.{kind}" for kind in ("out", "junit", "markdown")}
    words = [word for kind, path in out.items() for word in (f"--{kind}", str(path))]
    assert command_line.main(["check", str(artefacts / "net.tflite"), "--max-macs", "1.5M", *words]) == 1
    record = json.loads(out["out"].read_text())
    assert (record["parameters"], record["macs"], record["rule"], record["passed"]) == (params, macs, "dcase", False)
    assert record["rule_text"] == RULES["dcase"]
    assert sum(layer["macs"] for layer in record["layers"]) == macs
    assert sum(layer["bytes"] for layer in record["layers"]) == record["bytes"]
    assert [(v["name"], v["limit"], v["passed"]) for v in record["verdicts"]] == [
        ("size", 128_000, True),
        ("macs", 1_500_000, False),
    ]
    suite = ElementTree.parse(out["junit"]).getroot()
    assert (suite.tag, suite.get("tests"), suite.get("failures")) == ("testsuite", "2", "1")
    size, slow = suite.findall("testcase")
    assert (size.get("name"), slow.get("name")) == ("size (dcase)", "macs (dcase)")
    assert size.find("failure") is None
    assert f"{macs:,} MAC > 1,500,000 MAC" in slow.find("failure").get("message")
    markdown = out["markdown"].read_text()
    assert f"| macs (dcase) | {macs:,} MAC | 1,500,000 MAC | **FAIL** |" in markdown
    assert f"| **total** | | | {params:,} | {macs:,} | {record['bytes']:,} |" in markdown
    tables = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables[:4]} == {5}
    assert {line.count("|") for line in tables[4:]} == {7}
    printed = capsys.readouterr().out
    assert f"FAIL  macs: {macs:,} MAC > 1,500,000 MAC (105.5 %, rule dcase)" in printed
    assert f"{macs:,}" in next(line for line in printed.splitlines() if line.strip().startswith("total"))
    assert command_line.main(["check", str(artefacts / "net.tflite"), "--max-macs", "1.5M", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == record


@pytest.mark.parametrize(
    ("limit", "code"),
    [("8kB", 0), ("7786", 0), ("7785B", 1), ("7.7kB", 1), ("8KiB", 0)],
)
def test_the_size_limit_is_inclusive_and_its_units_are_known(artefacts, limit, code, capsys):
    assert command_line.main(["check", str(artefacts / "bundle"), "--max-size", limit]) == code
    assert re.search(r"size: 7,786 B (<=|>) ", capsys.readouterr().out)


def _unusable(kind, folder, artefacts):
    path = folder / {"tflite": "x.tflite", "onnx": "x.onnx"}.get(kind.split()[-1], "x.ckpt")
    whole = {"tflite": "net.tflite", "onnx": "net.onnx"}.get(kind.split()[-1], "net.ckpt")
    if kind.startswith("garbage"):
        path.write_bytes(b"\x08\x07 not a model at all " * 40)
    elif kind.startswith("cut"):
        path.write_bytes((artefacts / whole).read_bytes()[:5000])
    elif kind.startswith("empty"):
        path.write_bytes(b"")
    elif kind == "a folder":
        path = folder / "some"
        path.mkdir()
    elif kind == "another suffix":
        path = folder / "model.h5"
        path.write_bytes(b"\x89HDF")
    elif kind == "missing":
        path = folder / "nowhere.tflite"
    return path


UNUSABLE = (
    *(f"{how} {what}" for how in ("garbage", "cut", "empty") for what in ("tflite", "onnx", "ckpt")),
    *("a folder", "another suffix", "missing"),
)


@pytest.mark.parametrize("kind", UNUSABLE)
def test_unreadable_models_are_refused_in_one_line_with_exit_code_2(artefacts, tmp_path, capfd, kind):
    path, report = _unusable(kind, tmp_path, artefacts), tmp_path / "report.json"
    assert command_line.main(["check", str(path), "--out", str(report)]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith((f"error: {path}: ", f"error: {path}, "))
    assert "unexpected" not in line
    assert [p.name for p in tmp_path.iterdir() if "report" in p.name] == []


@pytest.mark.parametrize(
    "words", [["--max-size", "large"], ["--max-macs", "-3"], ["--rule", "guess"]], ids=["size", "macs", "rule"]
)
def test_invalid_options(artefacts, capsys, words):
    assert command_line.main(["check", str(artefacts / "net.tflite"), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected" in line


def test_a_changed_bundle_is_not_counted(artefacts, tmp_path, capsys):
    copy = shutil.copytree(artefacts / "bundle", tmp_path / "bundle")
    data = bytearray((copy / "model.onnx").read_bytes())
    data[100] ^= 1
    (copy / "model.onnx").write_bytes(bytes(data))
    assert command_line.main(["check", str(copy)]) == 2
    assert "model.onnx: changed since the bundle was written" in capsys.readouterr().err


# --- files of other converters


def _onnx_model(nodes, constants, source, result):
    value = helper.make_tensor_value_info
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, source)], [value("y", TensorProto.FLOAT, result)], initializers
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def _f32(*shape):
    return np.zeros(shape, np.float32)


def test_a_float_onnx_file_of_another_exporter():
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "g", "h", "m", "v"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("AveragePool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "k"], ["l"]),
        helper.make_node("Add", ["l", "o"], ["y"]),
    ]
    norm = {name: np.ones(6, np.float32) for name in "ghmv"}
    constants = {"w": _f32(6, 2, 3, 3), "b": _f32(6), **norm, "k": _f32(96, 5), "o": _f32(5)}
    data = _onnx_model(nodes, constants, ["batch", 2, 8, 8], ["batch", 5])
    cost = count(onnx_layers(data, Path("f.onnx")), "dcase", source="")
    # 2->6 channels, 3x3, at 64 positions; 2 per norm channel; 96x5 product; its bias
    assert cost.macs == (108 + 6) * 64 + 12 + 480 + 5
    assert cost.parameters == 108 + 6 + 12 + 480 + 5
    assert cost.n_bytes == 4 * (108 + 6 + 24 + 480 + 5)
    nessi = count(onnx_layers(data, Path("f.onnx")), "nessi", source="")
    assert nessi.macs == 108 * 64 + 6 * 16 * 4 + 480


@pytest.mark.parametrize(("group", "channels"), [(4, 6), (2, 5), (0, 6), (-2, 6), (3, 6)])
def test_a_convolution_whose_groups_do_not_fit_its_channels_is_invalid(group, channels):
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], group=group)
    data = _onnx_model([node], {"w": _f32(channels, 2, 3, 3)}, [1, 4, 8, 8], [1, channels, 6, 6])
    with pytest.raises(
        ExportError, match=r"f.onnx, 'y': invalid Conv: its groups .* got -?\d groups, 4 input channels"
    ):
        onnx_layers(data, Path("f.onnx"))


def test_sizes_that_are_not_fixed_are_refused():
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    data = _onnx_model([node], {"w": _f32(6, 2, 3, 3)}, [1, 2, 8, "time"], [1, 6, 6, "less"])
    with pytest.raises(TinysceneError, match="fixed sizes"):
        onnx_layers(data, Path("f.onnx"))


def test_a_tflite_file_is_counted_by_the_shapes_of_its_interpreter():
    """MACs of convolutions from the shapes that LiteRT reports."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    data = to_tflite(small_net(np.random.default_rng(2), grn=True))
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    shapes = {t["index"]: t["shape"] for t in interpreter.get_tensor_details()}
    macs = 0
    for op in interpreter._get_ops_details():
        if op["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            positions = int(np.prod(shapes[op["outputs"][0]][1:3]))
            macs += positions * (int(np.prod(shapes[op["inputs"][1]])) + int(np.prod(shapes[op["inputs"][2]])))
    layers = tflite_layers(data, Path("m.tflite"))
    assert count(layers, "dcase", source="").macs == macs
    assert len(layers) == len(interpreter._get_ops_details())
