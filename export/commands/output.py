"""Verification, NPU estimates and quantisation quality on a terminal: the deciding columns first, then notes as lines.

Tables fit a terminal of 80 columns; ``--wide`` prints every column, however wide. The report has them all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from tinyscene.runtime.terminal import say, wide

from ..quantise.quality import Ranking
from ..report.sections import ram_bytes
from ..targets.ethos_u import Estimates
from ..verify.results import TargetResult, Verification

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    "equal": "green",
    "named exception": "yellow",
    "converted": "cyan",
    "different": "bold red",
    "failed": "bold red",
    "skipped": "dim",
}
TEXT_COLUMNS = ("target", "means", "rule", "verdict", "NPU", "activation", "op")
COLUMNS = ("target", "rule", "verdict", "bytes", "different", "LSB", "accuracy")
WIDE_COLUMNS = (
    *("target", "means", "rule", "verdict", "bytes compared", "bytes different", "largest LSB"),
    *("accuracy", "95 %", "float accuracy", "agrees with float", "p", "clips", "scores different"),
    *("flash B", "RAM B", "instructions"),
)


def matrix_row(result: TargetResult) -> tuple[str, ...]:
    """One target as text, below :data:`COLUMNS`."""
    compared, accuracy = result.comparison, result.accuracy
    return (
        result.target,
        result.rounding or "",
        "exception" if result.status == "named exception" else result.status,
        _short_bytes(compared.bytes_compared) if compared else "",
        f"{compared.bytes_different:,}" if compared else "",
        f"{compared.max_lsb}" if compared else "",
        f"{accuracy.share:.1%}" if accuracy else "",
    )


def wide_row(result: TargetResult) -> tuple[str, ...]:
    """One target as text, below :data:`WIDE_COLUMNS`."""
    compared, answers, accuracy, cost = result.comparison, result.answers, result.accuracy, result.cost
    ram = ram_bytes(cost)
    return (
        *(result.target, result.means, result.rounding or "", result.status),
        f"{compared.bytes_compared:,}" if compared else "",
        f"{compared.bytes_different:,}" if compared else "",
        f"{compared.max_lsb}" if compared else "",
        f"{accuracy.share:.1%}" if accuracy else "",
        "{:.0%}-{:.0%}".format(*accuracy.interval) if accuracy else "",
        f"{accuracy.float_share:.1%}" if accuracy else "",
        f"{answers.float_agreement:.1%}" if answers else "",
        f"{accuracy.mcnemar_p:.2f}" if accuracy else "",
        f"{answers.clips:,}" if answers else "",
        f"{answers.scores_different:,}" if answers else "",
        f"{cost.flash_bytes:,}" if cost and cost.flash_bytes else "",
        f"{ram:,}" if ram else "",
        f"{cost.instructions / 1e6:,.1f} M" if cost and cost.instructions else "",
    )


def _short_bytes(count: int) -> str:
    """Three digits and a unit, at most 7 characters."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= factor:
            return f"{count / factor:#.3g}".rstrip(".") + f" {unit}"
    return f"{count} B"


def print_verification(verification: Verification, *, all_columns: bool = False) -> None:
    """The matrix, then every difference, exception, note and skip as a line."""
    console = wide()
    columns, row_of = (WIDE_COLUMNS, wide_row) if all_columns else (COLUMNS, matrix_row)
    rows = [row_of(result) for result in verification.results]
    filled = [i for i in range(len(columns)) if any(row[i] for row in rows)]  # without clips there is no accuracy
    table = _table(f"verification of {verification.graph}", [columns[i] for i in filled])
    for result, row in zip(verification.results, rows, strict=True):
        table.add_row(*(row[i] for i in filled), style=STYLES[result.status])
    _print(console, table, all_columns)
    if verification.float_accuracy is not None:
        say(console, f"float accuracy {verification.float_accuracy:.1%} on {verification.data}")
    if all_columns and "p" in [columns[i] for i in filled]:
        say(console, "p: probability of so many differently classified clips by chance alone (McNemar)")
    for result in verification.results:
        for text in result.remarks():
            say(console, f"{result.target}: {text}")


def print_estimates(model: str, estimates: Estimates) -> None:
    """Vela's estimates side by side, then every op that an NPU leaves to the CPU, and what was left out."""
    console = wide()
    rows = [
        (
            *(e.npu, f"{e.ops_on_npu} of {e.ops_on_npu + e.ops_on_cpu}", f"{e.cycles:,}", f"{e.milliseconds:.2f}"),
            *(f"{e.sram_bytes:,}", f"{e.flash_bytes:,}"),
        )
        for e in estimates.rows
    ]
    columns = ("NPU", "ops on NPU", "cycles", "ms", "SRAM B", "flash B")
    _print(console, _table(f"{model} on Ethos-U, estimated by Vela", columns, rows))
    for e in estimates.rows:
        for refused in e.refused:
            say(console, f"{e.npu}: left to the CPU: {refused}")
    for name, reason in estimates.left_out.items():
        say(console, f"{name}: skipped: {reason}")


def print_ranking(model: str, ranking: Ranking, rows: int) -> None:
    """The activations with the largest share of the error, then advice."""
    console = wide()
    title = (
        f"{model}: scores at {ranking.scores_sqnr_db:.1f} dB, "
        f"{ranking.agreement:.1%} of {ranking.clips} clips have the float network's label"
    )
    columns = ("activation", "op", "SQNR dB", "saturated", "share of error", "agreement gained")
    table = _table(title, columns)
    for cost in ranking.rows[:rows]:
        quality = cost.quality
        cells = (f"{quality.sqnr_db:.1f}", f"{quality.saturated_share:.2%}", f"{cost.error_share:.1%}")
        table.add_row(quality.name, quality.op, *cells, f"{100 * cost.agreement_gain:+.1f} points")
    _print(console, table)
    for text in ranking.advice():
        say(console, text)


def _table(title: str, columns: Sequence[str], rows: Iterable[Collection[str]] = ()) -> Table:
    """Text to the left, numbers to the right; a name is never broken."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in columns:
        text = name in TEXT_COLUMNS
        table.add_column(name, justify="left" if text else "right", no_wrap=text)
    for row in rows:
        table.add_row(*row)
    return table


def _print(console: Console, table: Table, all_columns: bool = False) -> None:
    if all_columns:
        console.width = max(console.width, console.measure(table).maximum)
    console.print(table)
