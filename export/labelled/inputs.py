"""The test part of a data set as network inputs, with the predictions of the float network for the same clips.

Inputs are computed from audio by the runtime's own front end, as in use. Refuses data that
:mod:`tinyscene.export.labelled.clips` refuses.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinyscene.runtime.arrays import F32, I64
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.file_names import FLOAT_ONNX_MODEL
from tinyscene.runtime.graph import LOG_MEL
from tinyscene.runtime.model import with_frontend
from tinyscene.runtime.onnx_tables import read_summary
from tinyscene.training.data.tau22 import Clips

from ..quantise.calibration import clip_log_mels, evenly
from ..quantise.quantised_model import network_input
from .clips import labelled_clips, labelled_records
from .codes import LabelledCodes, Waveforms


def labelled_codes(bundle: Bundle, data: Path, at_most: int | None = None) -> LabelledCodes:
    """Codes and labels of the test clips of a folder in TAU22 layout, and the float network's predictions.

    Args:
        at_most: number of clips, spread evenly; all by default.

    Raises:
        ExportError: a scene of the folder is not a label of the bundle. TrainingError: the folder cannot be read.
    """
    available = labelled_records(data, bundle.labels)
    records = tuple(available[i] for i in evenly(len(available), at_most))
    clips = labelled_clips(data, records, bundle.labels, with_frontend(bundle).frontend.sample_rate_hz)
    return labelled_from_clips(bundle, clips, f"{len(records)} of {len(available)} test clips of {data.name}")


def labelled_from_clips(bundle: Bundle, clips: Clips, data: str) -> LabelledCodes:
    """As :func:`labelled_codes`, from decoded clips."""
    frontend = with_frontend(bundle).frontend
    log_mels = clip_log_mels(clips, frontend)
    in_codes = log_mels
    if frontend.arithmetic == "integer":  # there the code is the definition, not the rounded real value
        in_codes = clip_log_mels(clips, frontend, bundle.graph.tensors[bundle.graph.input].quant)
    codes = network_input(bundle.graph, in_codes)
    devices = np.array([record.device for record in clips.records])
    audio = Waveforms(clips.waveforms, frontend)
    return LabelledCodes(codes, clips.targets, _float_predictions(bundle, log_mels), devices, data, audio)


def _float_predictions(bundle: Bundle, log_mels: F32) -> I64:
    import onnxruntime

    read_summary(bundle.file(FLOAT_ONNX_MODEL), f"{bundle.path}, {FLOAT_ONNX_MODEL}")
    session = onnxruntime.InferenceSession(bundle.file(FLOAT_ONNX_MODEL), providers=["CPUExecutionProvider"])
    logits = [session.run(None, {LOG_MEL: x[None, None]})[0] for x in log_mels]
    predictions: I64 = np.concatenate(logits).argmax(axis=1)
    return predictions
