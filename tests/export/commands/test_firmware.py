"""`tinyscene firmware`: files, output, exit codes and refusals, for a bundle and for a TFLite file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.firmware_harness.bundles import small_bundle
from tests.firmware_harness.machines import on_each
from tinyscene import command_line
from tinyscene.firmware_harness.build.targets import CORTEX_M0PLUS, CORTEX_M55, RISCV32
from tinyscene.runtime.bundle import read_bundle
from tinyscene.runtime.tflite_write import to_tflite

needs_m4 = pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
needs_host = pytest.mark.needs_tool("gcc")


@needs_m4
def test_m4_run_matches_and_prints_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["firmware", str(small_bundle(tmp_path)), "--target", "cortex-m4", "--run"]) == 0
    shown = capsys.readouterr().out
    for i in range(3):
        assert f"vector {i}: match" in shown
    assert "MISMATCH" not in shown
    assert "removed                  37 channels that are the same for every input" in shown
    for figure in ("flash ", "RAM arena ", "RAM static ", "RAM stack ", "instructions "):
        assert figure in shown
    assert "every byte of every call matches: Cortex-M4F, QEMU mps2-an386, rounding double, 3 vectors" in shown
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
@pytest.mark.parametrize(
    "optimise", ["ram", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("speed", "balanced"))]
)
def test_fused_calls_match(
    optimise: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path / "cache"))
    words = ["firmware", str(small_bundle(tmp_path)), "--run", "--optimise", optimise]
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
    """Every variant of every segment with its count, and every mode; the same as JSON."""
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path / "cache"))
    words = ["firmware", str(small_bundle(tmp_path)), "--tune"]
    assert command_line.main([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    segments, modes = record["tuning"]["stretches"], record["tuning"]["modes"]
    assert [name for segment in segments for name in segment["layers"]] == [row["name"] for row in record["layers"]]
    chosen = [variant for segment in segments for variant in segment["ways"] if variant["chosen"]]
    assert len(chosen) == len(segments) < sum(len(segment["ways"]) for segment in segments)
    assert sum(variant["instructions"] for variant in chosen) == modes["balanced"]["instructions"]
    assert [call["kernel"] for call in record["calls"]] == [
        kernel for variant in chosen for kernel in variant["kernels"]
    ]
    assert record["figures"]["arena_bytes"] == modes["balanced"]["arena_bytes"] >= modes["ram"]["arena_bytes"]

    assert command_line.main(words) == 0
    shown = capsys.readouterr().out
    rows = [line.split() for line in shown.splitlines()]
    for variant in (variant for segment in segments for variant in segment["ways"]):
        figures = [f"{variant['instructions']:,}", f"{variant['cycles']:,.0f}", *(["*"] if variant["chosen"] else [])]
        assert any(row[-len(figures) :] == figures for row in rows)
    assert f"cycles on     {record['tuning']['machine']}" in shown
    for mode, cost in modes.items():
        figures = f"{cost['instructions']:>13,} instructions, {cost['cycles']:,.0f} cycles"
        assert f"{mode:<13} {figures}, arena {cost['arena_bytes']:,} B" in shown


def test_tune_conflicts_with_other_modes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["firmware", str(small_bundle(tmp_path)), "--tune", "--optimise"]
    assert command_line.main([*words, "ram"]) == 2
    assert (
        "--tune: chooses by counts; expected --optimise balanced, or no --optimise; got ram" in capsys.readouterr().err
    )


def test_balanced_needs_a_counter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["firmware", str(small_bundle(tmp_path)), "--target", "host", "--optimise", "balanced"]
    assert command_line.main(words) == 2
    assert "no instruction counter" in capsys.readouterr().err


@on_each([CORTEX_M0PLUS, CORTEX_M55, RISCV32])
def test_other_targets_match_too(target, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["firmware", str(small_bundle(tmp_path)), "--target", target.name, "--run"]) == 0
    shown = capsys.readouterr().out
    part = "call" if target is CORTEX_M55 else "layer"  # of which nothing is fused
    assert f"every byte of every {part} matches: {target.title}, rounding double, 3 vectors" in shown


@needs_m4
@pytest.mark.parametrize("rounding", ["double", "single"])
def test_json_output(rounding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "firmware",
        str(small_bundle(tmp_path)),
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
def test_a_mismatch_is_named_and_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def alter(activations: dict[str, Any]) -> None:
        changed = activations["double"]["add_5_out"].copy()
        changed[1, 2, 3, 4] ^= 1
        activations["double"]["add_5_out"] = changed

    assert command_line.main(["firmware", str(small_bundle(tmp_path, alter)), "--target", "host", "--run"]) == 1
    shown = capsys.readouterr().out
    assert "vector 0: match" in shown
    assert "vector 1: MISMATCH, layer 5 add_5, element (2, 3, 4): expected " in shown
    assert "; 1 of 560 elements differ" in shown
    assert "MISMATCH 2/3" in shown
    assert "every byte" not in shown


@needs_host
def test_a_second_call_replaces_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = small_bundle(tmp_path), tmp_path / "out"
    out.mkdir()
    for _ in range(2):
        assert command_line.main(["firmware", str(path), "--target", "host", "--out", str(out)]) == 0
        assert (out / "model.c").is_file()
    assert "vector" not in capsys.readouterr().out


@needs_host
def test_brackets_in_names_are_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out[bold]"
    assert command_line.main(["firmware", str(small_bundle(tmp_path)), "--target", "host", "--out", str(out)]) == 0
    assert f"C sources in {out}" in capsys.readouterr().out


@needs_host
def test_other_files_are_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = small_bundle(tmp_path), tmp_path / "src"
    assert command_line.main(["firmware", str(path), "--target", "host", "--out", str(out)]) == 0
    (out / "main.c").write_text("int main(void) { return 0; }\n")
    assert command_line.main(["firmware", str(path), "--target", "host", "--out", str(out)]) == 2
    assert "exists and has other files; expected a new folder" in capsys.readouterr().err
    assert (out / "main.c").is_file()
    assert command_line.main(["firmware", str(path), "--target", "host", "--out", str(path / "graph.json")]) == 2
    assert command_line.main(["firmware", str(path), "--target", "host", "--out", str(tmp_path / "no" / "where")]) == 2
    assert "its parent folder does not exist" in capsys.readouterr().err


def test_invalid_arguments_are_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = small_bundle(tmp_path)
    for words, expected in (
        ([str(path), "--target", "cortex-m99"], "or cortex-m55 or riscv32 or xtensa"),
        ([str(tmp_path / "nothing")], "nothing"),
        ([str(path), "--rounding", "triple"], "triple"),
    ):
        assert command_line.main(["firmware", *words]) == 2
        message = capsys.readouterr().err
        assert message.startswith("error: ")
        assert message.count("\n") == 1
        assert expected in message
    assert [entry.name for entry in tmp_path.iterdir()] == ["scenes"]


@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
def test_float_rounding_without_a_float_unit_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = small_bundle(tmp_path)
    for rounding, named in (("single", True), ("double", False)):
        words = ["--target", "cortex-m0plus", "--rounding", rounding, "--out", str(tmp_path / rounding)]
        assert command_line.main(["firmware", str(path), *words]) == 0
        assert ("`--rounding double` takes fewer instructions" in capsys.readouterr().out) is named


@needs_host
def test_a_failed_build_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    path = small_bundle(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command_line.main(["firmware", str(path)]) == 2
    assert "arm-none-eabi-gcc is not installed; next: apt-get install" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["scenes"]


@needs_host
def test_a_bundle_needs_no_extra(tmp_path: Path, repository: Path) -> None:
    """The base install has none of these packages."""
    extras = ("torch", "lightning", "onnx", "onnxruntime", "jinja2", "elftools", "intelhex", "flatbuffers")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({extras}))\n"
        "from tinyscene.command_line import main\nsys.exit(main(sys.argv[1:]))"
    )
    words = ["firmware", str(small_bundle(tmp_path)), "--target", "host", "--out", str(tmp_path / "out")]
    ran = subprocess.run([sys.executable, "-c", code, *words], cwd=repository, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out" / "model.c").is_file()


@needs_host
def test_the_model_is_read_by_its_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a folder's name nor the name of another argument selects the reader."""
    bundle = small_bundle(tmp_path).rename(tmp_path / "bundle.tflite")
    words = ["--target", "host", "--json"]
    assert command_line.main(["firmware", str(bundle), "--out", str(tmp_path / "out.tflite"), *words]) == 0
    assert json.loads(capsys.readouterr().out)["constant_channels_removed"] == 37
    file = tmp_path / "model.bin"
    file.write_bytes(to_tflite(read_bundle(bundle).graph))
    assert command_line.main(["firmware", str(file), "--run", *words]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["match"], record["constant_channels_removed"]) == (True, 1)
    assert Path(record["folder"]).name == "model.bin-firmware"
    assert command_line.main(["firmware", str(file), "--application", *words]) == 2
    assert "has no front end, which makes the network's input from audio" in capsys.readouterr().err
