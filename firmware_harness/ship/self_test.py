"""The self-test that a device runs at boot: a CRC-32 of its constants, and the output for one generated input."""

from __future__ import annotations

import zlib

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run

from .constants import ConstantArray

GOLDEN_SEED = 20_230_301


def checksum(arrays: list[ConstantArray]) -> int:
    """CRC-32 of the bytes of all arrays, in order."""
    return zlib.crc32(b"".join(array.data for array in arrays))


def golden_input(graph: Graph) -> I8:
    """Noise from a linear congruential generator (Numerical Recipes' constants), int8 (1, H, W, C)."""
    shape = graph.tensors[graph.input].shape
    state, codes = GOLDEN_SEED, np.empty(int(np.prod(shape)), np.int8)
    for i in range(codes.size):
        state = (state * 1_664_525 + 1_013_904_223) % 2**32
        codes[i] = (state >> 24) - 128
    return codes.reshape(shape)


def self_test_header(graph: Graph, arrays: list[ConstantArray], rounding: Rounding) -> str:
    """C data of the self-test: the addresses and sizes of the constants, and the golden output."""
    output = np.asarray(run(graph, golden_input(graph), rounding=rounding)).ravel()
    table = "".join(f"    {{{array.name}, sizeof {array.name}}},\n" for array in arrays)
    return (
        f"#define GOLDEN_SEED {GOLDEN_SEED}u\n\n"
        "static const struct {\n    const void* data;\n    uint32_t size;\n} constants[] = {\n"
        f"{table}}};\n\n"
        f"static const int8_t golden_output[] = {{{', '.join(map(str, output.tolist()))}}};\n"
    )
