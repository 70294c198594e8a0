"""What a checkpoint or a bundle is worth on the test part of a folder, and whether another is better on the same clips.

A checkpoint answers through PyTorch, a bundle through an engine of the runtime, from audio in both cases. Refuses
folders with scenes the model does not know, and comparisons of evaluations that are not of the same clips.
"""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.audio import mono_float32
from runtime.classify import SceneClassifier
from runtime.terminal import bar, waiting

from .data import Tau22
from .errors import TrainingError
from .files import write_json
from .fit import predict_logits
from .metrics import F32, Metrics, bootstrap_interval, evaluate
from .models.checkpoint import load_any
from .tables import Record
from .waveforms import load_waveforms

SMALLEST = 1e-7  # of a bundle's probabilities, whose codes reach 0


@dataclass(frozen=True)
class Group:
    """Accuracy on the clips of some devices, with its 95 % interval."""

    devices: tuple[str, ...]
    clips: int
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one test part. ``right[i]`` says whether the clip ``names[i]`` was told rightly.

    ``seen`` are the devices of the training part, ``unseen`` the others, where there are any.
    """

    model: str
    engine: str
    labels: tuple[str, ...]
    metrics: Metrics
    seen: Group | None
    unseen: Group | None
    names: tuple[str, ...]
    places: tuple[str, ...]
    right: tuple[bool, ...]

    def write(self, path: Path) -> None:
        write_json(path, asdict(self))


@dataclass(frozen=True)
class Difference:
    """How much better one evaluation is than another, as a share of the clips, with its 95 % interval over places.

    ``only_this`` and ``only_other`` count clips that only one of them told rightly; ``p`` is McNemar's exact test.
    """

    gain: float
    interval: tuple[float, float]
    only_this: int
    only_other: int
    p: float


def evaluate_model(model: Path, data: Path, *, engine: str = "litert", progress: bool = True) -> Evaluation:
    """Evaluate a checkpoint, or a bundle through ``engine``, on the test part of ``data``; raises TinysceneError."""
    opened = Tau22.open(data)
    bundle = model.is_dir()
    logits, labels = (_bundle_logits if bundle else _checkpoint_logits)(model, opened, engine, progress)
    unknown = sorted(set(opened.labels) - set(labels))
    if unknown:
        raise TrainingError(str(data), "scene is not a label of the model", expected=list(labels), got=unknown[0])
    metrics = evaluate(logits, opened.test, labels)
    truth = np.array([labels.index(r.scene) for r in opened.test])
    right = logits.argmax(axis=1) == truth
    known = {r.device for r in (*opened.train, *opened.validation)}
    return Evaluation(
        model.name,
        engine if bundle else "torch",
        labels,
        metrics,
        _group(opened.test, right, known, inside=True),
        _group(opened.test, right, known, inside=False),
        tuple(r.filename for r in opened.test),
        tuple(r.place for r in opened.test),
        tuple(bool(x) for x in right),
    )


def difference(this: Evaluation, other: Path) -> Difference:
    """``this`` against an evaluation written earlier; raises TrainingError unless it is of the same clips."""
    try:
        record: dict[str, Any] = json.loads(other.read_text(encoding="utf-8"))
        row = dict(zip(record["names"], record["right"], strict=True))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(str(other), "no evaluation", got=error, next_step="write one with 'eval --out'") from error
    if set(row) != set(this.names):
        raise TrainingError(str(other), "an evaluation of other clips", next_step="evaluate both on one folder")
    mine = np.array(this.right, dtype=np.float64)
    gain = mine - np.array([row[name] for name in this.names], dtype=np.float64)
    only_this, only_other = int((gain > 0).sum()), int((gain < 0).sum())
    interval = bootstrap_interval(gain[None], np.array(this.places))
    return Difference(float(gain.mean()), interval, only_this, only_other, sign_test(only_this, only_other))


def sign_test(wins: int, losses: int) -> float:
    """Two-sided probability of so uneven a split of ``wins + losses`` tosses of a fair coin."""
    n, fewer = wins + losses, min(wins, losses)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n)


def _group(records: tuple[Record, ...], right: np.ndarray, known: set[str], *, inside: bool) -> Group | None:
    rows = np.array([(r.device in known) == inside for r in records])
    if not rows.any():
        return None
    chosen = [r for r, row in zip(records, rows, strict=True) if row]
    interval = bootstrap_interval(right[rows][None].astype(np.float64), np.array([r.place for r in chosen]))
    devices = tuple(sorted({r.device for r in chosen}))
    return Group(devices, len(chosen), float(right[rows].mean()), interval)


def _checkpoint_logits(path: Path, opened: Tau22, engine: str, progress: bool) -> tuple[F32, tuple[str, ...]]:
    loaded = load_any(path)
    with tempfile.TemporaryDirectory(prefix="tinyscene-") as cache:
        rate = loaded.frontend.sample_rate_hz
        waveforms = load_waveforms(opened.folder, opened.test, rate, Path(cache), progress=progress)
        with waiting("classifying"):
            return predict_logits(loaded.model, loaded.frontend, waveforms), loaded.labels


def _bundle_logits(path: Path, opened: Tau22, engine: str, progress: bool) -> tuple[F32, tuple[str, ...]]:
    classifier = SceneClassifier.open(path, engine)
    with tempfile.TemporaryDirectory(prefix="tinyscene-") as cache:
        rate = classifier.frontend.sample_rate_hz
        waveforms = load_waveforms(opened.folder, opened.test, rate, Path(cache), progress=progress)
        heard = bar(waveforms, "classifying", total=len(waveforms), shown=progress)
        scores = np.stack([classifier.scores(classifier.log_mel(mono_float32(w))) for w in heard])
    return np.log(np.maximum(scores, SMALLEST)).astype(np.float32), tuple(classifier.labels)
