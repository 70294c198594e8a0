"""The promises of docs/runtime-performance.md, kept by running the benchmarks themselves for a short while."""

from __future__ import annotations

import re
import subprocess
import sys


def _benchmark(repository, name, *words):
    command = [sys.executable, str(repository / "benchmarks" / name), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _row(table, name):
    (row,) = re.findall(rf"^\| {re.escape(name)}[^|]*\|(.+)\|$", table, re.MULTILINE)
    return [float(re.match(r"\s*([\d.]+)", cell)[1]) for cell in row.split("|")]  # best ms, median ms, ratio


def test_log_mel_is_three_times_as_fast_as_librosa_s_and_a_clip_takes_4_ms(repository, tiny_bundle, needs_module):
    needs_module("librosa")
    printed = _benchmark(repository, "runtime_logmel.py", tiny_bundle.path, "--rounds", 25)
    print(printed)
    assert _row(printed, "librosa ")[2] > 3
    assert _row(printed, "librosa, bank made once")[2] > 1
    assert _row(printed, "samples to label")[0] < 4.0
    for difference in re.findall(r"differs by at most (\S+)", printed):
        assert float(difference) < 1e-3


def test_a_stream_of_minutes_keeps_clock_memory_and_the_offline_result(repository, bundle):
    printed = _benchmark(repository, "runtime_stream.py", bundle.path, "--hours", 0.1)
    assert "360 events of 360, 0 of them unlike" in printed
    assert "360.000000 s, 360.000000 s were pushed" in printed
    made, wanted = re.search(r"columns: ([\d,]+) made, ([\d,]+) wanted", printed).groups()
    assert made == wanted
