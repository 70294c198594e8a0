"""Layers of a float network for the counting rules: those of its program, unfused, so that BatchNorm is a layer.

Operators that only move elements are no layers. An operator with parameters that no published rule counts becomes a
layer of kind ``uncounted``. Refuses nothing itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tinyscene.runtime.cost import Kind, Layer, counted_once
from tinyscene.training.models.program import (
    GETITEM,
    GRN_OPERATOR,
    MOVING,
    Argument,
    ProgramCall,
    ProgramNetwork,
    Value,
    Weight,
    call_paths,
    leaves,
    named_arguments,
    result_shapes,
)

_FILLED = {"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"}
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("conv1d", "conv2d"), "conv"),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), "deconv"),
    **dict.fromkeys(("linear", "lstm"), "linear"),
    "batch_norm": "norm",
    GRN_OPERATOR: "mul",
    **dict.fromkeys(("mul", "div", "square"), "mul"),
    **dict.fromkeys(("matmul", "bmm"), "matmul"),
    **dict.fromkeys(("add", "sub", "rsub"), "add"),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"), "pool"),
    "mean": "mean",
    "prelu": "mul",
}


@dataclass(frozen=True)
class ProgramLayer:
    """A call that computes; ``inputs``: names of the layers that it reads; ``shape`` is without the batch.

    ``kernel`` and ``stride`` are (height, width), of convolutions and pools only.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    layer: Layer
    kernel: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    groups: int = 1


@dataclass(frozen=True)
class ProgramLayers:
    """Layers in execution order. ``outputs``: the layers whose outputs, perhaps in other shapes, are the network's."""

    rows: tuple[ProgramLayer, ...]
    outputs: tuple[str, ...]


def program_layers(network: ProgramNetwork) -> ProgramLayers:
    """The layers of a network; the inputs have the names that the program gives them."""
    shapes, names, rows = result_shapes(network), {end.name: end.name for end in network.program.inputs}, []
    seen: set[str] = set()
    filled: set[str] = set()  # tensors of one number are no layers, and no inputs of a layer that has others
    for call, place in zip(network.program.calls, call_paths(network.program), strict=True):
        read = [leaf.value for leaf in leaves(call) if isinstance(leaf, Value)]
        sources = tuple(dict.fromkeys(names[name] for name in [n for n in read if n not in filled] or read))
        filled |= {call.name} if call.kind in _FILLED else set()
        if call.kind in MOVING or call.kind in (GETITEM, "pad", *_FILLED):
            names[call.name] = sources[0]
            continue
        names[call.name] = place
        layer = _layer(network, call, place, shapes, seen)
        rows.append(ProgramLayer(place, call.kind, sources, shapes[call.name], layer, *_window_of(network, call)))
    return ProgramLayers(tuple(rows), tuple(names[end.name] for end in network.program.outputs))


def _layer(
    network: ProgramNetwork, call: ProgramCall, place: str, shapes: dict[str, tuple[int, ...]], seen: set[str]
) -> Layer:
    """``seen``: weights of earlier layers; those of this one are added."""
    kind = _KINDS.get(call.kind, "other")
    shape, source = shapes[call.name], next(leaf.value for leaf in leaves(call) if isinstance(leaf, Value))
    if kind == "pool" and math.prod(shape[1:]) == 1 and call.kind.startswith("adaptive"):
        kind = "mean"
    names = list(_weights(call))
    parameters = [network.get_parameter(name) for name in names if name in network.program.parameters]
    constants = [network.get_buffer(name) for name in names if name not in network.program.parameters]
    if kind == "other" and parameters:
        kind = "uncounted"
    matrices = [p for p in parameters if p.ndim > 1] if call.kind == "lstm" else parameters[:1]
    weights = sum(p.numel() for p in matrices)
    layer = Layer(
        place,
        call.kind,
        kind,
        (1, *shape),
        weights=weights,
        biases=sum(p.numel() for p in parameters) - weights,
        constant_bytes=sum(p.numel() * p.element_size() for p in parameters),
        extra_bytes=sum(b.numel() * b.element_size() for b in constants),
        window=_window(network, call, shapes),
        input_elements=math.prod(shapes[source]),
        output_elements=math.prod(shape),
        positions=math.prod(shape[:-1] if kind == "linear" else shape[1:]),
        input_positions=math.prod(shapes[source][1:]),
    )
    repeated = [network.get_parameter(name) for name in names if name in seen and name in network.program.parameters]
    seen.update(names)
    return counted_once(layer, sum(p.numel() for p in repeated), sum(p.numel() * p.element_size() for p in repeated))


def _weights(call: ProgramCall) -> Iterator[str]:
    if call.operator == GRN_OPERATOR:
        yield from (f"{call.module}.gamma", f"{call.module}.beta")
    yield from (leaf.weight for leaf in leaves(call) if isinstance(leaf, Weight))


def _window(network: ProgramNetwork, call: ProgramCall, shapes: dict[str, tuple[int, ...]]) -> int:
    """Input elements for each output of a pool, or for each product of two activations; 1 for other operators."""
    source = next(leaf.value for leaf in leaves(call) if isinstance(leaf, Value))
    if call.kind.startswith("avg_pool"):
        return math.prod(_window_of(network, call)[0] or ())
    if call.kind.startswith("adaptive"):
        return math.prod(shapes[source]) // math.prod(shapes[call.name])
    return shapes[source][-1] if call.kind in ("matmul", "bmm") else 1


def _window_of(
    network: ProgramNetwork, call: ProgramCall
) -> tuple[tuple[int, int] | None, tuple[int, int] | None, int]:
    """Kernel, stride and groups of a convolution or a pool."""
    if call.kind.startswith(("avg_pool", "max_pool")):
        arguments = named_arguments(call)
        kernel = _pair(arguments["kernel_size"])
        return kernel, _pair(arguments["stride"]) or kernel, 1
    if call.kind.startswith("conv"):
        arguments = named_arguments(call)
        weight, groups = arguments["weight"], arguments["groups"]
        assert isinstance(weight, Weight)
        assert isinstance(groups, int)
        return _pair(tuple(network.state_dict()[weight.weight].shape[2:])), _pair(arguments["stride"]), groups
    return None, None, 1


def _pair(sizes: Argument) -> tuple[int, int] | None:
    """Sizes for height and width; those of a sequence are for its width."""
    given = [size for size in (sizes if isinstance(sizes, tuple) else (sizes,)) if isinstance(size, int)]
    if not given:
        return None
    return (given[0], given[-1]) if len(given) > 1 else (1, given[0])
