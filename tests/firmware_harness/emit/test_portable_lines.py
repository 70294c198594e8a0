"""Calls that run portable kernels on a processor with faster ones are named with their share."""

from __future__ import annotations

import numpy as np

from tests.graphs import Builder
from tinyscene.firmware_harness.commands.portable_output import portable_lines
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.model import Emitted, emit


def emitted(cpu: str) -> Emitted:
    """A convolution of 1,216 MACs, bias included, its softmax and the difference of both."""
    b = Builder(np.random.default_rng(1), "net", (4, 4, 3))
    x = b.conv(b.input, (3, 3), channels=4, stride=(2, 2), pads=(1, 1, 1, 1))
    return emit(b.graph(b.sub(b.softmax(x), x)), kernel_set_named(cpu))


def test_share_of_instructions_the_largest_first() -> None:
    (line,) = portable_lines(emitted("mve"), (600, 100, 300))
    expected = "portable 2 of 3 calls, 40.0% of the instructions: ts_sub (sub_2), ts_softmax (softmax_1)"
    assert " ".join(line.split()) == expected


def test_share_of_macs_without_a_run() -> None:
    (line,) = portable_lines(emitted("mve"), ())
    assert "2 of 3 calls, 0.0% of the MACs" in line


def test_nothing_where_no_faster_set_exists() -> None:
    assert not list(portable_lines(emitted("c99"), None))
