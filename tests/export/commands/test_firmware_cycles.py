"""`tinyscene firmware --board` and `--cpu`: cycles, time and energy as lines and JSON, and what is refused."""

from __future__ import annotations

import json

import pytest

from tests.firmware_harness.bundles import small_bundle
from tests.firmware_harness.machines import on_each
from tinyscene import command_line
from tinyscene.firmware_harness.build.targets import CORTEX_M4

needs_m4 = on_each([CORTEX_M4])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return small_bundle(tmp_path_factory.mktemp("modelled"))


def _firmware(bundle, *options: str) -> int:
    return command_line.main(["firmware", str(bundle), "--out", f"{bundle}-firmware", *options])


@needs_m4
def test_a_board_gives_intervals_of_cycles_time_and_energy(target, bundle, capsys):
    assert _firmware(bundle, "--board", "nucleo-l4r5zi", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    modelled = record["modelled"]
    assert record["target"] == target.name
    assert (modelled["board"], modelled["mhz"], modelled["wait_states"]) == ("nucleo-l4r5zi", 120, 5)
    for cost in (modelled["inference"], modelled["audio_second"], *record["calls"]):
        for name in ("cycles", "milliseconds", "microjoules"):
            assert 0 < cost[name]["low"] < cost[name]["value"] < cost[name]["high"]
        assert cost["milliseconds"]["value"] == pytest.approx(cost["cycles"]["value"] / 120e3)
    inference = modelled["inference"]["cycles"]["value"]
    assert sum(call["cycles"]["value"] for call in record["calls"]) == pytest.approx(inference, rel=0.1)
    assert modelled["audio_second"]["cycles"]["value"] > inference
    assert modelled["cautions"] == ["front end: floating-point arithmetic is not validated"]


@needs_m4
def test_a_processor_gives_cycles_without_wait_states(target, bundle, capsys):
    assert _firmware(bundle, "--cpu", target.name) == 0
    printed = capsys.readouterr().out
    assert "modelled for  Cortex-M4, memory without wait states" in printed
    assert "for a second of audio, with the front end" in printed
    assert "no board is given: cycles are those of memory without wait states" in printed
    assert " uJ" not in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--board toaster", "board: unknown; expected nucleo-l4r5zi or"),
        ("--board nrf5340-dk", "wait states of flash are unknown"),
        ("--board pico --target cortex-m4", "--target: differs from the board or --cpu; expected cortex-m0plus"),
        ("--board pico --cpu cortex-m4", "expected at most one of --board and --cpu"),
        ("--cpu riscv32", "cycles on riscv32: no cost model; next: choose an Arm --target"),
        ("--board pico --application", "--application: cycles are modelled for the network"),
    ],
)
def test_what_cannot_be_modelled_is_refused(bundle, options, message, capsys):
    assert _firmware(bundle, *options.split()) == 2
    assert message in capsys.readouterr().err
