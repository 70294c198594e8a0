"""A delivery as tables for people, or as one JSON object for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from runtime.cost import graph_cost

from .deliver import Delivery
from .engine import Figures


def as_json(delivery: Delivery) -> str:
    """One object: model, target, figures, layers, vectors, verdict (null when nothing was run)."""
    engine = delivery.engine
    layers = [
        {"name": c.name, "op": c.op, "output_shape": c.output_shape[1:], "macs": c.macs}
        for c in graph_cost(engine.graph, "stored").layers
    ]
    vectors = [{"match": not found, "differences": [asdict(d) for d in found]} for found in delivery.vectors]
    record = {
        "model": engine.graph.name,
        "digest": engine.emitted.digest,
        "target": engine.target.name,
        "rounding": engine.rounding,
        "folder": str(delivery.folder),
        "figures": asdict(delivery.figures),
        "layers": layers,
        "vectors": vectors,
        "match": delivery.matches if vectors else None,
    }
    return json.dumps(record, indent=2)


def show(delivery: Delivery) -> None:
    """Print layers, vectors and figures."""
    console, engine = Console(), delivery.engine
    console.print(_layer_table(delivery))
    for index, found in enumerate(delivery.vectors):
        console.print(
            f"vector {index}: {f'MISMATCH, {found[0]}' if found else 'match'}", highlight=False, soft_wrap=True
        )
    for line in _figure_lines(delivery.figures):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"C sources in {delivery.folder}", highlight=False, soft_wrap=True)
    if delivery.vectors:
        n_bytes = sum(engine.graph.out(node).n_bytes for node in engine.graph.nodes)
        verdict = "every byte of every layer matches" if delivery.matches else "MISMATCH"
        console.print(
            f"{verdict}: {engine.target.title}, rounding {engine.rounding}, {len(delivery.vectors)} vectors, "
            f"{len(engine.graph.nodes)} layers, {n_bytes:,} B each",
            highlight=False,
            soft_wrap=True,
        )


def _layer_table(delivery: Delivery) -> Table:
    """One row per layer; the last column counts the vectors that agree."""
    engine, n_vectors = delivery.engine, len(delivery.vectors)
    table = Table(title=f"{engine.graph.name} on {engine.target.title}", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("layer", overflow="fold")
    for heading in ("op", "output"):
        table.add_column(heading, no_wrap=True)
    for heading in ("MACs", "bytes", *(["equal"] if n_vectors else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    wrong = [{d.layer for d in found} for found in delivery.vectors]
    for index, (node, cost) in enumerate(
        zip(engine.graph.nodes, graph_cost(engine.graph, "stored").layers, strict=True)
    ):
        out = engine.graph.out(node)
        equal = n_vectors - sum(index in layers for layers in wrong)
        verdict = [f"{'' if equal == n_vectors else 'MISMATCH '}{equal}/{n_vectors}"] if n_vectors else []
        shape = "x".join(map(str, out.shape[1:]))
        table.add_row(f"{index} {node.name}", cost.op, shape, f"{cost.macs:,}", f"{out.n_bytes:,}", *verdict)
    return table


def _figure_lines(figures: Figures) -> list[str]:
    lines = []
    if figures.flash_bytes is not None:
        lines.append(f"flash         {figures.flash_bytes:>13,} B, of it code {figures.code_bytes:,} B")
    lines.append(f"RAM arena     {figures.arena_bytes:>13,} B")
    if figures.static_ram_bytes is not None:
        lines.append(f"RAM static    {figures.static_ram_bytes:>13,} B")
    if figures.stack_bytes is not None:
        lines.append(f"RAM stack     {figures.stack_bytes:>13,} B, high-water mark of one inference")
    if figures.static_ram_bytes is not None and figures.stack_bytes is not None:
        total = figures.arena_bytes + figures.static_ram_bytes + figures.stack_bytes
        lines.append(f"RAM together  {total:>13,} B")
    if figures.instructions is not None:
        lines.append(f"instructions  {figures.instructions:>13,} for one inference")
    return lines
