"""Verification and progress on a terminal: the matrix, what differs, what was skipped and why."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.table import Table

from tinyscene.runtime.terminal import say, wide

from ..quantise.quality import Ranking
from ..report.sections import ram_bytes
from ..verify.verify import TargetResult, Verification

STYLES = {
    "equal": "green",
    "named exception": "yellow",
    "converted": "cyan",
    "different": "bold red",
    "failed": "bold red",
    "skipped": "dim",
}
COLUMNS = (
    "target",
    "means",
    "rule",
    "verdict",
    "bytes different",
    "accuracy",
    "95 %",
    "scores off",
    "float's, of clips",
    "= float",
    "p",
    "flash B",
    "RAM B",
    "instructions",
)


def matrix_row(result: TargetResult) -> tuple[str, ...]:
    """One target as text."""
    f = result.figures
    ram = ram_bytes(f)
    return (
        result.target,
        result.means,
        result.rounding or "",
        result.status,
        f"{result.bytes_different:,} of {result.bytes_compared:,}" if result.bytes_compared else "",
        f"{result.accuracy:.1%}" if result.accuracy is not None else "",
        "{:.0%}-{:.0%}".format(*result.accuracy_interval) if result.accuracy_interval is not None else "",
        f"{result.scores_different:,}" if result.scores_different is not None else "",
        f"{result.float_accuracy:.1%} of {result.accuracy_clips}" if result.float_accuracy is not None else "",
        f"{result.float_agreement:.1%}" if result.float_agreement is not None else "",
        f"{result.differs_from_float_p:.2f}" if result.differs_from_float_p is not None else "",
        f"{f.flash_bytes:,}" if f and f.flash_bytes else "",
        f"{ram:,}" if ram else "",
        f"{f.instructions / 1e6:,.1f} M" if f and f.instructions else "",
    )


def _table(title: str, columns: Sequence[str], words: Collection[str]) -> Table:
    """Columns of ``words`` stand to the left, the others are numbers."""
    table = Table(title=title)
    for name in columns:
        table.add_column(name, justify="left" if name in words else "right", overflow="fold")
    return table


def print_verification(verification: Verification) -> None:
    """The matrix, then every difference, exception and skip in words."""
    console = wide()
    rows = [matrix_row(result) for result in verification.results]
    filled = [i for i in range(len(COLUMNS)) if any(row[i] for row in rows)]  # without clips there is no accuracy
    columns = [COLUMNS[i] for i in filled]
    table = _table(f"verification of {verification.graph}", columns, words=("target", "means", "rule", "verdict"))
    for result, row in zip(verification.results, rows, strict=True):
        table.add_row(*(row[i] for i in filled), style=STYLES[result.status])
    console.print(table)
    if verification.float_accuracy is not None:
        console.print(f"float accuracy {verification.float_accuracy:.1%} on {verification.data}")
        console.print("p: how likely so many answers differ in worth from float's by chance alone (McNemar)")
    for result in verification.results:
        for text in (*result.exceptions, result.note, str(result.first_difference or "")):
            if text:
                say(console, f"{result.target}: {text}")


def print_ranking(model: str, ranking: Ranking, rows: int) -> None:
    """The costliest activations, then advice in words."""
    console = wide()
    title = (
        f"{model}: scores at {ranking.scores_sqnr_db:.1f} dB, "
        f"{ranking.agreement:.1%} of {ranking.clips} clips answer as float"
    )
    columns = ("activation", "op", "SQNR dB", "saturated", "share of error", "agreement gained")
    table = _table(title, columns, words=("activation", "op"))
    for cost in ranking.rows[:rows]:
        quality = cost.quality
        shown = (f"{quality.sqnr_db:.1f}", f"{quality.saturated_share:.2%}", f"{cost.error_share:.1%}")
        table.add_row(quality.name, quality.op, *shown, f"{100 * cost.agreement_gain:+.1f} points")
    console.print(table)
    for words in ranking.advice():
        say(console, words)
