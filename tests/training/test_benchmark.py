"""The training benchmark runs and prints its measurements."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_step_and_pipeline_are_compared(repository: Path) -> None:
    words = ["cpm23-8", "--steps", "1", "--batch", "4"]
    command = [sys.executable, repository / "benchmarks" / "training.py", *words]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("student cpm23-8, 6,086 parameters, batches of 4, ")
    match = re.search(r"step ([\d.,]+) clips/s, pipeline alone ([\d,]+) clips/s: ([\d.]+) times", printed)
    assert match
    step, pipeline, ratio = (float(text.replace(",", "")) for text in match.groups())
    assert abs(ratio - pipeline / step) < 0.2 + 0.02 * ratio
