"""Log-mel in PyTorch equals the NumPy definition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tinyscene.runtime.log_mel import LogMel
from tinyscene.runtime.spec import PRESETS, preset
from tinyscene.training.errors import TrainingError
from tinyscene.training.transforms.log_mel import TorchLogMel


def noise(clips: int, samples: int = 32_000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.standard_normal((clips, samples)) * 10 ** rng.uniform(-4, -1, (clips, 1))).astype(np.float32)


@pytest.mark.parametrize("name", PRESETS)
def test_equals_numpy(name: str) -> None:
    spec, samples = preset(name), noise(19)
    ours = TorchLogMel(spec)(torch.from_numpy(samples)).numpy()
    assert ours.shape == (19, 1, spec.n_mels, spec.n_frames)
    np.testing.assert_allclose(ours[:, 0], [LogMel(spec)(clip) for clip in samples], atol=1e-4)


def test_equals_published_log_mel(shared_data: Path) -> None:
    with np.load(shared_data / "golden" / "cpm23_real_weights.npz") as golden:
        ours = TorchLogMel(preset("cpm23"))(torch.from_numpy(golden["audio_32k"].astype(np.float32)))
        np.testing.assert_allclose(ours[:, 0].numpy(), golden["log_mel"], atol=1e-4)


def test_another_upper_edge_equals_that_front_end() -> None:
    spec, samples = preset("cpm23"), noise(2)
    log_mel = TorchLogMel(spec)
    before = log_mel(torch.from_numpy(samples))
    moved = log_mel(torch.from_numpy(samples), f_max_hz=15_123.0).numpy()
    other = LogMel(replace(spec, f_max_hz=15_123.0))
    np.testing.assert_allclose(moved[:, 0], [other(clip) for clip in samples], atol=1e-4)
    assert torch.equal(before, log_mel(torch.from_numpy(samples)))


def test_refusals() -> None:
    log_mel = TorchLogMel(preset("cpm23"))
    for samples in (torch.zeros(32_000), torch.zeros(2, 100)):
        with pytest.raises(TrainingError, match="batch of waveforms"):
            log_mel(samples)
