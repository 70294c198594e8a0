"""docs/operators.md is what its command writes; the columns of targets that emulate or convert are left out here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tinyscene
from tinyscene.runtime import ops

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
