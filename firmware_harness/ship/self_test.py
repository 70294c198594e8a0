"""The golden test that a device runs at boot: the network's output for one generated input.

The other part of the self-test, the checksum of all constants, is in c/ts_check.c and emit/constant_bytes.py.
"""

from __future__ import annotations

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run

GOLDEN_SEED = 20_230_301


def golden_input(graph: Graph) -> I8:
    """Noise from a linear congruential generator (Numerical Recipes' constants), int8 (1, H, W, C)."""
    shape = graph.tensors[graph.input].shape
    state, codes = GOLDEN_SEED, np.empty(int(np.prod(shape)), np.int8)
    for i in range(codes.size):
        state = (state * 1_664_525 + 1_013_904_223) % 2**32
        codes[i] = (state >> 24) - 128
    return codes.reshape(shape)


def self_test_header(graph: Graph, rounding: Rounding) -> str:
    """C data of the test: the generator's seed, and the golden output."""
    output = np.asarray(run(graph, golden_input(graph), rounding=rounding)).ravel()
    return (
        f"#define GOLDEN_SEED {GOLDEN_SEED}u\n\n"
        f"static const int8_t golden_output[] = {{{', '.join(map(str, output.tolist()))}}};\n"
    )
