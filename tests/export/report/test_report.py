"""The page: well-formed, self-contained, escaped, and every figure equal to the record's."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.export.report.reported import LABELS, SKIPPED, Made, make, metrics, page, with_results, wrong_target
from tests.graphs import Builder
from tests.pages import Page
from tinyscene.export.report import drawings
from tinyscene.export.report.demo import Demo
from tinyscene.export.report.document import Measured, document, layer_rows, memory, row_of_metrics
from tinyscene.export.report.firmware_cost import FirmwareCost
from tinyscene.export.report.page import render
from tinyscene.export.report.sections import headline, verdict_lines
from tinyscene.export.targets.ethos_u import Estimates
from tinyscene.export.verify.op_comparison import Comparison
from tinyscene.export.verify.results import TargetResult, Verification
from tinyscene.runtime.cost import graph_cost, verdicts
from tinyscene.runtime.ops import OPS, Concat, Pad, Reshape, Resize, Slice, Transpose
from tinyscene.runtime.spec import Budget
from tinyscene.training.page.svg import NARROW, WIDE, ticks


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "grn"])
def made(request) -> Made:
    return make(grn=request.param)


def test_the_page_stands_alone(made):
    html = render(document(made.data)).decode()
    found = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert not re.search(r"https?://|//[a-z]|url\(|@import|<script", html)
    loaded = [value for _, name, value in found.attributes if name in ("src", "href", "srcset", "data")]
    assert loaded
    assert all(value.startswith(("#", "data:,")) for value in loaded)


def test_every_op_has_a_colour() -> None:
    """Ops that only move data share the colour of the input; a rule for any other op would be missing."""
    style = (Path(drawings.__file__).parent / "style.css").read_text()
    assert '[class*="op-"] { --op: var(--input); }' in style
    coloured = set(re.findall(r"\.op-(\w+)", style))
    moving = {OPS[kind].name for kind in (Reshape, Transpose, Pad, Slice, Concat, Resize)}
    assert coloured == {row.name for row in OPS.values()} - moving


def test_a_demo_is_a_frame_whose_page_allows_its_scripts_only(made):
    inner = '<script>if (1 < 2 && "a") {}\n</script>'
    html = render(document(made.data), Demo(inner)).decode()
    (frame,) = [value for tag, name, value in Page(html).attributes if (tag, name) == ("iframe", "srcdoc")]
    assert frame == inner
    assert "<script" not in html
    (policy,) = (unescape(text) for text in re.findall(r'Content-Security-Policy" content="([^"]*)"', html))
    assert "script-src 'unsafe-inline'" in policy
    assert "default-src 'none'" in policy
    assert "script-src" not in render(document(made.data)).decode()


def test_why_there_is_no_demo_is_said(made):
    reason = "clang is not installed; next: apt-get install clang <lld>"
    html = render(document(made.data), Demo(reason=reason)).decode()
    assert "<iframe" not in html
    assert "script-src" not in html
    assert f"The model as a web page is not included: {reason}" in Page(html).text


def test_anchors_and_labels_lead_somewhere(made):
    found = page(made.data)
    names = [value for _, name, value in found.attributes if name == "id"]
    assert len(names) == len(set(names))
    wanted = [value[1:] for _, name, value in found.attributes if name == "href" and value.startswith("#")]
    wanted += [value for _, name, value in found.attributes if name == "aria-labelledby"]
    assert set(wanted) <= set(names)
    assert len(found.captions) == sum(tag == "table" and name == "class" for tag, name, _ in found.attributes)
    assert all(caption.strip() for caption in found.captions)


def test_what_others_wrote_is_escaped(made):
    data = with_results(made.data, SKIPPED)
    html = render(document(data)).decode()
    for text in ("<net>", "<plaza>", "<T>", "<needs>", "& friends", "--seed 1 > log"):
        assert text not in html
        assert text in page(data).text


def test_the_same_data_give_the_same_bytes(made):
    assert render(document(made.data)) == render(document(made.data))


def test_layers_are_those_of_the_cost_table(made):
    found, graph = page(made.data), made.data.graph
    cost = graph_cost(graph, "dcase")
    by_tensor = {q.name: q for q in made.data.quality}
    for node, layer in zip(graph.nodes, cost.layers, strict=True):
        cells = found.row("layers", node.name)
        assert cells[3].split("×") == [str(n) for n in layer.output_shape[1:]]
        assert cells[4:7] == [f"{layer.parameters:,}", f"{layer.n_bytes:,}", f"{layer.macs:,}"]
        quality = by_tensor.get(node.output)
        assert cells[7] == (f"{quality.sqnr_db:.1f} dB" if quality else "–")
    assert found.row("layers", "total")[4:7] == [f"{cost.parameters:,}", f"{cost.n_bytes:,}", f"{cost.macs:,}"]
    assert by_tensor.keys() < {t.name for t in graph.activations()}  # so both cases were seen


def test_accuracy_and_confusion_are_those_given(made):
    found = page(made.data)
    rows = made.data.accuracy
    for device in ("a", "b", "s1"):
        assert found.row("accuracy", device)[1:] == [f"{row.per_device[device]:.1%}" for row in rows]
    assert found.row("accuracy", "all clips")[1:] == [f"{row.accuracy:.1%}" for row in rows]
    int8 = rows[1]
    for i, label in enumerate(LABELS):
        cells = found.row("confusion", label)[1:]
        total = sum(int8.confusion[i])
        assert cells == [f"{n}{100 * n / total:.0f} %" for n in int8.confusion[i]]


def test_a_label_without_clips_has_no_percentages(made):
    int8 = made.data.accuracy[1]
    empty = replace(int8, confusion=((0,) * 10, *int8.confusion[1:]))
    data = replace(made.data, accuracy=(empty,))
    assert page(data).row("confusion", "airport")[1:] == ["0– %"] * 10


def test_a_difference_is_written_out_in_full(made):
    wrong = wrong_target(made)
    found = page(with_results(made.data, wrong))
    text = " ".join(found.text.split())
    assert wrong.comparison is not None
    assert str(wrong.comparison.first_difference) in text
    assert "First difference of c-cortex-m4" in text
    assert "fail: c-cortex-m4 differs in" in text
    cells = found.row("parity", "c-cortex-m4")
    assert cells[1:4] == ["executes", "double", "different"]
    assert cells[4] == f"1 of {wrong.comparison.bytes_compared:,} by 1 LSB"
    assert cells[5:8] == ["34,567", f"{2048 + 16 + 204:,} stack 204", "7.7 M instructions"]
    assert cells[8:] == ["82.3 ms 66.7–91.7 3,378 uJ nucleo-l4r5zi"]


def test_a_skipped_target_never_counts_as_one_that_agrees(made):
    data = with_results(made.data, SKIPPED)
    found = page(data)
    assert found.row("parity", "tflm")[1:] == ["executes", "–", "skipped", *["–"] * 5]
    text = " ".join(found.text.split())
    assert SKIPPED.note in text
    assert "2 of 3 targets agree" in text
    assert "skip: 1 of 3 targets did not run: tflm" in text


def test_a_converted_target_is_neither_one_that_agrees_nor_one_that_is_missing(made):
    written = TargetResult(
        "coreml", None, "converted", note="not run", means="converts", comparison=Comparison(2, 9, 0, 0)
    )
    data = with_results(made.data, written)
    found = page(data)
    assert found.row("parity", "coreml")[1:5] == ["converts", "–", "converted", "0 of 9"]
    text = " ".join(found.text.split())
    assert "2 of 2 targets agree" in text
    assert "but not run: coreml" in text


def test_the_headline_is_as_bad_as_the_worst_line(made):
    data = replace(made.data, accuracy=())
    cost = graph_cost(data.graph, "dcase")

    def said(checked: Measured, budget: Budget | None = None, accuracy=()) -> str:
        limits = verdicts(cost, budget or Budget())
        return headline(verdict_lines(checked.verification, Estimates(), FirmwareCost(), limits, accuracy)).state

    assert said(data) == "pass"
    assert said(with_results(data, SKIPPED)) == "skip"
    assert said(with_results(data, SKIPPED, wrong_target(made))) == "fail"
    assert said(data, Budget(max_bytes=cost.n_bytes - 1)) == "fail"
    assert said(data, Budget(max_macs=cost.macs)) == "pass"
    assert said(replace(data, verification=Verification("none", ()))) == "skip"
    good, bad = row_of_metrics("float", metrics(0, 3.0)), row_of_metrics("int8", metrics(0, 0.5))
    assert said(data, accuracy=(good, bad)) == "warn"
    assert said(data, accuracy=(good, replace(good, name="int8"))) == "pass"


def test_without_labelled_clips_the_page_says_so(made):
    bare = replace(made.data, accuracy=(), quality=(), provenance={}, firmware=FirmwareCost(), estimates=Estimates())
    found = page(bare)
    assert found.text.count("Not measured") == 3
    assert found.text.count("Not estimated") == 1
    assert "confusion" not in found.tables
    assert "accuracy" not in found.tables
    assert found.row("layers", "total")


def test_a_budget_that_is_broken_says_by_how_much():
    graph = large_net()
    cost = graph_cost(graph, "dcase")
    lines = verdict_lines(
        Verification(graph.name, ()), Estimates(), FirmwareCost(), verdicts(cost, Budget(max_macs=cost.macs - 1234)), ()
    )
    assert any(line.state == "fail" and line.text.endswith("1,234 MAC over the limit") for line in lines)


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_drawings_are_xml_inside_their_frame_with_words_for_them(made, width):
    data = made.data
    layers = layer_rows(data.graph, graph_cost(data.graph, "dcase"), data.quality)
    pictures = (
        drawings.layer_profile(layers, width),
        drawings.layer_profile(layer_rows(data.graph, graph_cost(data.graph, "dcase"), ()), width),
        drawings.memory_over_time(memory(data.graph), width),
        drawings.instruction_profile(data.firmware.profiles, layers, width),
        drawings.accuracy_by_device(data.accuracy, width),
    )
    for drawing in pictures:
        root = ElementTree.fromstring(drawing)
        assert len(root.attrib["aria-label"]) > 40
        right, bottom = (float(v) for v in root.attrib["viewBox"].split()[2:])
        assert right == width
        for rect in root.iter("rect"):
            x, y, wide, high = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
            assert min(x, y) >= 0
            assert wide > 0
            assert high > 0
            assert x + wide <= right + 0.2
            assert y + high <= bottom


def test_the_arena_is_drawn_to_scale_and_nothing_overlaps(made):
    graph = made.data.graph
    planned = memory(graph)
    root = ElementTree.fromstring(drawings.memory_over_time(planned, WIDE))
    drawn = [rect for rect in root.iter("rect") if rect.attrib["class"].startswith("resident")]
    assert len(drawn) == len(planned.residents)
    boxes = [tuple(float(rect.attrib[name]) for name in ("x", "y", "width", "height")) for rect in drawn]
    for a, b in combinations(boxes, 2):
        apart = a[0] + a[2] <= b[0] + 0.2 or b[0] + b[2] <= a[0] + 0.2
        # The thinnest activations are drawn 0.8 px high to be seen at all.
        assert apart or a[1] + a[3] <= b[1] + 1.0 or b[1] + b[3] <= a[1] + 1.0
    by_size = sorted(zip(planned.residents, boxes, strict=True), key=lambda pair: pair[0].n_bytes)
    smaller, larger = by_size[-2], by_size[-1]
    assert (larger[1][3] + 0.5) / (smaller[1][3] + 0.5) == pytest.approx(
        larger[0].n_bytes / smaller[0].n_bytes, rel=0.01
    )


def test_ticks_are_round_and_few():
    assert ticks(229_376, 5) == [0, 50_000, 100_000, 150_000, 200_000]
    assert ticks(60, 4) == [0, 20, 40, 60]
    for top in (1, 7, 93, 1040, 4.7e6):
        values = ticks(top, 5)
        assert 2 < len(values) <= 6
        assert values[-1] <= top


def large_net():
    """As many ops as a CP-Mobile with GRN in six blocks, in small."""
    b = Builder(np.random.default_rng(1), "large", (12, 8, 1))
    x = b.conv(b.input, (3, 3), channels=8, pads=(1, 1, 1, 1), relu=True)
    for _ in range(6):
        wide = b.conv(b.conv(x, (1, 1), channels=16, relu=True), (3, 3), pads=(1, 1, 1, 1), relu=True)
        x = b.grn(b.add(b.conv(wide, (1, 1), channels=8), x))
    return b.graph(b.mean(b.conv(x, (1, 1), channels=10), keep_dims=False))


def test_a_page_of_ninety_layers_stays_small(made):
    graph = large_net()
    assert len(graph.nodes) >= 90
    assert len(render(document(replace(made.data, graph=graph)))) < 1_500_000
