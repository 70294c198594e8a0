"""The chain of ``tinyscene demo``: data, teachers, student, QAT, bundle, verification on every target, report.

Each stage prints one line with its time. An interrupted run resumes where it stopped. Refuses a folder with files that
are not of a demo, so that no bundle and no run made otherwise is replaced; each stage refuses the files of another run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.cost import graph_cost, verdicts
from tinyscene.runtime.file_names import TFLITE_MODEL
from tinyscene.runtime.model import with_frontend
from tinyscene.runtime.spec import DCASE_BUDGET, preset
from tinyscene.runtime.terminal import console as terminal_console
from tinyscene.runtime.terminal import echo_document, say, steps, wide
from tinyscene.training.data.caches import CLIPS
from tinyscene.training.data.tau22 import Dataset, Tau22
from tinyscene.training.evaluation.metrics import Metrics, evaluate
from tinyscene.training.models.checkpoint import LoadedModel
from tinyscene.training.pipeline import StudentResult, TeacherReport, train_student, train_teachers
from tinyscene.training.recipe import Recipe, load_recipe
from tinyscene.training.run import Run
from tinyscene.training.synthetic.dataset import SyntheticSettings, write_tau22_layout

from ..errors import ExportError
from ..labelled.inputs import labelled_from_clips
from ..quantise.calibration import clip_log_mels, evenly, network_images
from ..quantise.methods import quantise_aware
from ..quantise.qat import QatTraining
from ..quantise.quality import layer_quality
from ..quantise.quantised_model import QuantisedModel, float_activations, int8_outputs, network_input
from ..report.demo import demo_of
from ..report.document import Measured, document, row_of_metrics
from ..report.firmware_cost import MACHINES, firmware_cost
from ..report.page import render
from ..report.provenance import provenance
from ..report.records import AccuracyRow, Document
from ..targets.ethos_u import NPUS, estimate_all
from ..targets.table import CORE_TARGETS
from ..verify.results import Verification
from ..verify.verify import verify_bundle
from ..write_bundle import bundle_provenance, export_bundle
from .output import print_verification

DATA, RUN, BUNDLE = "data", "run", "bundle"  # folders of a demo, beside the decoded clips
CALIBRATION_CLIPS = 64
QUALITY_CLIPS = 32


@dataclass(frozen=True)
class DemoSettings:
    """``data``: folder in TAU22 layout, or None for synthetic scenes; ``recipe``: by name, or a YAML file."""

    data: Path | None
    out: Path
    recipe: str
    seed: int

    @property
    def data_name(self) -> str:
        return self.data.name if self.data else "synthetic scenes"

    @property
    def command(self) -> str:
        """The command line that these settings stand for."""
        return f"tinyscene demo --recipe {self.recipe}" + (f" --data {self.data.name}" if self.data else "")


@dataclass(frozen=True, eq=False)
class Trained:
    """The results of training: teachers, the distilled student, the same student trained without teachers."""

    dataset: Dataset
    teachers: TeacherReport
    student: StudentResult
    without_teachers: StudentResult
    model: QuantisedModel


def run_demo(settings: DemoSettings, *, as_json: bool = False) -> Verification:
    """Run the chain into ``settings.out``; the bundle is ``bundle`` in it, with ``report.html``.

    Progress goes to standard error; the closing tables, or the record as JSON, to standard output.

    Raises:
        TinysceneError: a stage failed.
    """
    console = terminal_console(stderr=True)
    started = time.perf_counter()
    recipe = load_recipe(settings.recipe)
    _require_own_folder(settings.out)
    opened = None if settings.data is None else Tau22.open(settings.data)  # refused before any output
    trained = _train(console, opened, settings, recipe)
    with _stage(console, "bundle"):
        bundle, int8 = _bundle(trained, settings)
    with _stage(console, "verify"), steps("verifying", len(CORE_TARGETS)) as step:
        labelled = labelled_from_clips(bundle, trained.dataset.test, f"{len(trained.dataset.test)} test clips")
        verification = verify_bundle(bundle, targets=tuple(CORE_TARGETS), labelled=labelled, on_target=step)
    with _stage(console, "report"):
        record = _document(bundle, trained, verification, int8, settings)
        bundle.add_file("report.html", render(record, demo_of(bundle)))
    if as_json:
        echo_document(record.to_json())
        return verification
    print_verification(verification)
    table = _closing_table(bundle, trained, int8, verification)
    table.add_row("time", f"{(time.perf_counter() - started) / 60:.1f} min")
    wide().print(table)
    return verification


def _require_own_folder(out: Path) -> None:
    """Raises ExportError if ``out`` has something that no demo writes, a bundle without its run, or is no folder."""
    names = sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) if out.is_dir() else []
    other = [name for name in names if name not in (DATA, RUN, BUNDLE, CLIPS)]
    other += [BUNDLE] if BUNDLE in names and RUN not in names else []
    other += [] if out.is_dir() or not out.exists() else ["a file"]
    if other:
        step = "give a new folder, or that of an earlier demo, with --out"
        raise ExportError(str(out), "exists and is not the folder of a demo", got=other[0], next_step=step)


@contextmanager
def _stage(console: Console, name: str) -> Iterator[None]:
    start = time.perf_counter()
    say(console, f"{name} ...", style="bold")
    yield
    say(console, f"  {name}: {time.perf_counter() - start:.1f} s")


def _train(console: Console, opened: Tau22 | None, settings: DemoSettings, recipe: Recipe) -> Trained:
    out, seed = settings.out, settings.seed
    folder = out / DATA if opened is None else opened.folder
    with _stage(console, "data"):
        if opened is None:
            if not folder.exists():
                write_tau22_layout(folder, SyntheticSettings(seed))
            opened = Tau22.open(folder)
        dataset = opened.load(preset(recipe.frontend).sample_rate_hz, out / CLIPS)
        counts = f"{len(dataset.train)} training, {len(dataset.validation)} validation, {len(dataset.test)} test"
        say(console, f"  {folder}: {counts} clips, {len(dataset.labels)} scenes")
    run = Run(dataset, out / RUN, seed, resume=True)
    with _stage(console, "teachers"):
        targets, teachers = train_teachers(recipe, run)
        say(console, f"  ensemble: {teachers.ensemble.accuracy:.1%}")
    with _stage(console, "student"):
        student = train_student(recipe, run, soft_targets=targets)
        say(console, f"  {recipe.network}, distilled: {student.metrics.accuracy:.1%}")
    with _stage(console, "student without teachers"):
        without = train_student(recipe, run, name="no-teacher")
        say(console, f"  {recipe.network}, labels alone: {without.metrics.accuracy:.1%}")
    with _stage(console, "quantisation-aware training"):
        source = LoadedModel(student.model, student.config, student.frontend, student.labels)
        clips = dataset.train.take(evenly(len(dataset.train), CALIBRATION_CLIPS))
        inputs = network_images(clip_log_mels(clips, student.frontend))
        training = QatTraining(student.frontend, recipe.qat, run.inside("qat"), targets)
        model = quantise_aware(source, recipe.network, inputs, training)
    return Trained(dataset, teachers, student, without, model)


def _bundle(trained: Trained, settings: DemoSettings) -> tuple[Bundle, Metrics]:
    """Write the bundle; also returns the metrics of the int8 graph on the test clips."""
    test = trained.dataset.test
    log_mels = clip_log_mels(test, trained.student.frontend)
    int8 = evaluate(int8_outputs(trained.model.graph, log_mels), test.records, trained.dataset.labels)
    provenance = bundle_provenance(
        data=f"test part of {settings.data_name}",
        rebuild=settings.command,
        metrics={"float": trained.student.metrics.to_json(), "int8": int8.to_json()},
    )
    return export_bundle(settings.out / BUNDLE, trained.model, log_mels, provenance, overwrite=True), int8


def _accuracy_rows(trained: Trained, int8: Metrics) -> tuple[AccuracyRow, ...]:
    return (
        row_of_metrics("int8", int8),
        row_of_metrics("float", trained.student.metrics),
        row_of_metrics("without teachers", trained.without_teachers.metrics),
        row_of_metrics("teacher ensemble", trained.teachers.ensemble),
        *(row_of_metrics(f"teacher {t.name}", t.metrics) for t in trained.teachers.teachers),
    )


def _document(
    bundle: Bundle, trained: Trained, verification: Verification, int8: Metrics, settings: DemoSettings
) -> Document:
    test = trained.dataset.test.take(evenly(len(trained.dataset.test), QUALITY_CLIPS))
    log_mels = clip_log_mels(test, with_frontend(bundle).frontend)
    codes = network_input(bundle.graph, log_mels)
    with steps("measuring firmware", len(MACHINES)) as step:
        firmware = firmware_cost(bundle.graph, codes, on_machine=step)
    return document(
        Measured(
            title=f"{bundle.graph.name} on {settings.data_name}",
            graph=bundle.graph,
            verification=verification,
            labels=bundle.labels,
            frontend=bundle.frontend,
            budget=DCASE_BUDGET,
            estimates=estimate_all(lambda: bundle.file(TFLITE_MODEL), NPUS),
            firmware=firmware,
            accuracy=_accuracy_rows(trained, int8),
            quality=layer_quality(bundle.graph, codes, float_activations(trained.model, log_mels)),
            quality_data=f"measured on {len(test)} test clips, relative to the float network",
            provenance=provenance(settings.command, bundle, bundle.file(TFLITE_MODEL)),
        )
    )


def _closing_table(bundle: Bundle, trained: Trained, int8: Metrics, verification: Verification) -> Table:
    table = Table(title="tinyscene demo", show_header=False)
    student, without = trained.student.metrics.accuracy, trained.without_teachers.metrics.accuracy
    table.add_row("teacher ensemble", f"{trained.teachers.ensemble.accuracy:.1%}")
    table.add_row("student, float", f"{student:.1%}")
    table.add_row(
        "same student without teachers", f"{without:.1%}  ({100 * (student - without):+.1f} points by distillation)"
    )
    drop = 100 * (int8.accuracy - student)
    table.add_row("student, int8", f"{int8.accuracy:.1%}  ({drop:+.1f} points relative to float)")
    chance = 1 / len(bundle.labels)
    table.add_row("chance", f"{chance:.1%}, {int8.clips} test clips")
    cost = graph_cost(bundle.graph, "dcase")
    for verdict in verdicts(cost, DCASE_BUDGET):
        word = "pass" if verdict.passed else "FAIL"
        table.add_row(verdict.limit_name, f"{word}: {verdict.measured:,} of {verdict.limit:,} (rule {cost.rule})")
    ran = [r for r in verification.results if r.status != "skipped"]
    equal = sum(r.passed for r in ran)
    table.add_row(
        "targets equal to the graph", f"{equal} of {len(ran)}, {verification.bytes_compared:,} bytes compared"
    )
    for result in verification.skipped:
        table.add_row(f"skipped: {result.target}", result.note)
    table.add_row("report", str(bundle.path / "report.html"))
    return table
