"""Calibration clips: one-second windows of a folder of recordings, as float log-mels.

A network without a front end takes arrays of its own inputs in their place. Labels are not needed. Windows are spread
evenly over all recordings, so that a long file does not dominate. Refuses folders without audio, and files that
:mod:`tinyscene.runtime.audio` refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tinyscene.runtime.arrays import F32
from tinyscene.runtime.audio import fit_to_clip, mono_float32, read_audio
from tinyscene.runtime.containers import AUDIO_SUFFIXES, is_recording_name
from tinyscene.runtime.graph import LOG_MEL, Quant
from tinyscene.runtime.integer_log_mel import open_log_mel
from tinyscene.runtime.limits import is_one_clip
from tinyscene.runtime.network_inputs import read_reals
from tinyscene.runtime.spec import FrontendSpec
from tinyscene.runtime.terminal import bar
from tinyscene.training.data.tau22 import Clips

from ..errors import ExportError


def recordings(folder: Path) -> list[Path]:
    """Audio files below ``folder``, sorted; ``folder`` may also be one file."""
    if folder.is_file():
        return [folder]
    paths = sorted(p for p in folder.rglob("*") if is_recording_name(p.name)) if folder.is_dir() else []
    if not paths:
        raise ExportError(
            str(folder),
            "no audio files for calibration",
            expected=f"files ending in {', '.join(sorted(AUDIO_SUFFIXES))}",
            next_step="give a folder of recordings like those that the model will classify",
        )
    return paths


def calibration_log_mels(folder: Path, frontend: FrontendSpec, clips: int) -> F32:
    """At most ``clips`` log-mels float32 (n, mel, time), spread evenly over all recordings.

    Raises:
        ExportError: no audio, or no recording is as long as one clip. RuntimeFailure: a file that cannot be read.
    """
    paths = recordings(folder)
    if len(paths) > clips:
        paths = [paths[i] for i in np.linspace(0, len(paths) - 1, clips).astype(int)]
    per_file = -(-clips // len(paths))
    log_mel = open_log_mel(frontend)
    windows: list[F32] = []
    for path in bar(paths, "reading audio"):
        windows += [log_mel(window) for window in _windows(path, frontend, per_file)]
    if not windows:
        raise ExportError(
            str(folder), "no recording is as long as one clip", expected=f"{frontend.clip_samples} samples or more"
        )
    chosen = np.linspace(0, len(windows) - 1, min(clips, len(windows))).astype(int)
    return np.stack([windows[i] for i in chosen])


def _windows(path: Path, frontend: FrontendSpec, count: int) -> Iterator[F32]:
    samples = read_audio(path, frontend.sample_rate_hz)
    if is_one_clip(len(samples), frontend.clip_samples):
        samples = fit_to_clip(samples, frontend.clip_samples)
    available = len(samples) // frontend.clip_samples
    for index in np.unique(np.linspace(0, available - 1, min(count, available)).astype(int)) if available else ():
        yield samples[index * frontend.clip_samples :][: frontend.clip_samples]


def network_images(log_mels: F32) -> dict[str, Tensor]:
    """Log-mels float32 (n, mel, time) as the float network's input (n, 1, mel, time)."""
    return {LOG_MEL: torch.from_numpy(log_mels)[:, None]}


def calibration_arrays(path: Path, shapes: Mapping[str, tuple[int, ...]], count: int) -> dict[str, Tensor]:
    """At most ``count`` rows of each input of a network, spread evenly over an .npy or .npz file, or a folder of them.

    Raises:
        RuntimeFailure: see :func:`tinyscene.runtime.network_inputs.read_reals`.
    """
    arrays = read_reals(path, shapes)
    rows = evenly(len(next(iter(arrays.values()))), count)
    return {name: torch.from_numpy(array[rows]) for name, array in arrays.items()}


def clip_log_mels(clips: Clips, frontend: FrontendSpec, quant: Quant | None = None) -> F32:
    """Log-mels float32 (n, mel, time) of the clips' int16 waveforms, for a network whose input has ``quant``."""
    log_mel = open_log_mel(frontend, quant)
    return np.stack([log_mel(mono_float32(clips.waveforms[row : row + 1][0])) for row in range(len(clips))])


def evenly(count: int, at_most: int | None) -> npt.NDArray[np.int64]:
    """Row numbers of at most ``at_most`` of ``count`` clips, spread evenly; all of them for None."""
    return np.unique(np.linspace(0, count - 1, min(count, at_most or count)).astype(np.int64))
