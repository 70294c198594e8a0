"""A float checkpoint layer by layer, unfused: BatchNorm and activations are layers of their own.

Views between layers (flatten, squeeze) cost nothing and are left out; what reads them reads the layer before. Refuses
what the checkpoint reader refuses, and networks that torch.export cannot export.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tinyscene.runtime.spec import FrontendSpec

from .records import FrontEndRow, Listing, NodeRow, TensorRow, costs_of

if TYPE_CHECKING:
    from ..check.count_program import ProgramLayer

NOTE = "not quantised: 'tinyscene export' makes the integer graph, whose scales and kernels are shown then"


def checkpoint_listing(path: Path) -> Listing:
    """The layers of a checkpoint of ours or a published one.

    Raises:
        TinysceneError: unreadable, another network, or one without a program.
    """
    from tinyscene.training.models.checkpoint import load_any
    from tinyscene.training.models.exported import program_network

    from ..check.count import shapes_text
    from ..check.count_program import program_layers

    loaded = load_any(path)
    shapes = list(loaded.input_shapes.values())
    network = program_network(loaded.model, *shapes)
    layers, program = program_layers(network), network.program
    return Listing(
        f"checkpoint, float32, input {shapes_text(shapes)}",
        tuple(TensorRow(end.name, (1, *end.shape), "float32") for end in program.inputs),
        tuple(
            TensorRow(name, (1, *end.shape), "float32")
            for name, end in zip(layers.outputs, program.outputs, strict=True)
        ),
        tuple(_row(number, row) for number, row in enumerate(layers.rows, start=1)),
        labels=loaded.labels,
        front_end=None if loaded.frontend is None else front_end_row(loaded.frontend),
        notes=(NOTE, *loaded.notes),
    )


def front_end_row(frontend: FrontendSpec) -> FrontEndRow:
    """The front end in the terms of the table."""
    return FrontEndRow(
        frontend.name,
        frontend.sample_rate_hz,
        frontend.clip_samples,
        frontend.n_mels,
        frontend.n_frames,
        frontend.digest(),
    )


def _row(number: int, row: ProgramLayer) -> NodeRow:
    return NodeRow(
        number,
        row.name,
        row.operator,
        row.inputs,
        (TensorRow(row.name, (1, *row.shape), "float32"),),
        row.kernel,
        row.stride,
        f"groups {row.groups}" if row.groups > 1 else "",
        None,
        **vars(costs_of(lambda: row.layer)),
    )
