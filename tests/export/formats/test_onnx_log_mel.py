"""The front end in ONNX Runtime against NumPy, in codes of the int8 input; and one file from samples to scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile

from tinyscene.export.errors import ExportError
from tinyscene.export.formats.onnx_log_mel import LOG_MEL, SAMPLES, frontend_onnx, with_frontend
from tinyscene.runtime.arith import quantise
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.log_mel import LogMel
from tinyscene.runtime.spec import PRESETS, preset


def _session(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def _signals(n: int) -> dict[str, np.ndarray]:
    rng, t = np.random.default_rng(0), np.arange(n) / 32_000
    signals = {
        "silence": np.zeros(n),
        "square": np.sign(np.sin(2 * np.pi * 50 * t)),
        "chirp": 0.5 * np.sin(2 * np.pi * (20 + 7000 * t) * t),
        "impulse": np.eye(1, n, n // 2)[0],
        **{f"noise {db} dB": 10 ** (db / 20) * rng.standard_normal(n).clip(-3, 3) / 3 for db in (-60, -20, 0)},
    }
    return {name: signal.astype(np.float32) for name, signal in signals.items()}


def _codes(log_mel: np.ndarray, floor: float) -> np.ndarray:
    scale = (2.9 - floor) / 255 if floor < 2 else 0.1
    return quantise(log_mel, Quant.per_tensor(scale, round(-128 - floor / scale) if floor < 2 else 0)).astype(int)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_within_a_code(name: str) -> None:
    spec = preset(name)
    session, log_mel = _session(frontend_onnx(spec).SerializeToString()), LogMel(spec)
    wrong = n_values = 0
    for signal in _signals(spec.clip_samples).values():
        (got,) = session.run([LOG_MEL], {SAMPLES: signal[None]})
        wanted = log_mel(signal)
        assert got.shape == (1, 1, *wanted.shape)
        off = np.abs(_codes(got[0, 0], spec.floor) - _codes(wanted, spec.floor))
        assert off.max() <= 1
        wrong, n_values = wrong + int(off.sum()), n_values + off.size
    assert wrong <= 1e-3 * n_values


@pytest.mark.parametrize("network", ["model.onnx", "model_float.onnx"])
def test_one_file_from_samples_to_scores(network: str, tiny_bundle: Bundle) -> None:
    spec = tiny_bundle.frontend
    merged, alone = _session(with_frontend(tiny_bundle.file(network), spec)), _session(tiny_bundle.file(network))
    assert [i.name for i in merged.get_inputs()] == [SAMPLES]
    assert [o.name for o in merged.get_outputs()] == [o.name for o in alone.get_outputs()]
    step = tiny_bundle.graph.tensors[tiny_bundle.graph.output].quant.scale[0] if network == "model.onnx" else 1e-3
    for signal in _signals(spec.clip_samples).values():
        (got,) = merged.run(None, {SAMPLES: signal[None]})
        (wanted,) = alone.run(None, {alone.get_inputs()[0].name: LogMel(spec)(signal)[None, None]})
        assert np.abs(got - wanted).max() <= 2.01 * step


def test_real_audio_within_a_code(shared_data: Path) -> None:
    spec = preset("cpm23")
    session = _session(frontend_onnx(spec).SerializeToString())
    paths = sorted((shared_data / "taipei" / "audio").rglob("*.flac"))[::6]
    off = []
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32", frames=spec.clip_samples)
        assert rate == spec.sample_rate_hz
        (got,) = session.run(None, {SAMPLES: samples[None]})
        off.append(np.abs(_codes(got[0, 0], spec.floor) - _codes(LogMel(spec)(samples), spec.floor)))
    assert np.max(off) <= 1
    assert np.mean(off) < 1e-3


def test_another_front_end_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(ExportError, match="does not have the shape of the log-mel of front end 'dcase25'"):
        with_frontend(tiny_bundle.file("model.onnx"), preset("dcase25"))
