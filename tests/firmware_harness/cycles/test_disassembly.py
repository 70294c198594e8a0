"""Classes, registers and neighbours of instructions, from lines as objdump prints them."""

from __future__ import annotations

import numpy as np
import pytest

from tinyscene.firmware_harness.cycles.disassembly import instructions
from tinyscene.firmware_harness.cycles.profile import EVENTS, Listing, joins
from tinyscene.firmware_harness.errors import FirmwareError


def _listing(*texts: str) -> Listing:
    """Instructions one after the other from address 0x100; `32` before a mnemonic makes it one of 32 bits."""
    lines, address = [], 0x100
    for text in texts:
        wide, text = text.startswith("32 "), text.removeprefix("32 ")
        mnemonic, _, operands = text.partition(" ")
        lines.append(f"     {address:x}:\t{'e9d1 2300' if wide else 'b580     '} \t{mnemonic}\t{operands}")
        address += 4 if wide else 2
    return Listing(tuple(instructions("\n".join(lines))))


def _run(listing: Listing, *executed: int):
    events = np.zeros((len(listing.listed), len(EVENTS)), np.int64)
    events[:, 0] = executed or 1
    return listing.counts(events)


@pytest.mark.parametrize(
    ("text", "kind", "reads", "writes"),
    [
        ("ldr r3, [r0, #4]", "load", "r0", "r3"),
        ("ldr.w r3, [r0], #4", "load", "r0", "r3 r0"),
        ("ldrb.w fp, [r0, r2]", "load", "r0 r2", "r11"),
        ("str.w r3, [r0, #4]!", "store", "r3 r0", "r0"),
        ("ldrd r2, r3, [r1], #8", "load_double", "r1", "r2 r3 r1"),
        ("ldmia.w sp!, {r4-r7, pc}", "load_multiple", "sp", "r4 r5 r6 r7 pc sp"),
        ("push {r4, r5, lr}", "store_multiple", "r4 r5 lr sp", "sp"),
        ("smlad r0, r1, r2, r3", "multiply", "r1 r2 r3", "r0"),
        ("smlal r0, r1, r2, r3", "multiply", "r0 r1 r2 r3", "r0 r1"),
        ("muls r0, r1", "multiply", "r0 r1", "r0"),
        ("adds r0, #1", "other", "r0", "r0"),
        ("add r0, r1, r2", "other", "r1 r2", "r0"),
        ("mov r0, r1", "other", "r1", "r0"),
        ("cmp r0, r1", "other", "r0 r1", ""),
        ("sdiv r0, r1, r2", "divide", "r1 r2", "r0"),
        ("bne.n 104 <f>", "branch", "", ""),
        ("bl 104 <f>", "call", "", ""),
        ("vmla.f32 s0, s1, s2", "float_multiply_add", "s0 s1 s2", "s0"),
        ("vdiv.f32 s0, s1, s2", "float_divide", "s1 s2", "s0"),
        ("vldr s0, [r1, #4]", "float_move", "r1", "s0"),
    ],
)
def test_instructions_have_a_class_and_registers(text, kind, reads, writes):
    (instruction,) = _listing(text).listed
    assert (instruction.kind, instruction.reads, instruction.writes) == (kind, {*reads.split()}, {*writes.split()})


def test_conditions_of_an_it_block_are_no_part_of_the_mnemonic():
    listing = _listing("itte ne", "ldrne r0, [r1]", "addne r0, #1", "moveq r0, r2", "bls.n 100")
    assert [each.mnemonic for each in listing.listed] == ["itte", "ldr", "add", "mov", "bls"]
    assert listing.listed[-1].kind == "branch"


def test_neighbours_are_counted_as_often_as_the_first_runs_on():
    listing = _listing("ldr r0, [r4]", "ldr r1, [r4, #4]", "add r2, r1", "bne.n 100", "ldr r3, [r4]")
    counts = _run(listing, 10, 10, 10, 10, 1)
    assert (counts.instructions, counts.single_loads, counts.loads_after_load, counts.load_uses) == (41, 21, 10, 10)
    entered_twice = _run(listing, 1, 10, 10, 10, 1)  # from above once, and from a branch nine times
    assert entered_twice.loads_after_load == 1


def test_a_base_that_is_moved_is_not_a_loaded_value():
    assert _run(_listing("ldr.w r0, [r1], #4", "add r2, r1")).load_uses == 0


def test_accumulations_and_stores_before_loads():
    listing = _listing(
        "32 smlad r0, r1, r2, r0", "32 smlad r0, r3, r4, r0", "32 smlad r5, r1, r2, r5", "str r0, [r6]", "pop {r4}"
    )
    counts = _run(listing)
    assert (counts.accumulations_in_a_row, counts.loads_after_store) == (1, 1)


def test_vectors_overlap_where_one_of_two_moves_memory():
    texts = ("vldrb.u8 q0, [r0], #16", "vmladava.s8 lr, q0, q1", "vmul.i32 q2, q0, q1", "vstrw.32 q2, [r1]")
    counts = _run(_listing(*texts))
    assert (counts.vector_instructions, counts.vector_overlaps, counts.float_instructions) == (4, 2, 0)


def test_32_bits_at_2_modulo_4_straddle_words():
    assert _run(_listing("nop", "32 add.w r0, r1, r2", "nop", "32 add.w r0, r1, r2")).straddling == 1


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ("add r0, r1, r2", "add r3, r4, r5", True),
        ("add r0, r1, r2", "add r3, r0, r5", False),
        ("ldr r0, [r1]", "add r3, r4, r5", True),
        ("ldr r0, [r1]", "str r3, [r4]", False),
        ("mul r0, r1, r2", "mul r3, r4, r5", False),
        ("pop {r4}", "add r0, r1, r2", False),
    ],
)
def test_pairs_are_independent_and_of_two_units(first, second, joined):
    assert joins(*_listing(first, second).listed) == joined


def test_an_instruction_is_in_one_pair_only():
    independent = ("add r0, r8", "add r1, r8", "add r2, r8")
    assert _run(_listing(*independent)).pairs == 1
    assert _run(_listing(*independent, "add r3, r8")).pairs == 2


def test_listings_without_instructions_and_addresses_outside_are_refused():
    with pytest.raises(FirmwareError, match="listing of an image: no instruction"):
        list(instructions("Disassembly of section .text:\n"))
    with pytest.raises(FirmwareError, match="address 0x200: no instruction"):
        _listing("nop").index(0x200)
    assert _listing("32 add.w r0, r1, r2").index(0x102) == 0
