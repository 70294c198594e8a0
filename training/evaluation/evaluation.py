"""Evaluate a checkpoint or a bundle on the test part of a folder, and compare two evaluations on the same clips.

A checkpoint is evaluated with PyTorch, a bundle with an engine of the runtime, both from audio. Refuses folders with
scenes that are not labels of the model, and comparisons of evaluations on different clips.
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt

from tinyscene.runtime.arrays import F32, Bools
from tinyscene.runtime.audio import mono_float32
from tinyscene.runtime.bundle import read_bundle
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.files import write_json
from tinyscene.runtime.host import ENGINE_PACKAGES, versions
from tinyscene.runtime.json_files import read_json
from tinyscene.runtime.records import Length, name_text, read_record
from tinyscene.runtime.temporaries import temporary_folder
from tinyscene.runtime.terminal import bar, notes, waiting

from ..data.decode import load_waveforms
from ..data.split_files import Record
from ..data.tau22 import Tau22
from ..errors import TrainingError
from ..fit.fit import predict_logits
from ..models.checkpoint import load_any
from ..statistics import bootstrap_interval, mcnemar_p
from .metrics import Bin, Metrics, evaluate, reliability

WRITE_ONE = "write one with 'tinyscene eval --out'"
MOST_CLIPS = 300_000
SMALLEST_PROBABILITY = 1e-7  # the quantised probabilities of a bundle include 0


@dataclass(frozen=True)
class Group:
    """Accuracy on a group of clips, and the devices that recorded them.

    ``interval`` is the 95 % interval from resampling places; None if all clips are from one place.
    """

    name: str
    devices: tuple[str, ...]
    clips: int
    accuracy: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of one model on one test part. ``right[i]``: the clip ``names[i]`` was classified correctly.

    ``seen`` are the clips of devices that occur in the training part, ``unseen`` those of the others, None without such
    clips; ``classes``, ``devices`` and ``cities`` are sorted by name. ``provenance`` is displayed unchanged.
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
    """Difference in accuracy between two evaluations on the same clips, with its 95 % interval over places.

    ``other`` is the name of the other model; ``only_this`` and ``only_other`` count the clips that only one of them
    classified correctly; ``p`` is the p value of McNemar's exact test.
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
    if bundle:
        logits, labels = _bundle_logits(model, opened, engine, progress)
    else:
        logits, labels = _checkpoint_logits(model, opened, progress)
    unknown = sorted(set(opened.labels) - set(labels))
    if unknown:
        raise TrainingError(str(data), "scene is not a label of the model", expected=list(labels), got=unknown[0])
    provenance = _provenance(model, opened, engine)
    return evaluation_of(logits, labels, opened, model.name, engine if bundle else "torch", provenance)


def evaluation_of(
    logits: F32, labels: tuple[str, ...], opened: Tau22, model: str, engine: str, provenance: dict[str, str]
) -> Evaluation:
    """The evaluation of logits float32 (n, labels) of the test part."""
    metrics = evaluate(logits, opened.test, labels)
    truth = np.array([labels.index(r.scene) for r in opened.test])
    right: Bools = logits.argmax(axis=1) == truth
    known = {r.device for r in (*opened.train, *opened.validation)}
    by_device = _groups(opened.test, right, ["seen" if r.device in known else "unseen" for r in opened.test])
    return Evaluation(
        model=model,
        engine=engine,
        labels=labels,
        metrics=metrics,
        seen=next((group for group in by_device if group.name == "seen"), None),
        unseen=next((group for group in by_device if group.name == "unseen"), None),
        classes=_groups(opened.test, right, [r.scene for r in opened.test]),
        devices=_groups(opened.test, right, [r.device for r in opened.test]),
        cities=_groups(opened.test, right, [r.city for r in opened.test]),
        reliability=reliability(logits, right),
        provenance=provenance,
        names=tuple(r.filename for r in opened.test),
        places=tuple(r.place for r in opened.test),
        right=tuple(bool(x) for x in right),
    )


@dataclass(frozen=True)
class EarlierEvaluation:
    """What a comparison needs of an evaluation written earlier: ``right[i]`` is the result of the clip ``names[i]``."""

    model: Annotated[str, name_text(1000)]
    names: Annotated[tuple[str, ...], Length(1, MOST_CLIPS)]
    right: Annotated[tuple[bool, ...], Length(1, MOST_CLIPS)]

    @classmethod
    def read(cls, path: Path) -> EarlierEvaluation:
        """Read a file of ``eval --out``; raises TinysceneError."""
        content = read_json(path, "an evaluation", WRITE_ONE)
        own = {field.name for field in fields(cls)}
        entries = {k: v for k, v in content.items() if k in own} if isinstance(content, dict) else content
        written = read_record(cls, entries, str(path), WRITE_ONE)
        clips = (len(written.names), len(set(written.names)), len(written.right))
        if len(set(clips)) != 1:
            what = "not an evaluation: clips, different clips and results"
            raise TrainingError(str(path), what, expected="equal numbers", got=clips, next_step=WRITE_ONE)
        return written


def difference(this: Evaluation, earlier: EarlierEvaluation) -> Difference:
    """Compare two evaluations; raises TrainingError unless they are of the same clips."""
    right = dict(zip(earlier.names, earlier.right, strict=True))
    if set(right) != set(this.names):
        step = "evaluate both on the same folder"
        raise TrainingError(f"evaluation of '{earlier.model}'", "an evaluation of other clips", next_step=step)
    others = np.array([right[clip] for clip in this.names], dtype=bool)
    return paired_difference(earlier.model, np.array(this.right), others, np.array(this.places))


def paired_difference(other: str, this_right: Bools, other_right: Bools, places: npt.NDArray[np.str_]) -> Difference:
    """Difference to the model named ``other``: bool (n,) for both on the same clips, and the places of the clips."""
    gain = this_right.astype(np.float64) - other_right.astype(np.float64)
    only_this, only_other = int((gain > 0).sum()), int((gain < 0).sum())
    interval = bootstrap_interval(gain[None], places)
    return Difference(other, float(gain.mean()), interval, only_this, only_other, mcnemar_p(this_right, other_right))


def _groups(records: tuple[Record, ...], right: Bools, names: list[str]) -> tuple[Group, ...]:
    """Accuracy on the clips that share a name, sorted by name."""
    places, devices, name_of = (np.array(x) for x in ([r.place for r in records], [r.device for r in records], names))
    groups = []
    for name in sorted(set(names)):
        rows = name_of == name
        single = len(set(places[rows])) == 1
        interval = None if single else bootstrap_interval(right[rows][None].astype(np.float64), places[rows])
        recorded_by = tuple(sorted({str(device) for device in devices[rows]}))
        groups.append(Group(name, recorded_by, int(rows.sum()), float(right[rows].mean()), interval))
    return tuple(groups)


def _provenance(model: Path, opened: Tau22, engine: str) -> dict[str, str]:
    """The command, digests of its inputs, and versions; without the parent folders of the paths."""
    bundle = model.is_dir()
    digest = read_bundle(model).manifest.digest if bundle else hashlib.sha256(model.read_bytes()).hexdigest()
    rows = "".join(f"{r.filename}\t{r.scene}\n" for r in opened.test)
    chosen = f" --engine {engine}" if bundle else ""
    record = {
        "command": f"tinyscene eval {model.name} --data {opened.folder.resolve().name}{chosen}",
        f"digest of the {'bundle' if bundle else 'checkpoint'}": digest,
        "SHA-256 of the test rows": hashlib.sha256(rows.encode()).hexdigest(),
        "measured on": f"{platform.system()} {platform.machine()}",
        "version of python": platform.python_version(),
    }
    used = versions("tinyscene", "numpy", *(ENGINE_PACKAGES if bundle else ("torch", "lightning")))
    return record | {f"version of {name}": version for name, version in used.items()}


def _checkpoint_logits(path: Path, opened: Tau22, progress: bool) -> tuple[F32, tuple[str, ...]]:
    loaded = load_any(path)
    notes(str(path), loaded.notes)
    frontend = loaded.required_frontend(str(path))
    with temporary_folder("clips") as cache:
        waveforms = load_waveforms(opened.folder, opened.test, frontend.sample_rate_hz, cache, progress=progress)
        with waiting("classifying"):
            return predict_logits(loaded.model, frontend, waveforms), loaded.labels


def _bundle_logits(path: Path, opened: Tau22, engine: str, progress: bool) -> tuple[F32, tuple[str, ...]]:
    classifier = SceneClassifier.open(path, engine)
    with temporary_folder("clips") as cache:
        rate = classifier.frontend.sample_rate_hz
        waveforms = load_waveforms(opened.folder, opened.test, rate, cache, progress=progress)
        clips = bar(waveforms, "classifying", total=len(waveforms), shown=progress)
        scores = np.stack([classifier.scores(classifier.log_mel(mono_float32(w))) for w in clips])
    return np.log(np.maximum(scores, SMALLEST_PROBABILITY)).astype(np.float32), tuple(classifier.labels)
