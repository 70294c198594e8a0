"""The training benchmark runs, and what it says beside its timings is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

RECIPE = """
model: cpm23-8
epochs: 4
batch_size: 32
learning_rate: 1.0e-3
fusion: {folds: 3, listener: {model: cpm23-8, epochs: 2, batch_size: 16, learning_rate: 1.0e-3}}
teachers:
  - {model: passt-tiny, frontend: passt, epochs: 5, batch_size: 50, learning_rate: 1.0e-3}
  - {model: cpm23-8, epochs: 1, batch_size: 16, learning_rate: 1.0e-3}
"""


def test_every_network_is_counted_at_full_size(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    words = [tmp_path / "mine.yaml", "--clips", "1001", "--steps", "1", "--batch", "4"]
    command = [sys.executable, repository / "benchmarks" / "training.py", *words]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = re.findall(
        r"^\| (teacher|listener|student) (\S+) \| ([\d,]+) \| 4 \| \S+ \| (\d+) \| (\d+) \|", printed, re.M
    )
    # Three copies see two thirds of the clips each, which is two more passes.
    assert [(row[0], row[1], int(row[3]), int(row[4])) for row in rows] == [
        ("teacher", "passt-tiny", 15, 15 * 21),
        ("teacher", "cpm23-8", 3, 3 * 63),
        ("listener", "cpm23-8", 2, 2 * 63),
        ("student", "cpm23-8", 4, 4 * 32),
    ]
    assert rows[-1][2] == "6,086"
    assert re.search(r"pipeline alone [\d,]+ clips/s", printed)
