"""Fine-tune the general network for each recording device; other devices use the general network.

A device keeps the general network unless its fine-tuned one is better on its validation clips; the test part is
evaluated once, at the end. Source: the two steps of the DCASE 2025 Task 1 baseline. Refuses a run folder without a
student, a student with other labels or another sample rate than the data, and students that are no CP-Mobile.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from tinyscene.runtime.arrays import F32, Bools
from tinyscene.runtime.cost import Verdict
from tinyscene.runtime.files import write_json
from tinyscene.runtime.spec import DCASE_BUDGET

from .data.tau22 import Clips, Dataset
from .distillation.soft_targets import SoftTargets
from .errors import TrainingError
from .evaluation.evaluation import Difference, paired_difference
from .evaluation.metrics import evaluate
from .fit.fit import fit, predict_logits
from .models.checkpoint import LoadedModel, load_model, save_model
from .models.network import Network
from .models.sizes import int8_cost
from .recipe import FitSettings, Recipe
from .run import Run
from .statistics import bootstrap_interval

GENERAL = "student.pt"
FOLDER, MAP = "devices", "devices.json"


@dataclass(frozen=True)
class Accuracy:
    """Share of correctly classified clips, with its 95 % interval over places."""

    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class TestComparison:
    """The general network and the selected one on some clips of the test part, and the difference of their accuracy."""

    clips: int
    general: Accuracy
    chosen: Accuracy
    difference: Difference


@dataclass(frozen=True)
class DeviceModel:
    """The network of one device and the reason for its selection. ``checkpoint`` is relative to the run folder.

    ``validation`` holds the accuracy of the general and of the fine-tuned network on ``validation_clips``, if there
    are any; ``test`` is None for a device without test clips.
    """

    device: str
    checkpoint: str
    why: str
    train_clips: int
    validation_clips: int
    validation: tuple[float, float] | None
    test: TestComparison | None


@dataclass(frozen=True)
class DeviceReport:
    """Every device, those of the test part only with the fall-back, and all test clips together.

    ``n_bytes`` and ``macs`` are those of each single network: int8, by the rule ``dcase``, before the export removes
    constant channels.
    """

    fall_back: str
    devices: tuple[DeviceModel, ...]
    together: TestComparison | None
    n_bytes: int
    macs: int

    @property
    def limits(self) -> tuple[Verdict, Verdict]:
        """Each single network compared with the limits of the challenge."""
        return (
            Verdict("size", DCASE_BUDGET.max_bytes, self.n_bytes, "B", "dcase"),
            Verdict("macs", DCASE_BUDGET.max_macs, self.macs, "MAC", "dcase"),
        )

    def to_json(self) -> dict[str, object]:
        """With ``checkpoints``, which maps every device of the training part to its file."""
        checkpoints = {d.device: d.checkpoint for d in self.devices if d.train_clips}
        limits = [{**asdict(verdict), "passed": verdict.passed} for verdict in self.limits]
        return {"checkpoints": checkpoints, **asdict(self), "limits": limits}


@dataclass(frozen=True, eq=False)
class _FineTuned:
    """A device's own network, if it is better on validation, and the two validation accuracies."""

    network: LoadedModel | None
    why: str
    validation: tuple[float, float] | None


def train_devices(recipe: Recipe, run: Run, *, soft_targets: SoftTargets | None = None) -> DeviceReport:
    """Fine-tune the student in the run folder for every device of the training part, towards the same soft targets.

    Soft targets must be those of unaugmented clips: views are drawn for the whole training part and contain other
    microphones. Writes ``devices/NAME.pt`` for the devices whose own network is better on validation, and
    ``devices.json``. Raises TrainingError.
    """
    if soft_targets is not None and soft_targets.views is not None:
        raise TrainingError("soft targets", "belong to augmented views", expected="those of unaugmented clips")
    dataset = run.dataset
    general = general_model(run)
    n_bytes, macs = int8_cost(general.config, general.required_frontend(GENERAL))
    logits = predicted(general, dataset.test)
    chosen = logits.copy()
    models = []
    for device, count in sorted(Counter(r.device for r in dataset.train.records).items()):
        part = _device_part(dataset, device)
        own = _fine_tuned(general, recipe.device_settings(), run, device, soft_targets)
        checkpoint = GENERAL
        if own.network is not None:
            checkpoint = f"{FOLDER}/{device}.pt"
            rows = np.array([r.device == device for r in dataset.test.records], dtype=bool)
            chosen[rows] = predicted(own.network, part.test)
            _save(run.folder / checkpoint, own.network, part.test, chosen[rows])
        held_out = len(part.validation)
        models.append(DeviceModel(device, checkpoint, own.why, count, held_out, own.validation, test=None))
    unknown = sorted({r.device for r in dataset.test.records} - {model.device for model in models})
    models += [DeviceModel(device, GENERAL, "not in the training part", 0, 0, None, test=None) for device in unknown]
    models = [replace(model, test=_compared(dataset.test, logits, chosen, model.device)) for model in models]
    report = DeviceReport(GENERAL, tuple(models), _compared(dataset.test, logits, chosen), n_bytes, macs)
    write_json(run.folder / MAP, report.to_json())
    return report


def read_general(run_dir: Path) -> LoadedModel:
    """The student that ``train`` saved in ``run_dir``; raises TrainingError if there is none."""
    path = run_dir / GENERAL
    if not path.is_file():
        raise TrainingError(
            str(path), "no general network to fine-tune", next_step="run 'tinyscene train' with this run folder first"
        )
    return load_model(path)


def general_model(run: Run) -> LoadedModel:
    """The student in the run folder; raises TrainingError unless it matches the data."""
    general, path = read_general(run.folder), run.folder / GENERAL
    if general.labels != run.dataset.labels:
        raise TrainingError(
            str(path),
            "the labels of the network are not those of the data",
            expected=run.dataset.labels,
            got=general.labels,
        )
    rate = general.required_frontend(str(path)).sample_rate_hz
    if rate != run.dataset.sample_rate_hz:
        raise TrainingError(
            str(path),
            "the sample rate of the network is not that of the decoded clips",
            expected=run.dataset.sample_rate_hz,
            got=rate,
        )
    return general


def of_device(clips: Clips, device: str) -> Clips:
    """The clips of that device, in order."""
    return clips.take(np.flatnonzero([r.device == device for r in clips.records]))


def predicted(network: LoadedModel, clips: Clips) -> F32:
    """Logits float32 (n, classes); n may be 0."""
    if not len(clips):
        return np.zeros((0, len(network.labels)), np.float32)
    return predict_logits(network.model, network.required_frontend(GENERAL), clips.waveforms)


def _device_part(dataset: Dataset, device: str) -> Dataset:
    train, validation, test = (of_device(part, device) for part in (dataset.train, dataset.validation, dataset.test))
    return replace(dataset, train=train, validation=validation, test=test)


def _fine_tuned(
    general: LoadedModel, settings: FitSettings, run: Run, device: str, soft_targets: SoftTargets | None
) -> _FineTuned:
    """Fine-tune with the training clips of one device and compare on its validation clips."""
    part = _device_part(run.dataset, device)
    if not len(part.validation):
        return _FineTuned(None, "no validation clips of this device", None)
    own = load_model(run.folder / GENERAL)  # a second copy, because training changes it
    network = Network(own.model, own.required_frontend(GENERAL), own.config)
    fit(network, settings, run.inside(FOLDER).inside(device).with_dataset(part), soft_targets=soft_targets)
    before, after = (_correct(predicted(each, part.validation), part.validation).mean() for each in (general, own))
    if after > before:
        return _FineTuned(own, "better on validation", (float(before), float(after)))
    return _FineTuned(None, "not better on validation", (float(before), float(after)))


def _save(path: Path, network: LoadedModel, test: Clips, logits: F32) -> None:
    metrics = evaluate(logits, test.records, network.labels).to_json() if len(test) else {}
    save_model(path, network.model, network.config, network.frontend, network.labels, metrics)


def _compared(clips: Clips, general: F32, chosen: F32, device: str | None = None) -> TestComparison | None:
    """On the clips of one device, or on all; None without clips."""
    rows = np.array([device in (None, r.device) for r in clips.records], dtype=bool)
    if not rows.any():
        return None
    places = np.array([r.place for r, included in zip(clips.records, rows, strict=True) if included])
    before, after = (_correct(logits, clips)[rows] for logits in (general, chosen))
    general_accuracy, chosen_accuracy = (
        Accuracy(float(x.mean()), bootstrap_interval(x[None].astype(np.float64), places)) for x in (before, after)
    )
    difference = paired_difference("general", after, before, places)
    return TestComparison(int(rows.sum()), general_accuracy, chosen_accuracy, difference)


def _correct(logits: F32, clips: Clips) -> Bools:
    correct: Bools = logits.argmax(axis=1) == clips.targets
    return correct
