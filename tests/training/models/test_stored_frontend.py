"""Front ends of published checkpoints: what the file shows is compared with the presets, and never dropped."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

from tests.training.models.wrappers import baseline_tables, resampling_kernel, torchaudio_bank, under, weights
from tinyscene.runtime.log_mel import mel_bank
from tinyscene.runtime.spec import PRESETS, FrontendSpec, preset
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.checkpoint import LoadedModel, load_any
from tinyscene.training.models.mel_bank_fit import TOLERANCE, fitted_bank

NET = under("model.", weights())


def loaded(tmp_path: Path, beside: dict[str, torch.Tensor], **values: object) -> LoadedModel:
    torch.save({"state_dict": {**NET, **beside}, **values}, tmp_path / "net.ckpt")
    return load_any(tmp_path / "net.ckpt")


def test_the_tables_of_the_baseline_show_its_front_end(tmp_path: Path) -> None:
    read = loaded(tmp_path, baseline_tables())  # in a network whose published relatives have another
    assert read.frontend == preset("dcase25")
    assert "'dcase25', as shown by the mel bank" in read.notes[-1]
    assert "assumed: hop_length 500" in read.notes[-1]


def test_without_tables_the_front_end_is_assumed_in_one_note(tmp_path: Path) -> None:
    read = loaded(tmp_path, {})
    assert read.frontend == preset("cpm23")
    assert "'cpm23' is assumed" in read.notes[-1]


BANKS = [
    (44_100, 4096, 256, 0, 22_050),
    (32_000, 1024, 128, 0, 16_000),
    (22_050, 1024, 128, 0, 11_025),
    (16_000, 512, 64, 20, 7_600),
    (48_000, 2048, 128, 50, 14_000),
    (32_000, 4096, 256, 0, 15_500),  # as cpm23 but with HTK's triangles
]


@pytest.mark.parametrize(
    ("bank", "kind"),
    [*((bank, torch.float32) for bank in BANKS), (BANKS[0], torch.float16), (BANKS[-1], torch.bfloat16)],
)
def test_a_bank_of_its_own_becomes_a_front_end(bank: tuple[int, ...], kind: torch.dtype, tmp_path: Path) -> None:
    rate, n_fft, n_mels, low, high = bank
    stored = torchaudio_bank(*bank).to(kind)
    read = loaded(tmp_path, {"mel.1.mel_scale.fb": stored, "mel.1.spectrogram.window": torch.hann_window(n_fft // 2)})
    spec = read.frontend
    assert (spec.sample_rate_hz, spec.n_fft, spec.n_mels, spec.mel_scale) == (rate, n_fft, n_mels, "htk")
    assert (spec.f_min_hz, spec.f_max_hz, spec.win_length, spec.window) == (low, high, n_fft // 2, "hann_periodic")
    assert spec.clip_samples == rate
    difference = np.abs(mel_bank(spec) - stored.double().numpy().T).max()
    assert difference <= TOLERANCE + torch.finfo(kind).eps / 4
    assert f"sample_rate_hz {rate}" in read.notes[-1]


def test_every_preset_is_recovered_from_its_bank() -> None:
    for spec in PRESETS.values():
        for bank in (mel_bank(spec), mel_bank(replace(spec, f_max_hz=12_300.0, f_min_hz=30.0))):
            found = fitted_bank(bank.astype(np.float64), TOLERANCE)
            assert isinstance(found, FrontendSpec)
            assert (found.n_mels, found.n_fft, found.mel_scale) == (spec.n_mels, spec.n_fft, spec.mel_scale)
            np.testing.assert_allclose(mel_bank(found), bank, atol=TOLERANCE)


def slaney(norm: str | None) -> torch.Tensor:
    return torch.from_numpy(librosa.filters.mel(sr=32_000, n_fft=2048, n_mels=128, fmax=16_000, norm=norm))


REFUSED: dict[str, tuple[dict[str, torch.Tensor], str]] = {
    "Slaney": ({"mel_basis": slaney(None)}, "128 bands of 1025 bins, bins 1 to 1023, largest weight 1, spaced on a Sl"),
    "Slaney by area": ({"frontend.melW": slaney("slaney")}, "spaced on a Slaney scale, normalised by area"),
    "a bank by content": ({"buffers.x": slaney("slaney")}, "'state_dict.buffers.x': a mel bank that no front end"),
    "half of a bank": ({"mel.fb": torchaudio_bank(32_000, 4096, 256, 0, 16_000) / 2}, "largest weight 0.5"),
    "no bank": ({"mel.1.mel_scale.fb": torch.zeros(3, 4)}, "a mel bank of another size"),
    "zeros": ({"mel.fb": torch.zeros(513, 64)}, "all zeros"),
    "not a number": ({"mel.fb": torch.full((513, 64), torch.nan)}, "a mel bank that is not finite"),
    "too large": ({"mel.fb": torch.zeros(9000, 600)}, "a mel bank of another size"),
    "Hamming": ({"mel.1.spectrogram.window": torch.hamming_window(3072)}, "a window that no front end has"),
    "odd window": ({"window": torch.hann_window(401)}, "got 401 samples"),
    "pre-emphasis": ({"preemphasis_coefficient": torch.tensor([[[0.5, 0.5]]])}, "a pre-emphasis that no front end has"),
    "another rate": (
        {"mel.0.kernel": resampling_kernel(44_100, 16_000)},
        "got 160 x 1 x 475, 22,050 to 8,000 Hz or 44,100 to 16,000 Hz",
    ),
    "two banks": (
        {"a.fb": torchaudio_bank(*BANKS[0]), "b.fb": torchaudio_bank(*BANKS[1])},
        "contradict each other in sample_rate_hz",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_front_end_computes_is_refused_unless_one_is_given(name: str, tmp_path: Path) -> None:
    beside, message = REFUSED[name]
    with pytest.raises(TrainingError, match=re.escape(message)) as refusal:
        loaded(tmp_path, beside)
    assert "--frontend PRESET|FILE.json" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert load_any(tmp_path / "net.ckpt", frontend="dcase25").frontend == preset("dcase25")


def test_a_copy_of_the_training_does_not_show_the_front_end(tmp_path: Path) -> None:
    read = loaded(tmp_path, {"teacher.mel.fb": torchaudio_bank(*BANKS[1]), **baseline_tables()})
    assert read.frontend == preset("dcase25")


def test_settings_are_compared(tmp_path: Path) -> None:
    values = {"n_mels": 256, "resample_rate": 32_000, "hop_size": 750, "fmax": None, "lr": 1e-3, "window_size": "3072"}
    assert loaded(tmp_path, {}, hyper_parameters={"config": values}).frontend == preset("cpresnet")
    read = loaded(tmp_path, {}, hyper_parameters={**values, "hop_size": 640})
    assert read.frontend == replace(preset("cpm23"), hop_length=640, name="imported")
    assert "hop_length 640" in read.notes[-1]
    with pytest.raises(TrainingError, match="contradict each other in n_mels; expected 256 as shown by the mel bank"):
        loaded(tmp_path, baseline_tables(), hyper_parameters={"n_mels": 128})
    with pytest.raises(TrainingError, match="does not compute"):
        loaded(tmp_path, {}, hyper_parameters={"n_fft": 10**9})
    with pytest.raises(TrainingError, match="does not compute"):
        loaded(tmp_path, {}, hyper_parameters={"hop": 1})
    assert loaded(tmp_path, {}, hyper_parameters={"n_mels": True, "n_fft": "many"}).frontend == preset("cpm23")


def test_pre_emphasis_is_shown(tmp_path: Path) -> None:
    read = loaded(tmp_path, {"mel.preemphasis_coefficient": torch.tensor([[[-0.9, 1.0]]])})
    assert read.frontend.pre_emphasis == 0.9
    assert json.dumps(read.frontend.to_json())
