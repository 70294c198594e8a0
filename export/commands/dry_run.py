"""A recipe tried out: every stage of it on a few made-up clips, and what all of it would cost at full size.

The recipe is taken as it is; only epochs, views, clips and batches are cut: networks, front ends, augmentation, losses,
folds and the way to integers are those of the real run. Figures of quality mean nothing after one epoch, and are not
shown. A bundle may be larger than a trained one, which has lost the channels that training left constant.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from tinyscene.runtime.cost import Verdict, verdicts
from tinyscene.runtime.spec import DCASE_BUDGET, preset
from tinyscene.runtime.terminal import is_quiet
from tinyscene.training.data.tau22 import Dataset, Tau22
from tinyscene.training.distillation.features import FeatureLoss
from tinyscene.training.distillation.soft_targets import SoftTargets
from tinyscene.training.fit.network import build_network
from tinyscene.training.models.checkpoint import LoadedModel
from tinyscene.training.models.config import parameter_count
from tinyscene.training.pipeline import StudentResult, train_student, train_teachers
from tinyscene.training.planning.cost_estimate import Expense, Passes, expenses, full_size_clips
from tinyscene.training.planning.throughput import answering_rate, training_rate
from tinyscene.training.recipe import FitSettings, Recipe
from tinyscene.training.synthetic.dataset import write_tau22_layout
from tinyscene.training.teachers.teacher import load_teacher

from ..check.count import artefact_cost
from ..quantise.calibration import clip_log_mels
from ..quantise.fake_quant import QuantNet
from ..quantise.methods import quantise_aware
from ..quantise.qat import QatTraining
from ..write_bundle import bundle_provenance, export_bundle

PLACES = 5  # of each scene: one for the test, one for validation, and one for each of three folds
PLACES_PER_FOLD = 2  # where there are more
BATCH = 8
TIMED_BATCH = 16
VIEWS = 2


@dataclass(frozen=True)
class Stage:
    """One stage that was gone through, and how long that took."""

    name: str
    seconds: float


@dataclass(frozen=True)
class DryRun:
    """What was gone through with ``clips`` training clips, what ``tinyscene check`` says of the bundle, and what the
    recipe costs with ``full_size_clips``."""

    recipe: str
    device: str
    threads: int
    clips: int
    stages: tuple[Stage, ...]
    limits: tuple[Verdict, Verdict]
    full_size_clips: int
    expenses: tuple[Expense, ...]

    @property
    def hours(self) -> float:
        return sum(expense.hours for expense in self.expenses)

    def to_json(self) -> dict[str, Any]:
        limits = [{**asdict(verdict), "passed": verdict.passed} for verdict in self.limits]
        return {**asdict(self), "limits": limits, "hours": self.hours}


@dataclass(frozen=True, eq=False)
class _Made:
    """What the stages left for the measurements."""

    dataset: Dataset
    run_dir: Path
    targets: SoftTargets | None
    student: StudentResult
    net: QuantNet


def dry_run(recipe: Recipe, folder: Path, *, subset: int = 100) -> DryRun:
    """Try ``recipe`` out in the empty ``folder``; raises TinysceneError of the stage that cannot go on."""
    seen: list[Stage] = []
    short = shortened(recipe)
    made, limits = _all_stages(short, folder, seen)
    with _stage("throughput", seen):
        clips = full_size_clips(subset)
        found = expenses(recipe, clips, lambda passes: _measured(short, made, passes))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    held = len(made.dataset.train)
    return DryRun(recipe.name, device, torch.get_num_threads(), held, tuple(seen), limits, clips, found)


def shortened(recipe: Recipe) -> Recipe:
    """One epoch of everything, in small batches, and few views."""
    teachers = tuple(teacher.model_copy(update=_short(teacher)) for teacher in recipe.teachers)
    changes: dict[str, Any] = {**_short(recipe), "teachers": teachers, "views": min(recipe.views, VIEWS)}
    changes["qat"] = recipe.qat.model_copy(update=_short(recipe.qat))
    if recipe.fusion is not None:
        listener = recipe.fusion.listener.model_copy(update=_short(recipe.fusion.listener))
        changes["fusion"] = recipe.fusion.model_copy(update={"listener": listener})
    return recipe.model_copy(update=changes)


def _short(settings: FitSettings) -> dict[str, int]:
    return {"epochs": 1, "batch_size": min(BATCH, settings.batch_size)}


def _all_stages(recipe: Recipe, folder: Path, seen: list[Stage]) -> tuple[_Made, tuple[Verdict, Verdict]]:
    with _stage("data", seen):
        one = {"train_devices": ("a",), "test_devices": ("a",)}
        folds = recipe.fusion.folds if recipe.fusion is not None else 0
        places = PLACES if folds <= PLACES - 2 else PLACES_PER_FOLD * folds
        write_tau22_layout(folder / "data", seed=0, locations_per_class=places, clips_per_location=1, **one)
        rate = preset(recipe.frontend).sample_rate_hz
        dataset = Tau22.open(folder / "data").load(rate, folder / "cache", progress=False)
    options: dict[str, Any] = {"seed": recipe.seed, "progress": False}
    targets = None
    if recipe.teachers:
        with _stage("teachers and their logits", seen):
            targets, _ = train_teachers(recipe, dataset, folder / "run", **options)
    with _stage("student", seen):
        student = train_student(recipe, dataset, folder / "run", soft_targets=targets, **options)
    source = LoadedModel(student.model, student.config, student.frontend, student.labels)
    log_mels = clip_log_mels(dataset.train, student.frontend)
    with _stage("quantisation-aware training", seen):
        training = QatTraining(student.frontend, recipe.qat, dataset, folder / "run" / "qat", recipe.seed, targets)
        model = quantise_aware(source, recipe.network, log_mels, training)
    with _stage("bundle", seen):
        provenance = bundle_provenance("a dry run", f"tinyscene recipe dry-run {recipe.name}")
        export_bundle(folder / "bundle", model, log_mels, provenance)
    with _stage("check", seen):
        limits = verdicts(artefact_cost(folder / "bundle", "dcase"), DCASE_BUDGET)
    return _Made(dataset, folder / "run", targets, student, model.net), limits


def _measured(recipe: Recipe, made: _Made, passes: Passes) -> tuple[int, float]:
    """Parameters, and clips a second of training or asking the network of these passes."""
    data, classes = made.dataset, len(made.dataset.labels)
    if passes.kind == "answers":
        teacher = load_teacher(recipe, passes.teacher, made.run_dir, classes)
        return parameter_count(teacher.model), answering_rate(teacher.model, teacher.frontend, data, TIMED_BATCH)
    if passes.kind == "QAT":
        made.net.freeze(False)
        settings, frontend = _timed(recipe.qat, passes), made.student.frontend
        rate = training_rate(made.net, frontend, settings, data, soft_targets=made.targets)
        return parameter_count(made.student.model), rate
    settings = recipe
    if passes.kind == "teacher":
        settings = recipe.teachers[passes.teacher]
    elif passes.kind == "listener" and recipe.fusion is not None:
        settings = recipe.fusion.listener
    network = build_network(settings.model_copy(update={"pretrained": None}), classes)
    count, features, targets = parameter_count(network.model), None, None
    if passes.kind == "student":
        targets = made.targets
        if recipe.features is not None:
            told = load_teacher(recipe, recipe.features.teacher, made.run_dir, classes)
            features = FeatureLoss(network.model, network.frontend, told.model, told.frontend, recipe.features)
    timed = _timed(settings, passes)
    return count, training_rate(network.model, network.frontend, timed, data, soft_targets=targets, features=features)


def _timed(settings: FitSettings, passes: Passes) -> FitSettings:
    return settings.model_copy(update={"batch_size": min(TIMED_BATCH, passes.batch)})


@contextmanager
def _stage(name: str, seen: list[Stage]) -> Iterator[None]:
    Console(stderr=True, quiet=is_quiet()).print(f"{name} ...", highlight=False)
    begin = time.perf_counter()
    yield
    seen.append(Stage(name, time.perf_counter() - begin))


def dry_run_lines(found: DryRun) -> Iterator[str]:
    """What ``tinyscene recipe dry-run`` prints."""
    took = ", ".join(f"{stage.name} {stage.seconds:.0f} s" for stage in found.stages)
    yield f"{found.recipe}: every stage ran on {found.clips} training clips: {took}"
    for verdict in found.limits:
        sign = "within the limit" if verdict.passed else "beyond the limit, before training leaves channels constant"
        measured = f"{verdict.measured:,} {verdict.unit} of {verdict.limit:,}"
        yield f"check of the bundle, {verdict.limit_name}: {measured}, {sign} (rule {verdict.rule})"
    here = f"{found.device}, {found.threads} threads, batches of at most {TIMED_BATCH}"
    yield f"at full size, {found.full_size_clips:,} training clips, at the speed of here ({here}):"
    yield from _table(found.expenses)
    yield f"  in all {found.hours:,.1f} hours; validation, test and decoding are not counted"


def _table(expenses: Sequence[Expense]) -> Iterator[str]:
    width = max(len(expense.network) for expense in expenses)
    yield f"  {'':8}  {'network':{width}}  parameters  batch  passes      steps   clips/s     hours"
    for e in expenses:
        figures = f"{e.parameters:10,}  {e.batch:5}  {e.passes:6}  {e.steps:9,}  {e.clips_per_s:8,.1f}  {e.hours:8,.1f}"
        yield f"  {e.kind:8}  {e.network:{width}}  {figures}"
