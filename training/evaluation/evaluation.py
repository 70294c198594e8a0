"""What a checkpoint or a bundle is worth on the test part of a folder, and whether another is better on the same clips.

A checkpoint answers through PyTorch, a bundle through an engine of the runtime, from audio in both cases. Refuses
folders with scenes the model does not know, and comparisons of evaluations that are not of the same clips.
"""

from __future__ import annotations

import hashlib
import json
import platform
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyscene.runtime.arrays import F32
from tinyscene.runtime.audio import mono_float32
from tinyscene.runtime.bundle import read_bundle
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.files import write_json
from tinyscene.runtime.host import ENGINE_PACKAGES, versions
from tinyscene.runtime.terminal import bar, waiting

from ..data.decode import load_waveforms
from ..data.split_files import Record
from ..data.tau22 import Tau22
from ..errors import TrainingError
from ..fit.fit import predict_logits
from ..models.checkpoint import load_any
from ..statistics import bootstrap_interval, sign_test
from .metrics import Bin, Metrics, evaluate, reliability

SMALLEST = 1e-7  # of a bundle's probabilities, whose codes reach 0


@dataclass(frozen=True)
class Group:
    """Accuracy on some of the clips, and the devices that recorded them.

    ``interval`` holds it with 95 %, places resampled; None where all clips are of one place, which says nothing of
    others.
    """

    name: str
    devices: tuple[str, ...]
    clips: int
    accuracy: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one test part. ``right[i]`` says whether the clip ``names[i]`` was told rightly.

    ``seen`` are the devices of the training part, ``unseen`` the others, where there are any; ``classes``, ``devices``
    and ``cities`` are in the order of their names. ``provenance`` is shown as it is.
    """

    model: str
    engine: str
    labels: tuple[str, ...]
    metrics: Metrics
    seen: Group | None
    unseen: Group | None
    classes: tuple[Group, ...]
    devices: tuple[Group, ...]
    cities: tuple[Group, ...]
    reliability: tuple[Bin, ...]
    provenance: dict[str, str]
    names: tuple[str, ...]
    places: tuple[str, ...]
    right: tuple[bool, ...]

    def write(self, path: Path) -> None:
        write_json(path, asdict(self))


@dataclass(frozen=True)
class Difference:
    """How much better one evaluation is than another, as a share of the clips, with its 95 % interval over places.

    ``other`` names the model compared with; ``only_this`` and ``only_other`` count clips that only one of them told
    rightly; ``p`` is McNemar's exact test.
    """

    other: str
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
    return judged(logits, labels, opened, model.name, engine if bundle else "torch", _provenance(model, opened, engine))


def judged(
    logits: F32, labels: tuple[str, ...], opened: Tau22, model: str, engine: str, provenance: dict[str, str]
) -> Evaluation:
    """Figures of logits float32 (n, labels) of the test part."""
    metrics = evaluate(logits, opened.test, labels)
    truth = np.array([labels.index(r.scene) for r in opened.test])
    right = logits.argmax(axis=1) == truth
    known = {r.device for r in (*opened.train, *opened.validation)}
    heard = _groups(opened.test, right, ["seen" if r.device in known else "unseen" for r in opened.test])
    return Evaluation(
        model=model,
        engine=engine,
        labels=labels,
        metrics=metrics,
        seen=next((group for group in heard if group.name == "seen"), None),
        unseen=next((group for group in heard if group.name == "unseen"), None),
        classes=_groups(opened.test, right, [r.scene for r in opened.test]),
        devices=_groups(opened.test, right, [r.device for r in opened.test]),
        cities=_groups(opened.test, right, [r.city for r in opened.test]),
        reliability=reliability(logits, right),
        provenance=provenance,
        names=tuple(r.filename for r in opened.test),
        places=tuple(r.place for r in opened.test),
        right=tuple(bool(x) for x in right),
    )


def difference(this: Evaluation, other: Path) -> Difference:
    """``this`` against an evaluation written earlier; raises TrainingError unless it is of the same clips."""
    try:
        record: dict[str, Any] = json.loads(other.read_text(encoding="utf-8"))
        row, name = dict(zip(record["names"], record["right"], strict=True)), str(record["model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(str(other), "no evaluation", got=error, next_step="write one with 'eval --out'") from error
    if set(row) != set(this.names):
        raise TrainingError(str(other), "an evaluation of other clips", next_step="evaluate both on one folder")
    others = np.array([row[clip] for clip in this.names])
    return paired(name, np.array(this.right), others, np.array(this.places))


def paired(other: str, this_right: np.ndarray, other_right: np.ndarray, places: np.ndarray) -> Difference:
    """How much better this is than what is called ``other``: bool (n,) each of the same clips, and their places."""
    gain = this_right.astype(np.float64) - other_right.astype(np.float64)
    only_this, only_other = int((gain > 0).sum()), int((gain < 0).sum())
    interval = bootstrap_interval(gain[None], places)
    return Difference(other, float(gain.mean()), interval, only_this, only_other, sign_test(only_this, only_other))


def _groups(records: tuple[Record, ...], right: np.ndarray, names: list[str]) -> tuple[Group, ...]:
    """Accuracy on the clips that share a name, names in order."""
    places, devices, name_of = (np.array(x) for x in ([r.place for r in records], [r.device for r in records], names))
    found = []
    for name in sorted(set(names)):
        rows = name_of == name
        single = len(set(places[rows])) == 1
        interval = None if single else bootstrap_interval(right[rows][None].astype(np.float64), places[rows])
        heard_by = tuple(sorted({str(device) for device in devices[rows]}))
        found.append(Group(name, heard_by, int(rows.sum()), float(right[rows].mean()), interval))
    return tuple(found)


def _provenance(model: Path, opened: Tau22, engine: str) -> dict[str, str]:
    """What was asked, of which files, by which versions; names no folder above those given."""
    bundle = model.is_dir()
    digest = read_bundle(model).manifest.digest if bundle else hashlib.sha256(model.read_bytes()).hexdigest()
    rows = "".join(f"{r.filename}\t{r.scene}\n" for r in opened.test)
    chosen = f" --engine {engine}" if bundle else ""
    found = {
        "command": f"tinyscene eval {model.name} --data {opened.folder.resolve().name}{chosen}",
        f"digest of the {'bundle' if bundle else 'checkpoint'}": digest,
        "SHA-256 of the test rows": hashlib.sha256(rows.encode()).hexdigest(),
        "measured on": f"{platform.system()} {platform.machine()}",
        "version of python": platform.python_version(),
    }
    used = versions("tinyscene", "numpy", *(ENGINE_PACKAGES if bundle else ("torch", "lightning")))
    return found | {f"version of {name}": version for name, version in used.items()}


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
