"""The two methods from a float checkpoint to an int8 network: post-training quantisation, quantisation-aware training.

Both run a list of :mod:`tinyscene.export.quantise.steps`. Post-training quantisation needs unlabelled recordings, or
inputs of a network without a front end. Quantisation-aware training needs a folder in TAU22 layout with the scenes of
the checkpoint; the logits of the float network are its soft targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from tinyscene.runtime.temporaries import temporary_folder
from tinyscene.runtime.terminal import waiting
from tinyscene.training.models.checkpoint import LoadedModel

from ..errors import ExportError
from .calibration import calibration_arrays, calibration_log_mels, clip_log_mels, evenly, network_images
from .quantised_model import QuantisedModel
from .steps import POST_TRAINING, QUANTISATION_AWARE, Step, Work, run_steps

if TYPE_CHECKING:
    from .qat import QatTraining


def quantise_post_training(
    source: LoadedModel, name: str, inputs: Mapping[str, Tensor], steps: Sequence[Step] = POST_TRAINING
) -> QuantisedModel:
    """Quantise without training.

    Args:
        name: of the graph.
        inputs: for calibration, float32 (n, ...) by name (:func:`.calibration.network_images` for log-mels).
        steps: other steps than those of an export, for comparison; they must end with a graph.

    Raises:
        ExportError: the network has no integer form, or there are no inputs, or a value is not finite.
    """
    floor = None if source.frontend is None else source.frontend.floor
    return QuantisedModel.of(source, run_steps(steps, Work(source.model, inputs, floor, name, source.labels)))


def quantise_aware(
    source: LoadedModel, name: str, inputs: Mapping[str, Tensor], training: QatTraining
) -> QuantisedModel:
    """Quantise with training; ranges start from ``inputs``, as :func:`quantise_post_training` takes them.

    Raises:
        ExportError: the network has no integer form. TrainingError: training diverged, or its folder holds another run.
    """
    work = Work(source.model, inputs, training.frontend.floor, name, source.labels, training)
    return QuantisedModel.of(source, run_steps(QUANTISATION_AWARE, work))


def post_training_from_files(
    source: LoadedModel, name: str, path: Path, count: int
) -> tuple[QuantisedModel, dict[str, Tensor]]:
    """Calibrate on at most ``count`` seconds of recordings, or inputs in arrays; also returns the network's inputs."""
    if source.frontend is None:
        inputs = calibration_arrays(path, source.input_shapes, count)
    else:
        inputs = network_images(calibration_log_mels(path, source.frontend, count))
    with waiting("calibrating"):
        return quantise_post_training(source, name, inputs), inputs


def quantise_aware_from_folder(
    source: LoadedModel, name: str, data: Path, *, clips: int, epochs: int | None, seed: int
) -> tuple[QuantisedModel, dict[str, Tensor]]:
    """Train on the training part of a folder; also returns the inputs of the ``clips`` that ranges start from.

    Raises:
        ExportError: the network has no front end, or the folder's scenes are not the checkpoint's labels.
    """
    from tinyscene.training.data.tau22 import Tau22
    from tinyscene.training.distillation.soft_targets import SoftTargets
    from tinyscene.training.fit.fit import predict_logits
    from tinyscene.training.recipe import QAT
    from tinyscene.training.run import Run

    from .qat import QatTraining

    if source.frontend is None:
        what, step = (
            "trains on labelled clips, and this network has no front end",
            "use --ptq with inputs of the network",
        )
        raise ExportError("--qat", what, expected="a checkpoint with a front end", next_step=step)
    frontend, opened = source.frontend, Tau22.open(data)
    if opened.labels != source.labels:
        raise ExportError(
            str(data), "scenes differ from the labels of the model", expected=source.labels, got=opened.labels
        )
    settings = QAT if epochs is None else QAT.model_copy(update={"epochs": epochs})
    with temporary_folder("qat") as scratch:
        dataset = opened.load(frontend.sample_rate_hz, scratch / "cache")
        names = tuple(record.filename for record in dataset.train.records)
        trained = frontend.trained()
        targets = SoftTargets(names, predict_logits(source.model, trained, dataset.train.waveforms))
        inputs = network_images(clip_log_mels(dataset.train.take(evenly(len(dataset.train), clips)), frontend))
        training = QatTraining(trained, settings, Run(dataset, scratch / "qat", seed), targets)
        return quantise_aware(source, name, inputs, training), inputs
