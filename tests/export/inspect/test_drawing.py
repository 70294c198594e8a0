"""The picture: every node once, boxes apart, edges from box to box and through none, text escaped."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import combinations, pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.cells import cell_len

from tests.export.formats.tflite_models import Net, odd_parts, resnet8
from tests.graphs import small_net
from tinyscene.export.errors import ExportError
from tinyscene.export.inspect.boxes import Box, boxes_of, edges_of, kind_of
from tinyscene.export.inspect.columns import BOX_WIDTH
from tinyscene.export.inspect.drawing import MOST_NODES, to_svg
from tinyscene.export.inspect.graph_listing import graph_listing
from tinyscene.export.inspect.layout import Layout, Placed, lay_out
from tinyscene.export.inspect.read import inspect_model
from tinyscene.export.inspect.records import Inspection, Listing, NodeRow, TensorRow
from tinyscene.export.inspect.rows import grid_of
from tinyscene.runtime.kernels import KERNELS
from tinyscene.runtime.tflite_write import to_tflite

SVG = "{http://www.w3.org/2000/svg}"


def _from_tflite(made, tmp_path) -> Inspection:
    net, output = made
    path = tmp_path / "m.tflite"
    path.write_bytes(net.finish(output))
    return inspect_model(path)


def _inception(rng: np.random.Generator):
    """Four branches of different lengths, joined by concatenations."""
    net = Net(rng, (8, 8, 4))
    branches = [net.conv(net.input, 4)]
    for depth in (1, 2, 3):
        x = net.conv(net.input, 4)
        for _ in range(depth):
            x = net.conv(x, 4, (3, 3))
        branches.append(net.alone("QUANTIZE", x, net.out(x.shape, like=branches[0])))
    return net, net.dense(net.flat(net.concat(branches, 3)), 3)


def _model(*nodes: tuple[str, tuple[str, ...], str]) -> Inspection:
    """A model of nodes (name, inputs, output) with input x, whose last output is the model's."""
    rows = tuple(
        NodeRow(number, name, "Add", inputs, (TensorRow(output, (1, 4), "int8"),))
        for number, (name, inputs, output) in enumerate(nodes, start=1)
    )
    last = rows[-1].output if rows else TensorRow("x", (1, 4), "int8")
    return Listing("made", (TensorRow("x", (1, 4), "int8"),), (last,), rows).record("made")


def _random_boxes(rng: random.Random) -> list[Box]:
    """Boxes that read from one to three earlier ones, near or far."""
    boxes = [Box("input-0", "end", "input", "", "x", "", "", "", (), ("t0",))]
    reach = rng.choice([2, 4, 10, 40])
    for i in range(1, rng.randint(1, 30) + 1):
        reads = tuple(f"t{rng.randint(max(0, i - reach), i - 1)}" for _ in range(rng.choice([1, 1, 2, 3])))
        name = f"stage.b{i // 4}.c{i}"
        boxes.append(Box(f"node-{i}", "conv", "Conv", "", name, "", "", "", reads, (f"t{i}",), number=str(i)))
    return boxes


def _apart(a: Placed, b: Placed) -> bool:
    across = a.x + a.width <= b.x or b.x + b.width <= a.x
    return across or a.bottom <= b.y or b.bottom <= a.y


def _faults(layout: Layout) -> list[str]:
    """Everything that is wrong with a layout."""
    faults = [f"{a.box.key} over {b.box.key}" for a, b in combinations(layout.boxes, 2) if not _apart(a, b)]
    lines: list[tuple[int, tuple[tuple[float, float], tuple[float, float]]]] = []
    for route in layout.routes:
        source, target = layout.boxes[route.edge.source], layout.boxes[route.edge.target]
        (_, _), (x, y) = route.points[0], route.points[-1]
        if route.points[0] != (source.middle, source.bottom) or y != target.y:
            faults.append(f"{source.box.key} to {target.box.key} does not end at its boxes")
        if not target.x < x < target.x + target.width:
            faults.append(f"{source.box.key} enters beside {target.box.key}")
        lines += [(route.edge.source, part) for part in pairwise(route.points)]
    for _, ((x1, y1), (x2, y2)) in lines:
        left, right, top, bottom = *sorted((x1, x2)), *sorted((y1, y2))
        if left != right and top != bottom:
            faults.append("an edge is not axis-parallel")
        beside = [box for box in layout.boxes if left < box.x + box.width and box.x < right + (left == right) * 1e-6]
        crossed = [box for box in beside if top < box.bottom and box.y < bottom + (top == bottom) * 1e-6]
        faults += [f"an edge crosses {placed.box.key}" for placed in crossed]
    for (a, p), (b, q) in combinations(lines, 2):
        if a != b and _run_together(p, q):
            faults.append(f"edges of boxes {a} and {b} run together")
    return faults


def _run_together(p, q) -> bool:
    """Whether two straight parts share more than a point."""
    for axis in (0, 1):
        if p[0][axis] == p[1][axis] == q[0][axis] == q[1][axis]:
            (a, b), (c, d) = (sorted((part[0][1 - axis], part[1][1 - axis])) for part in (p, q))
            if min(b, d) > max(a, c):
                return True
    return False


# --- layout


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_have_no_faults(seed):
    boxes = _random_boxes(random.Random(seed))
    layout = lay_out(boxes, edges_of(boxes))
    assert _faults(layout) == []
    assert [placed.box for placed in layout.boxes] == boxes
    assert all(p.x >= 0 and p.x + p.width <= layout.width and p.bottom <= layout.height for p in layout.boxes)


@pytest.mark.parametrize("make", [resnet8, odd_parts, _inception])
def test_real_networks_have_no_faults(make, tmp_path):
    boxes = boxes_of(_from_tflite(make(np.random.default_rng(0)), tmp_path))
    layout = lay_out(boxes, edges_of(boxes))
    assert _faults(layout) == []


def test_a_broken_layout_has_faults():
    boxes = _random_boxes(random.Random(1))
    layout = lay_out(boxes, edges_of(boxes))
    at_one_place = tuple(Placed(p.box, 0, 0, p.width, p.height) for p in layout.boxes)
    assert _faults(Layout(layout.width, layout.height, at_one_place, layout.routes, ()))


def test_branches_of_a_fork_are_drawn_side_by_side():
    model = _model(("a", ("x",), "a"), ("b", ("a",), "b"), ("c", ("a",), "c"), ("d", ("b", "c"), "d"))
    boxes = boxes_of(model)
    grid = grid_of(len(boxes), edges_of(boxes))
    rows = dict(zip((box.name for box in boxes), grid.rows, strict=True))
    tracks = dict(zip((box.key for box in boxes), grid.tracks, strict=True))
    assert rows["b"] == rows["c"]
    assert {tracks["node-2"], tracks["node-3"]} == {0, 1}


def test_a_long_chain_becomes_columns_of_a_sheet():
    model = _model(*((f"n{i}", ("x" if i == 0 else f"t{i - 1}",), f"t{i}") for i in range(60)))
    boxes = boxes_of(model)
    layout = lay_out(boxes, edges_of(boxes))
    assert 0.8 < layout.width / layout.height < 2.5
    assert _faults(layout) == []


def test_repeated_blocks_have_frames_with_their_names():
    nodes = [("head", ("x",), "h")]
    last = "h"
    for block in ("net.b1", "net.b2"):
        nodes += [(f"{block}.conv", (last,), f"{block}c"), (f"{block}.add", (last, f"{block}c"), f"{block}a")]
        last = f"{block}a"
    boxes = boxes_of(_model(*nodes, ("net.b3.conv", (last,), "y"), ("net.b3.act", ("y",), "z")))
    layout = lay_out(boxes, edges_of(boxes))
    assert [frame.name for frame in layout.frames] == ["net.b1", "net.b2", "net.b3"]
    for frame in layout.frames:
        beside = [placed for placed in layout.boxes if frame.x < placed.middle < frame.x + frame.width]
        inside = [placed.box.name for placed in beside if frame.y < placed.y < frame.y + frame.height]
        assert inside
        assert all(name.startswith(frame.name) for name in inside)


# --- boxes


def test_grn_is_one_box_that_lists_its_nodes():
    graph = small_net(np.random.default_rng(2), grn=True)
    boxes = boxes_of(graph_listing(graph, "graph", "dsp", "speed").record("m"))
    groups = [box for box in boxes if box.parts]
    assert [box.title for box in groups] == ["GRN"] * len(groups)
    assert len(groups) == sum(type(node.op).__name__ == "Rsqrt" for node in graph.nodes) // 2
    drawn = Counter(number for box in groups for number, _ in box.parts)
    drawn += Counter(int(box.number) for box in boxes if box.number and not box.parts)
    assert drawn == Counter(range(1, len(graph.nodes) + 1))


@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ("DepthwiseConv2D", "depthwise"),
        ("CONV_2D", "conv"),
        ("QLinearConv", "conv"),
        ("FULLY_CONNECTED", "linear"),
        ("BatchNorm2d", "norm"),
        ("LEAKY_RELU", "table"),
        ("Rsqrt", "table"),
        ("AVERAGE_POOL_2D", "mean"),
        ("Expand", "shape"),
        ("LSTM", "recurrent"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "recurrent"),
        ("SQUARED_DIFFERENCE", "sum"),
        ("Max", "table"),
        ("ReduceMax", "mean"),
        ("MaxPool", "mean"),
        ("WHILE", "other"),
        ("add", "sum"),
        ("CONCATENATION", "shape"),
    ],
)
def test_ops_of_all_formats_have_a_kind(op, kind):
    assert kind_of(op) == kind


def test_every_op_of_the_graph_has_a_colour_of_its_own_kind():
    assert [op.__name__ for op in KERNELS if kind_of(op.__name__) == "other"] == []


def test_no_edge_leads_backwards():
    """A damaged file may read a tensor before it is written."""
    boxes = boxes_of(_model(("a", ("x", "late"), "a"), ("b", ("a",), "late")))
    assert all(edge.source < edge.target for edge in edges_of(boxes))


# --- the file


@pytest.mark.parametrize("make", [resnet8, odd_parts, _inception])
def test_every_node_and_every_edge_is_drawn_once(make, tmp_path):
    model = _from_tflite(make(np.random.default_rng(0)), tmp_path)
    root = ElementTree.fromstring(to_svg(model))
    keys = Counter(group.get("id") for group in root.iter(f"{SVG}g") if group.get("class") == "node")
    assert keys == Counter([f"node-{n.number}" for n in model.nodes] + ["input-0", "output-0"])
    writers = {model.inputs[0].name: "input-0"} | {n.output.name: f"node-{n.number}" for n in model.nodes}
    expected = {(writers[name], f"node-{n.number}") for n in model.nodes for name in n.inputs}
    expected.add((writers[model.outputs[0].name], "output-0"))
    drawn = Counter((p.get("data-from"), p.get("data-to")) for p in root.iter(f"{SVG}path") if p.get("class"))
    assert drawn == Counter(expected)


def test_nodes_of_a_group_are_drawn_once(tmp_path):
    path = tmp_path / "grn.tflite"
    path.write_bytes(to_tflite(small_net(np.random.default_rng(2), grn=True)))
    model = inspect_model(path)
    root = ElementTree.fromstring(to_svg(model))
    numbers = [int(span.get("data-node") or 0) for span in root.iter(f"{SVG}tspan") if span.get("data-node")]
    numbers += [int(str(g.get("id"))[5:]) for g in root.iter(f"{SVG}g") if str(g.get("id")).startswith("node-")]
    assert Counter(numbers) == Counter(range(1, len(model.nodes) + 1))


def test_text_of_files_is_escaped_and_cut():
    name = "<script>alert('&')</script>\x00\x1b[31m\u202e\ufffe" + "long/" * 200
    text = to_svg(_model((name, ("x",), "<y>")))
    root = ElementTree.fromstring(text)
    assert not list(root.iter(f"{SVG}script"))
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\ufffe]", text)
    shown = [node.text or "" for node in root.iter(f"{SVG}text")]
    assert max(map(len, shown)) < 150
    assert any("\\x00" in (node.text or "") for node in root.iter(f"{SVG}title"))


def test_the_file_needs_nothing_else():
    text = to_svg(_model(("a", ("x",), "y")))
    assert "href" not in text
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]


def test_a_model_without_nodes_has_a_picture():
    root = ElementTree.fromstring(to_svg(_model()))
    assert {g.get("id") for g in root.iter(f"{SVG}g") if g.get("id")} == {"input-0", "output-0"}


def test_a_model_of_too_many_nodes_is_refused():
    nodes = [(f"n{i}", ("x",), f"t{i}") for i in range(MOST_NODES + 1)]
    with pytest.raises(ExportError, match="too large for a picture"):
        to_svg(_model(*nodes))


def test_operators_on_codes_have_the_colour_of_their_float_ones():
    """Each was drawn as a matrix product."""
    kinds = [kind_of(f"QLinear{op}") for op in ("Conv", "MatMul", "Mul", "Concat", "GlobalAveragePool", "Sigmoid")]
    assert kinds == ["conv", "linear", "product", "shape", "mean", "table"]
    assert [kind_of(op) for op in ("DynamicQuantizeLinear", "MatMulInteger")] == ["shape", "linear"]


@pytest.mark.parametrize("character", ["a", "\N{CJK UNIFIED IDEOGRAPH-7573}", "\N{GRINNING FACE}"])
def test_a_name_of_wide_characters_stays_within_its_box(character):
    svg = to_svg(_model((character * 300, ("x",), "y")))
    (name,) = re.findall(rf'class="mono"[^>]*>([^<]*{character}[^<]*)<', svg)
    assert cell_len(name) <= (BOX_WIDTH - 22) / (10 * 0.62)
