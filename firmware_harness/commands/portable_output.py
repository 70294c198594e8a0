"""The calls that run portable kernels although the target's kernel set has faster ones, as one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinyscene.runtime.cost import graph_cost

from ..emit.kernel_set import PORTABLE
from ..emit.model import Emitted

MOST_NAMED = 6


def portable_lines(emitted: Emitted, instructions: Sequence[int] | None) -> Iterator[str]:
    """One line with each such call and the share of all; none without such a call, and none for portable targets.

    The share is of the instructions of each call in one inference, or without them of the MACs.
    """
    if emitted.kernels is PORTABLE:
        return
    costs = graph_cost(emitted.graph, "stored").layers
    shares = instructions or [sum(costs[at].macs for at in call.nodes) for call in emitted.calls]
    portable = [(call, share) for call, share in zip(emitted.calls, shares, strict=True) if call.layer.portable]
    if not portable:
        return
    portable.sort(key=lambda pair: -pair[1])
    names = [f"{call.layer.kernel} ({emitted.graph.nodes[call.nodes.stop - 1].name})" for call, _ in portable]
    further = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    part = sum(share for _, share in portable) / max(1, sum(shares))
    text = f"of {len(emitted.calls)} calls, {part:.1%} of the {'instructions' if instructions else 'MACs'}: "
    yield f"portable      {len(names):>13,} {text}{', '.join([*names[:MOST_NAMED], *further])}"
