"""A float checkpoint layer by layer, unfused: BatchNorm and activations are layers of their own.

Views between layers (flatten, squeeze) cost nothing and are left out; what reads them reads the layer before. Refuses
what the checkpoint reader refuses, and networks that cannot be traced.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tinyscene.runtime.spec import FrontendSpec

from ..check.count import is_layer, module_layer, trace
from ..errors import ExportError
from .records import FrontEndRow, Listing, NodeRow, TensorRow, costs_of

if TYPE_CHECKING:
    from torch import fx

NOTE = "not quantised: 'tinyscene export' makes the integer graph, whose scales and kernels are shown then"


def checkpoint_listing(path: Path) -> Listing:
    """The layers of a checkpoint of ours or a published one.

    Raises:
        TinysceneError: unreadable, another network, or one that cannot be traced.
    """
    from tinyscene.training.models.checkpoint import load_any

    loaded = load_any(path)
    shape = (loaded.frontend.n_mels, loaded.frontend.n_frames)
    try:
        traced = trace(loaded.model, shape)
    except Exception as problem:  # tracing runs the network's own code
        what = f"{type(loaded.model).__name__} cannot be traced layer by layer"
        raise ExportError(str(path), what, got=f"{type(problem).__name__}") from problem
    layers = [node for node in traced.graph.nodes if is_layer(node)]
    (source,) = (node for node in traced.graph.nodes if node.op == "placeholder")
    (result,) = (node for node in traced.graph.nodes if node.op == "output")
    last = _layer_before(result.all_input_nodes[0])
    return Listing(
        f"checkpoint, float32, input {shape[0]}x{shape[1]}",
        (_tensor(source),),
        (TensorRow(last.name, _shape(result.all_input_nodes[0]), "float32"),),
        tuple(_row(traced, number, node) for number, node in enumerate(layers, start=1)),
        labels=loaded.labels,
        front_end=front_end_row(loaded.frontend),
        notes=(NOTE,),
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


def _row(traced: fx.GraphModule, number: int, node: fx.Node) -> NodeRow:
    costs = costs_of(lambda: module_layer(traced, node))
    module = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
    window = getattr(module, "kernel_size", None)
    return NodeRow(
        number,
        str(node.target) if module is not None else node.name,
        type(module).__name__ if module is not None else "add",
        tuple(dict.fromkeys(_layer_before(other).name for other in node.all_input_nodes)),
        (_tensor(node),),
        _pair(window),
        _pair(getattr(module, "stride", None)) if window is not None else None,
        _groups(module),
        None,
        **vars(costs),
    )


def _layer_before(node: fx.Node) -> fx.Node:
    """The layer, or the input, whose output this is, perhaps in another shape."""
    while not is_layer(node) and node.op != "placeholder":
        node = node.all_input_nodes[0]
    return node


def _tensor(node: fx.Node) -> TensorRow:
    return TensorRow(node.name, _shape(node), "float32")


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(int(size) for size in node.meta["tensor_meta"].shape)


def _pair(value: object) -> tuple[int, int] | None:
    if isinstance(value, int):
        return value, value
    return (int(value[0]), int(value[1])) if isinstance(value, tuple) and len(value) == 2 else None


def _groups(module: object) -> str:
    groups = getattr(module, "groups", 1)
    return f"groups {groups}" if groups > 1 else ""
