"""Labelled clips for evaluating a model: the decoded test part of a folder in TAU22 layout.

Needs no PyTorch, so that accuracy can be measured on a machine that only checks models. Refuses data with scenes that
are not labels of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyscene.runtime.temporaries import temporary_folder
from tinyscene.training.data.decode import load_waveforms
from tinyscene.training.data.split_files import Record
from tinyscene.training.data.tau22 import Clips, Tau22

from ..errors import ExportError


def labelled_records(data: Path, labels: Sequence[str]) -> tuple[Record, ...]:
    """The test clips of a folder for a model with these labels.

    Raises:
        ExportError: a scene of the folder is not a label of the model. TrainingError: the folder cannot be read.
    """
    opened = Tau22.open(data)
    unknown = sorted(set(opened.labels) - set(labels))
    if unknown:
        raise ExportError(str(data), "a scene is not a label of the model", expected=list(labels), got=unknown[0])
    return opened.test


def labelled_clips(data: Path, records: tuple[Record, ...], labels: Sequence[str], sample_rate_hz: int) -> Clips:
    """Waveforms of ``records`` at a sample rate; targets are indices into ``labels``. Raises TrainingError."""
    with temporary_folder("clips") as cache:
        waveforms = load_waveforms(data, records, sample_rate_hz, cache)
        return Clips(records, np.array(waveforms), np.array([labels.index(r.scene) for r in records], dtype=np.int64))
