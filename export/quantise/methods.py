"""The two ways from a float checkpoint to a quantised network: after training, or by training on.

After training: ranges, weight rounding and biases from unlabelled recordings. By training on: quantisation-aware
training on a TAU22-layout folder, with the float network's own answers as soft targets.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tinyscene.runtime.arrays import F32
from tinyscene.runtime.terminal import waiting
from tinyscene.training.models.checkpoint import LoadedModel

from ..errors import ExportError
from .calibration import batches, calibration_log_mels, clip_log_mels, evenly
from .export import Export, quantised
from .fake_quant import QuantNet
from .fold import fold
from .ptq import calibrate


def after_training(source: LoadedModel, name: str, recordings: Path, clips: int) -> tuple[Export, F32]:
    """Calibrate on at most ``clips`` seconds of a folder; the export and the log-mels it was calibrated on."""
    log_mels = calibration_log_mels(recordings, source.frontend, clips)
    net = QuantNet(fold(source.model, (source.frontend.n_mels, source.frontend.n_frames)))
    with waiting("calibrating"):
        calibrate(net, batches(log_mels), floor=source.frontend.floor)
    return quantised(source, net, name), log_mels


def by_training(
    source: LoadedModel, name: str, data: Path, clips: int, epochs: int | None, seed: int
) -> tuple[Export, F32]:
    """Train on the training part of a folder; the export and the log-mels the ranges started from.

    Raises:
        ExportError: the folder's scenes are not the checkpoint's labels.
    """
    from tinyscene.training.data.tau22 import Tau22
    from tinyscene.training.distillation.soft_targets import SoftTargets
    from tinyscene.training.fit.fit import predict_logits
    from tinyscene.training.recipe import QAT

    from .qat import quantise_aware

    opened = Tau22.open(data)
    if opened.labels != source.labels:
        raise ExportError(str(data), "has other scenes than the model", expected=source.labels, got=opened.labels)
    settings = QAT if epochs is None else QAT.model_copy(update={"epochs": epochs})
    with tempfile.TemporaryDirectory(prefix="tinyscene-") as scratch:
        dataset = opened.load(source.frontend.sample_rate_hz, Path(scratch) / "cache")
        names = tuple(r.filename for r in dataset.train.records)
        targets = SoftTargets(names, predict_logits(source.model, source.frontend, dataset.train.waveforms))
        rows = evenly(len(dataset.train), clips)
        log_mels = clip_log_mels(dataset.train.take(rows), source.frontend)
        net = quantise_aware(
            source.model,
            frontend=source.frontend,
            settings=settings,
            dataset=dataset,
            soft_targets=targets,
            run_dir=Path(scratch) / "qat",
            seed=seed,
            calibration=batches(log_mels),
        )
    return quantised(source, net, name), log_mels
