"""Calibration audio: spread over recordings, refused when there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tinyscene.export.errors import ExportError
from tinyscene.export.quantise.calibration import calibration_log_mels, network_images
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import LOG_MEL
from tinyscene.runtime.log_mel import LogMel
from tinyscene.runtime.spec import preset

SPEC = preset("cpm23")


def write(path: Path, seconds: float, seed: int, rate_hz: int = 32_000) -> np.ndarray:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, int(seconds * rate_hz)).astype(np.float32)
    sf.write(path, samples, rate_hz, subtype="FLOAT")
    return samples


def test_windows_come_from_every_recording(tmp_path: Path) -> None:
    long, short = write(tmp_path / "a.wav", 6.0, 0), write(tmp_path / "b.wav", 1.5, 1)
    write(tmp_path / "c.wav", 0.5, 2)  # shorter than a clip: contributes nothing
    log_mels = calibration_log_mels(tmp_path, SPEC, 6)
    assert log_mels.shape == (3, 256, 64)
    log_mel = LogMel(SPEC)
    assert np.array_equal(log_mels[0], log_mel(long[:32_000]))
    assert np.array_equal(log_mels[2], log_mel(short[:32_000]))
    assert network_images(log_mels)[LOG_MEL].shape == (3, 1, *log_mels.shape[1:])


def test_no_more_clips_than_asked(tmp_path: Path) -> None:
    for i in range(4):
        write(tmp_path / f"{i}.wav", 2.0, i)
    assert len(calibration_log_mels(tmp_path, SPEC, 3)) == 3


def test_folders_without_audio_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no audio")
    with pytest.raises(ExportError, match="no audio files for calibration"):
        calibration_log_mels(tmp_path, SPEC, 3)
    with pytest.raises(ExportError, match="no audio"):
        calibration_log_mels(tmp_path / "missing", SPEC, 3)


def test_recordings_shorter_than_a_clip_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 0.4, 0)
    with pytest.raises(ExportError, match="no recording is as long as one clip"):
        calibration_log_mels(tmp_path, SPEC, 3)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF but not really")
    with pytest.raises(RuntimeFailure, match=r"broken\.wav"):
        calibration_log_mels(tmp_path, SPEC, 3)
