"""``tinyscene check``: hold a model against a budget of bytes and MACs, layer by layer.

The figures go to standard output, with the counting rule beside each; JSON, JUnit and Markdown files are written for
machines. Exit code 0 within the budget, 1 beyond it, 2 for an artefact that cannot be counted.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from runtime.cost import Cost, Verdict


def check(
    artefact: Annotated[
        Path, typer.Argument(help="A checkpoint, .onnx, .tflite or a bundle folder.", show_default=False)
    ],
    max_size: Annotated[str, typer.Option(help="Most bytes: 128kB (1000 B each), 125KiB, 128000.")] = "128kB",
    max_macs: Annotated[str, typer.Option(help="Most MACs per clip: 30M, 29.4e6.")] = "30M",
    rule: Annotated[str, typer.Option(help="How to count: dcase, torchinfo, nessi or stored.")] = "dcase",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON.")] = None,
    junit_file: Annotated[Path | None, typer.Option("--junit", help="Write the verdicts as JUnit XML.")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="Write a report in Markdown.")] = None,
) -> None:
    """Count a model's bytes and MACs by a published rule and hold them against limits."""
    from runtime.cost import parse_count, parse_size, require_rule, verdicts
    from runtime.spec import Budget

    from .costs import artefact_cost

    budget = Budget(max_bytes=parse_size(max_size), max_macs=parse_count(max_macs))
    cost = artefact_cost(artefact, require_rule(rule))
    results = verdicts(cost, budget)
    writers = ((json_file, as_json), (junit_file, as_junit), (markdown_file, as_markdown))
    for path, write in writers:
        if path is not None:
            _write(path, write(str(artefact), cost, results))
    _print(str(artefact), cost, results)
    if not all(verdict.passed for verdict in results):
        raise typer.Exit(1)


def _print(artefact: str, cost: Cost, results: tuple[Verdict, ...]) -> None:
    """The table of layers that cost something, the rule, and one line per limit."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from runtime.cost import RULES

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # a log has no width of its own
    table = Table(title=f"{artefact}: {cost.source}", title_justify="left", box=box.SIMPLE_HEAD, show_footer=True)
    table.add_column("layer", "total", overflow="fold")
    table.add_column("op")
    table.add_column("output")
    figures = (
        ("parameters", cost.parameters),
        (f"MACs ({cost.rule})", cost.macs),
        (f"bytes ({cost.rule})", cost.n_bytes),
    )
    for heading, total in figures:
        table.add_column(heading, f"{total:,}", justify="right")
    costly = [row for row in cost.layers if row.parameters or row.macs or row.n_bytes]
    for row in costly:
        shape = "x".join(map(str, row.output_shape))
        table.add_row(row.name, row.op, shape, f"{row.parameters:,}", f"{row.macs:,}", f"{row.n_bytes:,}")
    if cost.frame_bytes:
        table.add_row("(file structure)", "", "", "", "", f"{cost.frame_bytes:,}")
    console.print(table)
    free = len(cost.layers) - len(costly)
    if free:
        console.print(f"{free} layers that cost nothing by this rule are not listed.", markup=False)
    console.print(f"rule {cost.rule}: {RULES[cost.rule]}", markup=False, soft_wrap=True)
    for verdict in results:
        console.print(sentence(verdict), style="green" if verdict.passed else "bold red", markup=False, soft_wrap=True)


def sentence(verdict: Verdict) -> str:
    """One limit in one line."""
    word, sign = ("pass", "<=") if verdict.passed else ("FAIL", ">")
    share = 100 * verdict.measured / verdict.limit
    return (
        f"{word}  {verdict.limit_name}: {verdict.measured:,} {verdict.unit} {sign} {verdict.limit:,} {verdict.unit} "
        f"({share:.1f} %, rule {verdict.rule})"
    )


def as_json(artefact: str, cost: Cost, results: tuple[Verdict, ...]) -> str:
    """All figures, for programs."""
    from runtime.cost import RULES

    record: dict[str, Any] = {
        "artefact": artefact,
        "source": cost.source,
        "rule": cost.rule,
        "rule_text": RULES[cost.rule],
        "parameters": cost.parameters,
        "macs": cost.macs,
        "bytes": cost.n_bytes,
        "file_structure_bytes": cost.frame_bytes,
        "passed": all(v.passed for v in results),
        "verdicts": [
            {"name": v.limit_name, "limit": v.limit, "measured": v.measured, "unit": v.unit, "passed": v.passed}
            for v in results
        ],
        "layers": [
            {
                "name": row.name,
                "op": row.op,
                "output_shape": list(row.output_shape),
                "parameters": row.parameters,
                "macs": row.macs,
                "bytes": row.n_bytes,
            }
            for row in cost.layers
        ],
    }
    return json.dumps(record, indent=1) + "\n"


def as_junit(artefact: str, cost: Cost, results: tuple[Verdict, ...]) -> str:
    """One test case per limit."""
    from xml.etree import ElementTree

    failures = sum(not v.passed for v in results)
    suite = ElementTree.Element(
        "testsuite", name="tinyscene check", tests=str(len(results)), failures=str(failures), errors="0"
    )
    for verdict in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname=artefact, name=f"{verdict.limit_name} ({verdict.rule})"
        )
        if not verdict.passed:
            ElementTree.SubElement(case, "failure", message=sentence(verdict))
        ElementTree.SubElement(case, "system-out").text = f"{sentence(verdict)}; {cost.source}"
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def as_markdown(artefact: str, cost: Cost, results: tuple[Verdict, ...]) -> str:
    """Verdicts and layers as tables, for a pull request."""
    from runtime.cost import RULES

    lines = [f"### {_cell(artefact)}", "", f"{cost.source}; rule `{cost.rule}`: {RULES[cost.rule]}", ""]
    lines += ["| limit | measured | allowed | verdict |", "|---|---:|---:|---|"]
    for v in results:
        word = "pass" if v.passed else "**FAIL**"
        lines.append(f"| {v.limit_name} ({v.rule}) | {v.measured:,} {v.unit} | {v.limit:,} {v.unit} | {word} |")
    lines += ["", f"| layer | op | output | parameters | MACs ({cost.rule}) | bytes ({cost.rule}) |"]
    lines += ["|---|---|---|---:|---:|---:|"]
    for row in cost.layers:
        shape = "x".join(map(str, row.output_shape))
        figures = f"{row.parameters:,} | {row.macs:,} | {row.n_bytes:,}"
        lines.append(f"| {_cell(row.name)} | {row.op} | {shape} | {figures} |")
    if cost.frame_bytes:
        lines.append(f"| (file structure) | | | | | {cost.frame_bytes:,} |")
    lines.append(f"| **total** | | | {cost.parameters:,} | {cost.macs:,} | {cost.n_bytes:,} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that cannot break a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
