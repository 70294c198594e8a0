"""``tinyscene verify``: compare every target with the graph; a table, and on request JSON, an HTML page, Markdown.

The last three contain more: firmware in each execution mode with its calls, the quality of every layer, memory. Exit
code 0 when every target that ran agrees, 1 for a difference or a target that failed, 2 for a model that cannot be
read, 3 when nothing differs and a target cannot run the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene.runtime.file_names import TFLITE_MODEL
from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import (
    MAX_COUNT,
    AsJson,
    InputsPath,
    MarkdownFile,
    ModelPath,
    Quiet,
    RecordFile,
    ReportFile,
    some_of,
)
from tinyscene.runtime.terminal import echo_document

if TYPE_CHECKING:
    from tinyscene.runtime.arrays import I8
    from tinyscene.runtime.bundle import Bundle
    from tinyscene.runtime.model import Model

    from ..labelled.codes import LabelledCodes
    from ..quantise.quality import LayerQuality
    from ..report.records import Document
    from ..targets.ethos_u import Estimates
    from ..verify.results import Verification

QUALITY_CLIPS = 32
REFUSED = 3  # exit code: a target cannot run the network, nothing differs


def _targets(incomplete: str) -> list[str]:
    from ..targets.ethos_u import NPUS
    from ..targets.table import TARGETS

    return some_of((*TARGETS, *NPUS))(incomplete)


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """Labelled clips on which accuracy is measured, and inputs that replace the golden vectors."""

    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Measure accuracy on the test split of a TAU22 layout.")
    ] = None
    clips: Annotated[int | None, typer.Option(metavar="N", min=1, max=MAX_COUNT, help="Use at most N test clips.")] = (
        None
    )
    inputs: InputsPath = None


@dataclass(frozen=True, kw_only=True)
class OutputFiles:
    """Files that are written besides the table."""

    out: RecordFile = None
    report: ReportFile = None
    markdown: MarkdownFile = None


@grouped
def verify(
    model: ModelPath,
    given: InputOptions,
    files: OutputFiles,
    targets: Annotated[
        str, typer.Option(metavar="NAMES", help='Comma-separated names, or "all".', autocompletion=_targets)
    ] = "all",
    all_columns: Annotated[bool, typer.Option("--wide", help="Print all columns of the table.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare every target with the model on the golden vectors, byte by byte.

    NPUs are estimated, not run. A file has no golden vectors: random codes replace them, or --inputs. Exit code 1 for
    a difference or a target that failed, 3 if the only obstacle is a target that cannot run the network.
    """
    from tinyscene.runtime.terminal import steps

    from ..targets.ethos_u import NPUS, estimate_all
    from ..targets.table import TARGETS, targets_of
    from .npu import print_estimates
    from .output import print_verification

    names = _known_names(targets, (*TARGETS, *NPUS))
    subject = open_subject(model, given)
    if targets == "all":
        names = (*targets_of(subject.model), *NPUS)
    with steps("verifying", len(names)) as step:
        result = subject.verified(tuple(name for name in names if name not in NPUS), step)
        npus = [name for name in names if name in NPUS]
        estimates = estimate_all(lambda: subject.model.file(TFLITE_MODEL), npus, step)
    if as_json or files != OutputFiles():
        stated = {"--data": given.data, "--inputs": given.inputs}
        options = [f"{option} {path.name}" for option, path in stated.items() if path]
        command = " ".join(["tinyscene verify", model.name, *options])
        document = documented(subject, result, estimates, names, command)
        _write_forms(document, files, subject.model)
        if as_json:
            echo_document(document.to_json())
    if not as_json:
        print_verification(result, all_columns=all_columns)
        if estimates.rows or estimates.left_out:
            print_estimates(model.name, estimates)
    if result.failed or result.refused:
        raise typer.Exit(1 if result.failed else REFUSED)


def _write_forms(document: Document, files: OutputFiles, model: Model) -> None:
    """Write the document as JSON, as a page that contains the model, and as Markdown, each where a path was given."""
    from tinyscene.runtime.files import write_file

    from ..report.demo import demo_of
    from ..report.page import render
    from ..report.summary import as_markdown

    if files.out:
        write_file(files.out, document.to_json().encode())
    if files.report:
        write_file(files.report, render(document, demo_of(model)))
    if files.markdown:
        write_file(files.markdown, as_markdown(document).encode())


@dataclass(frozen=True, eq=False)
class Subject:
    """The model under test, with ``inputs`` int8 (n, ...): its golden vectors, or those ``given`` by the caller."""

    name: str
    model: Model
    inputs: I8
    given: bool = False
    labelled: LabelledCodes | None = None

    @property
    def bundle(self) -> Bundle | None:
        """The model if it is a bundle."""
        from tinyscene.runtime.bundle import Bundle

        return self.model if isinstance(self.model, Bundle) else None

    def verified(self, names: tuple[str, ...], on_target: Callable[[str], None]) -> Verification:
        """Verify a bundle on its golden vectors and on labelled clips, or any model on the inputs."""
        from ..formats.file_model import FileModel
        from ..verify.verify import verify, verify_bundle

        if self.bundle is not None and not self.given:
            return verify_bundle(self.bundle, targets=names, labelled=self.labelled, on_target=on_target)
        result = verify(
            self.model.graph,
            self.inputs,
            targets=names,
            labelled=self.labelled,
            shipped=self.model,
            on_target=on_target,
        )
        return replace(result, notes=self.model.notes() if isinstance(self.model, FileModel) else ())


def open_subject(model: Path, options: InputOptions) -> Subject:
    """Read a model, the labelled clips and the inputs.

    Raises:
        TinysceneError: one of them cannot be read, or labelled clips are given for a model without a front end.
    """
    from tinyscene.runtime.bundle import Bundle
    from tinyscene.runtime.network_inputs import read_inputs
    from tinyscene.runtime.states import with_states

    from ..errors import ExportError
    from ..formats.open_model import open_model
    from ..labelled.inputs import labelled_codes

    opened, codes = open_model(model), None
    if options.data is not None:
        if not isinstance(opened, Bundle) or opened.frontend is None:
            raise ExportError("--data", "the model has no front end", expected="a bundle with one")
        codes = labelled_codes(opened, options.data, options.clips)
    given = None
    if options.inputs is not None:
        given = with_states(opened.graph, read_inputs(options.inputs, opened).codes)
    vectors = opened.golden().inputs if given is None else given
    return Subject(model.resolve().name, opened, vectors, given is not None, codes)


def documented(
    subject: Subject, verification: Verification, estimates: Estimates, names: tuple[str, ...], command: str
) -> Document:
    """Build the whole report; firmware is measured for the targets in ``names`` that run it."""
    from tinyscene.runtime.spec import DCASE_BUDGET
    from tinyscene.runtime.terminal import steps

    from ..report.document import Measured, document, rows_of_labelled
    from ..report.firmware_cost import MACHINES, firmware_cost
    from ..report.provenance import provenance

    graph, bundle, labelled = subject.model.graph, subject.bundle, subject.labelled
    machines = [machine for machine in MACHINES if f"c-{machine.name}" in names]
    with steps("measuring firmware", len(machines)) as step:
        firmware = firmware_cost(graph, subject.inputs, machines, on_machine=step)
    labels = graph.labels
    quality, quality_data = _quality(subject)
    return document(
        Measured(
            title=f"{graph.name}, {subject.name}",
            graph=graph,
            verification=verification,
            labels=labels,
            frontend=subject.model.frontend,
            budget=None if bundle is None or bundle.frontend is None else DCASE_BUDGET,
            estimates=estimates,
            firmware=firmware,
            accuracy=rows_of_labelled(graph, labels, labelled) if labelled else (),
            quality=quality,
            quality_data=quality_data,
            provenance=provenance(command, bundle, subject.model.file(TFLITE_MODEL)),
        )
    )


def _quality(subject: Subject) -> tuple[tuple[LayerQuality, ...], str]:
    """The quantisation error of every activation and the data it was measured on, or the reason why it was not."""
    from tinyscene.runtime.vectors import dequantised

    from ..errors import ExportError
    from ..quantise.quality import layer_quality
    from ..quantise.simulate import simulate
    from ..write_bundle import real_inputs

    graph = subject.model.graph
    if subject.labelled:
        codes, source = subject.labelled.sample(QUALITY_CLIPS).codes, "clips of the data"
    elif subject.given:
        codes, source = subject.inputs[:QUALITY_CLIPS], "given inputs"
    elif subject.bundle is not None:
        codes, source = real_inputs(subject.bundle.golden()), "real inputs of the golden vectors"
    else:
        return (), "not measured: random codes are not real inputs"
    names = [node.output for node in graph.nodes]
    try:
        real = dequantised(graph, graph.inputs, codes)
        reference = simulate(graph, real, names, shown=names)
    except ExportError as problem:
        return (), f"not measured: {problem}"
    text = f"measured on {len(codes)} {source}, compared with the same weights without rounding"
    return layer_quality(graph, codes, reference), text


def _known_names(targets: str, known: tuple[str, ...]) -> tuple[str, ...]:
    from ..errors import ExportError

    names = known if targets == "all" else tuple(targets.split(","))
    for name in names:
        if name not in known:
            raise ExportError(f"target '{name}'", "unknown", expected=" | ".join(known))
    return names
