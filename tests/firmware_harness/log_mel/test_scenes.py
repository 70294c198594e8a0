"""The application from samples to labels: compared with Python hop by hop, truncated audio, and the command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile

from tests.firmware_harness.log_mel.signals import distance, expected_codes, typical_quant
from tests.graphs import small_net
from tinyscene import command_line
from tinyscene.firmware_harness.application import Application
from tinyscene.firmware_harness.build.image import build
from tinyscene.firmware_harness.build.targets import CORTEX_M4, CORTEX_M55, HOST
from tinyscene.firmware_harness.build.tools import run_tool
from tinyscene.firmware_harness.emit.log_mel import emit_frontend
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.firmware_harness.emit.schedule import Mode
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.run.audio import SceneFirmware, audio_bytes
from tinyscene.firmware_harness.run.emulate import run_image
from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.arrays import INT16_FULL_SCALE
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.log_mel import LogMel
from tinyscene.runtime.scores import softmax
from tinyscene.runtime.spec import preset

FRONTEND = replace(
    preset("cpm23"), name="small", n_fft=1024, win_length=800, hop_length=400, n_mels=20, clip_samples=8000
)
needs_host = pytest.mark.needs_tool("gcc")
needs_arm = pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")


def _graph(seed: int):
    """A network on the front end's output whose result depends on it."""
    return small_net(np.random.default_rng(seed), grn=False, shape=(FRONTEND.n_mels, FRONTEND.n_frames, 1))


def _recording(n: int):
    rng = np.random.default_rng(n)
    loudness = np.repeat(10 ** rng.uniform(0.5, 4, n // 3000 + 1), 3000)[:n]
    return np.clip(rng.standard_normal(n) * loudness, -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype("<i2")


def _answers(graph, columns, rounding):
    """Codes and scores for codes of the input (n_mels, n_frames)."""
    codes = run(graph, columns[None, :, :, None], rounding=rounding).reshape(-1)
    return codes, softmax(dequantise(codes, graph.tensors[graph.output].quant))


@needs_host
@pytest.mark.parametrize("rounding", ["double", "single"])
@pytest.mark.parametrize("hop_samples", [8000, 2000])
def test_every_hop_equals_python(hop_samples: int, rounding: str) -> None:
    graph = _graph(1)
    quant = graph.tensors[graph.input].quant
    firmware = SceneFirmware(emit(graph), FRONTEND, HOST, rounding, hop_samples=hop_samples, smoothed_hops=3)
    recording = _recording(41_111)
    hops = firmware.classify(recording)
    audio = recording.astype(np.float32) / np.float32(INT16_FULL_SCALE)
    if hop_samples == FRONTEND.clip_samples:
        images = [expected_codes(FRONTEND, quant, recording[at : at + 8000]) for at in range(0, 40_000, 8000)]
    else:
        from tinyscene.runtime.arith import quantise

        endless = quantise(LogMel(FRONTEND).stream().push(audio), quant)
        n_hops = 1 + (endless.shape[1] - FRONTEND.n_frames) // 5
        images = [endless[:, 5 * i : 5 * i + FRONTEND.n_frames] for i in range(n_hops)]
    assert len(hops) == len(images)
    mean = np.zeros(graph.tensors[graph.output].n_bytes)
    seen = set()
    for i, (hop, image) in enumerate(zip(hops, images, strict=True)):
        codes, scores = _answers(graph, image, rounding)
        assert np.array_equal(hop.codes, codes)
        np.testing.assert_allclose(hop.scores, scores, atol=2e-6)
        mean += (scores - mean) / min(i + 1, 3)
        np.testing.assert_allclose(hop.smoothed, mean, atol=5e-6)
        assert hop.label == np.argmax(hop.codes)
        assert hop.smoothed_label == np.argmax(hop.smoothed)
        seen.add(codes.tobytes())
    assert len(seen) > 2


@needs_host
def test_the_smoothed_score_of_a_short_file_is_the_mean() -> None:
    firmware = SceneFirmware(emit(_graph(2)), FRONTEND, HOST)
    hops = firmware.classify(_recording(40_000))
    np.testing.assert_allclose(hops[-1].smoothed, np.mean([hop.scores for hop in hops], axis=0), atol=1e-6)


@needs_arm
@needs_host
@pytest.mark.parametrize("target", [CORTEX_M4, CORTEX_M55], ids=lambda target: target.name)
def test_emulated_targets_give_the_results_of_the_host(target) -> None:
    graph, recording = _graph(3), _recording(24_000)
    on_host = SceneFirmware(emit(graph), FRONTEND, HOST).classify(recording)
    firmware = SceneFirmware(emit(graph), FRONTEND, target)
    on_target = firmware.classify(recording)
    assert [hop.codes.tolist() for hop in on_target] == [hop.codes.tolist() for hop in on_host]
    for a, b in zip(on_host, on_target, strict=True):
        np.testing.assert_allclose(a.smoothed, b.smoothed, atol=1e-6)
    assert firmware.instructions is not None
    assert 500_000 < firmware.instructions < 30_000_000
    assert firmware.stack_bytes is not None
    assert 256 < firmware.stack_bytes < 2048


@pytest.mark.parametrize("target", [HOST, CORTEX_M4], ids=lambda target: target.name)
@pytest.mark.parametrize(
    ("audio", "complaint"),
    [
        (audio_bytes(_recording(7999)), "the audio is truncated or shorter than one clip"),
        (audio_bytes(_recording(20_000))[:-2], "the audio is truncated or shorter than one clip"),
        (audio_bytes(_recording(20_000))[:-1], "the audio is truncated or shorter than one clip"),
        (b"\x01\x02", "could not read the vectors"),
    ],
    ids=["less than a clip", "a sample missing", "half a sample", "no count"],
)
def test_truncated_audio_is_refused(target, audio: bytes, complaint: str, needs_tool, tmp_path: Path) -> None:
    needs_tool("gcc") if target is HOST else needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
    graph = _graph(3)
    frontend = emit_frontend(FRONTEND, graph.tensors[graph.input].quant)
    image = build(emit(graph), target, "double", program="scenes", frontend=frontend)
    with pytest.raises(FirmwareError, match=f"running on {target.name}: {complaint}"):
        run_image(image, audio, 60.0)


def test_a_front_end_for_another_input_is_refused() -> None:
    graph = small_net(np.random.default_rng(0), grn=False)
    with pytest.raises(FirmwareError, match=r"input: not a log-mel; expected .*, the log-mel of front end 'small'"):
        SceneFirmware(emit(graph), FRONTEND, HOST)


@needs_host
def test_the_input_codes_agree_too() -> None:
    """The network's input agrees with Python, not only the labels."""
    from tinyscene.firmware_harness.run.audio import LogMelFirmware

    quant, clip = typical_quant(FRONTEND), _recording(8000)
    (codes,) = LogMelFirmware(FRONTEND, quant, HOST).codes([[clip]])
    assert distance(codes, expected_codes(FRONTEND, quant, clip))[0] >= 0.999


@needs_arm
@pytest.mark.parametrize("target", [CORTEX_M4, CORTEX_M55], ids=lambda target: target.name)
def test_taipei_from_file_to_label(target, tiny_bundle, shared_data: Path) -> None:
    """At least 99.5 % of the labels are those of `tinyscene run`; the others are near-ties."""
    application = Application(tiny_bundle, target)
    recordings = sorted((shared_data / "taipei" / "audio").rglob("*.flac"))[::12]
    n_hops = n_equal = 0
    for path in recordings:
        result = application.classify(path)
        n_hops, n_equal = n_hops + len(result.hops), n_equal + result.equal_labels
        for hop, scores in zip(result.hops, result.expected, strict=True):
            assert scores.max() - scores[hop.label] < 0.05
    assert n_hops >= 50
    assert n_equal >= 0.995 * n_hops


@needs_arm
@pytest.mark.parametrize(
    "target", [CORTEX_M55, pytest.param(CORTEX_M4, marks=pytest.mark.slow)], ids=lambda target: target.name
)
def test_every_mode_gives_the_same_results(
    target, tiny_bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codes, scores and labels of each hop; `ram` needs less memory than `layers`; the arena is the linked one."""
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path / "cache"))
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, _recording(70_000), 32_000, subtype="PCM_16")
    results, arenas = {}, {}
    for mode in get_args(Mode):
        application = Application(tiny_bundle, target, optimise=mode)
        results[mode] = application.classify(clip)
        arenas[mode] = application.firmware.emitted.plan.arena_bytes
        listing = run_tool([target.toolchain.tool("size"), "-A", str(application.firmware.image.path)], target)
        assert re.search(rf"^\.arena +{application.arena_bytes} ", listing, re.MULTILINE)
    for other in results.values():
        assert other.equal_labels == len(other.hops) == 2
        for hop, first in zip(other.hops, results["layers"].hops, strict=True):
            assert (hop.label, hop.smoothed_label) == (first.label, first.smoothed_label)
            assert np.array_equal(hop.codes, first.codes)
            assert np.array_equal(hop.smoothed, first.smoothed)
    assert arenas["ram"] <= arenas["balanced"] <= arenas["speed"] <= arenas["layers"]
    assert arenas["ram"] < 0.9 * arenas["layers"]


@needs_arm
def test_the_command_writes_runs_and_compares(tiny_bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, out = tmp_path / "clip.wav", tmp_path / "app"
    soundfile.write(clip, _recording(100_000), 32_000, subtype="PCM_16")
    words = ["firmware", str(tiny_bundle.path), "--application", "--out", str(out)]
    assert command_line.main([*words, "--run", str(clip)]) == 0
    shown = capsys.readouterr().out
    assert "3 of 3 labels agree with tinyscene run: Cortex-M4F" in shown
    assert "instructions " in shown
    names = {path.name for path in out.iterdir()}
    assert {"model.c", "frontend.h", "ts_scene.h", "ts_logmel.c", "ts_mel.c", "firmware.elf"} <= names
    assert command_line.main([*words, "--run", str(clip), "--hop", "0.5", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["match"] is True
    assert (record["hop_samples"], len(record["recordings"][0]["hops"])) == (16_000, 5)
    assert record["constant_channels_removed"] == tiny_bundle.constant_channels_removed


@needs_arm
def test_the_command_chooses_a_mode(
    tiny_bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path / "cache"))
    words = ["firmware", str(tiny_bundle.path), "--application", "--out", str(tmp_path / "app")]
    for mode in ("layers", "ram"):
        assert command_line.main([*words, "--optimise", mode]) == 0
        application = Application(tiny_bundle, CORTEX_M4, optimise=mode)  # type: ignore[arg-type]
        shown = capsys.readouterr().out
        assert f"RAM arena     {application.arena_bytes:>13,} B" in shown
        assert f"removed       {tiny_bundle.constant_channels_removed:>13,} channels" in shown
        assert (tmp_path / "app" / "model.c").read_text() == application.firmware.emitted.model_c
    assert command_line.main([*words, "--tune"]) == 0
    assert "balanced " in capsys.readouterr().out


def test_refusals_of_the_command_are_one_line(
    tiny_bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], needs_tool
) -> None:
    needs_tool("gcc")
    short = tmp_path / "short.wav"
    soundfile.write(short, _recording(20_000), 32_000, subtype="PCM_16")
    cut = tmp_path / "cut.wav"
    soundfile.write(cut, _recording(70_000), 32_000, subtype="PCM_16")
    cut.write_bytes(cut.read_bytes()[:-4001])
    bundle = ["firmware", str(tiny_bundle.path), "--target", "host", "--out", str(tmp_path / "app")]
    for words, complaint in [
        (["--application", "--run"], "--run needs recordings, and recordings need --run"),
        (["--application", str(short)], "--run needs recordings, and recordings need --run"),
        (["--run", str(short)], "belong to --application"),
        (["--hop", "0.5"], "belong to --application"),
        (["--application", "--hop", "0.3333"], "samples between results"),
        (["--application", "--run", str(short)], "the audio is truncated or shorter than one clip"),
        (["--application", "--run", str(cut)], "truncated audio file"),
        (["--application", "--run", str(tmp_path / "none.wav")], "no such file"),
    ]:
        assert command_line.main([*bundle, *words]) == 2
        error = capsys.readouterr().err
        assert complaint in error
        assert error.count("\n") == 1
