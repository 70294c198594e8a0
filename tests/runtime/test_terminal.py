"""Tables fit the width at hand and never break a word."""

from __future__ import annotations

import pytest

from tinyscene.runtime.terminal import PIPED_WIDTH, Column, print_table

ROWS = [
    ("numpy-double", "the specification, every activation", "100.0 %", "1,234,567"),
    ("litert-reference", "plain C++ kernels of LiteRT", "99.1 %", "89"),
]
COLUMNS = (
    Column("target"),
    Column("what runs", wraps=True),
    Column("equal to float", right=True, priority=2),
    Column("bytes compared", right=True, priority=1, footer="1,234,656"),
)


def _printed(capsys: pytest.CaptureFixture[str], width: int | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    if width is not None:
        monkeypatch.setattr("tinyscene.runtime.terminal.PIPED_WIDTH", width)
    print_table("results", COLUMNS, ROWS, advice="--wide shows them")
    return capsys.readouterr().out.splitlines()


def test_a_pipe_has_a_hundred_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _printed(capsys, None, monkeypatch)
    assert PIPED_WIDTH == 100
    assert max(map(len, lines)) <= 100
    assert lines[0] == "results"
    assert lines[3].split() == [
        "numpy-double",
        *["the", "specification,", "every", "activation", "100.0", "%", "1,234,567"],
    ]
    assert lines[-1].split() == ["1,234,656"]


def test_cells_break_at_spaces_before_columns_are_omitted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = _printed(capsys, 60, monkeypatch)
    assert max(map(len, lines)) <= 60
    words = " ".join(lines).split()
    assert {"numpy-double", "litert-reference", "specification,", "compared", "float"} <= set(words)
    assert "not" not in words


@pytest.mark.parametrize(
    ("width", "omitted"),
    [(46, "equal to float"), (36, "equal to float, bytes compared"), (10, "equal to float, bytes compared")],
)
def test_columns_are_omitted_by_priority_and_named(
    width: int, omitted: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = _printed(capsys, width, monkeypatch)
    assert lines[-1] == f"not shown for lack of width: {omitted}; --wide shows them"
    text = "\n".join(lines[:-1])
    assert "litert-reference" in text
    assert ("99.1 %" in text) == ("equal to float" not in omitted)
    assert max(map(len, lines[1:-1])) <= max(width, len("litert-reference") + 2 + len("specification,"))


def test_every_column_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinyscene.runtime.terminal.PIPED_WIDTH", 20)
    print_table("results", COLUMNS, ROWS, every_column=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert "the specification, every activation  " in lines[3]


def test_a_column_without_text_is_omitted_silently(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("results", (Column("target"), Column("accuracy")), [("ort", ""), ("tflm", "")])
    assert "accuracy" not in capsys.readouterr().out


def test_brackets_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("[red]", (Column("[bold]"),), [("pip install '.[npu]'",)])
    assert capsys.readouterr().out.split() == ["[red]", "[bold]", "─" * 20, *["pip", "install", "'.[npu]'"]]
