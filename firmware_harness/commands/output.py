"""A delivery, and the counts its calls were chosen by, as tables for people or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.cost import graph_cost
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.terminal import Column, print_table, say, wide

from ..build.targets import Target
from ..firmware_folder import Delivery
from ..run.engine import Figures
from ..run.tune import Tuned, Variant
from .modelled_output import cost_record, modelled_lines, modelled_record
from .portable_output import portable_lines


def as_json(delivery: Delivery, constant_channels_removed: int | None = None) -> str:
    """JSON of one object: model, target, figures, layers, vectors and match (null when nothing was run).

    ``constant_channels_removed``: see :class:`tinyscene.runtime.model.Model`.
    """
    engine = delivery.engine
    layers = [
        {"name": c.name, "op": c.op, "output_shape": c.output_shape[1:], "macs": c.macs}
        for c in graph_cost(engine.graph, "stored").layers
    ]
    calls: list[dict[str, object]] = [
        {
            "kernel": call.layer.kernel,
            "portable": call.layer.portable,
            "layers": list(call.nodes),
            "instructions": count,
        }
        for call, count in zip(engine.emitted.calls, _counts(delivery), strict=True)
    ]
    if delivery.modelled is not None:
        for call, cost in zip(calls, delivery.modelled.calls, strict=True):
            call |= cost_record(cost)
    vectors = [
        {"match": not differing, "differences": [asdict(d) for d in differing]} for differing in delivery.vectors
    ]
    record = {
        "model": engine.graph.name,
        "digest": engine.emitted.digest,
        "target": engine.target.name,
        "rounding": engine.rounding,
        "folder": str(delivery.folder),
        "constant_channels_removed": constant_channels_removed,
        "tuning": tuning_record(engine.graph, delivery.tuned),
        "figures": asdict(delivery.figures),
        "modelled": modelled_record(delivery.modelled),
        "layers": layers,
        "calls": calls,
        "vectors": vectors,
        "match": delivery.matches if vectors else None,
    }
    return json.dumps(record, indent=2)


def show(delivery: Delivery, constant_channels_removed: int | None = None) -> None:
    """Print layers, vectors and figures; ``constant_channels_removed`` as in :func:`as_json`."""
    console, engine = wide(), delivery.engine
    _print_layers(delivery)
    for index, differing in enumerate(delivery.vectors):
        say(console, f"vector {index}: {f'MISMATCH, {differing[0]}' if differing else 'match'}")
    portable = portable_lines(engine.emitted, delivery.profile)
    figures = (*_figure_lines(delivery.figures), *portable, *modelled_lines(delivery.modelled))
    for line in (
        *figures,
        *soft_float_lines(engine.target, engine.rounding),
        *removed_lines(constant_channels_removed),
    ):
        say(console, line)
    say(console, f"C sources in {delivery.folder}")
    if delivery.vectors:
        calls = engine.emitted.calls
        n_bytes = sum(engine.graph.tensors[call.output].n_bytes for call in calls)
        unit = "layer" if len(calls) == len(engine.graph.nodes) else "call"
        verdict = f"every byte of every {unit} matches" if delivery.matches else "MISMATCH"
        rule, n_vectors = engine.rounding, len(delivery.vectors)
        extent = (
            f"{engine.target.title}, rounding {rule}, {n_vectors} vectors, {len(calls)} {unit}s, {n_bytes:,} B each"
        )
        say(console, f"{verdict}: {extent}")


def soft_float_lines(target: Target, rounding: Rounding) -> Iterator[str]:
    """One line for people where the rounding rule computes in float, and the processor does not."""
    if target.soft_float and rounding == "single":
        yield "rounding `single` computes in float, without a float unit: `--rounding double` takes fewer instructions"


def removed_lines(constant_channels: int | None) -> Iterator[str]:
    """One line for people; none when the number is unknown."""
    if constant_channels is not None:
        yield f"removed       {constant_channels:>13,} channels that are the same for every input"


def tuning_record(graph: Graph, tuned: Tuned | None) -> dict[str, object] | None:
    """Plain JSON: every variant of every segment of layers, and the cost of each mode."""
    if tuned is None:
        return None
    segments = [
        {
            "layers": [graph.nodes[i].name for call in variants[0].calls for i in call.nodes],
            "ways": [
                {
                    "kernels": [call.layer.kernel for call in variant.calls],
                    "scratch_bytes": _scratch_bytes(variant),
                    "arena_bytes": variant.arena_bytes,
                    "instructions": variant.instructions,
                    "cycles": variant.cycles,
                    "chosen": index == chosen,
                }
                for index, variant in enumerate(variants)
            ],
        }
        for variants, chosen in zip(tuned.variants, tuned.chosen, strict=True)
    ]
    machine = None if tuned.machine is None else tuned.machine.title
    modes = {mode: asdict(cost) for mode, cost in tuned.costs.items()}
    return {"machine": machine, "stretches": segments, "modes": modes}


def show_counts(graph: Graph, tuned: Tuned | None) -> None:
    """Print every variant of every segment of layers, and the cost of each mode; nothing without counts."""
    if tuned is None:
        return
    columns = [Column(heading, wraps=True) for heading in ("layers", "kernels")]
    counted = ("instructions", "cycles") if tuned.machine else ("instructions",)
    columns += [Column(h, right=True) for h in ("scratch, B", "arena at least, B", *counted, "")]
    rows = []
    for variants, chosen in zip(tuned.variants, tuned.chosen, strict=True):
        first, last = variants[0].calls[0].nodes.start, variants[0].calls[-1].nodes.stop - 1
        name = f"{first} {graph.nodes[first].name}" + (f" to {last} {graph.nodes[last].name}" if last > first else "")
        for index, variant in enumerate(variants):
            kernels = " + ".join(call.layer.kernel for call in variant.calls)
            sizes = [f"{_scratch_bytes(variant):,}", f"{variant.arena_bytes:,}", f"{variant.instructions:,}"]
            sizes += [] if variant.cycles is None else [f"{variant.cycles:,.0f}"]
            rows.append(("" if index else name, kernels, *sizes, "*" if index == chosen else ""))
    console = wide()
    print_table("counted, * chosen", columns, rows)
    if tuned.machine is not None:
        say(console, f"cycles on     {tuned.machine.title}")
    for mode, cost in tuned.costs.items():
        cycles = "" if cost.cycles is None else f", {cost.cycles:,.0f} cycles"
        say(console, f"{mode:<13} {cost.instructions:>13,} instructions{cycles}, arena {cost.arena_bytes:,} B")


def _scratch_bytes(variant: Variant) -> int:
    """Scratch memory of the call that needs most."""
    return max(call.layer.scratch_bytes for call in variant.calls)


def _counts(delivery: Delivery) -> tuple[int | None, ...]:
    """Instructions of each call; None without counts."""
    return delivery.profile or (None,) * len(delivery.engine.emitted.calls)


def _cycles(delivery: Delivery) -> tuple[float | None, ...]:
    """Modelled cycles of each call; None where nothing was modelled."""
    if delivery.modelled is None:
        return (None,) * len(delivery.engine.emitted.calls)
    return tuple(cost.cycles.value for cost in delivery.modelled.calls)


def _print_layers(delivery: Delivery) -> None:
    """One row per layer; figures and equal vectors of a fused call are in the row of its last layer."""
    engine, n_vectors = delivery.engine, len(delivery.vectors)
    columns = [Column("layer", wraps=True), Column("op"), Column("output")]
    counted = (["instructions"] if delivery.profile else []) + (["cycles"] if delivery.modelled else [])
    columns += [Column(h, right=True) for h in ("MACs", "bytes", *counted, *(["equal"] if n_vectors else []))]
    rows = []
    wrong = [{d.layer for d in differing} for differing in delivery.vectors]
    costs = graph_cost(engine.graph, "stored").layers
    for call, count, cycles in zip(engine.emitted.calls, _counts(delivery), _cycles(delivery), strict=True):
        for index in call.nodes:
            last = index == call.nodes.stop - 1
            node, out = engine.graph.nodes[index], engine.graph.out(engine.graph.nodes[index])
            equal = n_vectors - sum(index in layers for layers in wrong)
            verdict = f"{'' if equal == n_vectors else 'MISMATCH '}{equal}/{n_vectors}"
            cells = [f"{index} {node.name}", costs[index].op, "x".join(map(str, out.shape[1:]))]
            cells += [f"{costs[index].macs:,}", f"{out.n_bytes:,}"]
            cells += [f"{count:,}" if last and count is not None else "+"] * bool(delivery.profile)
            cells += [f"{cycles:,.0f}" if last and cycles is not None else "+"] * bool(delivery.modelled)
            cells += [verdict if last else "+"] * bool(n_vectors)
            rows.append(cells)
    print_table(f"{engine.graph.name} on {engine.target.title}", columns, rows)


def _figure_lines(figures: Figures) -> list[str]:
    lines = []
    if figures.flash_bytes is not None:
        lines.append(f"flash         {figures.flash_bytes:>13,} B, of it code {figures.code_bytes:,} B")
    lines.append(f"RAM arena     {figures.arena_bytes:>13,} B")
    if figures.static_ram_bytes is not None:
        lines.append(f"RAM static    {figures.static_ram_bytes:>13,} B")
    if figures.stack_bytes is not None:
        lines.append(f"RAM stack     {figures.stack_bytes:>13,} B, high-water mark of one inference")
    if figures.stack_bound_bytes is not None:
        lines.append(f"stack bound   {figures.stack_bound_bytes:>13,} B, deepest path of the call graph, no interrupts")
    if figures.static_ram_bytes is not None and figures.stack_bytes is not None:
        total = figures.arena_bytes + figures.static_ram_bytes + figures.stack_bytes
        lines.append(f"RAM together  {total:>13,} B")
    if figures.instructions is not None:
        lines.append(f"instructions  {figures.instructions:>13,} for one inference")
    return lines
