"""The report in Markdown: verdict, matrix, firmware, NPUs and what was skipped, for the page of a CI job or a document.

Made of the same record as the page; layers and memory are left to the page.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinyscene.runtime.markdown import cell, table
from tinyscene.training.page.template import interval_text

from ..targets.ethos_u import Estimate
from ..verify.verify import TargetResult
from .records import Document
from .sections import npu_share_text, ram_bytes

MATRIX = ("target", "means", "rule", "verdict", "bytes different")
ANSWERED = ("accuracy", "95 %", "as float", "p", "scores off", "clips")
COSTS = ("flash B", "RAM B", "work")
WORDS = {"pass": "pass", "warn": "warning", "skip": "skipped", "fail": "**FAIL**"}


def as_markdown(document: Document) -> str:
    """The summary, ending in a line feed."""
    lines = [f"### {cell(document.title)}: {document.headline.text}", ""]
    lines += [f"- {WORDS[line.state]}: {cell(line.text)}" for line in document.lines]
    for section in (_matrix(document), _remarks(document), _firmware(document), _npus(document)):
        found = list(section)
        lines += ["", *found] if found else []
    return "\n".join(lines) + "\n"


def _matrix(document: Document) -> Iterator[str]:
    answered = any(result.accuracy_clips for result in document.verification.results)
    head = (*MATRIX, *(ANSWERED if answered else ()), *COSTS)
    rows = [_target_row(result, answered) for result in document.verification.results]
    rows += [_npu_row(estimate, answered) for estimate in document.estimates.rows]
    empty = [""] * (len(head) - 4)
    rows += [(name, "estimates", "", "skipped", *empty) for name in document.estimates.left_out]
    yield from table(head, rows, numbers=len(head) - 4)
    if answered:
        share = document.verification.float_accuracy
        yield ""
        yield f"Answers to {cell(document.verification.data)}" + (
            "." if share is None else f", of which the float network has {share:.1%} right."
        )


def _target_row(result: TargetResult, answered: bool) -> tuple[str, ...]:
    f, row = result.figures, result
    verdict = f"**{row.status}**" if row.status in ("different", "failed") else row.status
    different = f"{row.bytes_different:,} of {row.bytes_compared:,}" if row.bytes_compared else ""
    answers = (
        _percent(row.accuracy),
        interval_text(row.accuracy_interval) if row.accuracy_interval else "",
        _percent(row.float_agreement),
        "" if row.differs_from_float_p is None else f"{row.differs_from_float_p:.2f}",
        "" if row.scores_different is None else f"{row.scores_different:,}",
        f"{row.accuracy_clips:,}" if row.accuracy_clips else "",
    )
    return (
        *(row.target, row.means, row.rounding or "", verdict, different),
        *(answers if answered else ()),
        f"{f.flash_bytes:,}" if f and f.flash_bytes else "",
        f"{ram_bytes(f):,}" if f else "",
        f"{f.instructions / 1e6:,.1f} M instructions" if f and f.instructions else "",
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _npu_row(estimate: Estimate, answered: bool) -> tuple[str, ...]:
    e = estimate
    answers = ("",) * (len(ANSWERED) if answered else 0)
    costs = (f"{e.flash_bytes:,}", f"{e.sram_bytes:,}", f"{e.cycles / 1e6:,.2f} M cycles")
    return (e.npu, "estimates", "", npu_share_text(e), "", *answers, *costs)


def _remarks(document: Document) -> Iterator[str]:
    """First differences, exceptions, skips and notes."""
    for r in document.verification.results:
        if r.first_difference:
            yield f"- **{cell(r.target)}**: {cell(str(r.first_difference))}"
        for text in (*r.exceptions, r.note):
            if text:
                yield f"- {cell(r.target)}: {cell(text)}"
    for names in (document.estimates.left_out, document.firmware.left_out):
        yield from (f"- {cell(name)}: {cell(reason)}" for name, reason in names.items())
    for e in document.estimates.rows:
        yield from (f"- {e.npu}: to the CPU: {cell(refused)}" for refused in e.refused)


def _firmware(document: Document) -> Iterator[str]:
    ways = document.firmware.ways
    if ways:
        head = ("machine", "rule", "way", "instructions", "RAM B", "arena B", "flash B", "code B")
        rows = []
        for way in ways:
            f = way.figures
            figures = (f.instructions, ram_bytes(f), f.arena_bytes, f.flash_bytes, f.code_bytes)
            rows.append((way.machine, way.rounding, way.optimise, *("" if n is None else f"{n:,}" for n in figures)))
        yield from table(head, rows, numbers=5)


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
