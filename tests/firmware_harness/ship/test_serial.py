"""The serial harness on emulated boards, driven through a pseudo-terminal like the public runner."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.firmware_harness.machines import on
from tests.firmware_harness.ship.runner import Runner
from tests.processes import left_over
from tinyscene import command_line
from tinyscene.firmware_harness.build.targets import CORTEX_M4, TARGETS, Target
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.firmware_harness.ship.serial_board import SERIAL_PORTS, SerialBoard, build_serial
from tinyscene.firmware_harness.ship.serial_program import SerialProgram
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.scores import scores_of

REFERENCE_COMMAND_BYTES = 80  # EE_CMD_SIZE


def _board(bundle: Bundle, target: Target, folder: Path, rounding: Rounding = "double") -> SerialBoard:
    folder.mkdir()
    program = SerialProgram(bundle.graph, target.cpu, "speed", rounding)
    return SerialBoard(build_serial(program, target, folder), target)


@pytest.fixture(scope="module")
def m4(scenes: Bundle, build_folder: Path, needs_tool) -> Iterator[Runner]:
    needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
    with _board(scenes, CORTEX_M4, build_folder / "m4") as board, Runner(board.path) as runner:
        yield runner


def _expected(bundle: Bundle, vector: int, rounding: Rounding = "double") -> Any:
    codes = bundle.golden().activations[rounding][bundle.graph.output][vector : vector + 1]
    return pytest.approx(scores_of(bundle.graph, codes)[0].tolist(), abs=2e-6)


def _results(lines: list[str]) -> list[float]:
    (results,) = [match for line in lines if (match := re.fullmatch(r"m-results-\[([^]]+)\]", line))]
    return [float(value) for value in results[1].split(",")]


def test_a_missing_emulator_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FirmwareError, match=r"apt-get install qemu-system-arm") as raised:
        SerialBoard(tmp_path / "serial.elf", CORTEX_M4)
    assert raised.value.missing


def test_the_runner_finds_the_board(m4: Runner) -> None:
    assert re.fullmatch(r"m-name-dut-\[([^]]+)]", m4.greeting[-2])
    assert m4.command("name") == ["m-name-dut-[tinyscene]"]
    profile, model = m4.command("profile")
    assert re.fullmatch(r"m-profile-\[([^]]+)]", profile)
    assert model == "m-model-[small_grn]"
    first, second = (int(m4.command("timestamp")[0].removeprefix("m-lap-us-")) for _ in range(2))
    assert second >= first  # a command is parsed within a microsecond
    assert [line.split()[0] for line in m4.command("help")] == [
        *("name", "timestamp", "profile", "db", "db", "db", "infer", "results"),
    ]


@pytest.mark.parametrize("vector", [0, 1, 2])
def test_results_are_the_golden_output(vector: int, m4: Runner, scenes: Bundle) -> None:
    assert m4.load(scenes.golden().inputs[vector].tobytes()) == ["m-load-done"]
    lines = m4.command("infer 2 1")
    assert [re.sub(r"\d+$", "N", line) for line in lines[:-1]] == [
        *("m-warmup-start-N", "m-warmup-done", "m-infer-start-N", "m-lap-us-N", "m-lap-us-N", "m-infer-done"),
    ]
    assert (lines[0], lines[2]) == ("m-warmup-start-1", "m-infer-start-2")
    assert _results(lines) == _expected(scenes, vector)
    assert m4.command("results") == lines[-1:]


def test_microseconds_are_thousands_of_instructions(m4: Runner, scenes: Bundle) -> None:
    m4.load(scenes.golden().inputs[0].tobytes())
    laps = [int(line.removeprefix("m-lap-us-")) for line in m4.command("infer 10 0") if line.startswith("m-lap")]
    engine = FirmwareEngine(scenes.graph, CORTEX_M4, optimise="speed")
    instructions = engine.measure(scenes.golden().inputs[:1]).instructions
    assert instructions is not None
    assert (laps[1] - laps[0]) * 1000 / 10 == pytest.approx(instructions, rel=0.05)


@pytest.mark.parametrize("target", [on(TARGETS[name]) for name in SERIAL_PORTS if name != "cortex-m4"])
def test_every_board_with_a_port_responds(target: Target, scenes: Bundle, tmp_path: Path) -> None:
    with _board(scenes, target, tmp_path / "b", "single") as board, Runner(board.path) as runner:
        runner.load(scenes.golden().inputs[1].tobytes())
        assert _results(runner.command("infer 1 0")) == _expected(scenes, 1, "single")


def test_invalid_commands_are_refused_and_the_board_continues(m4: Runner, scenes: Bundle) -> None:
    data = scenes.golden().inputs[0].tobytes()
    for text, answer in (
        ("nmae", "e-[Unknown command: nmae]"),
        ("db", "e-[Command 'db' requires a subcommand]"),
        ("db load 0", "e-[Command 'db load' must be >0 bytes]"),
        ("db load", "e-[Command 'db load' must be >0 bytes]"),
        ("db load 99999999999999999999", "e-[Command 'db load' must be >0 bytes]"),
        ("db load 281", "e-[Buffer is smaller: 280 bytes]"),
        ("db abc", "e-[Insufficent number of hex digits]"),
        ("infer 0", "e-[Inference iterations must be >0]"),
        ("infer 1 -1", "e-[Inference warmup must be >=0]"),
        ("infer one", "e-[Inference iterations must be >0]"),
        ("x" * REFERENCE_COMMAND_BYTES, f"e-[Unknown command: {'x' * REFERENCE_COMMAND_BYTES}]"),
        ("x" * (REFERENCE_COMMAND_BYTES + 1), "e-[Command is longer than 80 characters]"),
        ("x" * 5000, "e-[Command is longer than 80 characters]"),
    ):
        assert m4.command(text) == [answer]
    assert m4.command("db load 3") == ["m-[Expecting 3 bytes]"]
    assert m4.command("infer 1 0") == ["e-[Input is not loaded: 280 bytes wanted]"]
    assert m4.command("db 0g") == ["e-[Invalid hex digit '0g']"]
    assert m4.command("db 01FfAb77") == ["m-load-done"]  # excess bytes are ignored
    assert m4.command("db print") == ["m-buffer-01-ff-ab"]
    assert m4.command("db 00") == []
    assert m4.command("") == []
    m4.load(data)
    assert m4.command("db print 10 1") == [
        f"m-buffer-{data[1:9].hex('-')}",
        f"m-buffer-{data[9:11].hex('-')}",
    ]
    assert m4.command("db print 0") == m4.command("db print 4 280") == m4.command("db print 4 -1")[1:] == []


def test_bytes_before_load_are_refused(scenes: Bundle, tmp_path: Path, needs_tool) -> None:
    needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
    for start in range(5):  # the emulator drops what is sent before the terminal is open
        with _board(scenes, CORTEX_M4, tmp_path / f"b{start}") as board, Runner(board.path) as runner:
            refusal = runner.command("db 00")
        boot = [re.sub(r"\d+$", "N", line) for line in runner.greeting[: runner.greeting.index("m-ready") + 1]]
        if boot[0] == "m-timestamp-mode-performance":
            break
    assert boot == ["m-timestamp-mode-performance", "m-lap-us-N", "m-init-done", "m-ready"]
    assert refusal == ["e-[Command 'db load' must come first]"]


@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
def test_the_command_runs_until_it_is_terminated_and_leaves_no_emulator(scenes: Bundle, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tinyscene", "firmware", "serial", str(scenes.path), "--target", "cortex-m55"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "TEST_RUN": str(tmp_path)}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as board:
        assert board.stdout is not None
        try:
            path, _, rest = board.stdout.readline().partition(": ")
            assert "Cortex-M55" in rest
            with Runner(path) as runner:
                assert runner.command("name") == ["m-name-dut-[tinyscene]"]
            board.terminate()
            assert board.wait(timeout=30) == 128 + signal.SIGTERM
        finally:
            board.kill()  # otherwise leaving the block would wait for ever
    assert not os.path.exists(path)
    assert list(tmp_path.iterdir()) == []
    assert left_over(f"TEST_RUN={tmp_path}") == []


def test_a_machine_without_a_known_port_is_refused(scenes: Bundle, capsys) -> None:
    assert command_line.main(["firmware", "serial", str(scenes.path), "--target", "riscv32"]) == 2
    assert "serial port of riscv32: unknown; expected cortex-m0plus or" in capsys.readouterr().err
