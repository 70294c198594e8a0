"""The golden test that a device runs at boot: the network's outputs for one generated input of each kind.

The other part of the self-test, the checksum of all constants, is in c/ts_check.c and emit/constant_bytes.py.
"""

from __future__ import annotations

import zlib

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.vectors import row_shape

GOLDEN_SEED = 20_230_301


def golden_input(graph: Graph) -> I8:
    """Noise from a linear congruential generator (Numerical Recipes' constants), as one vector of inputs."""
    shape = (1, *row_shape(graph, graph.inputs))
    state, codes = GOLDEN_SEED, np.empty(int(np.prod(shape)), np.int8)
    for i in range(codes.size):
        state = (state * 1_664_525 + 1_013_904_223) % 2**32
        codes[i] = (state >> 24) - 128
    return codes.reshape(shape)


def golden_output(graph: Graph, rounding: Rounding) -> I8:
    """The codes of the outputs for :func:`golden_input`, side by side."""
    return np.asarray(run(graph, golden_input(graph), rounding=rounding)).ravel()


def scores_header(graph: Graph, rounding: Rounding) -> str:
    """C data of the test of a row of scores: the generator's seed, and the golden output."""
    codes = ", ".join(map(str, golden_output(graph, rounding).tolist()))
    return f"#define GOLDEN_SEED {GOLDEN_SEED}u\n\nstatic const int8_t golden_output[] = {{{codes}}};\n"


def checksum_header(graph: Graph, rounding: Rounding) -> str:
    """C data of the test of outputs of any size: the generator's seed, and the CRC-32 of the golden outputs."""
    checksum = zlib.crc32(golden_output(graph, rounding).tobytes())
    return f"#define GOLDEN_SEED {GOLDEN_SEED}u\n#define GOLDEN_CRC32 0x{checksum:08x}u\n"
