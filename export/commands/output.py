"""Verification and quantisation quality on a terminal: a table of the deciding columns, then notes as lines.

The table of targets fits a terminal of 80 columns; ``--wide`` prints every column, however long the lines become.
"""

from __future__ import annotations

from tinyscene.runtime.terminal import Column, print_table, say, wide

from ..quantise.quality import Ranking
from ..report.sections import ram_bytes
from ..verify.results import TargetResult, Verification

STYLES = {
    "equal": "green",
    "named exception": "yellow",
    "converted": "cyan",
    "different": "bold red",
    "failed": "bold red",
    "refused": "magenta",
    "skipped": "dim",
}
COLUMNS = (
    Column("target"),
    Column("rule", priority=2),
    Column("verdict"),
    Column("bytes", right=True, priority=1),
    Column("different", right=True),
    Column("LSB", right=True, priority=3),
    Column("accuracy", right=True),
)
WIDE_COLUMNS = (
    *(Column(heading) for heading in ("target", "means", "rule", "verdict")),
    *(Column(heading, right=True) for heading in ("bytes compared", "bytes different", "largest LSB")),
    *(Column(heading, right=True) for heading in ("accuracy", "95 %", "float accuracy", "agrees with float", "p")),
    *(Column(heading, right=True) for heading in ("clips", "scores different", "flash B", "RAM B", "instructions")),
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
    compared, predictions, accuracy, cost = result.comparison, result.predictions, result.accuracy, result.cost
    ram = ram_bytes(cost)
    return (
        *(result.target, result.means, result.rounding or "", result.status),
        f"{compared.bytes_compared:,}" if compared else "",
        f"{compared.bytes_different:,}" if compared else "",
        f"{compared.max_lsb}" if compared else "",
        f"{accuracy.share:.1%}" if accuracy else "",
        "{:.0%}-{:.0%}".format(*accuracy.interval) if accuracy else "",
        f"{accuracy.float_share:.1%}" if accuracy else "",
        f"{predictions.float_agreement:.1%}" if predictions else "",
        f"{accuracy.mcnemar_p:.2f}" if accuracy else "",
        f"{predictions.clips:,}" if predictions else "",
        f"{predictions.scores_different:,}" if predictions else "",
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
    """Print the matrix, then every difference, exception, note and skip as a line."""
    results = verification.results
    print_table(
        f"verification of {verification.graph}",
        WIDE_COLUMNS if all_columns else COLUMNS,
        [wide_row(result) if all_columns else matrix_row(result) for result in results],
        styles=[STYLES[result.status] for result in results],
        every_column=all_columns,
        advice="--wide shows all",
    )
    console = wide()
    if verification.float_accuracy is not None:
        say(console, f"float accuracy {verification.float_accuracy:.1%} on {verification.data}")
    if all_columns and any(result.accuracy for result in results):
        say(console, "p: exact McNemar test of the accuracy against the float network's")
    for note in verification.notes:
        say(console, note)
    for result in results:
        for text in result.remarks():
            say(console, f"{result.target}: {text}")


def print_ranking(model: str, ranking: Ranking, count: int) -> None:
    """Print the ``count`` activations with the largest share of the error, then advice."""
    columns = (
        *(Column("activation"), Column("op", priority=2), Column("SQNR dB", right=True)),
        *(Column("saturated", right=True, priority=1), Column("share of error", right=True)),
        Column("agreement gained", right=True),
    )
    rows = [
        (
            *(cost.quality.name, cost.quality.op, f"{cost.quality.sqnr_db:.1f}"),
            *(f"{cost.quality.saturated_share:.2%}", f"{cost.error_share:.1%}"),
            "" if cost.agreement_gain is None else f"{100 * cost.agreement_gain:+.1f} points",
        )
        for cost in ranking.rows[:count]
    ]
    title = f"{model}: {ranking.clips} inputs, outputs at {ranking.scores_sqnr_db:.1f} dB"
    if ranking.agreement is not None:
        title = (
            f"{model}: scores at {ranking.scores_sqnr_db:.1f} dB, "
            f"{ranking.agreement:.1%} of {ranking.clips} clips have the float network's label"
        )
    print_table(title, columns, rows)
    console = wide()
    for text in ranking.advice():
        say(console, text)
