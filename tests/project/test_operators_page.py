"""docs/operators.md is what its command writes.

The columns of targets that emulate or convert take minutes: they are compared with the tables of these targets here.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tinyscene
from tinyscene.export.errors import ExportError
from tinyscene.export.targets.hexagon_limits import require_computed
from tinyscene.export.verify.exceptions import EXCEPTIONS
from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph

ROOT = Path(tinyscene.__file__).parent.parent


def table(text: str) -> dict[str, dict[str, str]]:
    """Cells of the page's table by row and column."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}


@pytest.mark.needs_module("onnxruntime", "tflite_micro", "ai_edge_litert")
def test_the_page_of_operators_is_what_its_command_writes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import operators as command

    command.main(["--quick", "--out", str(tmp_path / "operators.md")])
    monkeypatch.delitem(sys.modules, "operators")
    written, kept = (tmp_path / "operators.md").read_text(), (ROOT / "docs" / "operators.md").read_text()
    quick, whole = table(written), table(kept)
    assert quick.keys() == whole.keys()
    assert quick == {name: {column: whole[name][column] for column in quick[name]} for name in whole}
    lists = [text.partition("## Read")[2].partition("## Ops")[0] for text in (written, kept)]
    assert lists[0] == lists[1]
    assert {row.op for row in command.ROWS} == {op.__name__ for op in ops.OPS}
    for row, cells in zip(command.ROWS, whole.values(), strict=True):
        _compare_with_tables(command.graph_of(row), cells)


def _compare_with_tables(graph: Graph, cells: dict[str, str]) -> None:
    """What the emulated and converted columns can be, by the tables of exceptions and limits."""
    name, types = next(iter(cells.values())), [type(node.op) for node in graph.nodes]
    excepted = any(("hexagon", op) in EXCEPTIONS for op in types)
    try:
        require_computed(graph)
    except ExportError:
        assert cells["Hexagon"] == "refused", name
    else:
        assert cells["Hexagon"] in ("equal", "refused", "exception" if excepted else "equal"), name
    assert cells["Core ML"] == ("refused" if ops.Lstm in types else "converted"), name
    assert (cells["Ethos-U55"] == "-") == (cells["TFLite"] == "-"), name
    assert cells["Ethos-U55"] in ("NPU", "CPU", "in part", "-"), name
