"""The benchmarks run and their other results are correct; timings are not checked."""

from __future__ import annotations

import re
import subprocess
import sys


def _benchmark(repository, name, *words):
    command = [sys.executable, str(repository / "benchmarks" / name), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_log_mel_equals_librosa_and_each_step_is_timed(repository, tiny_bundle, needs_module):
    needs_module("librosa")
    printed = _benchmark(repository, "runtime_logmel.py", tiny_bundle.path, "--rounds", 2)
    for name in ("librosa ", "librosa, precomputed bank", "samples to label"):
        assert re.search(rf"^\| {re.escape(name)}[^|]*\|(.+)\|$", printed, re.MULTILINE), name
    differences = [float(found) for found in re.findall(r"differs by at most (\S+)", printed)]
    assert differences
    assert max(differences) < 1e-3


def test_a_long_stream_keeps_time_memory_and_the_offline_result(repository, bundle):
    printed = _benchmark(repository, "runtime_stream.py", bundle.path, "--hours", 0.1)
    assert "360 events of 360, 0 different" in printed
    assert "360.000000 s, 360.000000 s were pushed" in printed
    made, wanted = re.search(r"columns: ([\d,]+) computed, ([\d,]+) expected", printed).groups()
    assert made == wanted


def test_a_resampled_stream_keeps_time_and_memory(repository, bundle):
    printed = _benchmark(repository, "runtime_stream.py", bundle.path, "--hours", 0.05, "--rate", 44_100)
    assert "180 events of 180, not compared" in printed
    assert "180.000000 s, 180.000000 s were pushed" in printed
