"""Operators that PyTorch itself writes with simpler ones: attention, Einstein sums, norms, variances."""

from __future__ import annotations

from typing import Any

from torch import fx
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx


def decomposed(node: fx.Node) -> fx.Graph | None:
    """The graph of the operators that ``node`` becomes, with a placeholder for each of its input nodes in their order.

    None if PyTorch has no decomposition of it.
    """
    operator: Any = node.target
    table = core_aten_decompositions()
    composite = operator._can_decompose()
    if not composite and operator not in table:
        return None
    inputs = node.all_input_nodes

    def apply(*values: Any) -> Any:
        by_node = dict(zip(inputs, values, strict=True))
        args, kwargs = fx.map_arg((node.args, node.kwargs), by_node.__getitem__)
        return operator.decompose(*args, **kwargs) if composite else table[operator](*args, **kwargs)

    examples = [source.meta["val"] for source in inputs]
    with examples[0].fake_mode:
        return make_fx(apply, tracing_mode="real")(*examples).graph
