"""The whole chain in one call: data, teachers, student, QAT, bundle, check, verify everywhere, report, closing table.

Each stage prints one line with its time. A run that was interrupted goes on where it stopped; a folder that holds
something else is refused by the stage that meets it.
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
from tinyscene.runtime.spec import DCASE_BUDGET, preset
from tinyscene.runtime.terminal import is_quiet, steps
from tinyscene.training.data.caches import CLIPS
from tinyscene.training.data.tau22 import Dataset, Tau22
from tinyscene.training.evaluation.metrics import Metrics, evaluate
from tinyscene.training.models.checkpoint import LoadedModel
from tinyscene.training.pipeline import StudentResult, TeacherReport, train_student, train_teachers
from tinyscene.training.recipe import Recipe, load_recipe
from tinyscene.training.synthetic.dataset import write_tau22_layout

from ..labelled.inputs import labelled_from_clips
from ..quantise.calibration import batches, clip_log_mels, evenly
from ..quantise.export import Export, float_activations, int8_logits, network_input, quantised
from ..quantise.qat import quantise_aware
from ..quantise.quality import layer_quality
from ..report.document import Measured, document, row_of_metrics
from ..report.firmware_cost import MACHINES, firmware_cost
from ..report.page import render
from ..report.provenance import provenance
from ..report.records import AccuracyRow, Document
from ..targets.ethos_u import NPUS, estimate_all
from ..targets.table import CORE_TARGETS
from ..verify.verify import Verification, verify_bundle
from ..write_bundle import export_bundle
from .output import print_verification

CALIBRATION_CLIPS = 64
QUALITY_CLIPS = 32


@dataclass(frozen=True, eq=False)
class Trained:
    """What training gave: teachers, the distilled student and the same student without teachers."""

    dataset: Dataset
    teachers: TeacherReport
    student: StudentResult
    alone: StudentResult
    export: Export


def run_demo(data: Path | None, out: Path, *, recipe: str, seed: int, as_json: bool = False) -> Verification:
    """Run the chain into ``out``; the bundle is ``out/bundle`` with ``report.html`` in it.

    What is being done goes to standard error; the closing tables, or the record as JSON, to standard output.

    Raises:
        TinysceneError: of the stage that cannot go on.
    """
    console = Console(stderr=True, quiet=is_quiet())
    started = time.perf_counter()
    settings = load_recipe(recipe)
    opened = None if data is None else Tau22.open(data)  # refused before anything is said
    trained = _train(console, opened, out, settings, seed)
    with _stage(console, "bundle"):
        bundle, int8 = _bundle(out / "bundle", trained, data, recipe)
    with _stage(console, "verify"), steps("verifying", len(CORE_TARGETS)) as step:
        labelled = labelled_from_clips(bundle, trained.dataset.test, f"{len(trained.dataset.test)} test clips")
        verification = verify_bundle(bundle, targets=tuple(CORE_TARGETS), labelled=labelled, on_target=step)
    with _stage(console, "report"):
        record = _document(bundle, trained, verification, _accuracy_rows(trained, int8), data, recipe)
        bundle.add_file("report.html", render(record))
    if as_json:
        print(record.to_json(), end="")
        return verification
    print_verification(verification)
    _closing_table(Console(), bundle, trained, int8, verification, time.perf_counter() - started)
    return verification


@contextmanager
def _stage(console: Console, name: str) -> Iterator[None]:
    start = time.perf_counter()
    console.print(f"[bold]{name}[/bold] ...", highlight=False)
    yield
    console.print(f"  {name}: {time.perf_counter() - start:.1f} s", highlight=False)


def _train(console: Console, opened: Tau22 | None, out: Path, recipe: Recipe, seed: int) -> Trained:
    folder = out / "data" if opened is None else opened.folder
    with _stage(console, "data"):
        if opened is None:
            if not folder.exists():
                write_tau22_layout(folder, seed=seed)
            opened = Tau22.open(folder)
        dataset = opened.load(preset(recipe.frontend).sample_rate_hz, out / CLIPS)
        counts = f"{len(dataset.train)} training, {len(dataset.validation)} validation, {len(dataset.test)} test"
        console.print(f"  {folder}: {counts} clips, {len(dataset.labels)} scenes", highlight=False)
    run = out / "run"
    with _stage(console, "teachers"):
        targets, teachers = train_teachers(recipe, dataset, run, seed=seed, resume=True)
        console.print(f"  together {teachers.ensemble.accuracy:.1%}", highlight=False)
    with _stage(console, "student"):
        student = train_student(recipe, dataset, run, soft_targets=targets, seed=seed, resume=True)
        console.print(f"  {recipe.network}, distilled: {student.metrics.accuracy:.1%}", highlight=False)
    with _stage(console, "student without teachers"):
        alone = train_student(recipe, dataset, run, seed=seed, resume=True, name="no-teacher")
        console.print(f"  {recipe.network}, labels alone: {alone.metrics.accuracy:.1%}", highlight=False)
    with _stage(console, "quantisation-aware training"):
        source = LoadedModel(student.model, student.config, student.frontend, student.labels)
        rows = evenly(len(dataset.train), CALIBRATION_CLIPS)
        net = quantise_aware(
            student.model,
            frontend=student.frontend,
            settings=recipe.qat,
            dataset=dataset,
            soft_targets=targets,
            run_dir=run / "qat",
            seed=seed,
            calibration=batches(clip_log_mels(dataset.train.take(rows), student.frontend)),
            resume=True,
        )
    return Trained(dataset, teachers, student, alone, quantised(source, net, recipe.network))


def _bundle(path: Path, trained: Trained, data: Path | None, recipe: str) -> tuple[Bundle, Metrics]:
    """Write the bundle; also the metrics of the int8 graph on the test clips."""
    test, export = trained.dataset.test, trained.export
    log_mels = clip_log_mels(test, trained.student.frontend)
    int8 = evaluate(int8_logits(export.graph, log_mels), test.records, trained.dataset.labels)
    bundle = export_bundle(
        path,
        export,
        golden_log_mels=log_mels,
        metrics={"float": trained.student.metrics.to_json(), "int8": int8.to_json()},
        data=f"test part of {data.name if data else 'synthetic scenes'}",
        rebuild=_command(data, recipe),
        overwrite=True,
    )
    return bundle, int8


def _command(data: Path | None, recipe: str) -> str:
    return f"tinyscene demo --recipe {recipe}" + (f" --data {data.name}" if data else "")


def _accuracy_rows(trained: Trained, int8: Metrics) -> tuple[AccuracyRow, ...]:
    return (
        row_of_metrics("int8", int8),
        row_of_metrics("float", trained.student.metrics),
        row_of_metrics("without teachers", trained.alone.metrics),
        row_of_metrics("teachers together", trained.teachers.ensemble),
        *(row_of_metrics(f"teacher {t.name}", t.metrics) for t in trained.teachers.teachers),
    )


def _document(
    bundle: Bundle,
    trained: Trained,
    verification: Verification,
    accuracy: tuple[AccuracyRow, ...],
    data: Path | None,
    recipe: str,
) -> Document:
    test = trained.dataset.test.take(evenly(len(trained.dataset.test), QUALITY_CLIPS))
    log_mels = clip_log_mels(test, bundle.frontend)
    codes = network_input(bundle.graph, log_mels)
    with steps("measuring firmware", len(MACHINES)) as step:
        firmware = firmware_cost(bundle.graph, codes, on_machine=step)
    return document(
        Measured(
            title=f"{bundle.graph.name} on {data.name if data else 'synthetic scenes'}",
            graph=bundle.graph,
            verification=verification,
            labels=bundle.labels,
            frontend=bundle.frontend,
            budget=DCASE_BUDGET,
            estimates=estimate_all(bundle.file(TFLITE_MODEL), NPUS),
            firmware=firmware,
            accuracy=accuracy,
            quality=layer_quality(bundle.graph, codes, float_activations(trained.export, log_mels)),
            quality_data=f"measured on {len(test)} test clips, against the network in float",
            provenance=provenance(_command(data, recipe), bundle, bundle.file(TFLITE_MODEL)),
        )
    )


def _closing_table(
    console: Console, bundle: Bundle, trained: Trained, int8: Metrics, verification: Verification, seconds: float
) -> None:
    table = Table(title="tinyscene demo", show_header=False)
    student, alone = trained.student.metrics.accuracy, trained.alone.metrics.accuracy
    table.add_row("teachers together", f"{trained.teachers.ensemble.accuracy:.1%}")
    table.add_row("student, float", f"{student:.1%}")
    table.add_row(
        "same student without teachers", f"{alone:.1%}  ({100 * (student - alone):+.1f} points by distillation)"
    )
    drop = 100 * (int8.accuracy - student)
    table.add_row("student, int8", f"{int8.accuracy:.1%}  ({drop:+.1f} points against float)")
    chance = 1 / len(bundle.labels)
    table.add_row("chance", f"{chance:.1%}, {int8.clips} test clips")
    cost = graph_cost(bundle.graph, "dcase")
    for verdict in verdicts(cost, DCASE_BUDGET):
        word = "pass" if verdict.passed else "FAIL"
        table.add_row(verdict.limit_name, f"{word}: {verdict.measured:,} of {verdict.limit:,} (rule {cost.rule})")
    ran = [r for r in verification.results if r.status != "skipped"]
    equal = sum(r.passed for r in ran)
    n_bytes = sum(r.bytes_compared for r in ran)
    table.add_row("targets equal to the graph", f"{equal} of {len(ran)}, {n_bytes:,} bytes compared")
    for result in verification.skipped:
        table.add_row(f"skipped: {result.target}", result.note)
    table.add_row("report", str(bundle.path / "report.html"))
    table.add_row("time", f"{seconds / 60:.1f} min")
    console.print(table)
