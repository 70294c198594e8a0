"""Audio to calibrate on: one-second windows of a folder of recordings, as float log-mels.

Labels are not needed. Windows are spread evenly over all recordings, so that no long file outweighs the rest.
Refuses folders without audio; what :mod:`tinyscene.runtime.audio` refuses is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from tinyscene.runtime.arrays import F32
from tinyscene.runtime.audio import AUDIO_SUFFIXES, mono_float32, read_audio
from tinyscene.runtime.log_mel import LogMel
from tinyscene.runtime.spec import FrontendSpec
from tinyscene.runtime.terminal import bar
from tinyscene.training.data.tau22 import Clips

from ..errors import ExportError

BATCH = 8


def recordings(folder: Path) -> list[Path]:
    """Audio files below ``folder``, sorted; ``folder`` may also be one file."""
    if folder.is_file():
        return [folder]
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES) if folder.is_dir() else []
    if not found:
        raise ExportError(
            str(folder),
            "no audio to calibrate on",
            expected=f"files ending in {', '.join(sorted(AUDIO_SUFFIXES))}",
            next_step="give a folder of recordings of the kind the model will hear",
        )
    return found


def calibration_log_mels(folder: Path, frontend: FrontendSpec, clips: int) -> F32:
    """At most ``clips`` log-mels float32 (n, mel, time), evenly drawn from every recording.

    Raises:
        ExportError: no audio, or none as long as one clip. RuntimeFailure: a file that cannot be read.
    """
    paths = recordings(folder)
    if len(paths) > clips:
        paths = [paths[i] for i in np.linspace(0, len(paths) - 1, clips).astype(int)]
    per_file = -(-clips // len(paths))
    log_mel = LogMel(frontend)
    windows = []
    for path in bar(paths, "reading audio"):
        windows += [log_mel(window) for window in _windows(path, frontend, per_file)]
    if not windows:
        raise ExportError(
            str(folder), "no recording is as long as one clip", expected=f"{frontend.clip_samples} samples or more"
        )
    stacked = np.stack(windows)
    return stacked[np.linspace(0, len(stacked) - 1, min(clips, len(stacked))).astype(int)]


def _windows(path: Path, frontend: FrontendSpec, count: int) -> Iterator[F32]:
    samples = read_audio(path, frontend.sample_rate_hz)
    available = len(samples) // frontend.clip_samples
    for index in np.unique(np.linspace(0, available - 1, min(count, available)).astype(int)) if available else ():
        yield samples[index * frontend.clip_samples :][: frontend.clip_samples]


def batches(log_mels: F32) -> Iterator[torch.Tensor]:
    """Float tensors (batch, 1, mel, time) for :func:`tinyscene.export.quantise.qat.calibrate`."""
    for at in range(0, len(log_mels), BATCH):
        yield torch.from_numpy(log_mels[at : at + BATCH])[:, None]


def clip_log_mels(clips: Clips, frontend: FrontendSpec) -> F32:
    """float32 (n, mel, time) of int16 waveforms."""
    log_mel = LogMel(frontend)
    return np.stack([log_mel(mono_float32(w)) for w in clips.waveforms])


def evenly(count: int, at_most: int | None) -> npt.NDArray[np.int64]:
    """Row numbers of at most ``at_most`` of ``count`` clips, spread over all."""
    return np.unique(np.linspace(0, count - 1, min(count, at_most or count)).astype(np.int64))
