"""Throughput on this machine in clips per second: training a network, evaluating it, and reading data alone.

Training is measured by :func:`tinyscene.training.fit.fit.fit` itself on a few clips; the median of three epochs counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tinyscene.runtime.temporaries import temporary_folder

from ..data.tau22 import Dataset
from ..distillation.features import FeatureLoss
from ..distillation.soft_targets import SoftTargets
from ..fit.batches import Batch, loaders_of
from ..fit.fit import fit, predict_logits
from ..fit.last_checkpoint import RUN, read_run
from ..fit.throughput import CLIPS_PER_SECOND
from ..models.network import Network
from ..recipe import FitSettings
from ..run import Run

EPOCHS = 3


def training_rate(
    network: Network,
    settings: FitSettings,
    dataset: Dataset,
    *,
    steps: int = 2,
    soft_targets: SoftTargets | None = None,
    features: FeatureLoss | None = None,
) -> float:
    """Clips per second of training ``network``, which is changed.

    An epoch has ``steps`` batches of ``settings``, or as many as there are clips for.
    """
    clips = np.arange(min(steps * settings.batch_size, len(dataset.train)))
    few = replace(dataset, train=dataset.train.take(clips), validation=dataset.validation.take(clips[:0]))
    timed = settings.model_copy(update={"epochs": EPOCHS, "keep": "last"})
    with temporary_folder("throughput") as folder:
        run = Run(few, folder, seed=0, progress=False)
        fit(network, timed, run, soft_targets=soft_targets, features=features)
        return float(str(read_run(run.folder / RUN)[CLIPS_PER_SECOND]))


def evaluation_rate(network: Network, dataset: Dataset, clips: int) -> float:
    """Clips per second of evaluating ``network`` on ``clips`` training clips at a time, on its own device."""
    waveforms = dataset.train.waveforms[:clips]
    predict_logits(network.model, network.frontend, waveforms[:1])
    start = time.perf_counter()
    predict_logits(network.model, network.frontend, waveforms)
    return len(waveforms) / (time.perf_counter() - start)


def reading_rate(dataset: Dataset, settings: FitSettings, steps: int) -> float:
    """Clips per second of the data pipeline alone."""
    source = _batches(dataset, settings)
    next(source)
    start = time.perf_counter()
    clips = sum(len(next(source)["target"]) for _ in range(steps))
    return clips / (time.perf_counter() - start)


def _batches(dataset: Dataset, settings: FitSettings) -> Iterator[Batch]:
    """Training batches without end."""
    while True:
        yield from loaders_of(dataset, settings, None, 0).train
