"""The report's record: page, JSON and summary agree, and its parts on firmware and NPUs are as measured."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.export.report.reported import SKIPPED, Made, make, page, with_results, wrong_target
from tinyscene import command_line
from tinyscene.export.errors import ExportError
from tinyscene.export.report import drawings
from tinyscene.export.report.demo import demo_of
from tinyscene.export.report.document import document, layer_rows
from tinyscene.export.report.page import render
from tinyscene.export.report.records import from_json, schema
from tinyscene.export.report.sections import kernel_shares
from tinyscene.export.report.summary import as_markdown
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.cost import graph_cost
from tinyscene.runtime.markdown import cell
from tinyscene.training.page.svg import WIDE


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "grn"])
def made(request) -> Made:
    return make(grn=request.param)


def test_page_and_summary_are_rendered_from_the_json(made):
    record = document(with_results(made.data, SKIPPED, wrong_target(made)))
    read = from_json(record.to_json())
    assert read == record
    assert render(read) == render(record)
    assert as_markdown(read) == as_markdown(record)


def test_the_committed_schema_is_that_of_the_record(repository: Path):
    """To regenerate it: python -m tinyscene.export.report.records > docs/verify.schema.json"""
    assert json.loads((repository / "docs" / "verify.schema.json").read_text()) == schema()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda record: record.pop("memory"), "memory"),
        (lambda record: record.update(format=2), "format"),
        (lambda record: record["firmware"]["ways"][0].update(speed=1), "firmware.ways.0.speed"),
        (lambda record: record["verification"]["results"][0].update(status="fine"), "verification.results.0.status"),
    ],
)
def test_a_document_that_does_not_match_the_schema_is_refused_by_field(change, field, made):
    record = json.loads(document(made.data).to_json())
    change(record)
    with pytest.raises(ExportError, match=f"^{field}: "):
        from_json(json.dumps(record))


def test_firmware_is_shown_as_measured(made):
    found = page(made.data)
    assert found.row("ways", "ram")[1:] == ["cortex-m4", "9,000", "–", "–", "732", "512", "204", "34,567", "5,000"]
    modelled = ["82.3 66.7–91.7, nucleo-l4r5zi", "3,378 2,441–4,168"]
    assert found.row("ways", "speed")[1:6] == ["cortex-m4", "7,000", *modelled, f"{2048 + 16 + 204:,}"]
    profile = made.data.firmware.profiles[0]
    first = kernel_shares(profile)[0]
    assert (first.kernel, first.calls, first.share) == (
        "ts_block",
        1,
        6_000 / (6_000 + 2 * (profile.instructions - 4_000)),
    )
    assert found.row("kernels", "ts_block")[1:4] == ["1", "4,000", "6,000"]
    text = " ".join(found.text.split())
    assert f"cortex-m55 was not measured: {made.data.firmware.left_out['cortex-m55']}" in text
    assert "skip: Cost as firmware was not measured: cortex-m55" in text


def test_a_bar_spans_the_steps_of_its_call(made):
    layers = layer_rows(made.data.graph, graph_cost(made.data.graph, "dcase"), ())
    root = ElementTree.fromstring(drawings.instruction_profile(made.data.firmware.profiles, layers, WIDE))
    wide = [float(rect.attrib["width"]) for rect in root.iter("rect")]
    assert len(wide) == len(made.data.firmware.profiles[0].calls)
    assert wide[0] > 1.8 * wide[1]


def test_an_npu_is_estimated_and_never_passes(made):
    found = page(made.data)
    assert found.row("parity", "ethos-u55-128")[1:5] == ["estimates", "–", "100 % on NPU", "– compiled, not run"]
    assert found.row("parity", "ethos-u65-256")[3] == "92 % on NPU"
    assert found.row("parity", "ethos-u85-256")[1:4] == ["estimates", "–", "skipped"]
    assert found.row("npus", "ethos-u65-256")[1:3] == ["11 of 12", "614,684"]
    text = " ".join(found.text.split())
    assert "ADD 'sum<1>': unsupported" in text
    assert "warn: ethos-u65-256 leaves 1 of 12 ops to the CPU" in text
    assert "skip: NPUs without an estimate: ethos-u85-256" in text
    assert "2 of 2 targets agree" in text


def test_the_summary_escapes_bars_in_names(made):
    """A name with a bar must not start another column."""
    wrong = replace(wrong_target(made), target="c|host", note="a | b")
    text = as_markdown(document(with_results(made.data, SKIPPED, wrong)))
    columns = None
    for line in text.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
        assert columns is None or cells is None or cells == columns, line
        columns = cells
    assert str(wrong.comparison.first_difference).split(",")[0].replace("|", "\\|") in text
    row = "| cortex-m4 | double | ram | 9,000 |"
    for part in ("**FAIL**", "**different**", row, "92 % on NPU", cell(SKIPPED.note)):
        assert part in text


def test_the_command_writes_the_same_record_three_times(tiny_bundle: Bundle, tmp_path: Path, capfd):
    html, summary = tmp_path / "report.html", tmp_path / "summary.md"
    words = ["verify", str(tiny_bundle.path), "--targets", "numpy-double,numpy-single,ethos-u55-128", "--json"]
    assert command_line.main([*words, "--report", str(html), "--markdown", str(summary)]) == 0
    record = from_json(capfd.readouterr().out)
    assert html.read_bytes() == render(record, demo_of(tiny_bundle))
    assert summary.read_text() == as_markdown(record)
    assert [r.target for r in record.verification.results] == ["numpy-double", "numpy-single"]
    assert [e.npu for e in record.estimates.rows] + list(record.estimates.left_out) == ["ethos-u55-128"]
    assert any(row.quality for row in record.layers)
    assert record.provenance["bundle digest"] == tiny_bundle.manifest.digest
    assert str(tmp_path) not in html.read_text()


def test_a_page_that_cannot_be_written_is_a_line(tiny_bundle: Bundle, tmp_path: Path, capfd):
    words = ["verify", str(tiny_bundle.path), "--targets", "numpy-double", "--report", str(tmp_path / "no" / "r.html")]
    assert command_line.main(words) == 2
    assert "cannot be written" in capfd.readouterr().err
