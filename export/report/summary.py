"""The report in Markdown: verdict, matrix, firmware, NPUs and skips, for a CI job's summary or a document.

Rendered from the same record as the page; layers and memory are on the page only.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinyscene.firmware_harness.run.modelled import BoardCost
from tinyscene.runtime.markdown import cell, table
from tinyscene.training.page.template import interval_text

from ..targets.ethos_u import Estimate
from ..verify.results import TargetResult
from .records import Document
from .sections import npu_share_text, ram_bytes

MATRIX = ("target", "means", "rule", "verdict", "bytes different")
CLIP_COLUMNS = ("accuracy", "95 %", "agrees with float", "p", "scores different", "clips")
COSTS = ("flash B", "RAM B", "work", "ms", "uJ")
WORDS = {"pass": "pass", "warn": "warning", "skip": "skipped", "fail": "**FAIL**"}


def as_markdown(document: Document) -> str:
    """The summary, ending in a line feed."""
    lines = [f"### {cell(document.title)}: {cell(document.headline.text)}", ""]
    lines += [f"- {WORDS[line.state]}: {cell(line.text)}" for line in document.lines]
    for section in (_matrix(document), _remarks(document), _firmware(document), _npus(document)):
        rows = list(section)
        lines += ["", *rows] if rows else []
    return "\n".join(lines) + "\n"


def _matrix(document: Document) -> Iterator[str]:
    has_clips = any(result.predictions for result in document.verification.results)
    head = (*MATRIX, *(CLIP_COLUMNS if has_clips else ()), *COSTS)
    rows = [_target_row(result, has_clips) for result in document.verification.results]
    rows += [_npu_row(estimate, has_clips) for estimate in document.estimates.rows]
    empty = [""] * (len(head) - 4)
    rows += [(name, "estimates", "", "skipped", *empty) for name in document.estimates.left_out]
    yield from table(head, rows, numbers=len(head) - 4)
    if has_clips:
        share = document.verification.float_accuracy
        yield ""
        text = f"Clips: {cell(document.verification.data)}"
        yield f"{text}." if share is None else f"{text}; the float network classifies {share:.1%} correctly."


def _target_row(result: TargetResult, has_clips: bool) -> tuple[str, ...]:
    cost, comparison = result.cost, result.comparison
    verdict = f"**{result.status}**" if result.status in ("different", "failed") else result.status
    different = f"{comparison.bytes_different:,} of {comparison.bytes_compared:,}" if comparison else ""
    return (
        *(result.target, result.means, result.rounding or "", verdict, different),
        *(_clip_cells(result) if has_clips else ()),
        f"{cost.flash_bytes:,}" if cost and cost.flash_bytes else "",
        f"{ram_bytes(cost):,}" if cost else "",
        f"{cost.instructions / 1e6:,.1f} M instructions" if cost and cost.instructions else "",
        *_modelled_cells(result.modelled),
    )


def _modelled_cells(modelled: BoardCost | None) -> tuple[str, str]:
    """The cells below "ms" and "uJ"."""
    if modelled is None:
        return "", ""
    energy = "unknown" if modelled.microjoules is None else str(modelled.microjoules)
    return f"{modelled.milliseconds} on {modelled.board}", energy


def _clip_cells(result: TargetResult) -> tuple[str, ...]:
    """The cells below :data:`CLIP_COLUMNS`."""
    predictions, accuracy = result.predictions, result.accuracy
    if predictions is None:
        return ("",) * len(CLIP_COLUMNS)
    return (
        f"{accuracy.share:.1%}" if accuracy else "",
        interval_text(accuracy.interval) if accuracy else "",
        f"{predictions.float_agreement:.1%}",
        f"{accuracy.mcnemar_p:.2f}" if accuracy else "",
        f"{predictions.scores_different:,}",
        f"{predictions.clips:,}",
    )


def _npu_row(estimate: Estimate, has_clips: bool) -> tuple[str, ...]:
    e = estimate
    predictions = ("",) * (len(CLIP_COLUMNS) if has_clips else 0)
    costs = (f"{e.flash_bytes:,}", f"{e.sram_bytes:,}", f"{e.cycles / 1e6:,.2f} M cycles", f"{e.milliseconds:.2f}", "")
    return (e.npu, "estimates", "", npu_share_text(e), "", *predictions, *costs)


def _remarks(document: Document) -> Iterator[str]:
    """First differences, exceptions, skips and notes."""
    for result in document.verification.results:
        yield from (f"- {cell(result.target)}: {cell(text)}" for text in result.remarks())
    for names in (document.estimates.left_out, document.firmware.left_out):
        yield from (f"- {cell(name)}: {cell(reason)}" for name, reason in names.items())
    for e in document.estimates.rows:
        yield from (f"- {e.npu}: left to the CPU: {cell(refused)}" for refused in e.refused)


def _firmware(document: Document) -> Iterator[str]:
    ways = document.firmware.ways
    if ways:
        head = ("machine", "rule", "way", "instructions", "RAM B", "arena B", "flash B", "code B", "ms", "uJ")
        rows = []
        for way in ways:
            f = way.figures
            figures = (f.instructions, ram_bytes(f), f.arena_bytes, f.flash_bytes, f.code_bytes)
            numbers = ("" if n is None else f"{n:,}" for n in figures)
            rows.append((way.machine, way.rounding, way.optimise, *numbers, *_modelled_cells(way.modelled)))
        yield from table(head, rows, numbers=7)


def _npus(document: Document) -> Iterator[str]:
    if document.estimates.rows:
        head = ("NPU, estimated by Vela", "ops on NPU", "cycles", "ms", "SRAM B", "flash B")
        yield from table(
            head,
            (
                (
                    *(e.npu, f"{e.ops_on_npu} of {e.ops_on_npu + e.ops_on_cpu}", f"{e.cycles:,}"),
                    *(f"{e.milliseconds:.2f}", f"{e.sram_bytes:,}", f"{e.flash_bytes:,}"),
                )
                for e in document.estimates.rows
            ),
            numbers=5,
        )
