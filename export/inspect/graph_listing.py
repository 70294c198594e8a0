"""An integer graph node by node, with the call that runs each node in firmware.

Costs come from the counting rules of :mod:`tinyscene.runtime.cost`, calls from the schedule that the firmware is
emitted from; nothing is computed a second way.
"""

from __future__ import annotations

from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.schedule import Optimise, plan_calls, schedule
from tinyscene.runtime import ops
from tinyscene.runtime.cost import Layer, graph_layers
from tinyscene.runtime.graph import Graph, Node, Tensor
from tinyscene.runtime.plan import plan
from tinyscene.runtime.states import states_note

from .records import Firmware, KernelCall, Listing, NodeRow, TensorRow, costs_of, weight_scales


def graph_listing(graph: Graph, source: str, cpu: str, optimise: Optimise) -> Listing:
    """The nodes of a checked graph.

    Args:
        cpu: kernel set, as ``tinyscene firmware export --cpu`` names it.
        optimise: how nodes are combined into calls.

    Raises:
        TinysceneError: unknown kernel set, or an op without a row in the cost table.
    """
    scheduled = schedule(graph, kernel_set_named(cpu), optimise)
    calls: dict[int, KernelCall] = {}
    for call in scheduled:
        row = KernelCall(call.layer.kernel, call.nodes.start + 1, call.nodes.stop, call.layer.portable)
        calls |= dict.fromkeys(call.nodes, row)
    portable = sum(call.layer.portable for call in scheduled)
    firmware = Firmware(cpu, optimise, len(scheduled), portable, plan_calls(graph, scheduled).arena_bytes)
    layers = zip(graph.nodes, graph_layers(graph), strict=True)
    return Listing(
        source=source,
        inputs=tuple(tensor_row(graph.tensors[name]) for name in graph.inputs),
        outputs=tuple(tensor_row(graph.tensors[name]) for name in graph.outputs),
        nodes=tuple(_row(graph, at, node, layer, calls[at]) for at, (node, layer) in enumerate(layers)),
        arena_bytes=plan(graph).arena_bytes,
        firmware=firmware,
        labels=graph.labels,
        notes=states_note(graph),
    )


def tensor_row(tensor: Tensor) -> TensorRow:
    """An activation of the graph; its name, shape and quantisation."""
    return TensorRow(tensor.name, tensor.shape, tensor.dtype, tensor.quant.scale[0], tensor.quant.zero_point)


def _row(graph: Graph, at: int, node: Node, layer: Layer, call: KernelCall) -> NodeRow:
    op, ins = node.op, graph.ins(node)
    window, stride = None, None
    if isinstance(op, ops.Conv2D | ops.DepthwiseConv2D):
        window, stride = (ins[1].shape[1], ins[1].shape[2]), op.stride
    elif isinstance(op, ops.Pool2D):
        window, stride = op.kernel, op.stride
    return NodeRow(
        at + 1,
        node.name,
        layer.op,
        tuple(dict.fromkeys(tensor.name for tensor in ins if tensor.data is None)),
        (tensor_row(graph.out(node)),),
        window,
        stride,
        _detail(graph, node),
        weight_scales(ins[1].quant.scale) if ops.has_weight(op) else None,
        **vars(costs_of(lambda: layer)),
        call=call,
    )


def _detail(graph: Graph, node: Node) -> str:
    """What distinguishes two operations of one op: the activation function, the axis, the function of a table."""
    op, parts = node.op, _convolution(graph, node)
    if isinstance(op, ops.Mul) and node.inputs[0] == node.inputs[1]:
        parts.append("square")
    elif isinstance(op, ops.Reduce):
        parts.append(f"{op.kind} over {', '.join(map(str, op.axes))}")
    elif isinstance(op, ops.BatchMatMul):
        parts += [f"{name} transposed" for name, adjoint in (("x", op.adj_x), ("y", op.adj_y)) if adjoint]
    elif isinstance(op, ops.Pool2D):
        parts.append(op.kind)
    elif isinstance(op, ops.Lookup):
        parts.append(op.function)
        if op.function == "leaky_relu":
            parts.append(f"alpha {op.alpha:g}")
    elif isinstance(op, ops.Concat):
        parts.append(f"axis {op.axis}")
    elif isinstance(op, ops.Transpose):
        parts.append(f"order {', '.join(map(str, op.order))}")
    elif isinstance(op, ops.Pad):
        parts.append(f"by {', '.join(map(str, op.before))} and {', '.join(map(str, op.after))}, code {op.code}")
    elif isinstance(op, ops.Resize):
        parts.append(f"{op.kind} {op.grid}")
    elif isinstance(op, ops.Slice):
        parts.append(f"from {', '.join(map(str, op.begin))}, step {', '.join(map(str, op.step))}")
    if ops.has_relu(op):
        parts.append("relu")
    return " ".join(parts)


def _convolution(graph: Graph, node: Node) -> list[str]:
    """Dilation, groups and multiplier of a convolution where they are not 1."""
    op, parts = node.op, []
    if not isinstance(op, ops.Conv2D | ops.DepthwiseConv2D):
        return []
    if op.dilation != (1, 1):
        parts.append(f"dilation {op.dilation[0]}x{op.dilation[1]}")
    if isinstance(op, ops.Conv2D) and op.groups > 1:
        parts.append(f"{op.groups} groups")
    multiplier = graph.out(node).shape[3] // graph.ins(node)[0].shape[3]
    if isinstance(op, ops.DepthwiseConv2D) and multiplier > 1:
        parts.append(f"multiplier {multiplier}")
    return parts
