"""`tinyscene firmware` on a bundle: what it writes, prints, answers and refuses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.firmware_harness.machines import on_each
from tests.graphs import random_input, small_net
from tinyscene import command_line
from tinyscene.firmware_harness.build.targets import CORTEX_M0PLUS, CORTEX_M33, CORTEX_M55, RISCV32
from tinyscene.runtime.bundle import BundleContent, Golden, write_bundle
from tinyscene.runtime.manifest import Provenance
from tinyscene.runtime.spec import preset

LABELS = tuple(f"scene_{i}" for i in range(10))
FRONTEND = replace(preset("cpm23"), name="small", n_mels=20, hop_length=2400, clip_samples=32_001)
needs_m4 = pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
needs_host = pytest.mark.needs_tool("gcc")


def _bundle(folder: Path, spoil: Callable[[dict[str, Any]], None] | None = None) -> Path:
    graph = replace(small_net(np.random.default_rng(3), grn=True), labels=LABELS)
    codes = random_input(np.random.default_rng(4), graph, 3)
    golden = Golden.of(graph, codes)
    if spoil:
        spoil(golden.activations)
    path = folder / "scenes"
    provenance = Provenance("made up", {}, {"constant_channels_removed": 37})
    write_bundle(path, BundleContent(graph, FRONTEND, b"TFL3", b"onnx", golden), provenance)
    return path


@needs_m4
def test_m4_run_matches_and_prints_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["firmware", str(_bundle(tmp_path)), "--target", "cortex-m4", "--run"]) == 0
    shown = capsys.readouterr().out
    for i in range(3):
        assert f"vector {i}: match" in shown
    assert "MISMATCH" not in shown
    assert "removed                  37 channels that are the same for every input, by export" in shown
    for figure in ("flash ", "RAM arena ", "RAM static ", "RAM stack ", "instructions "):
        assert figure in shown
    assert "every byte of every layer matches: Cortex-M4F, QEMU mps2-an386, rounding double, 3 vectors" in shown
    folder = tmp_path / "scenes-firmware"
    assert {"model.c", "model.h", "ts_conv2d.c", "firmware.elf"} < {path.name for path in folder.iterdir()}
    assert '#define TS_MODEL_LABELS {"scene_0", ' in (folder / "model.h").read_text()
    assert (
        b"ARM"
        in subprocess.run(
            ["arm-none-eabi-readelf", "-h", str(folder / "firmware.elf")], capture_output=True, check=True
        ).stdout
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scenes", "scenes-firmware"]


@needs_m4
@pytest.mark.parametrize("optimise", ["speed", "ram", "balanced"])
def test_several_layers_in_one_call_match_where_they_can_be_seen(
    optimise: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path / "cache"))
    words = ["firmware", str(_bundle(tmp_path)), "--run", "--optimise", optimise]
    assert command_line.main(words) == 0
    shown = capsys.readouterr().out
    assert "every byte of every call matches" in shown
    assert " + " in shown  # layers inside a call
    assert command_line.main([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert sorted(i for call in record["calls"] for i in call["layers"]) == list(range(len(record["layers"])))
    assert all(call["instructions"] >= 0 for call in record["calls"])
    assert (record["tuning"] is not None) == (optimise == "balanced")


@needs_m4
def test_tune_shows_every_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way of each stretch with its count, and the modes beside each other; the same as JSON."""
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path / "cache"))
    words = ["firmware", str(_bundle(tmp_path)), "--tune"]
    assert command_line.main([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    stretches, modes = record["tuning"]["stretches"], record["tuning"]["modes"]
    assert [name for stretch in stretches for name in stretch["layers"]] == [row["name"] for row in record["layers"]]
    chosen = [way for stretch in stretches for way in stretch["ways"] if way["chosen"]]
    assert len(chosen) == len(stretches) < sum(len(stretch["ways"]) for stretch in stretches)
    assert sum(way["instructions"] for way in chosen) == modes["balanced"]["instructions"]
    assert [call["kernel"] for call in record["calls"]] == [kernel for way in chosen for kernel in way["kernels"]]
    assert record["figures"]["arena_bytes"] == modes["balanced"]["arena_bytes"] >= modes["ram"]["arena_bytes"]

    assert command_line.main(words) == 0
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if " ts_" in line]
    ways = [way for stretch in stretches for way in stretch["ways"]]
    for row, way in zip(rows, ways, strict=True):
        assert row.split("ts_", 1)[1].split()[-1] == ("*" if way["chosen"] else f"{way['instructions']:,}")
        assert f" {way['instructions']:,} " in row
    for mode, cost in modes.items():
        assert f"{mode:<13} {cost['instructions']:>13,} instructions, arena {cost['arena_bytes']:,} B" in shown


def test_tune_is_no_other_mode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["firmware", str(_bundle(tmp_path)), "--tune", "--optimise"]
    assert command_line.main([*words, "ram"]) == 2
    assert "--tune: counts choose; expected --optimise balanced, or none; got ram" in capsys.readouterr().err


def test_balanced_needs_a_machine_that_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["firmware", str(_bundle(tmp_path)), "--target", "host", "--optimise", "balanced"]
    assert command_line.main(words) == 2
    assert "no counter" in capsys.readouterr().err


@on_each([CORTEX_M0PLUS, CORTEX_M33, CORTEX_M55, RISCV32])
def test_other_targets_match_too(target, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["firmware", str(_bundle(tmp_path)), "--target", target.name, "--run"]) == 0
    shown = capsys.readouterr().out
    assert f"every byte of every layer matches: {target.title}, rounding double, 3 vectors" in shown


@needs_m4
@pytest.mark.parametrize("rounding", ["double", "single"])
def test_json_says_the_same(rounding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "firmware",
        str(_bundle(tmp_path)),
        "--run",
        "--json",
        "--rounding",
        rounding,
        "--out",
        str(tmp_path / "c"),
    ]
    assert command_line.main(words) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["match"] is True
    assert (record["target"], record["rounding"]) == ("cortex-m4", rounding)
    assert record["vectors"] == [{"match": True, "differences": []}] * 3
    assert all(value > 0 for value in record["figures"].values())
    assert record["figures"]["instructions"] % 40 == 0
    assert record["digest"] in (tmp_path / "c" / "model.h").read_text()
    assert record["constant_channels_removed"] == 37


@needs_host
def test_a_mismatch_is_named_and_answers_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def spoil(activations: dict[str, Any]) -> None:
        changed = activations["double"]["add_5_out"].copy()
        changed[1, 2, 3, 4] ^= 1
        activations["double"]["add_5_out"] = changed

    assert command_line.main(["firmware", str(_bundle(tmp_path, spoil)), "--target", "host", "--run"]) == 1
    shown = capsys.readouterr().out
    assert "vector 0: match" in shown
    assert "vector 1: MISMATCH, layer 5 add_5, element (2, 3, 4): expected " in shown
    assert "; 1 of 560 elements differ" in shown
    assert "MISMATCH 2/3" in shown
    assert "every byte" not in shown


@needs_host
def test_a_second_call_replaces_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = _bundle(tmp_path), tmp_path / "out"
    out.mkdir()
    for _ in range(2):
        assert command_line.main(["firmware", str(path), "--target", "host", "--out", str(out)]) == 0
        assert (out / "model.c").is_file()
    assert "vector" not in capsys.readouterr().out


@needs_host
def test_brackets_in_names_are_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out[bold]"
    assert command_line.main(["firmware", str(_bundle(tmp_path)), "--target", "host", "--out", str(out)]) == 0
    assert f"C sources in {out}" in capsys.readouterr().out


@needs_host
def test_what_is_not_ours_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = _bundle(tmp_path), tmp_path / "src"
    assert command_line.main(["firmware", str(path), "--target", "host", "--out", str(out)]) == 0
    (out / "main.c").write_text("int main(void) { return 0; }\n")
    assert command_line.main(["firmware", str(path), "--target", "host", "--out", str(out)]) == 2
    assert "exists and has other files; expected a new folder" in capsys.readouterr().err
    assert (out / "main.c").is_file()
    assert command_line.main(["firmware", str(path), "--target", "host", "--out", str(path / "graph.json")]) == 2
    assert command_line.main(["firmware", str(path), "--target", "host", "--out", str(tmp_path / "no" / "where")]) == 2
    assert "its parent folder does not exist" in capsys.readouterr().err


def test_bad_words_are_one_line_and_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _bundle(tmp_path)
    for words, expected in (
        ([str(path), "--target", "cortex-m99"], "or cortex-m55 or riscv32; got cortex-m99"),
        ([str(tmp_path / "nothing")], "nothing"),
        ([str(path), "--rounding", "triple"], "triple"),
    ):
        assert command_line.main(["firmware", *words]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        assert expected in said
    assert [entry.name for entry in tmp_path.iterdir()] == ["scenes"]


@needs_host
def test_a_failed_build_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    path = _bundle(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command_line.main(["firmware", str(path)]) == 2
    assert "arm-none-eabi-gcc is not installed; next: apt-get install" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["scenes"]
