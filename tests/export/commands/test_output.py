"""Tables and notes on the terminal: text is printed unchanged, names are never broken, lines fit."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from tinyscene.export.commands.npu import print_estimates
from tinyscene.export.commands.output import print_verification
from tinyscene.export.targets.ethos_u import Estimate, Estimates
from tinyscene.export.targets.table import TARGETS
from tinyscene.export.verify.op_comparison import Comparison
from tinyscene.export.verify.results import Accuracy, Predictions, TargetResult, Verification
from tinyscene.runtime import terminal


def test_brackets_in_a_note_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Rich took [tensorflow] for a style, and the command that was printed installed nothing."""
    note = "TensorFlow: is not installed; next: pip install '.[tensorflow]'"
    result = TargetResult("tensorflow", None, "skipped", note=note)
    print_verification(Verification("net[1]", (result,)))
    output = capsys.readouterr().out
    assert note in output
    assert "net[1]" in output


@pytest.fixture
def verification() -> Verification:
    """Every target, with the longest cells."""
    accuracy = Accuracy(1.0, (0.963, 1.0), 1.0, 1.0, {})
    comparison = Comparison(20, 123_456_789, 1_234_567, 255)
    predictions = Predictions(100, 12_345, 0.5, accuracy)
    return Verification(
        "net",
        tuple(
            TargetResult(name, "double", "named exception", comparison=comparison, predictions=predictions)
            for name in TARGETS
        ),
    )


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_of_targets_fits_and_breaks_no_name(
    width: int, verification: Verification, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "PIPED_WIDTH", width)
    print_verification(verification)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    for name in TARGETS:
        (line,) = [line for line in lines if line.split()[0] == name]
        assert line.split()[1:] == ["double", "exception", "123", "MB", "1,234,567", "255", "100.0%"]


def test_all_columns_are_printed_on_request(verification: Verification, capsys: pytest.CaptureFixture[str]) -> None:
    print_verification(verification, all_columns=True)
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("c-host ")]
    for cell in ("named exception", "123,456,789", "96%-100%", "12,345", "50.0%"):
        assert cell in line


def test_estimates_fit_and_what_was_left_out_has_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    row = Estimate("ethos-u55-128", 12, 1, ("ADD 'sum': unsupported",), 909_946, 1.82, 234_512, 154_560, 27_472_584)
    print_estimates("net", Estimates((row,), {"ethos-u85-256": "Vela: is not installed"}))
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) <= 80
    assert "12 of 13" in output
    assert "ethos-u55-128: on the CPU: ADD 'sum': unsupported" in output
    assert "ethos-u85-256: skipped: Vela: is not installed" in output
