"""`tinyscene check --max-ms` and `--max-uj`: limits of modelled time and energy, and both in a baseline."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.firmware_harness.machines import on_each
from tests.graphs import small_net
from tinyscene import command_line
from tinyscene.export.check.report import ModelledVerdict
from tinyscene.firmware_harness.build.targets import CORTEX_M4
from tinyscene.firmware_harness.cycles.estimate import Interval
from tinyscene.runtime.tflite_write import to_tflite

BOARD = "nucleo-l4r5zi"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("limits") / "scene.tflite"
    path.write_bytes(to_tflite(small_net(np.random.default_rng(2), grn=False)))
    return path


@on_each([CORTEX_M4])
def test_limits_and_a_baseline_of_time_and_energy(target, model, tmp_path, capsys):
    baseline = tmp_path / "baseline.json"
    words = ["check", str(model), "--board", BOARD, "--max-ms", "1000", "--max-uj", "0.1", "--json"]
    assert command_line.main([*words, "--write-baseline", str(baseline)]) == 1
    *_, time, energy = json.loads(capsys.readouterr().out)["verdicts"]
    assert (time["name"], time["unit"], time["board"], time["passed"]) == ("milliseconds", "ms", BOARD, True)
    assert (energy["name"], energy["unit"], energy["passed"]) == ("microjoules", "uJ", False)
    assert time["low"] < time["measured"] < time["high"]
    recorded = {figure["name"]: figure for figure in json.loads(baseline.read_text())["figures"]}
    assert recorded["milliseconds"]["recorded"] == pytest.approx(time["measured"], rel=1e-3)
    assert recorded["microjoules"]["of"] == BOARD
    slower = json.loads(baseline.read_text())
    for figure in slower["figures"]:
        figure["recorded"] *= 0.9 if figure["name"] == "milliseconds" else 1
    baseline.write_text(json.dumps(slower))
    assert command_line.main(["check", str(model), "--baseline", str(baseline)]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 1
    assert f"milliseconds ({BOARD})" in failed[0]


@pytest.mark.parametrize(("limit", "passed"), [(11.0, True), (10.5, False), (9.0, False)])
def test_a_limit_holds_when_the_whole_interval_is_within_it(limit, passed):
    assert ModelledVerdict("milliseconds", limit, Interval(10.0, 9.5, 11.0), BOARD).passed == passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--max-ms 10", "--max-ms: needs --board; expected nucleo-l4r5zi or"),
        ("--max-uj 10", "--max-uj: needs --board"),
        (f"--board {BOARD}", "--board: needs --max-ms, --max-uj or --write-baseline"),
        ("--max-ms 10 --board toaster", "board: unknown"),
        ("--max-ms 10 --board nrf5340-dk", "wait states of flash are unknown"),
    ],
)
def test_what_cannot_be_checked_is_refused(options, message, model, capsys):
    assert command_line.main(["check", str(model), *options.split()]) == 2
    assert message in capsys.readouterr().err
