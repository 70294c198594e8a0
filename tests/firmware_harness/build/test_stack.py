"""The stack bound from the call graph: what it counts, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyscene.firmware_harness.build.stack import (
    Frame,
    call_graph_flags,
    call_graphs_of,
    compiled_frames,
    deepest,
    disassembled_frames,
)
from tinyscene.firmware_harness.build.targets import CORTEX_M4
from tinyscene.firmware_harness.build.tools import run_tool
from tinyscene.firmware_harness.errors import FirmwareError

LEAF = "__attribute__((noinline)) static int leaf(int n) { volatile char room[400]; room[n] = 1; return room[n]; }\n"


def _frames(text: str, folder: Path) -> dict[str, Frame]:
    """Frames of one C file, compiled for the Cortex-M4."""
    source, result = folder / "file.c", folder / "file.o"
    source.write_text(text)
    flags = [*CORTEX_M4.compile_flags, *call_graph_flags(CORTEX_M4), "-O1", "-fno-optimize-sibling-calls"]
    run_tool([CORTEX_M4.compiler, *flags, "-c", str(source), "-o", str(result)], CORTEX_M4)
    (graph,) = call_graphs_of([result])
    return compiled_frames(graph.read_text())


@pytest.mark.needs_tool("arm-none-eabi-gcc")
def test_the_deepest_path_is_found(tmp_path: Path) -> None:
    frames = _frames(
        LEAF + "__attribute__((noinline)) static int flat(int n) { return n * n; }\n"
        "int top(int n) { return leaf(n) + flat(n); }\n",
        tmp_path,
    )
    bound = deepest(frames, "top", "here")
    assert bound.path == ("top", "leaf")
    assert 400 < bound.bytes < 450


@pytest.mark.needs_tool("arm-none-eabi-gcc")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int top(int n); int other(int n) { return n ? top(n - 1) : 0; } int top(int n) { return other(n) + 1; }\n",
         "recursion has no bound; got"),
        ("int use(char*); int top(int n) { char room[n]; return use(room); }\n", "the frame has a variable size"),
        ("int top(int (*unheard)(int)) { return 1 + unheard(2); }\n", "through the pointer 'unheard' is not in"),
        ("int gone(int); int top(int n) { return 1 + gone(n); }\n", "unknown function; got gone"),
    ],
    ids=["recursion", "variable length", "pointer", "unknown"],
)  # fmt: skip
def test_what_has_no_bound_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(FirmwareError, match=expected):
        deepest(_frames('#pragma GCC optimize("no-inline")\n' + text, tmp_path), "top", "here")


def test_frames_of_assembly() -> None:
    """Registers and room are summed, jumps into another symbol join them, calls remain."""
    listing = (
        "00000000 <outer>:\n   0:\tpush\t{r4, r5, r6, lr}\n   2:\tvpush\t{d8-d11}\n   6:\tsub.w\tsp, sp, #104\n"
        "   a:\tbeq.w\t10 <inner+0x2>\n   e:\tbl\t20 <callee>\n\n"
        "0000000e <inner>:\n   e:\tstmdb\tsp!, {r7, r8, r9, sl, fp, lr}\n  12:\tbx\tlr\n\n"
        "00000020 <callee>:\n  20:\tstr.w\tr4, [sp, #-8]!\n  24:\tbfcsel\t0, 12 <inner+0x4>, 4, eq\n\n"
        "00000030 <riscv>:\n  30:\tadd\tsp,sp,-48\n  34:\tjal\t20 <callee>\n  38:\tadd\tsp,sp,48\n"
        "00000040 <xtensa>:\n  40:\taddi\ta1, a1, -96\n  43:\taddmi\ta1, a1, -0x100\n  46:\tcall0\t20 <callee>\n"
        "  49:\tbltui\ta2, 3, 4c <xtensa+0xc>\n  4c:\taddmi\ta1, a1, 0x100\n"
    )
    frames = disassembled_frames(listing, "00000021 T alias\n")
    assert frames["outer"].bytes == 16 + 32 + 104 + 24
    assert frames["outer"].calls == {"callee"}
    assert frames["inner"] is frames["outer"]
    assert frames["alias"].bytes == frames["callee"].bytes == 8
    assert deepest(frames, "riscv", "here").bytes == 56
    assert deepest(frames, "xtensa", "here").bytes == 96 + 256 + 8


@pytest.mark.parametrize("call", ["blx\tr3", "jalr\ta5", "callx0\ta0"])
def test_a_call_through_a_register_in_assembly_is_refused(call: str) -> None:
    frames = disassembled_frames(f"00000000 <odd>:\n   0:\t{call}\n", "")
    with pytest.raises(FirmwareError, match="a call through a register; got odd"):
        deepest(frames, "odd", "here")
