"""Clips a second here: of training a network, of asking it, and of reading data alone.

Training is timed by :func:`tinyscene.training.fit.fit.fit` itself, on a few clips; of three epochs the median counts.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from tinyscene.runtime.spec import FrontendSpec

from ..data.tau22 import Dataset
from ..distillation.features import FeatureLoss
from ..distillation.soft_targets import SoftTargets
from ..fit.batches import loaders_of
from ..fit.fit import RUN, fit, predict_logits
from ..fit.module import Batch
from ..fit.speed import FIGURE
from ..recipe import FitSettings

EPOCHS = 3


def training_rate(
    model: nn.Module,
    frontend: FrontendSpec,
    settings: FitSettings,
    dataset: Dataset,
    *,
    steps: int = 2,
    soft_targets: SoftTargets | None = None,
    features: FeatureLoss | None = None,
) -> float:
    """Of training ``model``, which is changed, with ``steps`` batches of ``settings`` an epoch, or as many as there are
    clips for."""
    clips = np.arange(min(steps * settings.batch_size, len(dataset.train)))
    few = replace(dataset, train=dataset.train.take(clips), validation=dataset.validation.take(clips[:0]))
    timed = settings.model_copy(update={"epochs": EPOCHS, "keep": "last"})
    with tempfile.TemporaryDirectory(prefix="tinyscene-") as folder:
        fit(
            model,
            frontend=frontend,
            recipe=timed,
            dataset=few,
            run_dir=Path(folder),
            soft_targets=soft_targets,
            seed=0,
            progress=False,
            features=features,
        )
        return float(json.loads((Path(folder) / RUN).read_text())[FIGURE])


def answering_rate(model: nn.Module, frontend: FrontendSpec, dataset: Dataset, clips: int) -> float:
    """Of asking ``model`` about ``clips`` training clips at a time, where it is."""
    heard = dataset.train.waveforms[:clips]
    predict_logits(model, frontend, heard[:1])
    begin = time.perf_counter()
    predict_logits(model, frontend, heard)
    return len(heard) / (time.perf_counter() - begin)


def reading_rate(dataset: Dataset, settings: FitSettings, steps: int) -> float:
    """Of the data pipeline alone."""
    source = _batches(dataset, settings)
    next(source)
    begin = time.perf_counter()
    clips = sum(len(next(source)["target"]) for _ in range(steps))
    return clips / (time.perf_counter() - begin)


def _batches(dataset: Dataset, settings: FitSettings) -> Iterator[Batch]:
    """Without an end."""
    while True:
        yield from loaders_of(dataset, settings, None, 0)[0]
