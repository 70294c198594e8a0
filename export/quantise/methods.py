"""The two methods from a float checkpoint to an int8 network: post-training quantisation, quantisation-aware training.

Both run a list of :mod:`tinyscene.export.quantise.steps`. Post-training quantisation needs unlabelled recordings.
Quantisation-aware training needs a folder in TAU22 layout with the scenes of the checkpoint; the logits of the float
network are its soft targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinyscene.runtime.arrays import F32
from tinyscene.runtime.temporaries import temporary_folder
from tinyscene.runtime.terminal import waiting
from tinyscene.training.models.checkpoint import LoadedModel

from ..errors import ExportError
from .calibration import calibration_log_mels, clip_log_mels, evenly, network_images
from .quantised_model import QuantisedModel
from .steps import POST_TRAINING, QUANTISATION_AWARE, Step, Work, run_steps

if TYPE_CHECKING:
    from .qat import QatTraining


def quantise_post_training(
    source: LoadedModel, name: str, log_mels: F32, steps: Sequence[Step] = POST_TRAINING
) -> QuantisedModel:
    """Quantise without training.

    Args:
        name: of the graph.
        log_mels: calibration clips, float32 (n, mel, time).
        steps: other steps than those of an export, for comparison; they must end with a graph.

    Raises:
        ExportError: the network has no integer form, or there are no clips, or a value is not finite.
    """
    work = Work(source.model, network_images(log_mels), source.frontend.floor, name, source.labels)
    return QuantisedModel.of(source, run_steps(steps, work))


def quantise_aware(source: LoadedModel, name: str, log_mels: F32, training: QatTraining) -> QuantisedModel:
    """Quantise with training; ranges start from ``log_mels``, float32 (n, mel, time).

    Raises:
        ExportError: the network has no integer form. TrainingError: training diverged, or its folder holds another run.
    """
    work = Work(source.model, network_images(log_mels), source.frontend.floor, name, source.labels, training)
    return QuantisedModel.of(source, run_steps(QUANTISATION_AWARE, work))


def post_training_from_recordings(
    source: LoadedModel, name: str, recordings: Path, clips: int
) -> tuple[QuantisedModel, F32]:
    """Calibrate on at most ``clips`` seconds of a folder; also returns their log-mels."""
    log_mels = calibration_log_mels(recordings, source.frontend, clips)
    with waiting("calibrating"):
        return quantise_post_training(source, name, log_mels), log_mels


def quantise_aware_from_folder(
    source: LoadedModel, name: str, data: Path, *, clips: int, epochs: int | None, seed: int
) -> tuple[QuantisedModel, F32]:
    """Train on the training part of a folder; also returns the log-mels of the ``clips`` that ranges start from.

    Raises:
        ExportError: the folder's scenes are not the checkpoint's labels.
    """
    from tinyscene.training.data.tau22 import Tau22
    from tinyscene.training.distillation.soft_targets import SoftTargets
    from tinyscene.training.fit.fit import predict_logits
    from tinyscene.training.recipe import QAT
    from tinyscene.training.run import Run

    from .qat import QatTraining

    opened = Tau22.open(data)
    if opened.labels != source.labels:
        raise ExportError(
            str(data), "scenes differ from the labels of the model", expected=source.labels, got=opened.labels
        )
    settings = QAT if epochs is None else QAT.model_copy(update={"epochs": epochs})
    with temporary_folder("qat") as scratch:
        dataset = opened.load(source.frontend.sample_rate_hz, scratch / "cache")
        names = tuple(record.filename for record in dataset.train.records)
        targets = SoftTargets(names, predict_logits(source.model, source.frontend, dataset.train.waveforms))
        log_mels = clip_log_mels(dataset.train.take(evenly(len(dataset.train), clips)), source.frontend)
        training = QatTraining(source.frontend, settings, Run(dataset, scratch / "qat", seed), targets)
        return quantise_aware(source, name, log_mels, training), log_mels
