"""One network for each recording device, trained on from the general one, which answers for all other devices.

A device keeps the general network unless its own is better on its clips of the validation part; the test part is read
once, at the end. Source: the two steps of the DCASE 2025 Task 1 baseline. Refuses a run folder without a student, one
whose student has other labels or another sample rate than the data, and students that are no CP-Mobile.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyscene.runtime.arrays import F32
from tinyscene.runtime.cost import Verdict
from tinyscene.runtime.files import write_json
from tinyscene.runtime.spec import DCASE_BUDGET

from .data.tau22 import Clips, Dataset
from .distillation.soft_targets import SoftTargets
from .errors import TrainingError
from .evaluation.evaluation import Difference, paired
from .evaluation.metrics import evaluate
from .fit.fit import fit, predict_logits
from .models.checkpoint import LoadedModel, load_model, save_model
from .models.sizes import int8_cost
from .recipe import FitSettings, Recipe
from .statistics import bootstrap_interval

GENERAL = "student.pt"
FOLDER, MAP = "devices", "devices.json"


@dataclass(frozen=True)
class Share:
    """Clips told rightly, as a share, with its 95 % interval over places."""

    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class OnTest:
    """Clips of the test part, answered by the general network and by the one chosen, and by how much that is better."""

    clips: int
    general: Share
    chosen: Share
    difference: Difference


@dataclass(frozen=True)
class DeviceModel:
    """What answers for a device, and why. ``checkpoint`` is a path inside the run folder.

    ``validation`` holds the accuracy of the general network and of the device's own on ``validation_clips``, if there
    are any; ``test`` is None for a device without clips there.
    """

    device: str
    checkpoint: str
    why: str
    train_clips: int
    validation_clips: int
    validation: tuple[float, float] | None
    test: OnTest | None


@dataclass(frozen=True)
class DeviceReport:
    """Every device, those of the test part alone with the fall-back, and all test clips together.

    ``n_bytes`` and ``macs`` are those of each network by itself: integers, by the rule ``dcase``, and before constant
    channels are removed on export.
    """

    fall_back: str
    devices: tuple[DeviceModel, ...]
    together: OnTest | None
    n_bytes: int
    macs: int

    @property
    def limits(self) -> tuple[Verdict, Verdict]:
        """Each network by itself against the challenge's limits."""
        return (
            Verdict("size", DCASE_BUDGET.max_bytes, self.n_bytes, "B", "dcase"),
            Verdict("macs", DCASE_BUDGET.max_macs, self.macs, "MAC", "dcase"),
        )

    def to_json(self) -> dict[str, Any]:
        """With ``checkpoints``, which maps every device of the training part to its file."""
        checkpoints = {d.device: d.checkpoint for d in self.devices if d.train_clips}
        limits = [{**asdict(verdict), "passed": verdict.passed} for verdict in self.limits]
        return {"checkpoints": checkpoints, **asdict(self), "limits": limits}


@dataclass(frozen=True, eq=False)
class _Trained:
    """A device's own network, if it was better on validation, and what was found there."""

    network: LoadedModel | None
    why: str
    validation: tuple[float, float] | None


def train_devices(
    recipe: Recipe,
    dataset: Dataset,
    run_dir: Path,
    *,
    soft_targets: SoftTargets | None = None,
    seed: int,
    resume: bool = False,
    progress: bool = True,
) -> DeviceReport:
    """Train the student in ``run_dir`` on for every device of the training part, towards the same soft targets.

    These must be of the clips as they are: views are drawn for all of the training part, and hold other microphones.
    Writes ``devices/NAME.pt`` for the devices whose own network is better on validation, and ``devices.json``. Raises
    TrainingError.
    """
    if soft_targets is not None and soft_targets.views is not None:
        raise TrainingError("soft targets", "are of views", expected="of the clips of a device as they are")
    general = general_model(run_dir, dataset)
    n_bytes, macs = int8_cost(general.config, general.frontend)
    test = predicted(general, dataset.test)
    chosen = test.copy()
    models = []
    for device, count in sorted(Counter(r.device for r in dataset.train.records).items()):
        held = of_device(dataset.validation, device)
        part = replace(dataset, train=of_device(dataset.train, device), validation=held)
        own = _trained(general, recipe.device_settings(), part, run_dir, device, soft_targets, seed, resume, progress)
        checkpoint = GENERAL
        if own.network is not None:
            checkpoint = f"{FOLDER}/{device}.pt"
            mine = np.array([r.device == device for r in dataset.test.records], dtype=bool)
            chosen[mine] = predicted(own.network, of_device(dataset.test, device))
            _save(run_dir / checkpoint, own.network, of_device(dataset.test, device), chosen[mine])
        models.append(DeviceModel(device, checkpoint, own.why, count, len(held), own.validation, test=None))
    unknown = sorted({r.device for r in dataset.test.records} - {model.device for model in models})
    models += [DeviceModel(device, GENERAL, "not in the training part", 0, 0, None, test=None) for device in unknown]
    models = [replace(model, test=_tested(dataset.test, test, chosen, model.device)) for model in models]
    report = DeviceReport(GENERAL, tuple(models), _tested(dataset.test, test, chosen), n_bytes, macs)
    write_json(run_dir / MAP, report.to_json())
    return report


def read_general(run_dir: Path) -> LoadedModel:
    """The student that ``train`` left in ``run_dir``; raises TrainingError if there is none."""
    path = run_dir / GENERAL
    if not path.is_file():
        raise TrainingError(
            str(path), "no general network to go on from", next_step="run 'tinyscene train' there first"
        )
    return load_model(path)


def general_model(run_dir: Path, dataset: Dataset) -> LoadedModel:
    """The student in ``run_dir``; raises TrainingError unless it fits the data."""
    general, path = read_general(run_dir), run_dir / GENERAL
    if general.labels != dataset.labels:
        raise TrainingError(str(path), "a network of other labels", expected=dataset.labels, got=general.labels)
    if general.frontend.sample_rate_hz != dataset.sample_rate_hz:
        rate = general.frontend.sample_rate_hz
        raise TrainingError(str(path), "a network of another rate", expected=dataset.sample_rate_hz, got=rate)
    return general


def of_device(clips: Clips, device: str) -> Clips:
    """The clips of that device, in order."""
    return clips.take(np.flatnonzero([r.device == device for r in clips.records]))


def predicted(network: LoadedModel, clips: Clips) -> F32:
    """Logits float32 (n, classes); n may be 0."""
    if not len(clips):
        return np.zeros((0, len(network.labels)), np.float32)
    return predict_logits(network.model, network.frontend, clips.waveforms)


def _trained(
    general: LoadedModel,
    settings: FitSettings,
    part: Dataset,
    run_dir: Path,
    device: str,
    soft_targets: SoftTargets | None,
    seed: int,
    resume: bool,
    progress: bool,
) -> _Trained:
    """Train on with the clips of one device, and judge on those held out of them."""
    if not len(part.validation):
        return _Trained(None, "no clips to judge on in the validation part", None)
    own = load_model(run_dir / GENERAL)  # a second one, for training changes it
    fit(
        own.model,
        frontend=own.frontend,
        recipe=settings,
        dataset=part,
        run_dir=run_dir / FOLDER / device,
        soft_targets=soft_targets,
        seed=seed,
        resume=resume,
        progress=progress,
    )
    before, after = (_right(predicted(network, part.validation), part.validation).mean() for network in (general, own))
    if after > before:
        return _Trained(own, "better on validation", (float(before), float(after)))
    return _Trained(None, "not better on validation", (float(before), float(after)))


def _save(path: Path, network: LoadedModel, test: Clips, logits: F32) -> None:
    metrics = evaluate(logits, test.records, network.labels).to_json() if len(test) else {}
    save_model(path, network.model, network.config, network.frontend, network.labels, metrics)


def _tested(clips: Clips, general: F32, chosen: F32, device: str | None = None) -> OnTest | None:
    """The clips of one device, or all."""
    rows = np.array([device in (None, r.device) for r in clips.records], dtype=bool)
    if not rows.any():
        return None
    places = np.array([r.place for r, mine in zip(clips.records, rows, strict=True) if mine])
    before, after = (_right(logits, clips)[rows] for logits in (general, chosen))
    difference = paired("general", after, before, places)
    shares = (Share(float(x.mean()), bootstrap_interval(x[None].astype(np.float64), places)) for x in (before, after))
    return OnTest(int(rows.sum()), *shares, difference)


def _right(logits: F32, clips: Clips) -> np.ndarray:
    return logits.argmax(axis=1) == clips.targets
