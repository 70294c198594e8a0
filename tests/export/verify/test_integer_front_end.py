"""From samples to label in integers: export, run, verify, firmware and its exports, for one small network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.firmware_harness.bundles import FRONTEND, LABELS
from tests.graphs import random_input, small_net
from tinyscene import command_line
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.export.targets import audio_inputs
from tinyscene.export.verify import signals
from tinyscene.export.verify.verify import verify_bundle
from tinyscene.firmware_harness.application import Application
from tinyscene.firmware_harness.build.targets import HOST, TARGETS
from tinyscene.runtime.bundle import Bundle, BundleContent, Golden, read_bundle, write_bundle
from tinyscene.runtime.manifest import Provenance
from tinyscene.runtime.tflite_write import to_tflite
from tinyscene.training.models.checkpoint import save_model
from tinyscene.training.models.config import named_config

IN_INTEGERS = replace(FRONTEND, arithmetic="integer")


def _run(*words: object) -> int:
    return command_line.main([str(word) for word in words])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    graph = replace(small_net(np.random.default_rng(3), grn=True), labels=LABELS)
    content = BundleContent(
        graph,
        IN_INTEGERS,
        to_tflite(graph),
        to_onnx(graph),
        Golden.of(graph, random_input(np.random.default_rng(4), graph, 2)),
    )
    return write_bundle(tmp_path_factory.mktemp("bundle") / "exact", content, Provenance("synthetic", {}))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "noise.wav"
    noise = np.random.default_rng(1).normal(0.0, 0.1, 2 * FRONTEND.clip_samples)
    soundfile.write(path, noise, FRONTEND.sample_rate_hz, subtype="PCM_16")
    return path


@pytest.mark.needs_tool("gcc", "arm-none-eabi-gcc", "qemu-system-arm")
def test_verify_compares_samples_to_codes_without_recordings(bundle: Bundle) -> None:
    result = verify_bundle(bundle, targets=("numpy-double", "c-cortex-m3"))
    assert [r.status for r in result.results] == ["equal"] * 2
    compared = [r.front_end for r in result.results]
    assert compared[0] is None
    codes = 2 * IN_INTEGERS.n_mels * IN_INTEGERS.n_frames
    assert all(c is not None and (c.codes_compared, c.codes_different) == (codes, 0) for c in compared[1:])


@pytest.mark.needs_tool("gcc")
def test_a_code_that_differs_is_a_difference(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = audio_inputs.LogMelFirmware.codes

    def off_by_one(self, *arguments, **options):
        codes = [code.copy() for code in exact(self, *arguments, **options)]
        codes[0].flat[7] ^= 1
        return codes

    monkeypatch.setattr(audio_inputs.LogMelFirmware, "codes", off_by_one)
    (result,) = verify_bundle(bundle, targets=("c-host",)).results
    assert result.status == "different"
    assert "own front end: 1 of" in result.note


def test_signals_reach_both_ends_of_the_range(bundle: Bundle) -> None:
    clips = signals.test_clips(IN_INTEGERS)
    assert clips.shape == (2, IN_INTEGERS.clip_samples)
    assert (clips.min(), clips.max()) == (-32768, 32767)


@pytest.mark.parametrize("machine", [HOST.name, "riscv32"])
@pytest.mark.parametrize("hop_s", [None, 4 * FRONTEND.hop_length / FRONTEND.sample_rate_hz])
def test_the_application_gives_the_codes_of_the_runtime(
    bundle: Bundle, recording: Path, machine: str, hop_s: float | None, needs_tool
) -> None:
    needs_tool(*(("gcc",) if machine == "host" else ("riscv64-unknown-elf-gcc", "qemu-system-riscv32")))
    result = Application(bundle, TARGETS[machine], hop_s=hop_s).classify(recording)
    assert len(result.hops) >= 2
    for hop, expected in zip(result.hops, result.expected, strict=True):
        assert np.abs(hop.scores - expected).max() < 1e-6  # the codes are equal; a softmax of them is of float
    assert result.matches


def test_run_follows_the_bundle(bundle: Bundle, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("run", bundle.path, recording, "--engine", "numpy-double", "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.needs_tool("gcc")
def test_export_chooses_the_arithmetic(tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from tinyscene.training.models.build import build_model

    torch.manual_seed(0)
    config = named_config("cpm23-8")
    save_model(tmp_path / "net.pt", build_model(config).eval(), config, FRONTEND, LABELS, {})
    words = ("export", tmp_path / "net.pt", "--ptq", recording, "--quiet")
    assert _run(*words, "--out", tmp_path / "float") == 0
    assert _run(*words, "--frontend-arithmetic", "integer", "--out", tmp_path / "exact") == 0
    by_default, exact = read_bundle(tmp_path / "float"), read_bundle(tmp_path / "exact")
    assert by_default.frontend == FRONTEND
    assert exact.frontend == IN_INTEGERS
    assert "audio_to_scores.onnx" in by_default.manifest.files
    assert "audio_to_scores.onnx" not in exact.manifest.files
    assert _run("verify", tmp_path / "exact", "--targets", "numpy-single,c-host,ort,litert", "--quiet") == 0
    capsys.readouterr()
    assert _run(*words, "--frontend-arithmetic", "fixed", "--out", tmp_path / "other") == 2
    assert "'fixed' is not one of 'float', 'integer'" in capsys.readouterr().err.replace("\n", " ")


def test_exports_have_the_files_of_the_arithmetic(bundle: Bundle, tmp_path: Path) -> None:
    assert _run("firmware", "export", bundle.path, "--as", "makefile", "--out", tmp_path / "out", "--quiet") == 0
    sources = {path.name: path.read_text(errors="replace") for path in (tmp_path / "out").rglob("*.[ch]")}
    assert any("high_short" in text for text in sources.values())
    assert not any("step_of_six" in text for text in sources.values())
