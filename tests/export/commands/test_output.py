"""What the terminal shows is what was said, letter by letter."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from tinyscene.export.commands.output import print_verification
from tinyscene.export.verify.results import TargetResult, Verification


def test_brackets_in_a_note_are_text(capsys):
    """Rich took [tensorflow] for a style, and the command that was printed installed nothing."""
    note = "TensorFlow: is not installed; next: pip install 'tinyscene[tensorflow]'"
    result = TargetResult("tensorflow", None, "skipped", note=note)
    print_verification(Verification("net[1]", (result,)))
    shown = capsys.readouterr().out
    assert note in shown
    assert "net[1]" in shown
