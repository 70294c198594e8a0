"""Dry run of a recipe: every stage on a few synthetic clips, and the estimated cost at full size.

Only epochs, views, clips and batches are reduced; networks, front ends, augmentation, losses, folds and quantisation
are those of the recipe. Quality metrics are meaningless after one epoch and are not shown. A bundle may be larger than
that of a trained network, from which the export removes the channels that became constant. Refuses recipes with a stage
that cannot run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from tinyscene.runtime.cost import Verdict, verdicts
from tinyscene.runtime.spec import DCASE_BUDGET, preset
from tinyscene.runtime.terminal import console, say
from tinyscene.training.data.tau22 import Dataset, Tau22
from tinyscene.training.distillation.features import FeatureLoss
from tinyscene.training.distillation.soft_targets import SoftTargets
from tinyscene.training.fit.network import build_network
from tinyscene.training.models.checkpoint import LoadedModel
from tinyscene.training.models.config import parameter_count
from tinyscene.training.models.network import Network
from tinyscene.training.pipeline import StudentResult, train_student, train_teachers
from tinyscene.training.planning.cost_estimate import Expense, Passes, expenses, full_size_clips
from tinyscene.training.planning.throughput import evaluation_rate, training_rate
from tinyscene.training.recipe import FitSettings, Recipe, TrainSettings
from tinyscene.training.run import Run
from tinyscene.training.synthetic.dataset import SyntheticSettings, write_tau22_layout
from tinyscene.training.teachers.teacher import load_teacher

from ..check.count import artefact_cost
from ..quantise.calibration import clip_log_mels, network_images
from ..quantise.fake_quant import QuantNet
from ..quantise.methods import quantise_aware
from ..quantise.qat import QatTraining
from ..write_bundle import bundle_provenance, export_bundle

PLACES = 5  # of each scene: one for the test, one for validation, and one for each of three folds
PLACES_PER_FOLD = 2  # where there are more folds
BATCH = 8
TIMED_BATCH = 16
VIEWS = 2


@dataclass(frozen=True)
class Stage:
    """One completed stage and its duration."""

    name: str
    seconds: float


@dataclass(frozen=True)
class DryRun:
    """Completed stages with ``clips`` training clips, the verdicts of ``tinyscene check`` on the bundle, and the cost
    of the recipe with ``full_size_clips``."""

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

    def to_json(self) -> dict[str, object]:
        limits = [{**asdict(verdict), "passed": verdict.passed} for verdict in self.limits]
        return {**asdict(self), "limits": limits, "hours": self.hours}


@dataclass(frozen=True, eq=False)
class _Outputs:
    """Outputs of the stages that the throughput measurements use."""

    run: Run
    targets: SoftTargets | None
    student: StudentResult
    net: QuantNet
    limits: tuple[Verdict, Verdict]


def dry_run(recipe: Recipe, folder: Path, *, subset: int = 100) -> DryRun:
    """Run every stage of ``recipe`` in the empty ``folder``; raises the TinysceneError of a stage that fails."""
    stages: list[Stage] = []
    short = shortened(recipe)
    outputs = _all_stages(short, folder, stages)
    with _stage("throughput", stages):
        clips = full_size_clips(subset)
        costs = expenses(recipe, clips, lambda passes: _measured(short, outputs, passes))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trained_on = len(outputs.run.dataset.train)
    return DryRun(recipe.name, device, torch.get_num_threads(), trained_on, tuple(stages), outputs.limits, clips, costs)


def shortened(recipe: Recipe) -> Recipe:
    """The recipe with one epoch of everything, small batches and few views."""
    teachers = tuple(teacher.model_copy(update=_short(teacher)) for teacher in recipe.teachers)
    changes: dict[str, object] = {**_short(recipe), "teachers": teachers, "views": min(recipe.views, VIEWS)}
    changes["qat"] = recipe.qat.model_copy(update=_short(recipe.qat))
    if recipe.fusion is not None:
        listener = recipe.fusion.listener.model_copy(update=_short(recipe.fusion.listener))
        changes["fusion"] = recipe.fusion.model_copy(update={"listener": listener})
    return recipe.model_copy(update=changes)


def _short(settings: FitSettings) -> dict[str, int]:
    return {"epochs": 1, "batch_size": min(BATCH, settings.batch_size)}


def _all_stages(recipe: Recipe, folder: Path, stages: list[Stage]) -> _Outputs:
    with _stage("data", stages):
        run = Run(_synthetic_clips(recipe, folder), folder / "run", recipe.seed, progress=False)
    targets = None
    if recipe.teachers:
        with _stage("teachers and their logits", stages):
            targets, _ = train_teachers(recipe, run)
    with _stage("student", stages):
        student = train_student(recipe, run, soft_targets=targets)
    source = LoadedModel(student.model, student.config, student.frontend, student.labels)
    log_mels = clip_log_mels(run.dataset.train, student.frontend)
    with _stage("quantisation-aware training", stages):
        training = QatTraining(student.frontend, recipe.qat, run.inside("qat"), targets)
        model = quantise_aware(source, recipe.network, network_images(log_mels), training)
    with _stage("bundle", stages):
        provenance = bundle_provenance("a dry run", f"tinyscene recipe dry-run {recipe.name}")
        export_bundle(folder / "bundle", model, log_mels, provenance)
    with _stage("check", stages):
        limits = verdicts(artefact_cost(folder / "bundle", "dcase"), DCASE_BUDGET)
    return _Outputs(run, targets, student, model.net, limits)


def _synthetic_clips(recipe: Recipe, folder: Path) -> Dataset:
    folds = recipe.fusion.folds if recipe.fusion is not None else 0
    places = PLACES if folds <= PLACES - 2 else PLACES_PER_FOLD * folds
    settings = SyntheticSettings(0, places, clips_per_location=1, train_devices=("a",), test_devices=("a",))
    write_tau22_layout(folder / "data", settings)
    rate = preset(recipe.frontend).sample_rate_hz
    return Tau22.open(folder / "data").load(rate, folder / "cache", progress=False)


def _measured(recipe: Recipe, outputs: _Outputs, passes: Passes) -> tuple[int, float]:
    """Parameters, and clips per second of training or evaluating the network of these passes."""
    run, targets = outputs.run, outputs.targets
    if passes.kind == "logits":
        teacher = load_teacher(recipe, passes.teacher, run).network
        return parameter_count(teacher.model), evaluation_rate(teacher, run.dataset, TIMED_BATCH)
    if passes.kind == "QAT":
        outputs.net.freeze(False)
        student = Network(outputs.net, outputs.student.frontend)
        rate = training_rate(student, _timed(recipe.qat, passes), run.dataset, soft_targets=targets)
        return parameter_count(outputs.student.model), rate
    settings: TrainSettings = recipe
    if passes.kind == "teacher":
        settings = recipe.teachers[passes.teacher]
    elif passes.kind == "fusion z1" and recipe.fusion is not None:
        settings = recipe.fusion.listener
    network = build_network(settings.model_copy(update={"pretrained": None}), len(run.dataset.labels))
    count, timed = parameter_count(network.model), _timed(settings, passes)
    if passes.kind != "student":
        return count, training_rate(network, timed, run.dataset)
    features = None
    if recipe.features is not None:
        teacher = load_teacher(recipe, recipe.features.teacher, run).network
        features = FeatureLoss(network, teacher, recipe.features)
    return count, training_rate(network, timed, run.dataset, soft_targets=targets, features=features)


def _timed(settings: FitSettings, passes: Passes) -> FitSettings:
    return settings.model_copy(update={"batch_size": min(TIMED_BATCH, passes.batch)})


@contextmanager
def _stage(name: str, stages: list[Stage]) -> Iterator[None]:
    say(console(stderr=True), f"{name} ...")
    start = time.perf_counter()
    yield
    stages.append(Stage(name, time.perf_counter() - start))


def dry_run_lines(result: DryRun) -> Iterator[str]:
    """The output of ``tinyscene recipe dry-run``."""
    durations = ", ".join(f"{stage.name} {stage.seconds:.0f} s" for stage in result.stages)
    yield f"{result.recipe}: every stage ran on {result.clips} training clips: {durations}"
    for verdict in result.limits:
        above = "above the limit, before the export removes constant channels"
        relation = "within the limit" if verdict.passed else above
        measured = f"{verdict.measured:,} {verdict.unit} of {verdict.limit:,}"
        yield f"check of the bundle, {verdict.limit_name}: {measured}, {relation} (rule {verdict.rule})"
    machine = f"{result.device}, {result.threads} threads, batches of at most {TIMED_BATCH}"
    yield f"at full size, {result.full_size_clips:,} training clips, at the throughput of this machine ({machine}):"
    yield from _table(result.expenses)
    yield f"  in total {result.hours:,.1f} hours; validation, test and decoding are not counted"


def _table(expenses: Sequence[Expense]) -> Iterator[str]:
    width = max(len(expense.network) for expense in expenses)
    yield f"  {'':9}  {'network':{width}}  parameters  batch  passes      steps   clips/s     hours"
    for e in expenses:
        figures = f"{e.parameters:10,}  {e.batch:5}  {e.passes:6}  {e.steps:9,}  {e.clips_per_s:8,.1f}  {e.hours:8,.1f}"
        yield f"  {e.kind:9}  {e.network:{width}}  {figures}"
