"""The test part of a data set as network inputs, with what the float network answers to the same clips.

From audio, through the runtime's own front end: what is measured is what a user gets. Refuses what
:mod:`tinyscene.export.labelled.clips` refuses.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyscene.runtime.arrays import F32
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.file_names import FLOAT_ONNX_MODEL
from tinyscene.training.data.tau22 import Clips

from ..quantise.calibration import clip_log_mels, evenly
from ..quantise.export import network_input
from .clips import labelled_clips, labelled_records
from .codes import LabelledCodes, Sounds


def labelled_codes(bundle: Bundle, data: Path, at_most: int | None = None) -> LabelledCodes:
    """Codes and labels of the test clips of a TAU22-layout folder, and the float network's answers to them.

    Raises:
        ExportError: the folder's scenes are not the bundle's labels. TrainingError: the folder cannot be read.
    """
    there = labelled_records(data, bundle.labels)
    records = tuple(there[i] for i in evenly(len(there), at_most))
    clips = labelled_clips(data, records, bundle.labels, bundle.frontend.sample_rate_hz)
    return labelled_from_clips(bundle, clips, f"{len(records)} of {len(there)} test clips of {data.name}")


def labelled_from_clips(bundle: Bundle, clips: Clips, data: str) -> LabelledCodes:
    """As :func:`labelled_codes`, from clips that are decoded already."""
    log_mels = clip_log_mels(clips, bundle.frontend)
    codes = network_input(bundle.graph, log_mels)
    devices = np.array([record.device for record in clips.records])
    sounds = Sounds(clips.waveforms, bundle.frontend)
    return LabelledCodes(codes, clips.targets, _float_answers(bundle, log_mels), devices, data, sounds)


def _float_answers(bundle: Bundle, log_mels: F32) -> npt.NDArray[np.int64]:
    import onnxruntime

    session = onnxruntime.InferenceSession(bundle.file(FLOAT_ONNX_MODEL), providers=["CPUExecutionProvider"])
    logits = [session.run(None, {"log_mel": x[None, None]})[0] for x in log_mels]
    answers: npt.NDArray[np.int64] = np.concatenate(logits).argmax(axis=1)
    return answers
